"""Show the transparency log in `advice-ledger status`: its checkpoints and their endorsements."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from api.cli.keys import Place
from ledger.database import Connection
from ledger.store.head import read_head
from ledger.tlog.heads.record import waiting_for_heads
from ledger.tlog.quorum import LATEST_ENDORSEMENTS, LatestEndorsement, WitnessPolicy, quorum_state
from ledger.tlog.serve.newest_checkpoint import newest_checkpoint, not_covered
from ledger.tlog.sign import rotate
from ledger.tlog.sign.errors import KeyUnusable, SigningRefused
from ledger.tlog.sign.last_signed import check_continues
from ledger.wording import counted

HAS_LOG = "SELECT to_regclass('checkpoints') IS NOT NULL"
COSIGNATURES = "SELECT count(*) FROM cosignatures WHERE size = %s"


@dataclass(frozen=True)
class LastSignedState:
    """The size of the checkpoint in the state file or its copy; None without these files.

    `contradiction` says why the database does not continue this checkpoint, `unknown` why the files cannot be read.
    """

    size: int | None = None
    contradiction: str | None = None
    unknown: str | None = None


@dataclass(frozen=True)
class LogState:
    """The state of the transparency log. Ages are in seconds.

    `size` is the size of the newest checkpoint; None before the first. `witnesses_needed` is None if no witness is
    configured; `rotation_pending` is None if the key's file is not on this machine; `signed_last` is None without a
    key.
    """

    size: int | None
    age_s: float | None
    not_covered: int
    waiting_s: float
    # The age of the oldest event that no record of stream heads covers yet.
    heads_waiting_s: float
    cosignatures: int
    witnesses_needed: int | None
    witnessed_size: int | None
    witnessed_age_s: float | None
    endorsements: list[dict[str, Any]]
    rotation_pending: bool | None
    signed_last: LastSignedState | None


def look(conn: Connection, policy: WitnessPolicy, key: Place | None) -> LogState | None:
    """Return the state of the transparency log; None if the migration that adds the log is pending."""
    if conn.execute(HAS_LOG).fetchone() != (True,):
        return None
    # Read the head last, so that it is not before the checkpoint.
    checkpoint, head = newest_checkpoint(conn), read_head(conn)
    size = 0 if checkpoint is None else checkpoint.size
    quorum = quorum_state(conn, policy) if policy.witnesses else None
    waiting = not_covered(conn)
    return LogState(
        size=size or None,
        age_s=None if checkpoint is None else checkpoint.age_s,
        not_covered=(0 if head is None else head.position) - size,
        waiting_s=0.0 if waiting is None else waiting.waiting_s,
        heads_waiting_s=waiting_for_heads(conn),
        cosignatures=conn.execute(COSIGNATURES, [size]).fetchall()[0][0],
        witnesses_needed=policy.quorum if policy.witnesses else None,
        witnessed_size=quorum and quorum.witnessed,
        witnessed_age_s=quorum and quorum.witnessed_age_s,
        endorsements=[LatestEndorsement(*row)._asdict() for row in conn.execute(LATEST_ENDORSEMENTS).fetchall()],
        rotation_pending=_rotating(None if key is None else key.path),
        signed_last=_signed_last(conn, key),
    )


def lines(state: LogState | None) -> Iterator[str]:
    """Yield the lines for people."""
    if state is None:
        return
    waiting = f"{counted(state.not_covered, 'event')} not covered"
    if state.not_covered and state.waiting_s >= 1:
        waiting += f", for {state.waiting_s:.0f} s"
    if state.size is None:
        yield f"signed   nothing; {waiting}"
    else:
        yield f"signed   checkpoint over {counted(state.size, 'event')}, {aged(state.age_s)}; {waiting}"
        witnesses = "witness" if state.cosignatures == 1 else "witnesses"
        yield f"cosigned by {state.cosignatures} {witnesses}{_quorum(state)}"
    for endorser in state.endorsements:
        when = "" if endorser["age_s"] is None else f", {aged(endorser['age_s'])}"
        kind = "stamped " if endorser["kind"] == "authority" else "witness "
        yield f"{kind} {endorser['name']} up to {endorser['size']}{when}"
    if state.rotation_pending:
        yield "rotation begun and not finished, so nothing signs: run advice-ledger keys rotate again"
    elif state.rotation_pending is not None:
        yield "rotation none pending"
    if state.signed_last is not None and state.signed_last.contradiction is not None:
        yield f"refused  {state.signed_last.contradiction}"
    elif state.signed_last is not None and state.signed_last.unknown is not None:
        yield f"unknown  what was signed last: {state.signed_last.unknown}"


def aged(age_s: float | None) -> str:
    """Format an age, in the largest unit of which it has two or more."""
    seconds = max(age_s or 0.0, 0.0)
    for name, length in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {name} old"
    return f"{seconds:.0f} s old"


def _quorum(state: LogState) -> str:
    if state.witnesses_needed is None:
        return ""
    newest = "none" if state.witnessed_size is None else f"over {counted(state.witnessed_size, 'event')}"
    age = "" if state.witnessed_age_s is None else f", {aged(state.witnessed_age_s)}"
    return f"; newest with its quorum of {state.witnesses_needed}: {newest}{age}"


def _signed_last(conn: Connection, key: Place | None) -> LastSignedState | None:
    """Compare the database with the files; None without a key, or during a rotation."""
    if key is None or (key.path is not None and (not key.path.exists() or rotate.pending(key.path))):
        return None
    try:
        known = key.last_signed().read()
    except (KeyUnusable, SigningRefused) as error:
        return LastSignedState(unknown=str(error))
    except OSError as error:
        return LastSignedState(unknown=f"{error.filename}: {error.strerror}")
    size = known[0].size if known else None
    head = read_head(conn)
    try:
        check_continues(conn, 0 if head is None else head.position, known)
    except SigningRefused as refused:
        return LastSignedState(size, str(refused))
    return LastSignedState(size)


def _rotating(path: Path | None) -> bool | None:
    if path is None or not (path.exists() or rotate.pending(path)):
        return None
    return rotate.pending(path)
