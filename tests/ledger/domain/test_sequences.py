"""Any sequence of commands by anybody keeps what the machine promises; those that are refused change nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.domain import decisions as people
from ledger.domain import mistakes, request
from ledger.domain.agent import Agent
from ledger.domain.case import Case, Recommendation
from ledger.domain.decisions import Confirmer, Edited
from ledger.domain.history import RecordedEvent
from ledger.domain.reasons import ReasonCodes
from ledger.errors import InvalidEvent, Refused
from schema.events import (
    Communicate,
    Confirm,
    Decide,
    ModelCallCompleted,
    ModelCallFailed,
    ModelCallStarted,
    Open,
    RecommendationRecorded,
    RequestFailed,
    RevokeDecision,
    WithdrawDecision,
    WithdrawRequest,
)
from tests.ledger.domain.stories import ANSWER, ELSEWHERE, REPLACEMENT, Story, four_eyes

REASONS = ReasonCodes.load()
# Which decisions wait depends on the reason, so that both kinds come up.
RULE = {"name": "sensitive", "outcomes": ["edit", "reject"], "reason_codes": ["other"]}
FOUR_EYES = four_eyes(rules=[RULE], confirm_within_hours=1)
HOUR_S = 3600.0
EDITED = Edited(ANSWER, "any/v1")
FINAL = {"communicated", "superseded", "withdrawn"}


class Teller:
    """Draws a command, mostly about what is there, and carries it out on the story."""

    def __init__(self, draw: Callable[[st.SearchStrategy[Any]], Any]) -> None:
        self.draw = draw
        self.story = Story()
        self.story.ask()

    def one_of(self, *values: Any) -> Any:
        return self.draw(st.sampled_from(values))

    def recommendation(self) -> int:
        """The current one's id, at times another."""
        case = self.story.case
        now = [] if case.recommendation is None else [case.recommendation.id] * 6
        return int(self.one_of(*now, *sorted(case.superseded), 999))

    def digest(self) -> str:
        """Draw the digest of the answer, of the current content or of the waiting one; seldom an unknown one."""
        current = self.story.case.recommendation
        if current is None:
            return ELSEWHERE
        waiting = [current.decision.digest] * 4 if current.decision else []
        return str(self.one_of(*[current.digest] * 4, *[current.current_digest] * 4, *waiting, ELSEWHERE))

    def tell(self) -> None:
        """One command. Raises Refused or InvalidEvent, having recorded nothing."""
        by = self.one_of("ann", "bob")
        robot = self.one_of("robot", "robot-2")
        agent = Agent(suspended=self.draw(st.integers(0, 9)) == 0)
        # Failing ends it all, so it comes up seldom.
        often = ["answer", "answer", "call", "end", "open_", *["decide", "confirm", "say"] * 3]
        back = ["withdraw", "revoke", "expire"]
        getattr(self, self.one_of(*often, *often, *back, "fail", "withdraw_request"))(by, robot, agent)

    def answer(self, _by: str, robot: str, agent: Agent) -> None:
        current = self.story.case.recommendation
        said = RecommendationRecorded(
            recommendation=ANSWER,
            model_name="m",
            supersedes=self.one_of(None, None if current is None else current.id, 999),
            model_call_id=self.one_of(None, *self.story.case.calls),
        )
        self.story.add(request.answer(self.story.case, agent, said, robot), robot)

    def call(self, _by: str, robot: str, agent: Agent) -> None:
        request.check_start(self.story.case, agent)
        self.story.add(ModelCallStarted(provider_name="p", request_model="m"), robot)

    def end(self, _by: str, robot: str, _agent: Agent) -> None:
        call = request.check_end(self.story.case, self.one_of(999, *self.story.case.calls), robot)
        self.story.add(self.one_of(ModelCallCompleted(), ModelCallFailed(error_type="x")), robot, call.event)

    def fail(self, _by: str, robot: str, agent: Agent) -> None:
        request.check_failure(self.story.case, agent)
        self.story.add(RequestFailed(reason="no-answer"), robot)

    def open_(self, by: str, _robot: str, _agent: Agent) -> None:
        self.story.add(people.open_(self.story.case, self.recommendation(), Open(digest=self.digest())), by)

    def decide(self, by: str, _robot: str, _agent: Agent) -> None:
        outcome = self.one_of("approve", "edit", "reject", "respond")
        given_: dict[str, Any] = {
            "approve": {},
            "edit": {"replacement": REPLACEMENT, "rationale": "why", "reason_code": self.one_of("other", "house-view")},
            "reject": {"rationale": "why", "reason_code": self.one_of("other", "house-view")},
            "respond": {"response": "look again"},
        }[outcome]
        command = Decide.model_validate({"digest": self.digest(), "outcome": outcome, **given_})
        case = self.story.case
        self.story.add(people.decide(case, self.recommendation(), command, EDITED, FOUR_EYES, REASONS), by)

    def confirm(self, by: str, _robot: str, _agent: Agent) -> None:
        current = self.story.case.recommendation
        waiting = current.decision.id if current and current.decision else 999
        case = self.story.case
        decision_id = self.one_of(waiting, waiting, *case.decisions, 999)
        command = Confirm(
            digest=self.digest(),
            outcome=self.one_of("approve", "approve", "decline"),
            rationale=self.one_of("why", "why", None),
        )
        age_s = self.one_of(0.0, 0.0, HOUR_S - 0.1, HOUR_S)
        event = people.confirm(case, decision_id, command, Confirmer(by, "advisor"), FOUR_EYES, age_s)
        assert age_s < HOUR_S
        self.story.add(event, by)

    def decision(self) -> int:
        """The current decision's id, at times another."""
        current = self.story.case.recommendation
        now = [current.decision.id] * 6 if current and current.decision else []
        return int(self.one_of(*now, *self.story.case.decisions, 999))

    def withdraw(self, by: str, _robot: str, _agent: Agent) -> None:
        command = WithdrawDecision(reason_code="data-entry-error")
        self.story.add(mistakes.withdraw_decision(self.story.case, self.decision(), command, by), by)

    def revoke(self, by: str, _robot: str, _agent: Agent) -> None:
        command = RevokeDecision(reason_code="client-changed-mind", rationale="called")
        self.story.add(mistakes.revoke(self.story.case, self.decision(), command), by)

    def expire(self, _by: str, _robot: str, _agent: Agent) -> None:
        age_s = self.one_of(HOUR_S - 0.1, HOUR_S)
        event = mistakes.expire(self.story.case, self.decision(), age_s)
        if event is None:
            raise Refused("nothing-to-expire", "it does not wait, or not for long enough")
        assert age_s >= HOUR_S
        self.story.add(event, "clock")

    def withdraw_request(self, by: str, _robot: str, _agent: Agent) -> None:
        command = WithdrawRequest(reason_code="duplicate")
        self.story.add(mistakes.withdraw_request(self.story.case, command, None), by)

    def say(self, by: str, _robot: str, _agent: Agent) -> None:
        command = Communicate(digest=self.digest(), channel="letter")
        self.story.add(people.communicate(self.story.case, self.recommendation(), command), by)


def check_step(before: Case, after: Case, new: RecordedEvent) -> None:
    """Check what holds for each recorded event."""
    assert after.version == before.version + 1
    assert before.superseded <= after.superseded
    assert before.state not in {"failed", "withdrawn"} or after.state == before.state
    old, now = before.recommendation, after.recommendation
    if old is not None:
        assert now is not None
        if old.id != now.id:
            assert after.superseded - before.superseded == {old.id}
            assert new.data["supersedes"] == old.id
            assert old.state in {"rejected", "returned", "communicated"}
        elif old.state in FINAL:
            assert now == old
        elif old.state == "rejected":
            assert now == old or new.type in {"decision.revoked", "request.withdrawn"}
        if now.state == "proposed" and old.id == now.id and old.state != "proposed":
            taken_back = {"recommendation.confirmed", "decision.withdrawn", "decision.revoked", "decision.expired"}
            assert new.type in taken_back
            assert old.decision is not None
            assert now.decision is None
            assert new.data["decision_id"] == old.decision.id
            assert new.type != "decision.withdrawn" or new.by == old.decision.by
    assert now is None or now.id not in after.superseded


def check_digest(current: Recommendation, past: list[RecordedEvent]) -> None:
    """The current content is the approved one; the client was told it; another person confirmed it if needed."""
    about = [one for one in past if one.data.get("recommendation_id") == current.id]
    decided = {one.position: one for one in about if one.type == "recommendation.decided"}
    confirmed = [one for one in about if one.type == "recommendation.confirmed"]
    assert all(one.by != decided[one.data["decision_id"]].by for one in confirmed)
    if current.state == "withdrawn":
        assert not any(one.type == "recommendation.communicated" for one in about)
        return
    if current.state not in {"approved", "edited", "communicated"}:
        assert current.current_digest == current.digest
        return
    assert current.decision is not None
    last = decided[current.decision.id]
    assert current.current_digest == (
        last.commitment("replacement") if last.data["outcome"] == "edit" else last.data["digest"]
    )
    assert last.data["digest"] == current.digest
    confirmations = [one for one in confirmed if one.data["decision_id"] == last.position]
    if last.data["needs_second"]:
        assert [(one.data["outcome"], one.data["digest"]) for one in confirmations] == [
            ("approve", current.current_digest)
        ]
    else:
        assert confirmations == []
    told = [one.data["digest"] for one in about if one.type == "recommendation.communicated"]
    assert told == ([current.current_digest] if current.state == "communicated" else [])


@settings(max_examples=150)
@given(st.data())
def test_any_sequence_keeps_the_promises(data: st.DataObject) -> None:
    """At most one recommendation is current; final ones stay; superseded ones only grow; what stands was approved."""
    teller = Teller(data.draw)
    story = teller.story
    for _ in range(data.draw(st.integers(1, 25))):
        before, length = story.case, len(story.pasts)
        try:
            teller.tell()
        except (Refused, InvalidEvent):
            assert len(story.pasts) == length
            continue
        after = story.case
        check_step(before, after, story.pasts[-1])
        if after.recommendation is not None:
            check_digest(after.recommendation, story.pasts)
    recorded = [past.position for past in story.pasts if past.type == "recommendation.recorded"]
    case = story.case
    assert recorded == sorted(case.superseded) + ([case.recommendation.id] if case.recommendation else [])
