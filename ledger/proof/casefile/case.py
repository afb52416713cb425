"""Compose one case for people: what was asked, recommended beside decided, what people did, and every step.

Nothing is cut. A content that stands above is not written again, and a long text stands in the annex. A value that is
not shown says why.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ledger.proof.casefile.changes import few_lines
from ledger.proof.casefile.document import Block, Blocks, Facts, Heading, Paragraph, Table, Verbatim
from ledger.proof.casefile.moments import LocalTime
from ledger.proof.casefile.steps import Step
from ledger.proof.casefile.words import act, text, who
from ledger.proof.format.canonical import quick

REQUESTED, RECOMMENDED = "portfolio.requested", "recommendation.recorded"
DECIDED, COMMUNICATED = "recommendation.decided", "recommendation.communicated"
WITHDRAWN = "request.withdrawn"
TAKEN_BACK = frozenset(("decision.withdrawn", "decision.revoked", "decision.expired"))
WHY = {
    "withheld": "(withheld: the maker of this file has it and left it out)",
    "erased": "(erased: the ledger no longer has it, as the maker of this file says)",
}
STEPS = ("Position", "Time", "Who", "What")
# Longer texts of steps are in the annex.
LONG_CHARS = 3_000


@dataclass
class Annex:
    """The parts after the cases: long texts, such as what a model was sent."""

    blocks: list[Block] = field(default_factory=list)

    def take(self, step: Step, name: str, value: str) -> str:
        """Keep a text of an event, and return the words that refer to it."""
        place = f"Event {step.position}: {name}"
        self.blocks += [Heading(3, place), Verbatim(value)]
        return f"(in the annex, under “{place}”: {len(value)} characters)"


class Above:
    """The contents that a case showed before its steps, each with its heading."""

    def __init__(self) -> None:
        self._places: dict[bytes, str] = {}

    def add(self, value: Any, place: str) -> None:
        """Remember a content. A simple value is short enough to be written again, one nested too deep has no bytes."""
        if isinstance(value, dict | list) and (known := quick(value)):
            self._places.setdefault(known, place)

    def find(self, value: Any) -> str | None:
        """Return the heading under which exactly this content is shown."""
        return self._places.get(quick(value)) if self._places and isinstance(value, dict | list) else None


def anchor_of(number: int) -> str:
    """Return the target of links to a case."""
    return f"case-{number}"


def case_row(number: int, steps: Sequence[Step], clock: LocalTime) -> tuple[str, ...]:
    """Return the row of a case in the summary: SUMMARY names its cells."""
    asked = next((step for step in steps if step.type == REQUESTED), None)
    decided = [step for step in steps if step.type == DECIDED]
    told = [step for step in steps if step.type == COMMUNICATED]
    return (
        f"Case {number}",
        "-" if asked is None else _member(asked, "client_id"),
        "-" if asked is None else f"{_member(asked, 'amount_usd')} USD, {_member(asked, 'risk_profile')}",
        "-" if asked is None else clock.text(asked.at_us),
        _last_decision(decided, steps),
        clock.text(told[-1].at_us) if told else "not told",
    )


SUMMARY = ("Case", "Client", "Asked", "When", "Last decision", "Client told")


def case_blocks(number: int, steps: Sequence[Step], clock: LocalTime, annex: Annex) -> Blocks:
    """Yield the parts of a case, which begins on a page of its own."""
    above = Above()
    yield Heading(2, f"Case {number}", anchor_of(number), new_page=True)
    asked = next((step for step in steps if step.type == REQUESTED), None)
    if asked is not None:
        yield Heading(3, "Asked")
        yield Facts((("by", who(asked.actor)), ("at", clock.text(asked.at_us)), *_members(asked)))
    for recommendation in steps:
        if recommendation.type == RECOMMENDED:
            yield from _recommendation(recommendation, steps, clock, above)
    yield Heading(3, f"All steps of case {number}")
    yield steps_table(steps, clock, annex, above)


def steps_table(steps: Iterable[Step], clock: LocalTime, annex: Annex, above: Above | None = None) -> Table:
    """Return a table with each step and all its members."""
    return Table(STEPS, tuple(_row(step, clock, annex, above or Above()) for step in steps))


def _row(step: Step, clock: LocalTime, annex: Annex, above: Above) -> tuple[str, ...]:
    signed = "\nsigned by the actor" if step.signed else ""
    members = ""
    for name, value in {**step.data, **step.values}.items():
        place = above.find(value)
        told = text(value) if place is None else f"(the same as above, under “{place}”)"
        members += f"\n{_named(name, told if len(told) <= LONG_CHARS else annex.take(step, name, told))}"
    members += "".join(f"\n{_named(name, WHY[why])}" for name, why in step.missing.items())
    what = f"{act(step)}\n{step.type} in {step.stream}{members}\nhash {step.hash}"
    place = f"{step.position}\nin the window" if step.marked else str(step.position)
    return place, times_of(step, clock), who(step.actor) + signed, what


def times_of(step: Step, clock: LocalTime) -> str:
    """Return when a step took place; for an imported event, also when it was recorded."""
    at = clock.text(step.at_us)
    return at if "imported" not in step.actor else f"{at}\nrecorded here:\n{clock.text(step.recorded_us)}"


def _recommendation(recommendation: Step, steps: Sequence[Step], clock: LocalTime, above: Above) -> Blocks:
    place = f"Recommendation {recommendation.position}"
    above.add(recommendation.values.get("recommendation"), place)
    acts = [step for step in steps if step.about(recommendation)]
    yield Heading(3, place)
    yield Facts(
        (
            ("by", who(recommendation.actor)),
            ("at", clock.text(recommendation.at_us)),
            ("model", " ".join(_member(recommendation, name) for name in ("model_name", "model_version"))),
        )
    )
    decisions = [step for step in acts if step.type == DECIDED]
    edits = [step for step in decisions if step.data.get("outcome") == "edit"]
    for edit in edits:
        above.add(edit.values.get("replacement"), place)
        yield from _beside(recommendation, edit, in_force=_in_force(edit, steps))
    if not edits:
        yield from _alone(recommendation, [each for each in decisions if _in_force(each, steps)])
    if acts:
        rows = tuple((clock.text(step.at_us), who(step.actor), _act_words(step)) for step in acts)
        yield Table(("Time", "Who", "What people did with it"), rows)
    else:
        yield Paragraph("Nobody did anything with this recommendation, by these events.")


def _beside(recommendation: Step, edit: Step, *, in_force: bool) -> Blocks:
    """Yield what was recommended beside what was decided, line by line. `in_force`: nobody took it back or declined."""
    heading = f"Recommended beside decided (decision {edit.position}{'' if in_force else ', not in force'})"
    recommended, decided = recommendation.values.get("recommendation"), edit.values.get("replacement")
    compared = None if recommended is None or decided is None else few_lines(recommended, decided)
    if compared is None:
        yield Facts(
            (
                ("recommended", _member(recommendation, "recommendation")),
                (f"decided ({edit.position})", _member(edit, "replacement")),
            )
        )
        return
    rows = tuple(
        (line.path, text(line.before), text(line.after), "changed" if line.changed else "") for line in compared
    )
    yield Table((heading, "Recommended", "Decided", "Difference"), rows)


def _alone(recommendation: Step, decisions: Sequence[Step]) -> Blocks:
    """Yield the recommendation alone, because nobody replaced its content."""
    head = "Recommended" if not decisions else f"Recommended, and {act(decisions[-1]).partition(' ')[0]} as it is"
    content = recommendation.values.get("recommendation")
    compared = None if content is None else few_lines(content, content)
    if compared is None:
        yield Verbatim(_member(recommendation, "recommendation"))
    else:
        yield Table((head, "Value"), tuple((line.path, text(line.before)) for line in compared))


def _act_words(step: Step) -> str:
    left_out = {"recommendation_id", "replacement", "digest"}
    members = "".join(f"\n{_named(name, value)}" for name, value in _members(step) if name not in left_out)
    return act(step) + members


def _last_decision(decided: Sequence[Step], steps: Sequence[Step]) -> str:
    """Return the last decision, and its result, in words."""
    last = decided[-1] if decided else None
    said = ["no decision" if last is None else act(last)]
    after = [] if last is None else _about_decision(last, steps)
    if last is not None and not after and last.data.get("needs_second") is True:
        said.append("it waits for a confirmation")
    after += [step for step in steps if step.type == WITHDRAWN]
    said += [f"then {who(step.actor)} {act(step)}" for step in after]
    return "; ".join(said)


def _about_decision(decision: Step, steps: Sequence[Step]) -> list[Step]:
    """Return the acts on a decision: confirmations, withdrawals and revocations."""
    return [step for step in steps if step.data.get("decision_id") == decision.position < step.position]


def _in_force(decision: Step, steps: Sequence[Step]) -> bool:
    """Return True if no act declined, withdrew or revoked the decision; it may wait for a confirmation."""
    acts = _about_decision(decision, steps)
    return not any(step.type in TAKEN_BACK or step.data.get("outcome") == "decline" for step in acts)


def _members(step: Step) -> Iterator[tuple[str, str]]:
    """Yield each member of the data and each sealed value as text; for a missing value, the reason."""
    for name, value in {**step.data, **step.values}.items():
        yield name, text(value)
    for name, why in step.missing.items():
        yield name, WHY[why]


def _member(step: Step, name: str) -> str:
    if name in step.missing:
        return WHY[step.missing[name]]
    value: Any = step.values.get(name, step.data.get(name))
    return "-" if value is None else text(value)


def _named(name: str, value: str) -> str:
    """Put a text of several lines below its name."""
    below = "\n" in value or value.startswith("- ")
    return f"{name}:\n  " + value.replace("\n", "\n  ") if below else f"{name}: {value}"
