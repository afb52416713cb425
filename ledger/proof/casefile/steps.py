"""An event of a bundle as a step that a person reads. Its line may be anything: the page never fails."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from ledger.proof.format.act_time import act_us
from ledger.proof.format.events import EventLine

CATEGORY = "request-"


@dataclass(frozen=True)
class Step:
    """Who did what, and when. `missing` says of each sealed value that is not shown why: withheld or erased.

    An imported event took place at `at_us`, and was recorded at `recorded_us`; of others both are the same.
    """

    position: int
    at_us: int
    recorded_us: int
    hash: str
    stream: str
    type: str
    actor: dict[str, Any]
    signed: bool
    data: dict[str, Any]
    values: dict[str, Any]
    missing: dict[str, str]
    # True if it took place in the window of time that was asked for.
    marked: bool = False

    def about(self, recommendation: Step) -> bool:
        """True if it is an act on this recommendation."""
        return self.data.get("recommendation_id") == recommendation.position < self.position


def as_step(line: EventLine) -> Step:
    """Return the step of a line. Members of the wrong type count as absent."""
    try:
        body: Any = orjson.loads(line.body)
        values = _object(orjson.loads(line.fields)) if line.fields else {}
    except ValueError:
        body, values = {"type": "(no JSON object)"}, {}
    body = _object(body) or {"type": "(no JSON object)"}
    actor, told = _object(body.get("actor")), _object(body.get("backfill"))
    if told:  # an imported event
        actor = _object(told.get("actor")) | {"imported": f"imported by {actor.get('id')}"}
    missing = {name: "withheld" if name in line.withheld else "erased" for name in sorted(_object(body.get("sealed")))}
    return Step(
        line.position,
        act_us(told, line.recorded_at_us),
        line.recorded_at_us,
        line.hash.hex(),
        str(body.get("stream", "")),
        str(body.get("type", "")),
        actor,
        "signature" in body,
        _object(body.get("data")),
        values,
        {name: why for name, why in missing.items() if name not in values},
    )


def case_of(stream: str) -> int | None:
    """Return the number of the request that a stream is about."""
    number = stream.removeprefix(CATEGORY)
    known = stream.startswith(CATEGORY) and number.isascii() and number.isdigit() and len(number) < 20
    return int(number) if known else None


def _object(value: Any) -> dict[str, Any]:
    return value if type(value) is dict else {}
