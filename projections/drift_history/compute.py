"""Judge a run again, and compare each judgement with the digest that the run recorded.

A portfolio whose client is erased has no row, in whatever order erasure, run and rebuild come.
"""

from __future__ import annotations

import base64
import contextlib
import re
from collections.abc import Sequence
from weakref import WeakKeyDictionary

import orjson

from ledger.database import AsyncConnection, Connection
from ledger.domain.history import MALFORMED, RecordedEvent
from ledger.domain.monitoring.leaf import leaf, turnover_of
from ledger.domain.monitoring.portfolio import stream_of
from ledger.domain.monitoring.run import Run
from ledger.service.monitoring.inputs import Inputs, read_inputs
from ledger.service.monitoring.memory import Memory
from ledger.service.monitoring.started import CATEGORY, run_of
from ledger.service.monitoring.streams import read_streams
from ledger.store.blocking import read_blocking
from projections.computed import Row
from schema.events import MonitoringRunCompleted, MonitoringRunStarted

STREAM = re.compile(rf"{CATEGORY}([1-9][0-9]{{0,11}})", re.ASCII)
# More than the portfolios of a run.
PLACES = 2**20
# What a connection has read: it computes one run after another.
MEMORIES: WeakKeyDictionary[Connection, Memory] = WeakKeyDictionary()


def judged_again(conn: Connection, stream: str, upto: int) -> list[Row]:
    """Return the rows of a run that is completed by a position; none of what no client can have recorded."""
    memory = MEMORIES.setdefault(conn, Memory())

    async def work(reads: AsyncConnection) -> list[Row]:
        events = (await read_streams(reads, [stream], upto)).get(stream, [])
        if (found := _completed(stream, events)) is None:
            return []
        run, leaves = found
        return _rows(await read_inputs(reads, run, memory=memory), events[1], leaves)

    return read_blocking(conn, work)


def _completed(stream: str, events: Sequence[RecordedEvent]) -> tuple[Run, bytes] | None:
    """Return a completed run and its leaves; None if there is none."""
    number = STREAM.fullmatch(stream)
    if number is None or [one.type for one in events[:2]] != [MonitoringRunStarted.type, MonitoringRunCompleted.type]:
        return None
    with contextlib.suppress(*MALFORMED):
        leaves = base64.b64decode(MonitoringRunCompleted.model_validate(events[1].data).leaves)
        return run_of(int(number[1]), events[0]), leaves
    return None


def _rows(inputs: Inputs, completed: RecordedEvent, leaves: bytes) -> list[Row]:
    run, same_count = inputs.run, len(leaves) == 32 * len(inputs.names)
    rows: list[Row] = []
    for place, name in enumerate(inputs.names):
        salt = inputs.salts[name]
        if salt is not None:
            judgement = inputs.judge(name)
            assets = judgement.shipped()
            agrees = same_count and leaf(salt, run, name, judgement, assets) == leaves[32 * place : 32 * place + 32]
            rows.append(
                (
                    completed.stream,
                    str(run.number * PLACES + place),
                    str(completed.position),
                    stream_of(name),
                    str(run.number),
                    name,
                    run.at,
                    judgement.condition,
                    _json([[one.reason, one.asset] for one in judgement.unknown]),
                    turnover_of(judgement),
                    _json(judgement.beyond),
                    _json(assets),
                    "true" if agrees else "false",
                    str(completed.recorded_at),
                )
            )
    return rows


def _json(value: object) -> str:
    return orjson.dumps(value).decode()
