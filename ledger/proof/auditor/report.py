"""Print the result of an audit, as text and as JSON: docs/use/auditor.md."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from typing import Any

import orjson

from ledger.proof.auditor.contents import Audit
from ledger.proof.casefile.moments import time_text
from ledger.proof.findings import BUNDLE, Verdict, first_bad_position
from ledger.proof.tlog.trust import Trust

# The number of positions of a withheld or erased field that the text lists; the JSON has more.
MOST_LISTED = 12
# The number of findings that the text lists.
MOST_SHOWN = 20
ABSENT = {"withheld": "withheld by the maker", "erased": "erased, as the maker says"}


def _verdict(audit: Audit) -> str:
    if not audit.ok:
        first = first_bad_position(audit.findings)
        return f"FAILED: the first bad position is {first}" if first else "FAILED"
    if not audit.trusted:
        unknown = (
            f"{Verdict.SIGNER_UNKNOWN.upper()}: give the log's key with --key, from a source other than this bundle"
        )
        return unknown + _how_complete(audit)
    signed = audit.signed
    return f"verified: all of the above holds, signed by {signed.signer if signed else ''}{_how_complete(audit)}"


def _how_complete(audit: Audit) -> str:
    """Return how far nothing is shown to be missing, for streams. A range says so itself."""
    if audit.manifest is None or audit.manifest.selection.kind == "positions":
        return ""
    end = audit.complete_to
    if end is None:
        return "; that it is complete is not shown"
    at_time = f" (recorded at {time_text(end.recorded_at_us)} UTC)" if end.recorded_at_us else ""
    rest = ", the last of the checkpoint" if audit.complete else "; what came after is not shown"
    return f"; complete up to position {end.position}{at_time}{rest}"


def as_text(audit: Audit) -> Iterator[str]:
    """Yield the lines of the report."""
    findings = audit.findings
    shown = findings[:MOST_SHOWN]
    for number, promise, outcome in outcomes(audit):
        wrong = [finding for finding in findings if finding.step == number]
        yield f"{number:>3}. {promise}: {outcome}"
        for line in audit.done.get(number, []):
            yield f"       {printable(line)}"
        if number == 3 and audit.signed is not None:
            yield from _witnesses(audit)
        if number == 9:
            yield from _absent(audit)
        for finding in wrong:
            if finding in shown:
                yield f"       {printable(str(finding))}"
    if more := audit.collected.more + len(findings) - len(shown):
        yield f"     {more} more findings are not shown"
    yield ""
    for claim in audit.not_proven:
        yield f"not proven: {claim}"
    yield printable(_verdict(audit))


def outcomes(audit: Audit) -> Iterator[tuple[int, str, str]]:
    """Yield number, promise and outcome of each step."""
    for number, promise in BUNDLE.steps.items():
        yield number, promise, _outcome(audit, number, sum(finding.step == number for finding in audit.findings))


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
    for witness in audit.signed.witnesses:
        when = time_text(witness.timestamp_s * 1_000_000).partition(".")[0]
        yield f"       {witness.name}+{witness.key_id:08x} at {when} UTC, {_age(witness.timestamp_s)}"
    if not audit.signed.witnesses and audit.seen.count:
        yield "       no witness says when it was signed; the newest event here was recorded at"
        yield f"       {time_text(audit.seen.last_recorded_at_us)} UTC by the ledger's clock"


def _age(at_s: int) -> str:
    """Return the age of a time, in the largest unit of which it has two or more."""
    seconds = int(time.time()) - at_s
    if seconds < 0:
        return f"{-seconds} s in the future"
    for name, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {name} ago"
    return f"{seconds} s ago"


def _absent(audit: Audit) -> Iterator[str]:
    """Yield lines about absent values: withheld (the maker still has them) or erased, and by which erasure."""
    for state, who in ABSENT.items():
        for (name, absent), ranges in sorted(audit.fields.ranges.items()):
            if absent == state:
                places = [str(first) if first == last else f"{first} to {last}" for first, last in ranges[:MOST_LISTED]]
                more = ", …" if len(ranges) > MOST_LISTED else ""
                count = audit.fields.counts[name][state]
                yield f"       {who}: {printable(name)}, {count}, at {', '.join(places)}{more}"
    erasures = sorted(audit.erased.by_erasure.items())
    for erasure, (event, values) in erasures[:MOST_LISTED]:
        yield f"       {values} of the erased values by erasure {erasure}, as event {event} says, which the log has"
    if len(erasures) > MOST_LISTED:
        yield f"       and by {len(erasures) - MOST_LISTED} more erasures"
    if audit.erased.unexplained:
        yield f"       {audit.erased.unexplained} of the erased values by no erasure that these events tell of"


def as_json(audit: Audit, trusted: Trust) -> str:
    """Return the report as one JSON object."""
    signed, manifest, seen = audit.signed, audit.manifest, audit.seen
    result: dict[str, Any] = {
        "ok": audit.ok,
        "trusted": audit.trusted,
        "verdict": _verdict(audit),
        "checkpoint": None if signed is None else _json_signed(audit, trusted),
        "selection": None if manifest is None else manifest.selection.members(),
        "complete": audit.complete,
        "complete_to": _complete_to(audit),
        "excluded": 0 if manifest is None else manifest.excluded,
        "rotations": audit.rotations,
        "timestamps": [
            {
                "file": stamp.file,
                "authority": stamp.authority,
                "digest": stamp.digest,
                "verified": False,
                "check": stamp.command,
            }
            for stamp in audit.timestamps
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
        "erasures": [
            {"erasure": erasure, "event": event, "values": values}
            for erasure, (event, values) in sorted(audit.erased.by_erasure.items())
        ],
        "erased_unexplained": audit.erased.unexplained,
        "acts": audit.acts.as_json(),
        "recorded_by": audit.recorded_by.as_json(),
        "steps": [
            {"step": number, "promise": promise, "outcome": outcome, "about": audit.done.get(number, [])}
            for number, promise, outcome in outcomes(audit)
        ],
        "findings": [finding.as_json() for finding in audit.findings],
        "more_findings": audit.collected.more,
        "first_bad_position": first_bad_position(audit.findings),
        "not_proven": audit.not_proven,
    }
    text = orjson.dumps(result, option=orjson.OPT_INDENT_2).decode()
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    # Every other encoding can write ASCII.
    return text if encoding == "utf8" else json.dumps(orjson.loads(text), indent=2)


def _complete_to(audit: Audit) -> dict[str, int | None] | None:
    """Return the position and time up to which the bundle is shown to be complete."""
    end = audit.complete_to
    return None if end is None else {"position": end.position, "recorded_at_us": end.recorded_at_us or None}


def _json_signed(audit: Audit, trusted: Trust) -> dict[str, Any]:
    signed = audit.signed
    assert signed is not None
    return {
        "origin": signed.checkpoint.origin,
        "size": signed.checkpoint.size,
        "root": signed.checkpoint.root.hex(),
        "signed_by": signed.signer,
        "witnesses": [
            {"witness": f"{each.name}+{each.key_id:08x}", "cosigned_at_s": each.timestamp_s}
            for each in signed.witnesses
        ],
        "witnesses_needed": trusted.needed,
        "unknown_signatures": signed.unknown,
    }


def printable(text: str) -> str:
    """Escape the characters that a terminal would obey."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape", "replace").decode() for each in text)
