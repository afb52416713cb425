"""Ask the demo's ledger the questions of advisor, compliance and auditor, over HTTP and with the program."""

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
from api.demo.server import COMPLIANCE, Site
from schema.states import ModelCallState, RecommendationState

Rows = list[dict[str, Any]]
OnProgress = Callable[[str, int, int], None]

MAX_ROWS = 1000
DESK_COLUMNS = ("id", "request_id", "client_id", "state", "outcome", "decided_by", "model_name")
TOLD_COLUMNS = ("as_of", "portfolio", "alert_id", "about", "receivers", "reason", "historical")
HISTORY_COLUMNS = (
    "id", "request_id", "state", "outcome", "reason_code", "decided_by", "confirmed_by", "channel", "model_version",
)  # fmt: skip


@dataclass(frozen=True)
class Example:
    """The review to show in detail: its client, quarter and request, and the position of the first decision."""

    client: Client
    quarter: Quarter
    request_id: int
    decided_at: int


@dataclass(frozen=True)
class Answers:
    """The ledger's answers: the advisor's lists, compliance's reports, and the auditor's checks.

    `then` and `now` are the recommendations of the example's request as of its first decision, and now.
    `communicated` counts the recommendations that its client was told.
    """

    waiting: Rows
    proposed: Rows
    client: str
    quarter: str
    communicated: int
    request_id: int
    decided_at: int
    then: Rows
    now: Rows
    override_rates: Rows
    override_reasons: Rows
    rubber_stamps: Rows
    orphans: int
    told: Rows
    replay: dict[str, Any]
    run_replay: dict[str, Any]
    verification: dict[str, Any]
    evidence: Evidence


def ask(site: Site, people: Mapping[str, LedgerClient], example: Example, run: int, on_progress: OnProgress) -> Answers:
    """Ask all questions; `run` is the run of monitoring to ask about. Raises ClientError or DemoFailed."""
    advisor, compliance = people[example.client.advisor], people[COMPLIANCE]
    then = compliance.recommendations(request_id=example.request_id, as_of=example.decided_at)
    now = compliance.recommendations(request_id=example.request_id)
    communicated = compliance.recommendations(client_id=example.client.name, state=RecommendationState.COMMUNICATED)
    on_progress("replay", 0, 1)
    replayed = _replay(site, compliance)
    on_progress("verification", 0, 1)
    verified = _verify(site)
    return Answers(
        waiting=_columns(advisor.recommendations(state=RecommendationState.WAITING), DESK_COLUMNS),
        proposed=_columns(advisor.recommendations(state=RecommendationState.PROPOSED), DESK_COLUMNS),
        client=example.client.name,
        quarter=example.quarter.name,
        communicated=len(communicated),
        request_id=example.request_id,
        decided_at=example.decided_at,
        then=_columns(then, HISTORY_COLUMNS),
        now=_columns(now, HISTORY_COLUMNS),
        override_rates=_report(compliance, "override-rates"),
        override_reasons=_report(compliance, "override-reasons"),
        rubber_stamps=_report(compliance, "rubber-stamps"),
        orphans=len(compliance.get("/model-calls", state=ModelCallState.OPEN, limit=200)["items"]),
        told=_columns(compliance.get("/notifications", run=run, limit=200)["items"], TOLD_COLUMNS),
        replay=replayed,
        run_replay=_json(site, "monitor", "replay", "--run", str(run), "--json"),
        verification=verified,
        evidence=evidence.take(site, example.client.name),
    )


def rates(rows: Rows) -> Rows:
    """Add up the report's override rates by model version, the highest first.

    Decisions that say nothing about the model are left out.
    """
    decisions: Counter[tuple[str, str]] = Counter()
    overrides: Counter[tuple[str, str]] = Counter()
    for row in rows:
        model = (row["model_name"], row["model_version"])
        decisions[model] += row["decisions"] - row["not_about_model"]
        overrides[model] += row["overrides"]
    totals = [
        {"model": name, "version": version, "decisions": count, "overrides": overrides[name, version]}
        for (name, version), count in decisions.items()
    ]
    return sorted(totals, key=lambda row: (-row["overrides"] / row["decisions"], row["model"], row["version"]))


def reasons(rows: Rows) -> Rows:
    """Add up the report's reasons by model, the most frequent first."""
    counted: Counter[tuple[str, str, str]] = Counter()
    for row in rows:
        counted[row["model_name"], row["reason_group"], row["reason_code"]] += row["overrides"]
    return [
        {"model": model, "group": group, "reason": code, "overrides": count}
        for (model, group, code), count in sorted(counted.items(), key=lambda item: (-item[1], item[0]))
    ]


def _report(client: LedgerClient, name: str) -> Rows:
    rows: Rows = client.get(f"/reports/{name}", limit=MAX_ROWS)["items"]
    return rows


def _replay(site: Site, compliance: LedgerClient) -> dict[str, Any]:
    """Replay the newest answer of the worker's optimiser."""
    newest = compliance.recommendations(model_name=agent.NAME, state=RecommendationState.PROPOSED, at_most=1)
    if not newest:
        return {}
    [row] = newest
    command = ["replay", "--request", str(row["request_id"]), "--recommendation", str(row["id"])]
    return _json(site, *command, "--json")


def _verify(site: Site) -> dict[str, Any]:
    report = _json(site, "verify", "--json")
    return {name: report[name] for name in ("ok", "origin", "events", "head_hash", "first_bad_position", "read_models")}


def _json(site: Site, *arguments: str) -> dict[str, Any]:
    """Run a command and parse its JSON, whatever its exit code."""
    return evidence.read(site.command(*arguments), f"advice-ledger {arguments[0]}")


def _columns(rows: list[Row], names: tuple[str, ...]) -> Rows:
    return [{name: row[name] for name in names} for row in rows]
