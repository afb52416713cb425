"""The auditor's program: `advice-ledger-verify`, or `python -m ledger.proof.auditor`.

It runs without a database and without the server, and offline unless --log is given. It needs this package,
cryptography, orjson and rfc8785. Results go to stdout. Exit codes: 0 all that was checked holds, 1 something is wrong,
2 it could not run.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import io
import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NoReturn

from ledger.proof.auditor.audit import audit_bundle, audit_log
from ledger.proof.auditor.contents import Audit
from ledger.proof.auditor.report import as_json, as_text, printable
from ledger.proof.bundle.shown_end import Needed
from ledger.proof.erasure.certificate import MAX_BYTES as MAX_CERTIFICATE_BYTES
from ledger.proof.erasure.certificate import verify_certificate
from ledger.proof.errors import EvidenceError
from ledger.proof.findings import Verdict
from ledger.proof.tlog.http_log import LiveLog, LogUnreachable
from ledger.proof.tlog.trust import Trust, Unusable, read_note, trust

GOOD, FOUND_WRONG, COULD_NOT_RUN = 0, 1, 2
# Parsed lines make no reference cycles. The default threshold would spend a tenth of the time on looking for them.
GC_THRESHOLD = 100_000
POSITION = re.compile("[1-9][0-9]{0,17}")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def main() -> NoReturn:
    """Run the program and exit with its code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Escape characters that the encoding lacks, so that they do not end the program within a line.
            stream.reconfigure(errors="backslashreplace")
    try:
        code = run(sys.argv[1:])
    except _OutputLost as error:
        code = _fail(str(error))
    except KeyboardInterrupt:
        code = _fail("interrupted")
    sys.exit(code)


class _OutputLost(Exception):
    """The result could not be written in full."""


def run(arguments: Sequence[str]) -> int:
    """Run the program with these arguments, print the result, and return the exit code. Raises _OutputLost."""
    if sys.stdout is None:
        raise _OutputLost("the standard output is closed")
    options = _parser().parse_args(arguments)
    gc.set_threshold(GC_THRESHOLD)
    try:
        trusted = trust(options.key, options.witness, options.policy)
        if options.erasure is not None:
            return _erasure(options, trusted)
        audit = _audit(options, trusted)
    except (Unusable, LogUnreachable) as error:
        return _fail(str(error))
    except OSError as error:
        return _fail(f"{options.bundle}: {error.strerror}")
    _print([as_json(audit, trusted)] if options.json else as_text(audit))
    return GOOD if audit.ok else FOUND_WRONG


def _print(lines: Iterable[str]) -> None:
    """Write the whole result to the standard output. Raises _OutputLost."""
    try:
        for line in lines:
            sys.stdout.write(line + "\n")
        sys.stdout.flush()
    except OSError as error:
        # Buffered output must not raise again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise _OutputLost(f"the result could not be written in full: {error.strerror}") from None


def _fail(message: str) -> int:
    """Write a line that says why there is no result; return the exit code."""
    with contextlib.suppress(OSError, AttributeError):  # the standard error is full, or closed and so None
        sys.stderr.write(f"error: {printable(message)}\n")
        sys.stderr.flush()
    return COULD_NOT_RUN


class _Parser(argparse.ArgumentParser):
    def print_help(self, file: object = None) -> None:  # noqa: ARG002 - that of the base class ignores errors
        """Print the help to stdout like a result."""
        _print([self.format_help().rstrip()])


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="advice-ledger-verify",
        description="Check an evidence bundle, or a served log, without trusting its maker.",
        epilog="Exit codes: 0 all that was checked holds, 1 something is wrong, 2 could not run. Without a key the "
        f"best verdict is: {Verdict.SIGNER_UNKNOWN}; the exit code is then 0, and the JSON says trusted: false.",
    )
    add = parser.add_argument
    add("bundle", nargs="?", metavar="BUNDLE", help="the bundle, such as case.zip; without it, --log alone is followed")
    add("--key", action="append", default=[], metavar="KEY|FILE", help="a verifier key of the ledger that you trust")
    add("--witness", action="append", default=[], metavar="KEY|FILE", help="a witness that must have cosigned")
    add("--erasure", metavar="FILE", help="check the certificate of an erasure, and no bundle")
    add("--policy", metavar="FILE", help="JSON: log and witnesses, lists of keys, and witnesses_needed, a number")
    add("--since", metavar="FILE", help="a checkpoint that you kept: the one to check must extend it")
    add("--log", metavar="URL", help="address of the transparency log: what it shows now must extend the checkpoint")
    how_far = parser.add_mutually_exclusive_group().add_argument
    how_far("--complete", action="store_true", help="fail unless it is shown to have all, up to the checkpoint's end")
    how_far("--complete-to", metavar="POS|TIME", help="fail unless it is shown to have all up to there")
    attested = parser.add_mutually_exclusive_group().add_argument
    attested(
        "--attested",
        action="store_const",
        const=1,
        dest="attested_from",
        help="fail unless a recording key that the ledger registered attests each event",
    )
    attested("--attested-from", type=_position, metavar="POS", help="fail in the same way from this position on")
    add("--json", action="store_true", help="print the result as JSON")
    return parser


def _audit(options: argparse.Namespace, trusted: Trust) -> Audit:
    since = None if options.since is None else read_note(options.since)
    live = None if options.log is None else LiveLog(options.log)
    needed = Needed() if options.complete else _needed(options.complete_to)
    if options.bundle is None:
        if live is None:
            raise Unusable("give a bundle, or a log with --log")
        if needed is not None:
            raise Unusable("--complete and --complete-to are about a bundle: give one")
        if options.attested_from is not None:
            raise Unusable("--attested and --attested-from are about a bundle: give one")
        return audit_log(live, trusted, since)
    with Path(options.bundle).open("rb") as file:
        if not file.seekable():
            raise Unusable(f"{options.bundle} cannot be read more than once: save it to a file")
        return audit_bundle(file, trusted, since, live, needed, options.attested_from)


def _erasure(options: argparse.Namespace, trusted: Trust) -> int:
    """Verify a certificate of an erasure, and print what it shows. Raises Unusable, OSError and _OutputLost."""
    if options.bundle is not None or not trusted.log:
        raise Unusable("--erasure takes a certificate instead of a bundle, and needs the ledger's key: --key")
    with Path(options.erasure).open("rb") as file:
        data = file.read(MAX_CERTIFICATE_BYTES + 1)
    try:
        found = verify_certificate(data, trusted.log, trusted.witnesses, trusted.needed)
    except EvidenceError as error:
        _print([json.dumps({"ok": False, "error": str(error)})] if options.json else [printable(f"FAILED: {error}")])
        return FOUND_WRONG
    _print([json.dumps({"ok": True, **found.as_json()})] if options.json else found.lines())
    return GOOD


def _position(text: str) -> int:
    """Parse a position. Raises argparse.ArgumentTypeError."""
    if POSITION.fullmatch(text):
        return int(text)
    raise argparse.ArgumentTypeError("it must be a position, from 1 on")


def _needed(text: str | None) -> Needed | None:
    """Parse --complete-to: a position, or a time with its zone. Raises Unusable."""
    if text is None:
        return None
    if POSITION.fullmatch(text):
        return Needed(position=int(text))
    try:
        after = datetime.fromisoformat(text) - EPOCH
        if after > timedelta():
            return Needed(time_us=after // timedelta(microseconds=1))
    except (ValueError, TypeError, OverflowError):
        pass
    raise Unusable("--complete-to must be a position from 1 on, or a time with its zone, such as 2026-01-31T12:00:00Z")


if __name__ == "__main__":
    main()
