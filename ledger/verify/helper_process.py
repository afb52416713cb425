"""Verify parts of the chain in a process of its own, which `ledger/verify/helpers.py` starts.

The process reads one line of JSON from its standard input: the connection string, which may hold a password, the name
of the exported snapshot, and the key of the sums of versions. After that, each line names one part. Each answer is a
pickled `Part`, or None. The process ends when its input ends, because the parent has closed it or has died.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import signal
import sys

import psycopg
from psycopg import sql

from ledger.database import connect, one_line
from ledger.store.snapshot import SNAPSHOT
from ledger.verify.ledger_verifier import BY_INDEX, SESSION
from ledger.verify.parts import PartVerifier
from ledger.verify.stream_versions import StreamVersions

IMPORT_SNAPSHOT = sql.SQL("SET TRANSACTION SNAPSHOT {}")


def main() -> None:
    """Answer until the standard input ends, or until the parent no longer reads the answers."""
    # Ctrl-C in a terminal goes to all its processes. The parent decides when this one ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    line = sys.stdin.readline()
    with contextlib.suppress(BrokenPipeError):
        if line:
            _answer(json.loads(line))
    # Do not use sys.exit(): it would try to write the rest of an answer that nobody reads.
    os._exit(0)


def _answer(settings: dict[str, str]) -> None:
    try:
        with connect(settings["conninfo"]) as conn, conn.transaction():
            conn.execute(SNAPSHOT)
            conn.execute(IMPORT_SNAPSHOT.format(sql.Literal(settings["snapshot"])))
            conn.execute(SESSION, BY_INDEX)
            for line in sys.stdin:
                after, upto = map(int, line.split())
                part = PartVerifier(StreamVersions(bytes.fromhex(settings["key"]))).read_part(conn, after, upto)
                pickle.dump(part, sys.stdout.buffer)
                sys.stdout.buffer.flush()
    except psycopg.Error as error:
        print(f"a part of the chain cannot be verified: {one_line(error)}", file=sys.stderr)  # noqa: T201


if __name__ == "__main__":
    main()
