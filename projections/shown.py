"""Check what is shown of recommendations and decisions against the chain, before it is shown.

A decision names the digest of what a person saw: a salted commitment that the chain has. The content comes from a read
model, which is outside the chain. So each sealed value of a row must open the commitment of its event, and the row
gets the salts with which the reader can check the digest too. If one row is read, each of its members must also be what
folding its stream gives.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from psycopg import sql

from ledger.database import AsyncConnection
from ledger.errors import ContentAltered
from ledger.proof.format.commitments import open_value
from projections.ai_recommendations.model import AI_RECOMMENDATIONS
from projections.decisions.model import DECISIONS
from projections.read_model import ReadModel
from projections.reads import AsOf, read_rows

log = logging.getLogger(__name__)

SHOWN = Path(__file__).with_name("shown.sql").read_bytes()
# Planning a fold takes longer than running it for one stream.
SNAPSHOT = sql.SQL(
    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY; LOCK TABLE {} IN ACCESS SHARE MODE;"
    " SET LOCAL plan_cache_mode = force_generic_plan"
)
# The position of a table of this version, or else that of the last event.
MADE = (
    "SELECT p.name IS NOT NULL, coalesce(p.position, h.position)"
    " FROM head h LEFT JOIN projections p ON p.name = %s AND p.digest = %s"
)
# For each read model: the column with the position of an event, and the sealed values of that event that a row shows.
SEALED_OF: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    AI_RECOMMENDATIONS.name: {
        "id": ("recommendation", "prompt"),
        "decision_id": ("rationale", "replacement", "response"),
    },
    DECISIONS.name: {"id": ("rationale", "replacement", "response")},
}
# The contents that a person decides about. Only their salts are served.
CONTENTS = ("recommendation", "replacement")


@dataclass(frozen=True)
class _Sealed:
    """The data, the commitments and the salts of an event; all empty if it cannot be read."""

    data: Mapping[str, Any]
    commitments: Mapping[str, Any]
    salts: Mapping[str, Any]

    @classmethod
    def of(cls, body: str, salts: str | None) -> _Sealed:
        try:
            event, salt_of = orjson.loads(body), orjson.loads(salts or "{}")
            return cls(dict(event["data"]), dict(event.get("sealed", {})), dict(salt_of))
        except (ValueError, LookupError, TypeError, AttributeError):
            return NOTHING


NOTHING = _Sealed({}, {}, {})


async def read_compared(
    conn: AsyncConnection, read_model: ReadModel, row_id: int, stream: str | None
) -> list[dict[str, Any]]:
    """Return the current row of this id, or none, from the table; all of it must be what its stream folds to.

    `stream` is that of the event at `row_id`. If another version of the program made the table, the row comes from the
    stream. Raises ContentAltered.
    """
    filters = {"id": row_id}
    async with conn.transaction():
        # The lock comes before the snapshot, as in projections/compare.py.
        await conn.execute(SNAPSHOT.format(sql.Identifier(read_model.name)), prepare=False)
        row = await (await conn.execute(MADE, [read_model.name, read_model.digest], prepare=True)).fetchone()
        own, position = (False, 0) if row is None else row
        folded = await read_rows(conn, read_model, filters, as_of=AsOf(position, stream or ""), limit=1)
        if not own:
            return folded
        rows = await read_rows(conn, read_model, filters, as_of=AsOf(), limit=1)
    _refuse(read_model, row_id, _differing(*(of[0] if of else {} for of in (folded, rows))))
    return rows


def _differing(folded: Mapping[str, Any], row: Mapping[str, Any]) -> list[str]:
    """Name the members that differ between two rows, of which one may be empty."""
    return [name for name in {**folded, **row} if _compared(folded.get(name)) != _compared(row.get(name))]


def _compared(value: object) -> object:
    return orjson.dumps(value) if isinstance(value, orjson.Fragment) else value


def _refuse(read_model: ReadModel, row_id: int, altered: Sequence[str]) -> None:
    """Raise ContentAltered if members of a row are not what was recorded."""
    if altered:
        log.error("%s %s shows what was not recorded: %s", read_model.name, row_id, ", ".join(altered))
        raise ContentAltered(
            f"{read_model.name} {row_id} is not what was recorded ({', '.join(altered)}), so it is not shown:"
            " an operator runs advice-ledger verify --projections, then advice-ledger rebuild"
        )


async def add_salts(conn: AsyncConnection, read_model: ReadModel, rows: Sequence[dict[str, Any]]) -> None:
    """Check the sealed values of these rows, which read_rows() gave, and add `salts` to each row.

    Does nothing for other read models. Raises ContentAltered if a row shows anything but what was recorded.
    """
    sealed_of = SEALED_OF.get(read_model.name)
    if sealed_of is None or not rows:
        return
    positions = {row[column] for row in rows for column in sealed_of if row[column] is not None}
    cursor = await conn.execute(SHOWN, [list(positions)], prepare=True)
    events = {position: _Sealed.of(body, salts) for position, body, salts in await cursor.fetchall()}
    for row in rows:
        of_row = {column: events.get(row[column], NOTHING) for column in sealed_of}
        _refuse(read_model, row["id"], [*_altered(row, sealed_of, of_row), *_other_digests(row, of_row)])
        shown = {name: sealed for column, sealed in of_row.items() for name in sealed_of[column] if name in CONTENTS}
        row["salts"] = {name: sealed.salts[name] for name, sealed in shown.items() if name in sealed.salts}


def _altered(
    row: Mapping[str, Any], sealed_of: Mapping[str, tuple[str, ...]], of_row: Mapping[str, _Sealed]
) -> Iterator[str]:
    """Name the values that do not open their commitments. An erased value has no salt, and must not be shown."""
    for column, names in sealed_of.items():
        sealed = of_row[column]
        for name in names:
            if row[name] is None:
                # Null is right if there is no such value, or if it was erased.
                if name in sealed.salts and name in sealed.commitments:
                    yield name
            elif not opens(name, row[name], sealed.salts.get(name), sealed.commitments.get(name)):
                yield name


def _other_digests(row: Mapping[str, Any], of_row: Mapping[str, _Sealed]) -> Iterator[str]:
    """Name the digests that are not those of the row's events."""
    original, decision = of_row["id"], of_row.get("decision_id", of_row["id"])
    replaced = decision.commitments.get("replacement")
    if decision is original:
        right = {original.data.get("digest")}
    else:
        right = {original.commitments.get("recommendation"), replaced}
    if row["digest"] is None or row["digest"] not in right:
        yield "digest"
    if row["replacement_digest"] != replaced:
        yield "replacement_digest"


def opens(name: str, value: object, salt: object, commitment: object) -> bool:
    """Return whether a value as a row has it, text or an orjson.Fragment, opens a commitment."""
    text = orjson.dumps(value)
    return any(_opens(name, parsed, salt, commitment) for parsed in _readings(text))


def _opens(name: str, parsed: Any, salt: object, commitment: object) -> bool:
    try:
        return open_value(name, salt, parsed, commitment) is not None
    except ValueError:  # not canonical in this reading
        return False


def _readings(text: bytes) -> Iterator[Any]:
    """Parse a value. PostgreSQL writes 1e+30 as an integer: such a number is then read as what it was."""
    yield orjson.loads(text)
    yield json.loads(text, parse_int=float)
