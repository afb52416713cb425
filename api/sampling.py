"""Find the decisions that a sample is drawn from, and draw a recorded sample again, for routes and commands."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from pydantic import ValidationError

from ledger.domain import sampling
from ledger.errors import Refused, StreamUnreadable
from ledger.service.ledger import Ledger
from ledger.service.samples import Drawing
from projections.population import find_decisions, find_decisions_as_of
from schema.samples import DecisionsIn, SampleDrawn


@dataclass(frozen=True)
class Redrawn:
    """A recorded sample, the position of its event, and the result of drawing it again from the events up to `upto`."""

    sample: int
    position: int
    upto: int
    population: int
    population_again: int
    population_digest: str
    population_digest_again: str
    chosen: list[int]
    chosen_again: list[int]

    @property
    def differences(self) -> list[str]:
        """Return the differences; empty if the sample is the one that its seed gives."""
        found = {
            "population": (self.population, self.population_again),
            "population-digest": (self.population_digest, self.population_digest_again),
            "chosen": (self.chosen, self.chosen_again),
        }
        # Without this limit, later events would change the result.
        early = [] if self.upto < self.position else ["upto"]
        return early + [name for name, (recorded, again) in found.items() if recorded != again]


def finding(ledger: Ledger, wanted: DecisionsIn, client: int | None = None) -> Callable[[], Awaitable[Drawing]]:
    """Return the look-up of the decisions that match now, of all clients or of one. It raises Unavailable."""
    work = partial(find_decisions, wanted=wanted, patience_s=ledger.patience_s, client=client)
    return lambda: ledger.readers.run(work)


async def redraw(ledger: Ledger, number: int) -> Redrawn:
    """Draw a recorded sample again. Raises NotFound `sample-unknown`, StreamUnreadable, Unavailable."""
    recorded = await ledger.samples.get(number)
    try:
        drawn = SampleDrawn.model_validate(recorded.data)
    except ValidationError as error:
        raise StreamUnreadable.at(recorded.stream, recorded.position) from error
    found = await ledger.readers.run(partial(find_decisions_as_of, wanted=drawn, upto=drawn.upto))
    return await asyncio.to_thread(_compare, number, recorded.position, drawn, found)


def _compare(number: int, position: int, drawn: SampleDrawn, found: Drawing) -> Redrawn:
    try:
        again = sampling.population(found.upto, found.decisions, drawn.weights or [])
    except Refused:  # no decision, or too many: no sample could have been drawn
        again = sampling.Population(found.upto, ())
    return Redrawn(
        sample=number,
        position=position,
        upto=drawn.upto,
        population=drawn.population,
        population_again=len(again.members),
        population_digest=drawn.population_digest,
        population_digest_again=again.digest,
        chosen=drawn.chosen,
        chosen_again=sampling.draw(again.members, drawn.seed, drawn.size),
    )
