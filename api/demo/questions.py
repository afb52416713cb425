"""What the three kinds of users ask the demo's ledger afterwards: through the HTTP API, and with the program."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from advice_ledger_client import LedgerClient, Row

from api.agents.optimiser import agent
from api.demo import evidence
from api.demo.clients import Client
from api.demo.evidence import Evidence
from api.demo.market import Quarter
from api.demo.server import AUDITOR, COMPLIANCE, Site

Rows = list[dict[str, Any]]
OnProgress = Callable[[str, int, int], None]

MOST_ROWS = 1000
DESK = ("id", "request_id", "client_id", "state", "outcome", "decided_by", "model_name")
STEPS = (
    "id", "request_id", "state", "outcome", "reason_code", "decided_by", "confirmed_by", "channel", "model_version",
)  # fmt: skip


@dataclass(frozen=True)
class Story:
    """The client's quarter that is told: its request, and the position of the first decision in it."""

    client: Client
    quarter: Quarter
    request_id: int
    decided_at: int


@dataclass(frozen=True)
class Answers:
    """What the ledger said: for the advisor `desk`, for both `told`, for compliance the reports, then the proofs.

    `then` and `now` are the story's request as of its first decision, and as it stands.
    """

    waiting: Rows
    proposed: Rows
    client: str
    quarter: str
    told: int
    request_id: int
    decided_at: int
    then: Rows
    now: Rows
    override_rates: Rows
    override_reasons: Rows
    rubber_stamps: Rows
    orphans: int
    replay: dict[str, Any]
    verification: dict[str, Any]
    evidence: Evidence


def ask(site: Site, people: Mapping[str, LedgerClient], story: Story, on_progress: OnProgress) -> Answers:
    """All of it. Raises ClientError or DemoFailed."""
    advisor, compliance, auditor = people[story.client.advisor], people[COMPLIANCE], people[AUDITOR]
    then = auditor.recommendations(request_id=story.request_id, as_of=story.decided_at)
    now = auditor.recommendations(request_id=story.request_id)
    told = auditor.recommendations(client_id=story.client.name, state="communicated")
    on_progress("replay", 0, 1)
    replayed = _replay(site, auditor)
    on_progress("verification", 0, 1)
    verified = _verify(site)
    return Answers(
        waiting=_cut(advisor.recommendations(state="waiting"), DESK),
        proposed=_cut(advisor.recommendations(state="proposed"), DESK),
        client=story.client.name,
        quarter=story.quarter.name,
        told=len(told),
        request_id=story.request_id,
        decided_at=story.decided_at,
        then=_cut(then, STEPS),
        now=_cut(now, STEPS),
        override_rates=_report(compliance, "override-rates"),
        override_reasons=_report(compliance, "override-reasons"),
        rubber_stamps=_report(compliance, "rubber-stamps"),
        orphans=len(auditor.get("/model-calls", state="open", limit=200)["items"]),
        replay=replayed,
        verification=verified,
        evidence=evidence.take(site, story.client.name),
    )


def rates(rows: Rows) -> Rows:
    """Override rates by model version alone, the highest first: the report's rows, over advisors and months."""
    decisions: Counter[tuple[str, str]] = Counter()
    overrides: Counter[tuple[str, str]] = Counter()
    for row in rows:
        model = (row["model_name"], row["model_version"])
        decisions[model] += row["decisions"]
        overrides[model] += row["overrides"]
    found = [
        {"model": name, "version": version, "decisions": count, "overrides": overrides[name, version]}
        for (name, version), count in decisions.items()
    ]
    return sorted(found, key=lambda row: (-row["overrides"] / row["decisions"], row["model"], row["version"]))


def reasons(rows: Rows) -> Rows:
    """Reasons by model alone, the most frequent first."""
    counted: Counter[tuple[str, str, str]] = Counter()
    for row in rows:
        counted[row["model_name"], row["reason_group"], row["reason_code"]] += row["overrides"]
    return [
        {"model": model, "group": group, "reason": code, "overrides": count}
        for (model, group, code), count in sorted(counted.items(), key=lambda item: (-item[1], item[0]))
    ]


def _report(client: LedgerClient, name: str) -> Rows:
    found: Rows = client.get(f"/reports/{name}", limit=MOST_ROWS)["items"]
    return found


def _replay(site: Site, auditor: LedgerClient) -> dict[str, Any]:
    """The newest answer of the optimiser, which the worker gave, asked for again."""
    newest = auditor.recommendations(model_name=agent.NAME, state="proposed", at_most=1)
    if not newest:
        return {}
    one = newest[0]
    command = ["replay", "--request", str(one["request_id"]), "--recommendation", str(one["id"])]
    return _json(site, *command, "--json")


def _verify(site: Site) -> dict[str, Any]:
    found = _json(site, "verify", "--projections", "--json")
    return {name: found[name] for name in ("ok", "origin", "events", "head_hash", "first_bad_position", "read_models")}


def _json(site: Site, *arguments: str) -> dict[str, Any]:
    """What a command printed, whether or not it found something wrong."""
    return evidence.read(site.command(*arguments), f"advice-ledger {arguments[0]}")


def _cut(rows: list[Row], members: tuple[str, ...]) -> Rows:
    return [{name: row[name] for name in members} for row in rows]
