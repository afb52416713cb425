"""The documented machine: each command in each state leads to the state that the table names, or is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from ledger.domain import decisions as people
from ledger.domain import mistakes, request
from ledger.domain.agent import Agent
from ledger.domain.case import AFTER, APPLY, Case, Recommendation, stream_of
from ledger.domain.decisions import MEMBERS, Confirmer, Edited
from ledger.domain.four_eyes import FourEyes
from ledger.domain.reasons import ReasonCodes
from ledger.errors import InvalidEvent, NotFound, Refused
from schema.events import (
    CATALOGUE,
    Communicate,
    Confirm,
    Decide,
    ModelCallCompleted,
    ModelCallFailed,
    ModelCallStarted,
    Open,
    RecommendationCommunicated,
    RecommendationConfirmed,
    RecommendationDecided,
    RecommendationRecorded,
    RecommendationReplayed,
    RequestFailed,
    RequestWithdrawn,
    RevokeDecision,
    WithdrawDecision,
    WithdrawRequest,
)
from schema.states import RecommendationState
from tests.ledger.domain.stories import ANSWER, ELSEWHERE, REPLACEMENT, Story, four_eyes, standing

REASONS = ReasonCodes.load()
NOBODY = 999
EDITED = Edited(ANSWER, "any/v1")


def rules(*, second: bool) -> FourEyes:
    """A policy that always requires a confirmation, or never."""
    always = {"name": "always", "outcomes": ["approve", "edit", "reject"], "amount_usd_at_least": "0.00"}
    return four_eyes(rules=[always] * second, confirm_within_hours=1)


ALONE, TOGETHER = rules(second=False), rules(second=True)


def states() -> dict[str, Story]:
    """A stream for each state that a request can come to."""
    return {
        "nothing": Story(),
        "queued": story("ask"),
        "failed": story("ask", "fail"),
        "proposed": story("ask", "answer"),
        "waiting": story("ask", "answer", "edit, second"),
        "approved": story("ask", "answer", "approve"),
        "edited": story("ask", "answer", "edit"),
        "rejected": story("ask", "answer", "reject"),
        "returned": story("ask", "answer", "respond"),
        "returned, failed": story("ask", "answer", "respond", "fail"),
        "communicated": story("ask", "answer", "approve", "communicate"),
        "unanswered, withdrawn": story("ask", "withdraw"),
        "withdrawn": story("ask", "answer", "withdraw"),
    }


def story(*steps: str) -> Story:
    """A stream by its steps."""
    found = Story()
    for step in steps:
        match step:
            case "ask":
                found.ask()
            case "fail":
                found.add(RequestFailed(reason="no-answer"), "robot")
            case "answer":
                found.answer()
            case "communicate":
                found.communicate()
            case "withdraw":
                found.add(RequestWithdrawn(reason_code="duplicate"))
            case "approve of it" | "decline":
                found.confirm(step.partition(" ")[0])
            case _:
                found.decide(step.partition(",")[0], second="second" in step)
    return found


def current(case: Case) -> tuple[int, str]:
    """Return id and digest of the current recommendation; unknown ones if there is no recommendation."""
    found = case.recommendation
    return (NOBODY, ELSEWHERE) if found is None else (found.id, found.current_digest)


def decision_of(case: Case, outcome: str) -> Decide:
    """A valid decision of this outcome, on the recommendation as the agent gave it."""
    digest = ELSEWHERE if case.recommendation is None else case.recommendation.digest
    members: dict[str, dict[str, Any]] = {
        "approve": {},
        "edit": {"reason_code": "house-view", "rationale": "why", "replacement": REPLACEMENT},
        "reject": {"reason_code": "house-view", "rationale": "why"},
        "respond": {"response": "look again"},
    }
    return Decide.model_validate({"digest": digest, "outcome": outcome, **members[outcome]})


def start(found: Story) -> None:
    """An agent says that it is about to call a model."""
    request.check_start(found.case, Agent())
    found.add(ModelCallStarted(provider_name="p", request_model="m"), "robot")


def answer(found: Story, *, naming: bool) -> None:
    """An agent answers, with or without `supersedes`."""
    said = RecommendationRecorded(
        recommendation=ANSWER, model_name="m", supersedes=current(found.case)[0] if naming else None
    )
    before = found.case.recommendation
    event = request.answer(found.case, Agent(), said, "robot")
    assert event.supersedes == (None if before is None else before.id)
    assert event.model_copy(update={"supersedes": said.supersedes}) == said
    found.add(event, "robot")


def fail(found: Story) -> None:
    """An agent gives up."""
    request.check_failure(found.case, Agent())
    found.add(RequestFailed(reason="no-answer"), "robot")


def open_(found: Story) -> None:
    """A person looks at what stands."""
    at, digest = current(found.case)
    event = people.open_(found.case, at, Open(digest=digest))
    assert (event.recommendation_id, event.digest) == (at, digest)
    found.add(event)


def decide(found: Story, outcome: str, policy: FourEyes) -> None:
    """A person decides, under this policy."""
    case = found.case
    event = people.decide(case, current(case)[0], decision_of(case, outcome), EDITED, policy, REASONS)
    assert event.needs_second == bool(event.second_rules) == (policy is TOGETHER and outcome != "respond")
    assert (event.recommendation_id, event.outcome, event.four_eyes_version) == (current(case)[0], outcome, "1")
    found.add(event)


def confirm(found: Story, outcome: str) -> None:
    """Another person confirms the last decision."""
    case = found.case
    last = case.recommendation.decision if case.recommendation else None
    decision_id, digest = (NOBODY, ELSEWHERE) if last is None else (last.id, last.digest)
    why = "no" if outcome == "decline" else None
    command = Confirm.model_validate({"digest": digest, "outcome": outcome, "rationale": why})
    event = people.confirm(case, decision_id, command, Confirmer("bob", "advisor"), TOGETHER)
    added = {"recommendation_id": current(case)[0], "decision_id": decision_id, "four_eyes_version": TOGETHER.version}
    assert event.model_dump() == {**command.model_dump(), **added}
    found.add(event, "bob")


def communicate(found: Story) -> None:
    """The client is told what stands."""
    at, digest = current(found.case)
    found.add(people.communicate(found.case, at, Communicate(digest=digest, channel="phone")))


def last_decision(case: Case) -> int:
    """The id of the last decision, of any state; an unknown one if there is none."""
    return max(case.decisions, default=NOBODY)


def withdraw_request(found: Story) -> None:
    """A person withdraws the request."""
    command = WithdrawRequest(reason_code="data-entry-error")
    event = mistakes.withdraw_request(found.case, command, None)
    assert event.model_dump() == command.model_dump()
    found.add(event)


def withdraw_decision(found: Story) -> None:
    """The person who decided takes it back."""
    command = WithdrawDecision(reason_code="data-entry-error")
    event = mistakes.withdraw_decision(found.case, last_decision(found.case), command, "ann")
    added = {"recommendation_id": current(found.case)[0], "decision_id": last_decision(found.case)}
    assert event.model_dump() == {**command.model_dump(), **added}
    found.add(event)


def revoke(found: Story) -> None:
    """A person takes back what is in force."""
    command = RevokeDecision(reason_code="client-changed-mind", rationale="called")
    event = mistakes.revoke(found.case, last_decision(found.case), command)
    added = {"recommendation_id": current(found.case)[0], "decision_id": last_decision(found.case)}
    assert event.model_dump() == {**command.model_dump(), **added}
    found.add(event, "bob")


COMMANDS: dict[str, Callable[[Story], None]] = {
    "start a call": start,
    "answer": lambda found: answer(found, naming=False),
    "answer in its place": lambda found: answer(found, naming=True),
    "fail": fail,
    "open": open_,
    "approve": lambda found: decide(found, "approve", ALONE),
    "edit": lambda found: decide(found, "edit", ALONE),
    "reject": lambda found: decide(found, "reject", ALONE),
    "respond": lambda found: decide(found, "respond", ALONE),
    "approve, second": lambda found: decide(found, "approve", TOGETHER),
    "edit, second": lambda found: decide(found, "edit", TOGETHER),
    "reject, second": lambda found: decide(found, "reject", TOGETHER),
    "respond, second": lambda found: decide(found, "respond", TOGETHER),
    "approve of it": lambda found: confirm(found, "approve"),
    "decline": lambda found: confirm(found, "decline"),
    "communicate": communicate,
    "withdraw the request": withdraw_request,
    "withdraw the decision": withdraw_decision,
    "revoke": revoke,
}

UNKNOWN, FINISHED, FAILED = "recommendation-unknown", "request-finished", "request-failed"
DECIDED, WAITING, TOLD = "recommendation-decided", "recommendation-waiting", "recommendation-communicated"
NO_DECISION, NOTHING, UNAPPROVED = "decision-unknown", "nothing-to-confirm", "not-approved"
FIRST = ("nothing", "queued", "failed", "proposed", "waiting", "approved", "edited")
HEADER = (
    *(*FIRST, "rejected", "returned", "returned, failed", "communicated"),
    *("unanswered, withdrawn", "withdrawn"),
)
WITHDRAWN, NOT_WAITING, NOT_IN_FORCE = "request-withdrawn", "nothing-to-withdraw", "nothing-to-revoke"


def row(*cells: str) -> dict[str, str]:
    """Map each state to the state after, in the order of HEADER; "=" is the same state."""
    return {name: name if cell == "=" else cell for name, cell in zip(HEADER, cells, strict=True)}


def decision(after: str) -> dict[str, str]:
    """A decision is taken of what is proposed, and leads there."""
    return row(UNKNOWN, UNKNOWN, UNKNOWN, after, WAITING, *[DECIDED] * 6, UNKNOWN, WITHDRAWN)


OVER = (WITHDRAWN, WITHDRAWN)
TABLE: dict[str, dict[str, str]] = {
    "start a call": row("request-unknown", "=", FAILED, *[FINISHED] * 4, "=", "=", FAILED, "=", *OVER),
    "answer": row("request-unknown", "proposed", FAILED, *[FINISHED] * 5, "proposed", FAILED, FINISHED, *OVER),
    "answer in its place": row(
        "request-unknown", "invalid", FAILED, *[FINISHED] * 4, "proposed", "proposed", FAILED, "proposed", *OVER
    ),
    "fail": row("request-unknown", "failed", FAILED, *[FINISHED] * 5, "returned, failed", FAILED, FINISHED, *OVER),
    "open": row(UNKNOWN, UNKNOWN, UNKNOWN, *["="] * 8, UNKNOWN, "="),
    "approve": decision("approved"),
    "edit": decision("edited"),
    "reject": decision("rejected"),
    "respond": decision("returned"),
    "approve, second": decision("waiting"),
    "edit, second": decision("waiting"),
    "reject, second": decision("waiting"),
    "respond, second": decision("returned"),
    "approve of it": row(*[NO_DECISION] * 4, "edited", *[NOTHING] * 6, NO_DECISION, NO_DECISION),
    "decline": row(*[NO_DECISION] * 4, "proposed", *[NOTHING] * 6, NO_DECISION, NO_DECISION),
    "communicate": row(
        *[UNKNOWN] * 3,
        UNAPPROVED,
        UNAPPROVED,
        "communicated",
        "communicated",
        *[UNAPPROVED] * 3,
        TOLD,
        UNKNOWN,
        WITHDRAWN,
    ),
    "withdraw the request": row(
        *("request-unknown", "unanswered, withdrawn", FAILED, *["withdrawn"] * 6, FAILED, TOLD), *OVER
    ),
    "withdraw the decision": row(*[NO_DECISION] * 4, "proposed", *[NOT_WAITING] * 6, NO_DECISION, NO_DECISION),
    "revoke": row(
        *[NO_DECISION] * 4, NOT_IN_FORCE, *["proposed"] * 3, NOT_IN_FORCE, NOT_IN_FORCE, TOLD, NO_DECISION, NO_DECISION
    ),
}
REFUSALS = {
    *("request-unknown", UNKNOWN, FINISHED, FAILED, DECIDED, WAITING, NO_DECISION, NOTHING, UNAPPROVED, TOLD),
    *(WITHDRAWN, NOT_WAITING, NOT_IN_FORCE),
    "invalid",  # no Refused but InvalidEvent: there is nothing whose place could be taken
}


def test_the_table_is_complete() -> None:
    """Every command has its row, every state its column; every state that people see, and every outcome, is there."""
    assert TABLE.keys() == COMMANDS.keys()
    columns = states().keys()
    assert all(found.keys() == columns for found in TABLE.values())
    reached = {cell for found in TABLE.values() for cell in found.values()} - REFUSALS
    assert reached == columns - {"nothing"} | {"waiting"}
    assert set(RecommendationState) == (columns & set(RecommendationState)) | {"superseded"}
    assert {*AFTER.values(), "proposed", "waiting", "communicated"} <= columns
    assert {f"{outcome}{how}" for outcome in MEMBERS for how in ("", ", second")} <= COMMANDS.keys()
    assert APPLY.keys() <= CATALOGUE.keys()


@pytest.mark.parametrize("state", states())
def test_states_are_what_they_are_called(state: str) -> None:
    """The streams that the table is tested with are in the states of its columns."""
    assert standing(states()[state].case) == state


@pytest.mark.parametrize("state", states())
@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_in_each_state(command: str, state: str) -> None:
    """It leads to the next state of the table, or is refused with the code there; then nothing is to be recorded."""
    found, expected = states()[state], TABLE[command][state]
    before = list(found.pasts)
    if expected not in REFUSALS:
        COMMANDS[command](found)
        assert standing(found.case) == expected
        assert found.pasts[:-1] == before
        return
    with pytest.raises((Refused, InvalidEvent)) as caught:
        COMMANDS[command](found)
    assert getattr(caught.value, "code", "invalid") == expected
    assert isinstance(caught.value, NotFound) == expected.endswith("-unknown")
    assert found.pasts == before


@pytest.mark.parametrize("outcome", ["approve", "edit", "reject"])
@pytest.mark.parametrize("confirmation", ["approve of it", "decline"])
def test_a_confirmed_decision_is_what_it_would_have_been(outcome: str, confirmation: str) -> None:
    """Approved, each decision takes the effect that it has alone; declined, the recommendation is proposed again."""
    found = story("ask", "answer", f"{outcome}, second", confirmation)
    alone = story("ask", "answer", outcome)
    expected = "proposed" if confirmation == "decline" else standing(alone.case)
    assert standing(found.case) == expected
    assert found.case.recommendation is not None
    assert (found.case.recommendation.decision is None) == (expected == "proposed")


def on_the_old(case: Case, old: Recommendation, command: str, decision: Decide | None) -> None:
    """A command about a recommendation that is not the current one any more."""
    if decision is not None:
        people.decide(case, old.id, decision, EDITED, ALONE, REASONS)
    elif command == "open":
        people.open_(case, old.id, Open(digest=old.digest))
    elif command == "communicate":
        people.communicate(case, old.id, Communicate(digest=old.digest, channel="phone"))
    else:
        assert old.decision is not None
        by = Confirmer("bob", "advisor")
        people.confirm(case, old.decision.id, Confirm(digest=old.digest, outcome="approve"), by, ALONE)


@pytest.mark.parametrize("command", ["open", "approve", "edit", "reject", "respond", "approve of it", "communicate"])
@pytest.mark.parametrize("after", ["rejected", "returned", "communicated"])
def test_what_was_superseded_takes_nothing(command: str, after: str) -> None:
    """Each command on a superseded recommendation is refused by name, with the current id and digest."""
    found = states()[after]
    old = found.case.recommendation
    assert old is not None
    new = found.answer()
    stale = replace(found.case, recommendation=old, superseded=frozenset())
    case = found.case
    assert case.superseded == {old.id}
    with pytest.raises(Refused) as caught:
        on_the_old(case, old, command, decision_of(stale, command) if command in MEMBERS else None)
    assert caught.value.code == "recommendation-superseded"
    assert caught.value.facts == {
        "current_recommendation_id": new.position,
        "current_digest": new.commitment("recommendation"),
        "state": "proposed",
    }


@pytest.mark.parametrize(
    "kind", sorted(CATALOGUE.keys() - {"portfolio.requested", "recommendation.recorded", "model-call.started"})
)
def test_events_that_fit_nowhere_only_count(kind: str) -> None:
    """Before a request, and after a failed request without a recommendation, these types change nothing."""
    nothing: dict[str, Any] = {"recommendation_id": NOBODY, "decision_id": NOBODY, "outcome": "approve"}
    nothing |= {"needs_second": False, "second_rules": []}
    event = CATALOGUE[kind].model_construct(None, **nothing)
    found = story("ask", "fail")
    before = found.case
    found.add(event)
    assert replace(found.case, version=before.version) == before
    assert found.case.version == before.version + 1
    alone = Story()
    alone.add(event)
    assert alone.case == Case(version=1)


@pytest.mark.parametrize("state", ["proposed", "waiting", "approved", "edited"])
def test_acts_on_another_recommendation_than_the_current_change_nothing(state: str) -> None:
    """A decision, confirmation or communication whose ids are not the current ones is passed over by the fold."""
    found = states()[state]
    before = found.case
    other: dict[str, Any] = {"recommendation_id": NOBODY, "digest": ELSEWHERE}
    rules: dict[str, Any] = {"second_rules": [], "four_eyes_version": "1"}
    found.add(RecommendationDecided(**other, outcome="approve", needs_second=False, **rules))
    found.add(RecommendationConfirmed(**other, decision_id=NOBODY, outcome="approve"))
    found.add(RecommendationCommunicated(**other, channel="phone"))
    assert replace(found.case, version=before.version) == before


def test_a_second_request_in_the_stream_changes_nothing() -> None:
    """A request is asked once: another portfolio.requested in its stream does not begin it anew."""
    found = story("ask", "answer", "approve")
    before = found.case
    found.ask("5.00")
    assert replace(found.case, version=before.version) == before


def test_a_replay_is_recorded_and_changes_nothing() -> None:
    """A recorded replay changes no state."""
    found = story("ask", "answer")
    before = found.case
    replayed = RecommendationReplayed(recommendation_id=current(before)[0], agent_version="1", outcome="identical")
    found.add(replayed)
    assert replace(found.case, version=before.version) == before


def test_a_call_ends_once() -> None:
    """If completed and failed both name the start as their cause, the first one counts."""
    for first, second in (
        (ModelCallCompleted(), ModelCallFailed(error_type="x")),
        (ModelCallFailed(error_type="x"),) * 2,
    ):
        found = story("ask")
        started = found.call()
        other = found.call()
        ended = found.add(first, "robot", started)
        found.add(second, "robot", started)
        assert found.case.calls[started.position].ended == ended
        assert found.case.calls[started.position].completed == isinstance(first, ModelCallCompleted)
        assert found.case.calls[other.position].ended is None


def test_streams_are_named_by_number() -> None:
    """Request 7 is the stream request-7."""
    assert stream_of(7) == "request-7"
