"""Any sequence of decisions, samples, reassignments, reviews and findings does what a small model says.

The model keeps cases, items and findings as plain values. What it refuses, the server refuses under the same name, and
records nothing. At the end the queue, the findings, coverage and each sample drawn again are the model's.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from api.sampling import redraw
from ledger.domain.sampling import Member, draw
from ledger.service.open_ledger import LedgerParts, open_ledger
from tests.api.acting import SENSITIVE, Acting, second_tokens
from tests.api.served import Api, ledger_copy, problem, served
from tests.conftest import Template

REVIEWERS = ("compliance", "compliance2")
PERIOD = {"decided_from": "2020-01-01T00:00:00Z", "decided_to": "2100-01-01T00:00:00Z"}
_examples = itertools.count(1)
people = st.sampled_from(REVIEWERS)
picks = st.integers(0, 2**16)


@dataclass
class Case:
    """A case with one decision: who acted, who reviewed it last, and its findings, which are open or not."""

    request: int
    decision: int
    acted: set[str]
    reviewed_by: str | None = None
    samples: int = 0
    findings: dict[int, bool] = field(default_factory=dict)


@dataclass
class Item:
    """An item of the queue. `findings` are those that its case had when it was chosen."""

    case: Case
    assignee: str
    reviewed_by: str | None = None
    findings: int = 0

    @property
    def state(self) -> str:
        """The state that the queue shows."""
        if self.reviewed_by is None:
            return "open"
        return "finding" if len(self.case.findings) > self.findings else "reviewed"


class Supervision(RuleBasedStateMachine):
    """Acts of advisors and two reviewers, over HTTP, on cases for an amount that no other example has."""

    api: Api

    @initialize()
    def begin(self) -> None:
        self.act = Acting(self.api)
        self.amount = f"{1000 + next(_examples)}.00"
        self.cases: list[Case] = []
        self.items: dict[int, Item] = {}
        self.drawn: list[int] = []

    @rule(confirmer=st.none() | people)
    def decide(self, confirmer: str | None) -> None:
        at = self.act.proposed(amount_usd=self.amount)
        decided = self.act.decided(at, **(SENSITIVE if confirmer else {}))
        acted = {"advisor"}
        if confirmer is not None:
            assert self.act.confirm(decided, confirmer).status_code == 201
            acted.add(confirmer)
        self.cases.append(Case(self.act.row(at)["request_id"], decided["decision_id"], acted))

    @rule(size=st.integers(1, 3), order=st.permutations(REVIEWERS), count=st.integers(1, 2), unreviewed=st.booleans())
    def draw(self, size: int, order: list[str], count: int, unreviewed: bool) -> None:
        mine = {case.decision: case for case in self.cases if not (unreviewed and case.reviewed_by)}
        seed = f"{len(self.drawn) + size:064x}"
        chosen = draw([Member(one) for one in mine], seed, size)
        assigned = self._assigned([mine[one] for one in chosen], order[:count])
        body = {**PERIOD, "size": size, "reviewers": order[:count], "seed": seed}
        body |= {"amount_from": self.amount, "amount_to": self.amount, **({"unreviewed": True} if unreviewed else {})}
        refusal = "population-empty" if not mine else None if assigned is not None else "no-reviewer"
        made = self._send("/samples", "compliance", body, refusal)
        if made is None or assigned is None:
            return
        assert made["chosen"] == chosen
        assert made["population"] == len(mine)
        self.drawn.append(made["sample"])
        found = {row["decision_id"]: row for row in self.api.items("/reviews/queue", sample=made["sample"])}
        for one, assignee in zip(chosen, assigned, strict=True):
            self.items[found[one]["id"]] = Item(mine[one], assignee, findings=len(mine[one].findings))
            mine[one].samples += 1

    def _assigned(self, cases: list[Case], reviewers: list[str]) -> list[str] | None:
        """Return who gets each case in turn; None if nobody can get one of them."""
        turn, found = list(reviewers), []
        for case in cases:
            free = [name for name in turn if name not in case.acted]
            if not free:
                return None
            found.append(free[0])
            turn.remove(free[0])
            turn.append(free[0])
        return found

    @precondition(lambda self: self.items)
    @rule(pick=picks, to=people)
    def reassign(self, pick: int, to: str) -> None:
        item_id, item = list(self.items.items())[pick % len(self.items)]
        refusal = None
        if item.reviewed_by is not None:
            refusal = "review-item-closed"
        elif item.assignee == to:
            refusal = "already-assigned"
        elif to in item.case.acted:
            refusal = "same-person"
        if self._send(f"/review-items/{item_id}/reassignments", "compliance", {"assignee": to}, refusal):
            item.assignee = to

    @precondition(lambda self: self.cases)
    @rule(pick=picks, who=people)
    def review(self, pick: int, who: str) -> None:
        case = self.cases[pick % len(self.cases)]
        body = {"upto": self.api.head()[0], "disposition": "no-concern"}
        refusal = "same-person" if who in case.acted else None
        if self._send(f"/cases/{case.request}/reviews", who, body, refusal):
            self._reviewed([case], who)

    @rule(who=people, leave_out=st.booleans())
    def review_all(self, who: str, leave_out: bool) -> None:
        free = [case for case in self.cases if who not in case.acted]
        body = {**PERIOD, "amount_from": self.amount, "amount_to": self.amount, "disposition": "no-concern"}
        refusal = None if free else "range-empty"
        if len(free) < len(self.cases) and not leave_out:
            refusal = "same-person"
        made = self._send("/reviews", who, body | ({"leave_out_own": True} if leave_out else {}), refusal)
        if made is not None:
            assert made["cases"] == sorted(case.request for case in free)
            self._reviewed(free, who)

    def _reviewed(self, cases: list[Case], who: str) -> None:
        for case in cases:
            case.reviewed_by = who
            for item in self.items.values():
                if item.case is case and item.reviewed_by is None:
                    item.reviewed_by = who

    @precondition(lambda self: self.cases)
    @rule(pick=picks, who=people)
    def find(self, pick: int, who: str) -> None:
        case = self.cases[pick % len(self.cases)]
        made = self._send(f"/cases/{case.request}/findings", who, {"severity": "low", "text": "odd"}, None)
        assert made is not None
        case.findings[made["finding"]] = True

    @precondition(lambda self: any(case.findings for case in self.cases))
    @rule(pick=picks, who=people)
    def close(self, pick: int, who: str) -> None:
        every = [(case, finding) for case in self.cases for finding in case.findings]
        case, finding = every[pick % len(every)]
        refusal = None if case.findings[finding] else "finding-closed"
        if refusal is None and who in case.acted:
            refusal = "same-person"
        body = {"resolution": "accepted", "reason": "small"}
        if self._send(f"/findings/{finding}/closings", who, body, refusal):
            case.findings[finding] = False

    def _send(self, path: str, who: str, body: dict[str, Any], refusal: str | None) -> dict[str, Any] | None:
        """Send a command that succeeds, or is refused under this name and records nothing."""
        if refusal is not None:
            with self.api.records_nothing():
                problem(self.act.post(path, who, body), 409, refusal)
            return None
        made: httpx.Response = self.act.post(path, who, body)
        assert made.status_code == 201, made.text
        found: dict[str, Any] = made.json()
        return found

    def teardown(self) -> None:
        """Compare all that is shown with the model."""
        if not hasattr(self, "drawn"):
            return
        rows = {row["id"]: row for row in self.api.items("/decisions", limit=200)}
        for case in self.cases:
            row = rows[case.decision]
            shown = [row[name] for name in ("reviewed_by", "samples", "findings", "open_findings")]
            assert shown == [case.reviewed_by, case.samples, len(case.findings), sum(case.findings.values())]
        for number in self.drawn:
            for row in self.api.items("/reviews/queue", sample=number):
                item = self.items[row["id"]]
                assert (row["assignee"], row["state"], row["reviewed_by"]) == (
                    item.assignee,
                    item.state,
                    item.reviewed_by,
                )
            assert again(self.api.url, number) == []
        counted = self.api.get("/reports/coverage", person="advisor").json()["items"]
        if rows:
            [row] = [one for one in counted if one["by"] == "person"]
            assert row["decisions"] == len(rows)
            assert row["reviewed"] == sum(one["review_id"] is not None for one in rows.values())
            assert row["sampled"] == sum(one["samples"] > 0 for one in rows.values())
            assert row["with_findings"] == sum(one["findings"] > 0 for one in rows.values())
            assert row["with_open_findings"] == sum(one["open_findings"] > 0 for one in rows.values())


def again(url: str, number: int) -> list[str]:
    """Return what differs if a sample is drawn again, from the events."""

    async def work() -> list[str]:
        async with open_ledger(LedgerParts(url, readers=2, read_only=True)) as ledger:
            return (await redraw(ledger, number)).differences

    return asyncio.run(work())


@pytest.fixture(scope="module")
def api(server_url: str, template_database: Template) -> Iterator[Api]:
    """The application on a ledger that all examples share, with two reviewers."""
    with ledger_copy(server_url, template_database) as url, served(url) as found:
        second_tokens(found)
        yield found


def run(api: Api, examples: int, steps: int) -> None:
    """Run `examples` examples of at most `steps` steps."""
    profile = settings(
        max_examples=examples, stateful_step_count=steps, suppress_health_check=list(HealthCheck), deadline=None
    )
    run_state_machine_as_test(type("SupervisionAt", (Supervision,), {"api": api}), settings=profile)


def test_supervision_does_what_the_model_says(api: Api) -> None:
    """For any sequence of acts, in some examples."""
    run(api, 3, 12)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_supervision_does_what_the_model_says_for_longer(api: Api) -> None:
    """The same, with more and longer examples."""
    run(api, 12, 25)
