"""Erasures of clients: requested by one subject, confirmed by another one. Pure.

    (nothing) --erasure.requested--> refused, if a hold or the retention policy forbids it
                                 --> waiting --client.erased----> erased
                                             --erasure.declined-> declined
                                             --erasure.refused--> refused: a hold, placed meanwhile, wins
                                             --thirty days------> expired

All of it is in the stream of the client. Nothing is erased before the second subject confirms, and the confirmation is
judged anew: by the holds and the records as they are then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from ledger.domain.history import MALFORMED, RecordedEvent
from ledger.domain.legal_hold import LegalHold
from ledger.domain.retention import Kept
from ledger.domain.subject import moment
from ledger.errors import NotFound, Refused, StreamUnreadable
from schema.events import ClientErased, ErasureDeclined, ErasureRefused, ErasureRequested, Forbidden
from schema.states import ErasureState

EXPIRES_AFTER = timedelta(days=30)
MOST_HOLDS = 1000
ANSWERS: Mapping[str, ErasureState] = {
    ClientErased.type: ErasureState.ERASED,
    ErasureDeclined.type: ErasureState.DECLINED,
    ErasureRefused.type: ErasureState.REFUSED,
}


@dataclass(frozen=True)
class Erasure:
    """The state of an erasure. `expires_at` is None if it was refused at once."""

    request: RecordedEvent
    expires_at: datetime | None
    answer: RecordedEvent | None = None

    @property
    def id(self) -> int:
        """The position of the request."""
        return self.request.position

    def state(self, now: datetime) -> ErasureState:
        """Return the state at a moment."""
        if self.answer is not None:
            return ANSWERS[self.answer.type]
        if self.expires_at is None:
            return ErasureState.REFUSED
        return ErasureState.WAITING if now < self.expires_at else ErasureState.EXPIRED


def fold(history: Iterable[RecordedEvent]) -> dict[int, Erasure]:
    """Return the erasures that were requested in the stream of a client, by id. Raises StreamUnreadable."""
    erasures: dict[int, Erasure] = {}
    for event in history:
        try:
            if event.type == ErasureRequested.type:
                erasures[event.position] = Erasure(event, moment(event.data.get("expires_at")))
            elif event.type in ANSWERS:
                answered = erasures.get(event.data["erasure_id"])
                if answered is not None and answered.answer is None:
                    erasures[answered.id] = replace(answered, answer=event)
        except MALFORMED as error:
            raise StreamUnreadable.at(event.stream, event.position) from error
    return erasures


def forbidden(holds: Iterable[LegalHold], kept: Kept | None, now: datetime) -> Forbidden | None:
    """Return why nothing may be erased now; None if it may. `holds` are the active ones."""
    ids = sorted(hold.id for hold in holds)[:MOST_HOLDS]
    longer = kept if kept is not None and now < kept.free else None
    if not ids and longer is None:
        return None
    return Forbidden(
        holds=ids or None,
        kept_until=None if longer is None else longer.until.isoformat(),
        possible_from=None if longer is None else _text(longer.free),
        retention_class=None if longer is None else longer.by,
    )


def expiry(now: datetime) -> str:
    """Return the time until which an erasure that is requested now waits."""
    return _text((now + EXPIRES_AFTER).replace(microsecond=0))


def check_waits(erasures: Mapping[int, Erasure], erasure_id: int, now: datetime) -> Erasure:
    """Return the erasure if it waits.

    Raises NotFound `erasure-unknown`; Refused `erasure-answered` or `erasure-expired`.
    """
    if erasure_id not in erasures:
        raise NotFound("erasure-unknown", "there is no such erasure")
    match (found := erasures[erasure_id]).state(now):
        case ErasureState.WAITING:
            return found
        case ErasureState.EXPIRED:
            raise Refused("erasure-expired", "nobody confirmed this erasure in time: request it again")
        case state:
            raise Refused("erasure-answered", f"this erasure is {state} already")


def check_another(erasure: Erasure, by: str, *, again: bool = False) -> None:
    """Raise Refused `same-person` if the subject requested the erasure itself, in whatever role.

    What two subjects erased, and a restore brought back, one erases `again`.
    """
    if erasure.request.by == by and not again:
        raise Refused("same-person", "who requested the erasure cannot confirm it")


def check_none_waits(erasures: Mapping[int, Erasure], now: datetime) -> None:
    """Raise Refused `erasure-waits` if another erasure of the client waits already."""
    for found in erasures.values():
        if found.state(now) is ErasureState.WAITING:
            raise Refused("erasure-waits", "an erasure of this client waits already", erasure=found.id)


def refusal(why: Forbidden, erasure_id: int) -> Refused:
    """Return the refusal of an erasure, which is recorded.

    It has the time from which the erasure is possible, if known.
    """
    facts: dict[str, str | int] = {"erasure": erasure_id}
    if why.holds:
        facts["hold"] = why.holds[0]
    if why.possible_from is not None:
        facts["possible_from"] = why.possible_from
    return Refused("erasure-forbidden", f"nothing is erased: {reasons(why)}", **facts)


def reasons(why: Forbidden) -> str:
    """Return the reasons that forbid an erasure, in words."""
    found = []
    if why.holds:
        found.append(f"a legal hold stands ({', '.join(map(str, why.holds[:10]))})")
    if why.possible_from is not None:
        found.append(f"the records must be kept until {why.kept_until}")
    return " and ".join(found)


def _text(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
