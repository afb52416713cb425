"""What a caller may ask of the ledger, each once, as a flow (client/advice_ledger_client/flow.py); docs/use/client.md has examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from time import monotonic
from typing import Any, Literal, TypeVar, cast

from advice_ledger_client.errors import NotYet, RequestFailed
from advice_ledger_client.flow import Answer, Flow, Pause, read, write

Row = dict[str, Any]
AsOf = int | datetime | None
Outcome = Literal["approve", "edit", "reject", "respond"]

PAGE_ROWS = 200
FIRST_LOOK_S = 0.02
LAST_LOOK_S = 1.0


@dataclass(frozen=True)
class Receipt:
    """Where a write stands in the chain: its position, its hash there, and where to read it."""

    position: int
    hash: str
    location: str


@dataclass(frozen=True)
class Written:
    """A write that was recorded; subclasses add what the server says of it."""

    receipt: Receipt


@dataclass(frozen=True)
class Queued(Written):
    """A request for a recommendation."""

    request_id: int


@dataclass(frozen=True)
class Recommended(Written):
    """An agent's answer."""

    recommendation_id: int
    request_id: int


@dataclass(frozen=True)
class Ended(Written):
    """A request that gets no recommendation."""

    request_id: int
    status: str


@dataclass(frozen=True)
class Standing(Written):
    """A recommendation after what was done: its state, and the digest of what stands, or of what is to be confirmed."""

    recommendation_id: int
    state: str
    digest: str


@dataclass(frozen=True)
class Decided(Standing):
    """A decision; where `needs_second`, another person has to confirm exactly this `digest`."""

    decision_id: int
    needs_second: bool
    second_rules: list[str]


@dataclass(frozen=True)
class Confirmed(Standing):
    """What a second person said of a decision."""

    decision_id: int


@dataclass(frozen=True)
class Context:
    """What an agent may read before it answers: the request, and earlier recommendations for the same client.

    `as_of` is the position up to which all of it was read.
    """

    as_of: int
    request: Row
    earlier: list[Row]

    @property
    def shown(self) -> list[Row]:
        """All of it as a model call lists what was shown: the request, earlier recommendations and their decisions."""
        found = [("request", self.request["request_id"])]
        for one in self.earlier:
            found.append(("recommendation", one["id"]))
            if one["decision_id"] is not None:
                found.append(("decision", one["decision_id"]))
        return [{"kind": kind, "id": str(number)} for kind, number in found]


Kind = TypeVar("Kind", bound=Written)


def receipt_of(answer: Answer) -> Receipt:
    """The receipt in the headers of a write's answer."""
    headers = answer.headers
    return Receipt(int(headers["ledger-position"]), headers["ledger-hash"], headers["location"])


def written(kind: type[Kind], answer: Answer) -> Kind:
    """The members of the answer that `kind` has; a newer server may send more."""
    names = {field.name for field in fields(kind)} - {"receipt"}
    return kind(receipt=receipt_of(answer), **{name: answer.content[name] for name in names})


def request_recommendation(  # noqa: PLR0913 (members of the event, by name)
    *,
    client_id: str,
    risk_profile: Literal["conservative", "balanced", "aggressive"],
    amount_usd: Decimal | int | str,
    horizon_years: int | None = None,
    objectives: Sequence[str] | None = None,
    constraints: Mapping[str, Any] | None = None,
    notes: str | None = None,
    idempotency_key: str | None = None,
) -> Flow[Queued]:
    """Ask for a recommendation for a client's money. Role: advisor."""
    asked = {
        "client_id": client_id,
        "risk_profile": risk_profile,
        # A decimal string, as a float would not be exact.
        "amount_usd": str(amount_usd),
        "horizon_years": horizon_years,
        "objectives": None if objectives is None else list(objectives),
        "constraints": None if constraints is None else dict(constraints),
        "notes": notes,
    }
    return written(Queued, (yield from sent("/portfolio/recommendations", asked, idempotency_key)))


def context(request_id: int, as_of: int | None = None) -> Flow[Context]:
    """The request and the client's history, as an agent may see it. Roles: agent and readers."""
    found = yield from got(f"/portfolio/requests/{request_id}/context", as_of=as_of)
    return Context(found["as_of"], found["request"], found["earlier"])


def record_recommendation(  # noqa: PLR0913 (members of the event, by name)
    request_id: int,
    *,
    recommendation: Mapping[str, Any],
    model_name: str,
    model_version: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    prompt: str | None = None,
    model_call_id: int | None = None,
    supersedes: int | None = None,
    idempotency_key: str | None = None,
) -> Flow[Recommended]:
    """Record an agent's answer; `model_call_id` is the completed call that it came from. Role: agent."""
    answer = {
        "recommendation": dict(recommendation),
        "model_name": model_name,
        "model_version": model_version,
        "parameters": None if parameters is None else dict(parameters),
        "prompt": prompt,
        "model_call_id": model_call_id,
        "supersedes": supersedes,
    }
    path = f"/portfolio/requests/{request_id}/recommendations"
    return written(Recommended, (yield from sent(path, answer, idempotency_key)))


def fail_request(
    request_id: int, *, reason: str, detail: str | None = None, idempotency_key: str | None = None
) -> Flow[Ended]:
    """Record that a queued request gets no recommendation; `reason` is a code such as `not-suitable`. Role: agent."""
    path = f"/portfolio/requests/{request_id}/failures"
    return written(Ended, (yield from sent(path, {"reason": reason, "detail": detail}, idempotency_key)))


def open_(recommendation_id: int, digest: str, *, idempotency_key: str | None = None) -> Flow[Standing]:
    """Record that the caller has this recommendation before them. Roles: advisor, compliance."""
    path = f"/recommendations/{recommendation_id}/openings"
    return written(Standing, (yield from sent(path, {"digest": digest}, idempotency_key)))


def decide(  # noqa: PLR0913 (members of the event, by name)
    recommendation_id: int,
    *,
    digest: str,
    outcome: Outcome,
    reason_code: str | None = None,
    rationale: str | None = None,
    replacement: Mapping[str, Any] | None = None,
    response: str | None = None,
    idempotency_key: str | None = None,
) -> Flow[Decided]:
    """Approve, edit, reject, or respond; `digest` is of the recommendation that the caller has seen. Role: advisor."""
    decision = {
        "digest": digest,
        "outcome": outcome,
        "reason_code": reason_code,
        "rationale": rationale,
        "replacement": None if replacement is None else dict(replacement),
        "response": response,
    }
    path = f"/recommendations/{recommendation_id}/decisions"
    return written(Decided, (yield from sent(path, decision, idempotency_key)))


def confirm(
    decision_id: int,
    *,
    digest: str,
    outcome: Literal["approve", "decline"],
    rationale: str | None = None,
    idempotency_key: str | None = None,
) -> Flow[Confirmed]:
    """Approve or decline another person's decision that waits for a confirmation. Roles: advisor, compliance."""
    confirmation = {"digest": digest, "outcome": outcome, "rationale": rationale}
    path = f"/decisions/{decision_id}/confirmations"
    return written(Confirmed, (yield from sent(path, confirmation, idempotency_key)))


def communicate(
    recommendation_id: int,
    *,
    digest: str,
    channel: Literal["meeting", "phone", "video", "letter", "email", "portal", "other"],
    message: str | None = None,
    idempotency_key: str | None = None,
) -> Flow[Standing]:
    """Record that the client was told; `digest` is of what they were told. Role: advisor."""
    told = {"digest": digest, "channel": channel, "message": message}
    path = f"/recommendations/{recommendation_id}/communications"
    return written(Standing, (yield from sent(path, told, idempotency_key)))


def get_request(request_id: int, *, as_of: AsOf = None) -> Flow[Row]:
    """One request, as it stands or stood."""
    return cast("Row", (yield from got(f"/portfolio/requests/{request_id}", as_of=moment(as_of))))


def recommendation(recommendation_id: int, *, as_of: AsOf = None) -> Flow[Row]:
    """One recommendation, as it stands or stood."""
    return cast("Row", (yield from got(f"/recommendations/{recommendation_id}", as_of=moment(as_of))))


def recommendations(
    *,
    client_id: str | None = None,
    request_id: int | None = None,
    model_name: str | None = None,
    state: str | None = None,
    as_of: AsOf = None,
    at_most: int = 1000,
) -> Flow[list[Row]]:
    """Recommendations, the newest first, over as many pages as it takes."""
    filters = {"client_id": client_id, "request_id": request_id, "model_name": model_name, "state": state}
    rows: list[Row] = []
    cursor = None
    while len(rows) < at_most:
        limit = min(PAGE_ROWS, at_most - len(rows))
        page = yield from got("/recommendations", **filters, as_of=moment(as_of), limit=limit, cursor=cursor)
        rows += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    return rows


def wait_for_recommendation(request_id: int, within_s: float = 30.0) -> Flow[Row]:
    """The recommendation of a request, once there is one. Raises RequestFailed or NotYet."""
    deadline = monotonic() + within_s
    pause_s = FIRST_LOOK_S
    while True:
        found = yield from get_request(request_id)
        if found["status"] == "failed":
            raise RequestFailed(request_id, found["failure_reason"], found["failure_detail"])
        if found["status"] == "recommended":
            return (yield from recommendation(found["recommendation_id"]))
        left_s = deadline - monotonic()
        if left_s <= 0:
            raise NotYet(f"no recommendation for request {request_id} within {within_s} s")
        yield Pause(min(pause_s, left_s))
        pause_s = min(LAST_LOOK_S, pause_s * 2)


def got(path: str, **params: object) -> Flow[Any]:
    """The JSON of a GET."""
    answer = yield read(path, **params)
    assert answer is not None
    return answer.content


def sent(path: str, content: Mapping[str, Any], key: str | None) -> Flow[Answer]:
    """The answer to a POST."""
    answer = yield write(path, content, key)
    assert answer is not None
    return answer


def moment(as_of: AsOf) -> str | None:
    """`as_of` as a query parameter."""
    return as_of.isoformat() if isinstance(as_of, datetime) else None if as_of is None else str(as_of)
