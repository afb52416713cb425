"""The auditor's program, advice-ledger-verify: no database, nothing from the server, and it works offline.

It needs this package, cryptography, orjson and rfc8785. Results go to stdout. Exit codes: 0 all that was checked holds,
1 something is wrong, 2 it could not run.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import io
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import orjson

from ledger.proof.auditor.audit import Audit, audit_bundle, audit_log
from ledger.proof.bundle.findings import STEPS, Problem
from ledger.proof.bundle.page import time_text
from ledger.proof.tlog.http_log import LiveLog, LogUnreachable
from ledger.proof.tlog.trust import Trust, Unusable, read_note, trust

GOOD, FOUND_WRONG, COULD_NOT_RUN = 0, 1, 2
UNKNOWN_SIGNER = "consistent, but by whom is not known"
# So many positions of a withheld or erased field are listed in the text; the JSON has more.
MOST_LISTED = 12
MOST_SHOWN = 20
ABSENT = {"withheld": "withheld by the maker", "erased": "erased, as the maker says"}
# Lines of events make no cycles: looking for some after each seventy of them takes a tenth of the time.
GC_THRESHOLD = 100_000


def main() -> NoReturn:
    """The entry point."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # What its encoding lacks is spelled out, and does not end the program within a line.
            stream.reconfigure(errors="backslashreplace")
    try:
        code = run(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of our output has left. What is still buffered must not raise again on the way out.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = COULD_NOT_RUN
    except KeyboardInterrupt:
        sys.stderr.write("error: interrupted\n")
        code = COULD_NOT_RUN
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Does what the arguments say, prints it, and returns the exit code."""
    options = _parser().parse_args(arguments)
    gc.set_threshold(GC_THRESHOLD)
    try:
        trusted = trust(options.key, options.witness, options.policy)
        audit = _audit(options, trusted)
    except (Unusable, LogUnreachable) as error:
        sys.stderr.write(f"error: {_printable(str(error))}\n")
        return COULD_NOT_RUN
    except OSError as error:
        sys.stderr.write(f"error: {_printable(str(options.bundle))}: {error.strerror}\n")
        return COULD_NOT_RUN
    lines = [_json(audit, trusted)] if options.json else _text(audit)
    for line in lines:
        sys.stdout.write(line + "\n")
    return GOOD if audit.ok else FOUND_WRONG


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="advice-ledger-verify",
        description="Check an evidence bundle, or a log that is served, without trusting whoever made it.",
        epilog="Exit codes: 0 all that was checked holds, 1 something is wrong, 2 could not run. Without a key the "
        f"best verdict is: {UNKNOWN_SIGNER}; the exit code is then 0, and the JSON says trusted: false.",
    )
    add = parser.add_argument
    add("bundle", nargs="?", metavar="BUNDLE", help="the bundle, such as case.zip; without it, --log alone is followed")
    add("--key", action="append", default=[], metavar="KEY|FILE", help="a verifier key of the log that you trust")
    add("--witness", action="append", default=[], metavar="KEY|FILE", help="a witness that must have cosigned")
    add("--policy", metavar="FILE", help="JSON: log and witnesses, lists of keys, and witnesses_needed, a number")
    add("--since", metavar="FILE", help="a checkpoint that you kept: the one to check must extend it")
    add("--log", metavar="URL", help="where the log is served: what it shows now must extend the bundle's checkpoint")
    add("--json", action="store_true", help="print the result as JSON")
    return parser


def _audit(options: argparse.Namespace, trusted: Trust) -> Audit:
    since = None if options.since is None else read_note(options.since)
    live = None if options.log is None else LiveLog(options.log)
    if options.bundle is None:
        if live is None:
            raise Unusable("give a bundle, or a log with --log")
        return audit_log(live, trusted, since)
    with Path(options.bundle).open("rb") as file:
        if not file.seekable():
            raise Unusable(f"{options.bundle} cannot be read more than once: save it to a file")
        return audit_bundle(file, trusted, since, live)


def _verdict(audit: Audit) -> str:
    if not audit.ok:
        first = audit.problems.first_bad()
        return f"FAILED: the first bad position is {first}" if first else "FAILED"
    if not audit.trusted:
        return f"{UNKNOWN_SIGNER.upper()}: give the log's key with --key, from a source other than this bundle"
    signed = audit.signed
    return f"verified: all of the above holds, signed by {signed.signer if signed else ''}"


def _text(audit: Audit) -> Iterator[str]:
    findings = audit.findings
    shown = findings[:MOST_SHOWN]
    for number, promise, outcome in _outcomes(audit):
        wrong = [one for one in findings if one.step == number]
        yield f"{number:>3}. {promise}: {outcome}"
        for told in audit.done.get(number, []):
            yield f"       {_printable(told)}"
        if number == 3 and audit.signed is not None:
            yield from _witnesses(audit)
        if number == 9:
            yield from _absent(audit)
        for one in wrong:
            if one in shown:
                yield f"       {_printable(_finding(one))}"
    if more := audit.problems.more + len(findings) - len(shown):
        yield f"     {more} more findings are not shown"
    yield ""
    for what in audit.not_proven:
        yield f"not proven: {what}"
    yield _printable(_verdict(audit))


def _outcomes(audit: Audit) -> Iterator[tuple[int, str, str]]:
    """Each step: its number, what it promises, and what came of it."""
    for number, promise in STEPS.items():
        yield number, promise, _outcome(audit, number, sum(one.step == number for one in audit.findings))


def _outcome(audit: Audit, number: int, wrong: int) -> str:
    if wrong:
        return f"FAILS, {wrong} finding{'s' if wrong > 1 else ''}"
    if number == 1 and audit.explained:
        return "FAILS, for what is found below"
    if number not in audit.done:
        return "not asked for" if number == 4 else "not checked"
    unknown = audit.signed is None or not audit.signed.trusted
    if number == 2 and unknown:
        return "NOT KNOWN, as no key was given that you trust"
    if number == 3 and audit.signed is not None and not audit.signed.witnesses:
        return "not asked for"
    return f"holds, but {audit.but[number]}" if number in audit.but else "holds"


def _witnesses(audit: Audit) -> Iterator[str]:
    assert audit.signed is not None
    for one in audit.signed.witnesses:
        when = time_text(one.timestamp_s * 1_000_000).partition(".")[0]
        yield f"       {one.name}+{one.key_id:08x} at {when} UTC, {_age(one.timestamp_s)}"
    if not audit.signed.witnesses and audit.seen.count:
        yield "       no witness says when it was signed; the newest event here was recorded at"
        yield f"       {time_text(audit.seen.last_recorded_at_us)} UTC by the ledger's clock"


def _age(at_s: int) -> str:
    """How long ago, in the largest unit of which there are two."""
    seconds = int(time.time()) - at_s
    if seconds < 0:
        return f"{-seconds} s in the future"
    for name, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {name} ago"
    return f"{seconds} s ago"


def _absent(audit: Audit) -> Iterator[str]:
    """Values that are not there: those that the maker says to have, and those that it says nobody has any more."""
    for state, who in ABSENT.items():
        for (name, found), ranges in sorted(audit.fields.ranges.items()):
            if found == state:
                places = [str(first) if first == last else f"{first} to {last}" for first, last in ranges[:MOST_LISTED]]
                more = ", …" if len(ranges) > MOST_LISTED else ""
                count = audit.fields.counts[name][state]
                yield f"       {who}: {_printable(name)}, {count}, at {', '.join(places)}{more}"


def _finding(one: Problem) -> str:
    place = f"at position {one.position}: " if one.position else ": "
    if one.last_position > one.position > 0:
        place = f"at positions {one.position} to {one.last_position}: "
    return f"{one.wrong} {place}{one.message}".replace(" : ", ": ")


def _json(audit: Audit, trusted: Trust) -> str:
    signed, manifest, seen = audit.signed, audit.manifest, audit.seen
    found: dict[str, Any] = {
        "ok": audit.ok,
        "trusted": audit.trusted,
        "verdict": _verdict(audit),
        "checkpoint": None if signed is None else _json_signed(audit, trusted),
        "selection": None if manifest is None else manifest.selection.members(),
        "excluded": 0 if manifest is None else manifest.excluded,
        "rotations": audit.rotations,
        "timestamps": [
            {
                "file": one.file,
                "authority": one.authority,
                "digest": one.digest,
                "verified": False,
                "check": one.command,
            }
            for one in audit.stamps
        ],
        "events": seen.count,
        "proven": seen.proven,
        "first_position": seen.first_position,
        "last_position": seen.last_position,
        "last_recorded_at_us": seen.last_recorded_at_us,
        "tiles": audit.tiles,
        "streams": audit.streams,
        "fields": audit.fields.counts,
        "absent": [
            {"field": name, "state": state, "positions": ranges}
            for (name, state), ranges in sorted(audit.fields.ranges.items())
        ],
        "steps": [
            {"step": number, "promise": promise, "outcome": outcome, "about": audit.done.get(number, [])}
            for number, promise, outcome in _outcomes(audit)
        ],
        "findings": [
            {
                "step": one.step,
                "kind": one.wrong,
                "position": one.position,
                "last_position": one.last_position,
                "message": one.message,
            }
            for one in audit.findings
        ],
        "more_findings": audit.problems.more,
        "first_bad_position": audit.problems.first_bad(),
        "not_proven": audit.not_proven,
    }
    text = orjson.dumps(found, option=orjson.OPT_INDENT_2).decode()
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    # Elsewhere it is ASCII, so that it is JSON whatever the encoding.
    return text if encoding == "utf8" else json.dumps(orjson.loads(text), indent=2)


def _json_signed(audit: Audit, trusted: Trust) -> dict[str, Any]:
    signed = audit.signed
    assert signed is not None
    return {
        "origin": signed.checkpoint.origin,
        "size": signed.checkpoint.size,
        "root": signed.checkpoint.root.hex(),
        "signed_by": signed.signer,
        "witnesses": [
            {"witness": f"{one.name}+{one.key_id:08x}", "cosigned_at_s": one.timestamp_s} for one in signed.witnesses
        ],
        "witnesses_needed": trusted.needed,
        "unknown_signatures": signed.unknown,
    }


def _printable(text: str) -> str:
    """A line without what a terminal would obey; escaped instead."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape", "replace").decode() for each in text)


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        main()
