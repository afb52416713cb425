"""Shared by the tests of imports: histories of a ledger, their lines, and read models that are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
from hypothesis import strategies as st
from psycopg.rows import dict_row

from ledger.imports.check import check
from ledger.imports.history import IMPORTED, HistoryEvent, derived_id
from ledger.imports.importer import Imported, Importer
from ledger.imports.sources import NoEvent, read
from ledger.store.envelope import Actor, NewEvent, uuid7
from ledger.store.events import Receipt
from projections.ai_recommendations.model import AI_RECOMMENDATIONS
from projections.clients.model import CLIENTS
from projections.decisions.model import DECISIONS
from projections.findings.model import FINDINGS
from projections.legal_holds.model import LEGAL_HOLDS
from projections.model_calls.model import MODEL_CALLS
from projections.portfolio_requests.model import PORTFOLIO_REQUESTS
from projections.rebuild import rebuild_read_models
from schema.events import (
    CaseReviewed,
    ClientAliased,
    ClientAssigned,
    ClientMerged,
    ClientRegistered,
    ClientUnassigned,
    DecisionExpired,
    DecisionRevoked,
    DecisionWithdrawn,
    Event,
    LegalHoldPlaced,
    LegalHoldReleased,
    ModelCallCompleted,
    ModelCallFailed,
    ModelCallStarted,
    PortfolioRequested,
    RecommendationCommunicated,
    RecommendationConfirmed,
    RecommendationDecided,
    RecommendationOpened,
    RecommendationRecorded,
    RecommendationReplayed,
    RequestFailed,
    RequestWithdrawn,
    Shown,
    SubjectRegistered,
)
from schema.findings import FindingAssigned, FindingClosed, FindingOpened
from tests.support import append, connect

SOURCE = "ledger.example/old"
IMPORTER = Actor(id="cli:olga", kind="human", role="operator")
ACTORS = (
    Actor(id="ann", kind="human", role="advisor", credential=3),
    Actor(id="bob", kind="human", role="compliance"),
    Actor(id="robot", kind="agent", role="agent"),
)
COMPARED = (PORTFOLIO_REQUESTS, AI_RECOMMENDATIONS, DECISIONS, CLIENTS, MODEL_CALLS, LEGAL_HOLDS, FINDINGS)
# Columns with positions of events, in all compared read models but those whose `id` is a number.
POSITIONS = {
    *("recommendation_id", "decision_id", "model_call_id", "supersedes", "superseded_by", "withdrawal_id"),
    *("decline_id", "end_id", "review_id", "close_id", "merged_position", "ended_position"),
}
NUMBERED = {PORTFOLIO_REQUESTS.name, CLIENTS.name}
# By whom a request was imported shows only there; a deadline of people counts from when the ledger has the decision.
OTHER = {"imported", "confirm_by"}
LINES = (
    "SELECT e.position, e.version, (extract(epoch FROM e.recorded_at) * 1000000)::bigint AS recorded_at_us,"
    " encode(e.prev_hash, 'hex') AS prev_hash, encode(e.hash, 'hex') AS hash, e.body, s.fields::text AS fields,"
    " s.salts::text AS salts FROM events e LEFT JOIN sealed_fields s USING (position) ORDER BY e.position"
)
DIGEST = "5" * 64

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8)
words = st.sampled_from(["m1", "m2", "Zürich", "x"])
contents = st.dictionaries(texts, st.none() | st.floats(-9, 9) | texts | st.lists(st.integers(-5, 5)), max_size=3)


class History:
    """A ledger that is filled step by step with events that name each other as those of the program do."""

    def __init__(self, url: str, data: st.DataObject) -> None:
        self.url = url
        self.draw = data.draw
        self.clients: list[int] = []
        self.requests: list[int] = []
        # By stream and type, the receipts of its events.
        self.of: dict[tuple[str, str], list[Receipt]] = {}

    def fill(self, steps: int) -> None:
        """Append so many events."""
        with connect(self.url) as conn:
            for _ in range(steps):
                stream, event, causation = self.step()
                new = NewEvent(uuid7(), stream, event, self.draw(st.sampled_from(ACTORS)), causation=causation)
                [receipt] = append(conn, new)
                self.of.setdefault((receipt.stream, event.type), []).append(receipt)
                number = receipt.stream.rpartition("-")[2]
                if stream == "client-":
                    self.clients.append(int(number))
                elif stream == "request-":
                    self.requests.append(int(number))

    def step(self) -> tuple[str, Event, UUID | None]:
        """Draw the next event: its stream, itself, and its cause."""
        draw = self.draw
        kinds = ["client", "beside"] + ["request"] * 2 * bool(self.clients) + ["case"] * 12 * bool(self.requests)
        match draw(st.sampled_from(kinds + ["held"] * 2 * bool(self.clients))):
            case "client":
                return "client-", self.registration(), None
            case "beside":
                return "subject-ann", SubjectRegistered(kind="human"), None
            case "request":
                client = draw(st.sampled_from(self.clients))
                asked = PortfolioRequested(
                    client_id=f"client {client}",
                    risk_profile="balanced",
                    amount_usd=draw(st.integers(1, 10**9)),
                    notes=draw(st.none() | texts),
                    client=draw(st.sampled_from([client, client, None])),
                )
                return "request-", asked, None
            case "held":
                return self.of_client(f"client-{draw(st.sampled_from(self.clients))}")
        return self.of_case(f"request-{draw(st.sampled_from(self.requests))}")

    def registration(self) -> Event:
        """Draw the first event of a client."""
        name = f"client {len(self.clients) + 1}"
        if self.clients and self.draw(st.integers(0, 3)) == 0:
            return ClientAliased(client_id=name, of=self.draw(st.sampled_from(self.clients)))
        return ClientRegistered(client_id=name, subject=self.draw(st.none() | st.just("ann")))

    def of_client(self, stream: str) -> tuple[str, Event, None]:
        """Draw a later event of a client."""
        draw, held = self.draw, self.of.get((stream, "legal-hold.placed"))
        kinds: list[Event] = [
            ClientAssigned(group=draw(st.sampled_from(["zurich", "bern"])), since=None),
            ClientUnassigned(subject="ann"),
            ClientMerged(into=draw(st.sampled_from(self.clients))),
            LegalHoldPlaced(reason="inquiry", request_id=draw(st.sampled_from([None, *self.requests]))),
        ]
        if held:
            kinds += [LegalHoldReleased(reason="over", hold_id=draw(st.sampled_from(held)).position)] * 3
        return stream, draw(st.sampled_from(kinds)), None

    def of_case(self, stream: str) -> tuple[str, Event, UUID | None]:
        """Draw a later event of a request."""
        draw = self.draw
        calls, answers = (self.of.get((stream, name), []) for name in ("model-call.started", "recommendation.recorded"))
        decided = self.of.get((stream, "recommendation.decided"), [])
        seen = max(receipt.position for at, receipts in self.of.items() if at[0] == stream for receipt in receipts)
        about = draw(st.sampled_from(answers)) if answers else None
        shown = [Shown(kind="request", id=stream.rpartition("-")[2]), Shown(kind="policy", id="p")]
        # Of any request: an agent is shown what its client was told before.
        if told := [one for at, made in self.of.items() if at[1] == "recommendation.recorded" for one in made]:
            shown.append(Shown(kind="recommendation", id=str(draw(st.sampled_from(told)).position)))
        call = draw(st.sampled_from([None, *calls]))
        kinds: list[Event] = [
            ModelCallStarted(
                provider_name="p", request_model=draw(words), shown=shown, as_of=seen, input_messages=["hi"]
            ),
            RecommendationRecorded(
                recommendation=draw(contents),
                model_name=draw(words),
                model_call_id=call and call.position,
                supersedes=about and about.position,
            ),
            RequestFailed(reason="no-answer", detail=draw(st.none() | texts)),
            RequestWithdrawn(reason_code="duplicate", replaced_by=draw(st.sampled_from([None, *self.requests]))),
            CaseReviewed(upto=draw(st.integers(seen, seen + 3)), disposition="no-concern", note="seen"),
            *self.findings(stream, decided),
        ]
        if call is not None:
            kinds += [ModelCallCompleted(response_model="m", output_messages=[1]), ModelCallFailed(error_type="500")]
        if about is not None:
            kinds += self.acts(about.position, decided)
        event = draw(st.sampled_from(kinds))
        ends = isinstance(event, ModelCallCompleted | ModelCallFailed)
        return stream, event, call.id if ends and call is not None else None

    def findings(self, stream: str, decided: list[Receipt]) -> list[Event]:
        """Return the opening of a finding, and what may follow on one that was opened."""
        decision = self.draw(st.sampled_from([None, *decided]))
        found: list[Event] = [FindingOpened(severity="low", text="odd", decision_id=decision and decision.position)]
        if opened := self.of.get((stream, "finding.opened")):
            finding_id = self.draw(st.sampled_from(opened)).position
            found.append(FindingAssigned(finding_id=finding_id, assignee="ann"))
            found.append(FindingClosed(finding_id=finding_id, resolution="accepted", reason="small"))
        return found

    def acts(self, about: int, decided: list[Receipt]) -> list[Event]:
        """Return acts of people on a recommendation."""
        draw = self.draw
        outcome = draw(st.sampled_from(["approve", "edit", "respond", "reject"]))
        found: list[Event] = [
            RecommendationOpened(digest=DIGEST, recommendation_id=about),
            *[
                RecommendationDecided(
                    digest=DIGEST,
                    outcome=outcome,
                    recommendation_id=about,
                    rationale="because",
                    replacement=draw(contents) if outcome == "edit" else None,
                    needs_second=draw(st.booleans()),
                    second_rules=[],
                    four_eyes_version="1",
                    confirm_within_hours=draw(st.none() | st.just(5)),
                )
            ]
            * 2,
            RecommendationCommunicated(digest=DIGEST, channel="phone", recommendation_id=about),
            RecommendationReplayed(recommendation_id=about, as_of=about, agent_version="1", outcome="identical"),
        ]
        if decided:
            of = {"recommendation_id": about, "decision_id": draw(st.sampled_from(decided)).position}
            second = draw(st.sampled_from(["approve", "decline"]))
            found += [
                RecommendationConfirmed(digest=DIGEST, outcome=second, rationale="so", four_eyes_version="1", **of),
                DecisionWithdrawn(reason_code="duplicate", **of),
                DecisionRevoked(reason_code="duplicate", rationale="wrong", **of),
                DecisionExpired(**of),
            ]
        return found


def lines(url: str) -> list[bytes]:
    """Return the events of a ledger as a bundle of all would have them."""
    with connect(url) as conn, conn.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(LINES).fetchall()
    return [orjson.dumps({name: value for name, value in row.items() if value is not None}) for row in rows]


def imported(
    url: str, file: Path, *, batch_events: int = 1000, history: Sequence[HistoryEvent | NoEvent] | None = None
) -> Imported:
    """Check a file, or events in its place, and import it. Its lines must be right."""
    checked = check(read(file) if history is None else history)
    assert checked.faults == []
    events = (event for event in history or read(file) if isinstance(event, HistoryEvent))
    with connect(url, "writer") as writer, connect(url, "reader") as reader:
        importer = Importer(writer, reader, SOURCE, IMPORTER, checked.erased, batch_events=batch_events)
        return importer.run(events)


def positions(old: str, new: str) -> dict[int, int]:
    """Return by position in the new ledger the position in the old one, of each imported event."""
    query = "SELECT id, position FROM events"
    with connect(old) as conn:
        known = {derived_id(SOURCE, str(id_)): position for id_, position in conn.execute(query)}
    with connect(new) as conn:
        return {position: known[id_] for id_, position in conn.execute(query) if id_ in known}


def rows(url: str, places: Mapping[int, int] | None = None) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of the compared read models, with positions as `places` has them."""
    rebuild_read_models(url, list(COMPARED))
    found: dict[str, list[dict[str, Any]]] = {}
    with connect(url) as conn, conn.cursor(row_factory=dict_row) as cursor:
        for model in COMPARED:
            query = f"SELECT * FROM {model.name} ORDER BY id"  # noqa: S608 - a name of ours
            found[model.name] = [_mapped(model.name, row, places) for row in cursor.execute(query.encode()).fetchall()]
    return found


def _mapped(name: str, row: dict[str, Any], places: Mapping[int, int] | None) -> dict[str, Any]:
    row = {column: value for column, value in row.items() if column not in OTHER}
    if places is None:
        return row
    for column in POSITIONS & row.keys() | (set() if name in NUMBERED else {"id"}):
        row[column] = row[column] and places[row[column]]
    if row.get("as_of") is not None:
        row["as_of"] = places[row["as_of"]]
    for one in row.get("assignments") or ():
        one["position"] = places[one["position"]]
    for one in row.get("shown") or ():
        if one["kind"] in {"recommendation", "decision"}:
            one["id"] = str(places[int(one["id"])])
    return row


def count(url: str) -> int:
    """Return how many events there are."""
    with connect(url) as conn:
        return int(conn.execute("SELECT count(*) FROM events").fetchall()[0][0])


def importable(url: str) -> list[int]:
    """Return the positions of the events that are imported."""
    types = sorted(set().union(*IMPORTED.values()))
    with connect(url) as conn:
        return [at for (at,) in conn.execute("SELECT position FROM events WHERE type = ANY (%s)", [types])]
