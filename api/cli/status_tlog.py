"""The part of `advice-ledger status` that is about the log: what is signed, and by whom it is endorsed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from api.cli.keys import Place
from ledger.database import Connection
from ledger.store.head import read_head
from ledger.tlog.quorum import LATEST_ENDORSEMENTS, LatestEndorsement, WitnessPolicy, quorum_state
from ledger.tlog.serve.newest_checkpoint import newest_checkpoint
from ledger.tlog.sign import rotate

HAS_LOG = "SELECT to_regclass('checkpoints') IS NOT NULL"
COSIGNATURES = "SELECT count(*) FROM cosignatures WHERE size = %s"


@dataclass(frozen=True)
class LogState:
    """Where the log stands. `size` is the newest checkpoint's, None before the first; ages are in seconds.

    `witnesses_needed`, by the options, is None where no witness is named; `rotation_pending` is None where the key's
    file is not known here.
    """

    size: int | None
    age_s: float | None
    not_covered: int
    cosignatures: int
    witnesses_needed: int | None
    witnessed_size: int | None
    witnessed_age_s: float | None
    endorsements: list[dict[str, Any]]
    rotation_pending: bool | None


def look(conn: Connection, policy: WitnessPolicy, key: Place | None) -> LogState | None:
    """The state of the log; None for a ledger that has none yet, as it waits for a migration."""
    if conn.execute(HAS_LOG).fetchone() != (True,):
        return None
    # The head after the checkpoint: then it is not before it.
    checkpoint, head = newest_checkpoint(conn), read_head(conn)
    size = 0 if checkpoint is None else checkpoint.size
    found = quorum_state(conn, policy) if policy.witnesses else None
    return LogState(
        size=size or None,
        age_s=None if checkpoint is None else checkpoint.age_s,
        not_covered=(0 if head is None else head.position) - size,
        cosignatures=conn.execute(COSIGNATURES, [size]).fetchall()[0][0],
        witnesses_needed=policy.quorum if policy.witnesses else None,
        witnessed_size=found and found.witnessed,
        witnessed_age_s=found and found.witnessed_age_s,
        endorsements=[LatestEndorsement(*one)._asdict() for one in conn.execute(LATEST_ENDORSEMENTS).fetchall()],
        rotation_pending=_rotating(None if key is None else key.path),
    )


def lines(found: LogState | None) -> Iterator[str]:
    """For people."""
    if found is None:
        return
    waiting = f"{found.not_covered} events not covered"
    if found.size is None:
        yield f"signed   nothing; {waiting}"
    else:
        yield f"signed   checkpoint over {found.size} events, {aged(found.age_s)}; {waiting}"
        yield f"cosigned {found.cosignatures} on that one{_quorum(found)}"
    for one in found.endorsements:
        when = "" if one["age_s"] is None else f", {aged(one['age_s'])}"
        yield f"{'stamped ' if one['kind'] == 'authority' else 'witness '} {one['name']} up to {one['size']}{when}"
    if found.rotation_pending:
        yield "rotation begun and not ended, so nothing signs: run advice-ledger keys rotate again"
    elif found.rotation_pending is not None:
        yield "rotation none pending"


def aged(age_s: float | None) -> str:
    """How old, in the largest unit of which there are two."""
    seconds = max(age_s or 0.0, 0.0)
    for name, length in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {name} old"
    return f"{seconds:.0f} s old"


def _quorum(found: LogState) -> str:
    if found.witnesses_needed is None:
        return ""
    newest = "none" if found.witnessed_size is None else f"over {found.witnessed_size} events"
    age = "" if found.witnessed_age_s is None else f", {aged(found.witnessed_age_s)}"
    return f"; newest with the {found.witnesses_needed} needed: {newest}{age}"


def _rotating(path: Path | None) -> bool | None:
    if path is None or not (path.exists() or rotate.pending(path)):
        return None
    return rotate.pending(path)
