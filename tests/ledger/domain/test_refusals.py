"""Each refusal by its name, with what it says of how things stand now."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from api.http.problem_types import PROBLEMS
from ledger.domain import agent as agents
from ledger.domain import decisions as people
from ledger.domain import request
from ledger.domain.agent import Agent
from ledger.domain.decisions import Confirmer, Edited
from ledger.domain.four_eyes import FourEyes
from ledger.domain.reasons import ReasonCodes
from ledger.errors import InvalidEvent, NotFound, Refused
from schema.events import (
    AgentRegistered,
    AgentResumed,
    AgentSuspended,
    Communicate,
    Confirm,
    Decide,
    ModelCallCompleted,
    ModelCallFailed,
    Open,
    RecommendationConfirmed,
    RecommendationDecided,
    RecommendationRecorded,
)
from tests.ledger.domain.stories import ANSWER, ELSEWHERE, REPLACEMENT, Story, four_eyes, past_of

FOUR_EYES = FourEyes.load()
REASONS = ReasonCodes.load()
SUSPENDED = Agent(suspended=True, version=1)


def proposed() -> Story:
    """A recommendation that waits for a decision."""
    story = Story()
    story.ask()
    story.answer()
    return story


def code(caught: pytest.ExceptionInfo[Refused]) -> str:
    """The code of a refusal, which HTTP has a problem for."""
    assert caught.value.code in PROBLEMS
    return caught.value.code


def answered(story: Story, agent: Agent = Agent(), by: str = "robot", **how: Any) -> RecommendationRecorded:  # noqa: B008
    """Return the event that is recorded for an answer."""
    said = RecommendationRecorded.model_validate({"recommendation": ANSWER, "model_name": "m", **how})
    return request.answer(story.case, agent, said, by)


def decided(story: Story, schema: str = "any/v1", **how: Any) -> RecommendationDecided:
    """Return the event of an approval, or of the decision in `how`; the agent's answers follow this schema."""
    current = story.case.recommendation
    assert current is not None
    command = Decide.model_validate({"digest": current.digest, "outcome": "approve", **how})
    return people.decide(story.case, current.id, command, Edited(ANSWER, schema), FOUR_EYES, REASONS)


def confirmed(
    story: Story,
    by: str = "bob",
    role: str = "advisor",
    *,
    decision_id: int | None = None,
    policy: FourEyes = FOUR_EYES,
    **how: Any,
) -> RecommendationConfirmed:
    """The event of a confirmation of the current decision, or of the one with `decision_id`."""
    current = story.case.recommendation
    assert current is not None
    assert current.decision is not None
    why = {"rationale": "why"} if how.get("outcome") == "decline" else {}
    command = Confirm.model_validate({"digest": current.decision.digest, "outcome": "approve", **why, **how})
    return people.confirm(story.case, decision_id or current.decision.id, command, Confirmer(by, role), policy)


# Agents


def test_a_suspended_agent_gets_nothing_recorded() -> None:
    """Starting a call, answering and failing are refused as agent-suspended, whatever the state of a known request."""
    stories = [Story(), Story(), proposed()]
    stories[0].ask()
    stories[1].ask()
    stories[1].completed()
    for story in stories:
        for command in (request.check_start, request.check_failure):
            with pytest.raises(Refused) as caught:
                command(story.case, SUSPENDED)
            assert code(caught) == "agent-suspended"
        with pytest.raises(Refused) as caught:
            answered(story, SUSPENDED)
        assert code(caught) == "agent-suspended"
    with pytest.raises(NotFound) as caught:
        answered(Story(), SUSPENDED)
    assert code(caught) == "request-unknown"


def test_an_agent_is_what_its_stream_says() -> None:
    """The last registration, whether the last stop was undone, and the version; other types only count."""
    events = [
        AgentRegistered(answer_schema="allocations/v1"),
        AgentSuspended(reason="why"),
        AgentRegistered(answer_schema="any/v1"),
        AgentResumed(reason="why"),
        ModelCallCompleted(),
        AgentSuspended(reason="again"),
    ]
    history = [past_of(event, 50 + number, number, "ann") for number, event in enumerate(events, 1)]
    expected = [
        Agent(),
        Agent(False, "allocations/v1", 1),
        Agent(True, "allocations/v1", 2),
        Agent(True, "any/v1", 3),
        Agent(False, "any/v1", 4),
        Agent(False, "any/v1", 5),
        Agent(True, "any/v1", 6),
    ]
    assert [agents.fold(history[:count]) for count in range(7)] == expected
    assert agents.stream_of("x@y") == "agent-x@y"


def test_only_known_schemas_are_registered() -> None:
    """A schema that nobody can check is refused by the field's name."""
    agents.check_register(AgentRegistered(answer_schema="allocations/v1"))
    with pytest.raises(InvalidEvent, match=r"answer_schema.*allocations/v1, any/v1"):
        agents.check_register(AgentRegistered(answer_schema="allocations/v2"))


# Model calls


def test_a_call_ends_once_and_by_who_made_it() -> None:
    """Unknown, another's and ended calls are refused, each by its name; whose request it is does not matter then."""
    story = Story()
    story.ask()
    first, second = story.call(), story.call("robot-2")
    assert request.check_end(story.case, first.position, "robot").event == first
    for unknown in (first.version, 999):
        with pytest.raises(Refused) as caught:
            request.check_end(story.case, unknown, "robot")
        assert code(caught) == "model-call-unknown"
        assert isinstance(caught.value, NotFound)
    with pytest.raises(Refused) as caught:
        request.check_end(story.case, second.position, "robot")
    assert code(caught) == "model-call-of-another"
    for event in (ModelCallCompleted(), ModelCallFailed(error_type="timeout")):
        ended = Story(list(story.pasts))
        ended.add(event, "robot", first)
        with pytest.raises(Refused) as caught:
            request.check_end(ended.case, first.position, "robot")
        assert code(caught) == "model-call-ended"


def test_an_answer_names_a_completed_call_of_its_own() -> None:
    """An open, failed, unknown or another agent's call cannot be where an answer came from."""
    story = Story()
    story.ask()
    done = story.completed()
    opened, others = story.call(), story.completed("robot-2")
    failed = story.call()
    story.add(ModelCallFailed(error_type="timeout"), "robot", failed)
    assert answered(story, model_call_id=done.position).model_call_id == done.position
    for wrong in (opened.position, others.position, failed.position, done.position + 1, 1):
        with pytest.raises(InvalidEvent) as caught:
            answered(story, model_call_id=wrong)
        assert caught.value.field == "model_call_id"


# Answers


def test_an_answer_says_whose_place_it_takes() -> None:
    """Nothing is superseded where there is nothing; afterwards only the current one, which the refusal names."""
    story = Story()
    story.ask()
    with pytest.raises(InvalidEvent, match="no recommendation yet"):
        answered(story, supersedes=1)
    story.answer()
    story.decide("reject")
    current = story.case.recommendation
    assert current is not None
    assert answered(story, supersedes=current.id).supersedes == current.id
    with pytest.raises(Refused) as caught:
        answered(story, supersedes=current.id - 1)
    assert code(caught) == "recommendation-superseded"
    assert caught.value.facts == {"current_recommendation_id": current.id, "current_digest": current.digest}


def test_an_answer_is_as_its_agent_was_registered() -> None:
    """Where the agent's schema says so, weights that do not sum to 1 are refused, naming the field."""
    story = Story()
    story.ask("100.00")
    strict = Agent(registered="allocations/v1")
    right = [{"weight": "0.4", "amount_usd": "40.00"}, {"weight": "0.6", "amount_usd": "60"}]
    wrong = [{"weight": "0.4", "amount_usd": "40.00"}, {"weight": "0.5", "amount_usd": "60"}]
    answered(story, strict, recommendation={"allocations": right})
    answered(story, Agent(), recommendation={"allocations": wrong})
    with pytest.raises(Refused, match=r"sum to 0\.9") as caught:
        answered(story, strict, recommendation={"allocations": wrong})
    assert code(caught) == "answer-off-schema"
    assert caught.value.facts["field"] == "recommendation.allocations"


# Decisions

MEMBERS: dict[str, Any] = {
    "reason_code": "house-view",
    "rationale": "why",
    "replacement": REPLACEMENT,
    "response": "look again",
}
TAKES = {
    "approve": (set(), {"rationale"}),
    "edit": ({"replacement", "reason_code", "rationale"}, set()),
    "reject": ({"reason_code", "rationale"}, set()),
    "respond": ({"response"}, {"reason_code", "rationale"}),
}


@pytest.mark.parametrize("outcome", TAKES)
def test_an_outcome_takes_its_members_and_no_others(outcome: str) -> None:
    """Every subset of the members: what is needed must be there, what does not go with it must not, by name."""
    needed, allowed = TAKES[outcome]
    names = list(MEMBERS)
    for bits in range(2 ** len(names)):
        given = {name: MEMBERS[name] for at, name in enumerate(names) if bits >> at & 1}
        wrong = (needed - given.keys()) | (given.keys() - needed - allowed)
        if not wrong:
            event = decided(proposed(), outcome=outcome, **given)
            assert {name: getattr(event, name) for name in given} == given
            continue
        with pytest.raises(InvalidEvent) as caught:
            decided(proposed(), outcome=outcome, **given)
        assert caught.value.field in wrong


def test_a_reason_is_one_of_the_list() -> None:
    """A code that is unknown, or not for this outcome, is refused with those that are; a good one brings its group."""
    event = decided(proposed(), outcome="reject", reason_code="client-withdrew", rationale="gone")
    assert (event.reason_group, event.reason_codes_version) == ("no-longer-needed", REASONS.version)
    for outcome, reason in (("edit", "client-withdrew"), ("reject", "nonsense")):
        replacement = REPLACEMENT if outcome == "edit" else None
        with pytest.raises(InvalidEvent, match="house-view") as caught:
            decided(proposed(), outcome=outcome, reason_code=reason, rationale="x", replacement=replacement)
        assert caught.value.field == "reason_code"
    plain = decided(proposed())
    assert (plain.reason_group, plain.reason_codes_version) == (None, None)


def test_a_decision_names_what_it_is_about() -> None:
    """Another digest is refused, with the current id and digest; an unknown id as unknown."""
    story = proposed()
    current = story.case.recommendation
    assert current is not None
    with pytest.raises(Refused) as caught:
        decided(story, digest=ELSEWHERE)
    assert code(caught) == "digest-mismatch"
    assert caught.value.facts == {"current_recommendation_id": current.id, "current_digest": current.digest}
    with pytest.raises(Refused) as caught:
        people.open_(story.case, current.id, Open(digest=ELSEWHERE))
    assert code(caught) == "digest-mismatch"
    with pytest.raises(NotFound) as caught:
        people.open_(story.case, current.id + 1, Open(digest=current.digest))
    assert code(caught) == "recommendation-unknown"


def test_after_an_edit_the_digest_is_of_the_replacement() -> None:
    """The current content, which may be opened and communicated, is the edit, never what it replaced."""
    story = proposed()
    before = story.case.recommendation
    story.decide("edit")
    current = story.case.recommendation
    assert before is not None
    assert current is not None
    assert (
        current.current_digest == story.pasts[-1].commitment("replacement") != before.current_digest == current.digest
    )
    people.open_(story.case, current.id, Open(digest=current.current_digest))
    told = Communicate(digest=before.digest, channel="phone")
    for refused in (
        lambda: people.communicate(story.case, current.id, told),
        lambda: people.open_(story.case, current.id, Open(digest=before.digest)),
    ):
        with pytest.raises(Refused) as caught:
            refused()
        assert code(caught) == "digest-mismatch"
        assert caught.value.facts["current_digest"] == current.current_digest


def test_an_edit_is_as_the_agents_answers_have_to_be() -> None:
    """A replacement that the agent could not have answered is refused, naming its field; other outcomes have none."""
    edit: dict[str, Any] = {"outcome": "edit", "reason_code": "house-view", "rationale": "why"}
    for weight, amount in (("0.9", "1000.00"), ("1", "999.99")):
        replacement: dict[str, Any] = {"allocations": [{"weight": weight, "amount_usd": amount}]}
        assert decided(proposed(), **edit, replacement=replacement).replacement == replacement
        with pytest.raises(Refused) as caught:
            decided(proposed(), "allocations/v1", **edit, replacement=replacement)
        assert code(caught) == "answer-off-schema"
        assert caught.value.facts["field"] == "replacement.allocations"
    good: dict[str, Any] = {"allocations": [{"weight": "1", "amount_usd": "1000.00"}]}
    assert decided(proposed(), "allocations/v1", **edit, replacement=good).replacement == good
    assert decided(proposed(), "allocations/v1").outcome == "approve"


# Confirmations


@pytest.mark.parametrize("outcome", ["approve", "edit", "reject"])
@pytest.mark.parametrize("said", ["approve", "decline"])
def test_the_confirmer_is_another_person(outcome: str, said: str) -> None:
    """Who decided can neither confirm nor decline; somebody else in a role of the policy can."""
    story = proposed()
    story.decide(outcome, by="ann", second=True)
    for role in ("advisor", "compliance"):
        assert confirmed(story, "bob", role, outcome=said).outcome == said
        with pytest.raises(Refused) as caught:
            confirmed(story, "ann", role, outcome=said)
        assert code(caught) == "same-person"


def test_the_confirmer_has_a_role_of_the_policy() -> None:
    """Another role than the policy's is refused, naming those it wants."""
    story = proposed()
    story.decide("approve", second=True)
    strict = four_eyes(second_roles=["compliance"])
    confirmed(story, role="compliance", policy=strict)
    with pytest.raises(Refused, match="compliance") as caught:
        confirmed(story, role="advisor", policy=strict)
    assert code(caught) == "wrong-role"


def test_a_confirmation_is_of_the_decision_that_waits() -> None:
    """An unknown decision, or the digest of the original where an edit waits, is refused by its name."""
    story = proposed()
    edit = story.decide("edit", second=True)
    current = story.case.recommendation
    assert current is not None
    for wrong in (current.id, edit.position + 1):
        with pytest.raises(NotFound) as unknown:
            confirmed(story, decision_id=wrong)
        assert code(unknown) == "decision-unknown"
    with pytest.raises(Refused) as caught:
        confirmed(story, digest=current.digest)
    assert code(caught) == "digest-mismatch"
    assert caught.value.facts["current_digest"] == edit.commitment("replacement")


def test_a_declined_decision_is_over() -> None:
    """It cannot be confirmed afterwards, and the recommendation can be decided on anew, by anybody."""
    story = proposed()
    first = story.decide("edit", by="ann", second=True)
    story.confirm("decline", by="bob")
    second = story.decide("edit", by="bob", second=True)
    with pytest.raises(Refused) as caught:
        confirmed(story, "ann", decision_id=first.position)
    assert code(caught) == "nothing-to-confirm"
    assert caught.value.facts["state"] == "waiting"
    assert confirmed(story, "ann").decision_id == second.position


def test_large_amounts_wait_under_the_packaged_policy() -> None:
    """From a million on, approving and editing wait for a confirmation; rejecting and responding do not."""
    for amount, second in (("999999.99", False), ("1000000.00", True)):
        story = Story()
        story.ask(amount)
        story.answer()
        assert story.case.amount_usd == Decimal(amount)
        assert decided(story).needs_second is second
        assert decided(story, outcome="respond", response="look again").needs_second is False
        rejected = decided(story, outcome="reject", reason_code="house-view", rationale="why")
        assert rejected.needs_second is False
