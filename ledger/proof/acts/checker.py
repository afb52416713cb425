"""Check the signed acts of a chain, event by event, and count who signed what: docs/formats/signed-acts.md, section 6.

Memory grows with the number of keys, and by about 100 bytes with each signed act: the digest of its statement is kept,
so that a statement that stands twice is noticed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from ledger.proof.acts.act import MAX_AGE_US, SignedAct, check_act
from ledger.proof.acts.errors import ActError, ActFlaw
from ledger.proof.acts.keys import REVOCATION, Keys, SigningKey
from ledger.proof.acts.statement import COVERS, REGISTRATION
from ledger.proof.findings import Kind

# Position, time and body of an event.
KeyEvent = tuple[int, int, dict[str, Any]]
ACTS = frozenset(event_type for event_type, _ in COVERS)
OF_KEYS = frozenset({REGISTRATION, REVOCATION})
# The number of actors that the report names one by one; the acts of further actors are counted together.
MOST_ACTORS = 1000
# The number of positions that are kept for one actor by key, by type, or as unchecked.
MOST_PLACES = 20
UNCHECKED = "unchecked"
OTHERS = "(others)"
NOT_PROVEN = (
    "of signed acts: what the screen showed; that nobody else knows the PIN, or has a copy of the key file; for keys"
    " that can be backed up, that only one device holds them; who a subject is beyond the registration of its key"
)
NOT_SIGNED = "that actors did the {} acts that nobody signed: these rest on the server's word"


@dataclass
class ActsOf:
    """The acts of one actor: signed by key, unsigned by type, and signed with a key that is not in the bundle.

    `places` are the first positions of each, by number of the key, by type, and of those that are unchecked.
    """

    signed: dict[str, int] = field(default_factory=dict)
    unsigned: dict[str, int] = field(default_factory=dict)
    unchecked: int = 0
    places: dict[str, list[int]] = field(default_factory=dict)

    def note(self, name: str, position: int) -> None:
        """Keep the position of an act, unless there are too many of its kind."""
        kept = self.places.setdefault(name, [])
        if len(kept) < MOST_PLACES:
            kept.append(position)

    def at(self, name: str, count: int) -> str:
        """Return the positions in words."""
        kept = self.places.get(name, [])
        return f" at {', '.join(map(str, kept))}{', …' if count > len(kept) else ''}"


@dataclass
class ActsReport:
    """Count the acts that were seen, by actor. Remarks: first positions and numbers of oddities without a finding."""

    actors: dict[str, ActsOf] = field(default_factory=dict)
    keys: dict[tuple[str, int], SigningKey] = field(default_factory=dict)
    late: list[int] = field(default_factory=lambda: [0, 0])
    counters: list[int] = field(default_factory=lambda: [0, 0])

    @property
    def signed(self) -> int:
        """Return the number of acts whose signature verifies."""
        return sum(sum(acts.signed.values()) for acts in self.actors.values())

    @property
    def unsigned(self) -> int:
        """Return the number of acts without a signature."""
        return sum(sum(acts.unsigned.values()) for acts in self.actors.values())

    @property
    def unchecked(self) -> int:
        """Return the number of signed acts whose key is not in the bundle."""
        return sum(acts.unchecked for acts in self.actors.values())

    @property
    def not_proven(self) -> list[str]:
        """Return the claims that remain unproven."""
        unsigned = [NOT_SIGNED.format(self.unsigned)] if self.unsigned else []
        return [*([NOT_PROVEN] if self.signed else []), *unsigned]

    def as_json(self) -> dict[str, Any]:
        """Return the members that reports have in JSON: docs/use/cli.md and docs/use/auditor.md."""
        return {
            "signed": self.signed,
            "unsigned": self.unsigned,
            "unchecked": self.unchecked,
            "late": self.late[0],
            "counters_not_grown": self.counters[0],
            "actors": [
                {
                    "actor": name,
                    "signed": acts.signed,
                    "unsigned": acts.unsigned,
                    "unchecked": acts.unchecked,
                    "positions": acts.places,
                }
                for name, acts in sorted(self.actors.items())
            ],
        }

    def lines(self) -> list[str]:
        """Yield for each actor the acts that it signed with each key, and those that rest on the server's word."""
        lines = []
        for name, acts in sorted(self.actors.items()):
            lines += [
                f"{count} acts signed by {self._key(name, number)};{acts.at(number, count)}"
                for number, count in acts.signed.items()
            ]
            if acts.unchecked:
                at = acts.at(UNCHECKED, acts.unchecked)
                lines.append(f"{acts.unchecked} acts signed by {name!a}: NOT CHECKED, as the key is not here;{at}")
            if acts.unsigned:
                kinds = ", ".join(
                    f"{count} {kind}{acts.at(kind, count)}" for kind, count in sorted(acts.unsigned.items())
                )
                lines.append(f"{sum(acts.unsigned.values())} acts of {name!a} rest on the server's word: {kinds}")
        for (count, first), what in (
            (self.late, "acts recorded more than ten minutes from the time of their statement"),
            (self.counters, "counters of a passkey that did not grow"),
        ):
            if count:
                lines.append(f"remark: {count} {what}, first at position {first}")
        return lines

    def _key(self, name: str, number: str) -> str:
        key = self.keys.get((name, int(number)))
        if key is None:
            return f"{name!a}"
        by = f"registered for {name!a} at position {key.registered_at} by {key.registered_by!a}"
        if key.passkey is None:
            return f"key {number} (ed25519), {by}"
        backup = "can be backed up" if key.passkey.backup_eligible else "cannot be backed up"
        where = ascii(", ".join(key.passkey.origins))[:300]
        return f"key {number} (passkey that {backup}), {by}; the device checked a PIN or a biometric; at {where}"


class ActsChecker:
    """Check the events in order of position. `add` gets the kind, position and message of each finding.

    `partial`: the events are a selection, so a key that they do not register is no finding. `of_keys` are position,
    time and body of further events that register and revoke keys, in order of position.
    """

    def __init__(
        self,
        ledger: str,
        add: Callable[[Kind, int, str], object],
        *,
        partial: bool = False,
        of_keys: Iterable[KeyEvent] = (),
    ) -> None:
        self.report = ActsReport()
        self._keys = Keys(ledger)
        self._add = add
        self._partial = partial
        self._of_keys = list(reversed(list(of_keys)))
        self._statements: set[bytes] = set()
        self._counters: dict[tuple[str, int], int] = {}

    def take(self, position: int, time_us: int, body: dict[str, Any]) -> None:
        """Check the next event. `body` is parsed, and is the one that the chain has here."""
        while self._of_keys and self._of_keys[-1][0] < position:
            earlier, _, key_body = self._of_keys.pop()
            self._take_key(earlier, key_body)
        event_type = body.get("type")
        if "signature" in body:
            self._check(position, time_us, body)
        elif type(event_type) is str and event_type in ACTS:
            acts = self.acts_of(actor_of(body))
            acts.unsigned[event_type] = acts.unsigned.get(event_type, 0) + 1
            acts.note(event_type, position)
        if type(event_type) is str and event_type in OF_KEYS:
            self._take_key(position, body)

    def _take_key(self, position: int, body: dict[str, Any]) -> None:
        try:
            self._keys.take(position, body)
        except ActError as error:
            self._add(Kind(error.flaw.value), position, f"the registration of a key does not hold: {error.detail}")

    def _check(self, position: int, time_us: int, body: dict[str, Any]) -> None:
        try:
            act = check_act(body, time_us, self._keys)
        except ActError as error:
            if self._partial and error.flaw is ActFlaw.KEY and not self._keys.knows(body):
                acts = self.acts_of(actor_of(body))
                acts.unchecked += 1
                acts.note(UNCHECKED, position)
            else:
                self._add(Kind(error.flaw.value), position, error.detail)
            return
        # Half of a digest is enough to tell statements apart.
        digest = act.digest[:16]
        if digest in self._statements:
            self._add(Kind.SIGNATURE_REPEATED, position, "an event before has the same statement")
            return
        self._statements.add(digest)
        self._count(position, time_us, act, self.acts_of(actor_of(body)))

    def _count(self, position: int, time_us: int, act: SignedAct, acts: ActsOf) -> None:
        number, place = str(act.key.credential), (act.key.subject, act.key.credential)
        acts.signed[number] = acts.signed.get(number, 0) + 1
        acts.note(number, position)
        if act.key.subject in self.report.actors:
            self.report.keys[place] = act.key
        if abs(time_us - act.prepared_us) > MAX_AGE_US:
            _remark(self.report.late, position)
        if act.asserted is not None:
            before = self._counters.get(place, 0)
            if act.asserted.counter <= before and (act.asserted.counter or before):
                _remark(self.report.counters, position)
            self._counters[place] = max(before, act.asserted.counter)

    def acts_of(self, name: str) -> ActsOf:
        """Return the acts of an actor, or those of all further actors if the report names too many."""
        actors = self.report.actors
        if name not in actors and len(actors) >= MOST_ACTORS:
            name = OTHERS
        return actors.setdefault(name, ActsOf())


def actor_of(body: dict[str, Any]) -> str:
    """Return the actor under whose name the report counts an act."""
    actor = body.get("actor")
    name = actor.get("id") if type(actor) is dict else None
    return name[:200] if type(name) is str else ""


def _remark(remark: list[int], position: int) -> None:
    remark[:] = remark[0] + 1, remark[1] or position
