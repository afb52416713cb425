"""The vectors of samples: populations, what a seed chooses of them, and recorded samples that it does not choose."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ledger.domain.sampling import Member, Population, draw
from tests.vector_parts import Vector, vector

Members = Sequence[tuple[int, int]]
EXAMPLE = ((7, 1), (19, 4), (23, 1))
ZERO = "0" * 64


def sample_vectors() -> Iterator[Vector]:
    """Samples as they would be recorded, good and broken."""
    yield _sample("the worked example", EXAMPLE, ZERO, 2)
    yield _sample("one of one", [(1, 1)], ZERO, 1)
    yield _sample("more than there are", [(5, 1), (6, 20)], "f" * 64, 1000)
    yield _sample("all weights are 1", [(position, 1) for position in range(3, 400, 7)], "5" * 64, 9)
    yield _sample("large positions", [(2**40, 20), (2**53 - 2, 3), (2**53 - 1, 2)], "0123456789abcdef" * 4, 2)
    yield _sample("another order of the chosen", EXAMPLE, ZERO, 2, flaw="chosen", chosen=[23, 19])
    yield _sample("the sample of another seed", EXAMPLE, ZERO, 1, flaw="chosen", chosen=[23])
    lighter = Population(0, (Member(7), Member(19), Member(23))).digest
    yield _sample("the digest of other weights", EXAMPLE, ZERO, 2, flaw="population-digest", digest=lighter)


def _sample(
    name: str,
    members: Members,
    seed: str,
    size: int,
    *,
    flaw: str | None = None,
    chosen: list[int] | None = None,
    digest: str | None = None,
) -> Vector:
    population = Population(0, tuple(Member(*one) for one in members))
    return vector(
        name,
        flaw,
        seed=seed,
        size=size,
        members=[list(one) for one in members],
        population_digest=digest or population.digest,
        chosen=chosen or draw(population.members, seed, size),
    )
