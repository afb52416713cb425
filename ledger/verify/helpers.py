"""Verify parts of the chain side by side in helper processes, for `verify_chain`.

Each process reads its parts in the snapshot of the caller (pg_export_snapshot), and checks only that each part is
sound in itself. The caller takes the parts in order of position, joins them, and computes the tree from their hashes.
If a part has a fault or does not follow the part before it, or if a process dies, the caller continues alone from
there. So only the caller reports faults, and the report is the same as without helpers.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pickle
import subprocess
import sys
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import IO, Self

from ledger.database import Connection
from ledger.proof.format.hashes import HASH_BYTES
from ledger.verify.ledger_verifier import LedgerVerifier
from ledger.verify.roots import Roots
from ledger.verify.trusted_checkpoints import TrustedCheckpoints
from ledger.verify.verified_part import Part

log = logging.getLogger(__name__)

# The number of events in a part. A process holds one verified part until the caller takes it.
PART = 10_000
# With fewer events, a process takes longer to start than it saves.
FEWEST = 50_000
# More processes would use up the connections of the verifier's role (schema/database_roles.py), and the caller, which
# joins the parts, could not keep up.
MOST_PROCESSES = 4
# The number of parts that a process is asked for before the caller takes the first one.
AHEAD = 2
# The seconds that a process has to end after it was told to.
STOP_S = 3.0
EXPORT = "SELECT pg_export_snapshot()"
NOTES = "SELECT size, note FROM checkpoints WHERE size > %s AND size <= %s ORDER BY size"


@dataclass(frozen=True)
class Helpers:
    """The number of helper processes, and their connection string, which may hold a password."""

    conninfo: str = field(repr=False)
    processes: int = min(os.cpu_count() or 1, MOST_PROCESSES)
    part: int = PART
    fewest: int = FEWEST

    def verify(
        self, conn: Connection, verifier: LedgerVerifier, upto: int, roots: Roots, trusted: TrustedCheckpoints
    ) -> Iterator[int]:
        """Verify the next events until `upto`, or until a part with a fault. Yield the position reached after each
        part.

        `conn` is in a transaction with a snapshot.
        """
        if self.processes < 2 or upto - verifier.position < self.fewest:
            return
        [(snapshot,)] = conn.execute(EXPORT).fetchall()
        with contextlib.closing(self._parts(str(snapshot), verifier, upto)) as parts:
            for part in parts:
                if not verifier.take_part(part):
                    return
                _take(conn, part, roots, trusted)
                yield part.last.position

    def _parts(self, snapshot: str, verifier: LedgerVerifier, upto: int) -> Generator[Part]:
        """Yield the parts in order, until the first with a fault. Each of n processes verifies every nth part."""
        bounds = [(after, min(after + self.part, upto)) for after in range(verifier.position, upto, self.part)]
        settings = json.dumps({"conninfo": self.conninfo, "snapshot": snapshot, "key": verifier.versions_key.hex()})
        with contextlib.ExitStack() as stack:
            try:
                team = [stack.enter_context(_Helper(settings)) for _ in bounds[: self.processes]]
                for number, each in enumerate(bounds[: len(team) * AHEAD]):
                    team[number % len(team)].ask(*each)
                for number in range(len(bounds)):
                    helper = team[number % len(team)]
                    part = helper.answer()
                    if part is None:
                        return
                    if number + len(team) * AHEAD < len(bounds):
                        helper.ask(*bounds[number + len(team) * AHEAD])
                    yield part
            except (OSError, EOFError, pickle.UnpicklingError):
                log.warning("a process that verified a part of the chain has ended; going on without such processes")


class _Helper:
    """Run helper_process.py, which verifies parts. As a context manager, end the process at the end of the block."""

    def __init__(self, settings: str) -> None:
        # -P: do not load modules from the working folder.
        command = [sys.executable, "-P", "-m", "ledger.verify.helper_process"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603 - ours
        self._tell(settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Close both pipes, which ends the process, and wait for it."""
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                _open(pipe).close()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def ask(self, after: int, upto: int) -> None:
        """Ask for the part with the events in (after, upto]."""
        self._tell(f"{after} {upto}")

    def answer(self) -> Part | None:
        """Return the next part that was asked for; None if it has a fault. Raises an error if the process has ended."""
        part = pickle.load(_open(self._process.stdout))  # noqa: S301 - from a process that we started
        assert part is None or isinstance(part, Part)
        return part

    def _tell(self, line: str) -> None:
        stdin = _open(self._process.stdin)
        stdin.write(line.encode() + b"\n")
        stdin.flush()


def _open(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe


def _take(conn: Connection, part: Part, roots: Roots, trusted: TrustedCheckpoints) -> None:
    """Compute the tree over the events of a part, and compare the stored checkpoints of its sizes."""
    hashes, position = part.hashes, part.first.position
    notes = dict(conn.execute(NOTES, [position - 1, part.last.position], prepare=True).fetchall())
    for at in range(0, len(hashes), HASH_BYTES):
        roots.add(position, hashes[at : at + HASH_BYTES])
        if position in notes:
            trusted.add(position, str(notes[position]).encode(), roots)
        position += 1
