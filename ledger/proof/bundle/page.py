"""Make the page of a bundle for people: docs/formats/bundle.md, section 6.

The exporter and the auditor's program call the same function: the auditor makes the page again and compares. The page
has no script and no link that leads elsewhere, and all text is escaped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from html import escape
from typing import Any

import orjson

from ledger.proof.bundle.manifest import STATES, Manifest, as_signed, stamp_command, stamp_name
from ledger.proof.format.canonical import quick
from ledger.proof.format.events import EventLine

MOST_EVENTS = 500
MOST_CHARS = 2000
# Rows of the table of sealed fields, and fields of one event, that are shown.
MOST_NAMES = 500

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DIRECTIONS = dict.fromkeys((*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x61C))

_HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Evidence from {origin}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #1b1f24 }}
table {{ border-collapse: collapse; width: 100% }}
th, td {{ border-bottom: 1px solid #d0d7de; padding: .4rem .6rem; text-align: left; vertical-align: top }}
pre {{ margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; font-size: 13px }}
.note {{ background: #fff8c5; padding: .6rem 1rem }}
</style>
</head>
<body>
<h1>Evidence from {origin}</h1>
<p class="note">This page proves nothing by itself. <code>advice-ledger-verify</code> checks the file that it came in,
and that the page says what the evidence says.</p>
"""


def page(manifest: Manifest, note: str, rows: Sequence[str]) -> bytes:
    """The member index.html, made of the manifest without files, the checkpoint, and the rows of the first events."""
    parts = [_HEAD.format(origin=_text(manifest.origin)), _facts(manifest), _fields(manifest.fields)]
    parts.append("<h2>Events</h2>\n")
    if manifest.count > len(rows):
        parts.append(f"<p>The first {len(rows)} of {manifest.count}; all are in <code>events.ndjson</code>.</p>\n")
    parts.append("<table>\n<tr><th>position</th><th>recorded (UTC)</th><th>event</th><th>what</th></tr>\n")
    parts.extend(rows)
    parts.append(f"</table>\n<h2>Checkpoint</h2>\n<pre>{_text(note)}</pre>\n")
    parts.append(f"{_stamps(manifest, note)}</body>\n</html>\n")
    return "".join(parts).encode("utf-8", "replace")


def row(line: EventLine) -> str:
    """The row of one event. If the body is not a JSON object, the row says that."""
    try:
        body: Any = orjson.loads(line.body)
        values: Any = orjson.loads(line.fields) if line.fields else {}
    except ValueError:
        body, values = None, {}
    if type(body) is not dict or type(values) is not dict:
        body, values = {"type": "(no JSON object)"}, {}
    actor, commitments, withheld = body.get("actor"), body.get("sealed"), set(line.withheld)
    shown = [("data", _json(body.get("data")))]
    for name in sorted(commitments) if type(commitments) is dict else ():
        state = "withheld" if name in withheld else "erased"
        shown.append((name, _json(values[name]) if name in values else f"({state})"))
    cells = "".join(f"<pre><b>{_text(name)}</b> {_text(value)}</pre>" for name, value in shown[:MOST_NAMES])
    who = actor.get("id", "") if type(actor) is dict else ""
    return (
        f"<tr><td>{line.position}</td><td>{time_text(line.recorded_at_us)}</td>"
        f"<td>{_text(body.get('type', ''))}<br>{_text(body.get('stream', ''))}<br>by {_text(who)}</td>"
        f"<td>{cells}<pre>hash {line.hash.hex()}</pre></td></tr>\n"
    )


def time_text(at_us: int) -> str:
    """Format microseconds since 1970; the number itself if no calendar has it."""
    try:
        return (_EPOCH + timedelta(microseconds=at_us)).strftime("%Y-%m-%d %H:%M:%S.%f")
    except OverflowError:
        return str(at_us)


def _facts(manifest: Manifest) -> str:
    facts = [
        ("asked for", manifest.selection.words()),
        ("made", f"{time_text(manifest.created_at_us)} UTC"),
        ("events", f"{manifest.count}, at positions {manifest.first_position} to {manifest.last_position}"),
        ("checkpoint", f"covers positions 1 to {manifest.checkpoint_size}"),
    ]
    if manifest.excluded:
        left = (
            f"{manifest.excluded} events from position {manifest.excluded_from} on, which the checkpoint does not cover"
        )
        facts.append(("left out", left))
    rows = "".join(f"<tr><th>{name}</th><td>{_text(value)}</td></tr>\n" for name, value in facts)
    return f"<table>\n{rows}</table>\n"


def _fields(fields: Mapping[str, Mapping[str, int]]) -> str:
    if not fields:
        return ""
    head = "".join(f"<th>{state}</th>" for state in STATES)
    rows = "".join(
        f"<tr><td>{_text(name)}</td>{''.join(f'<td>{fields[name][state]}</td>' for state in STATES)}</tr>\n"
        for name in sorted(fields)[:MOST_NAMES]
    )
    return f"<h2>Sealed fields</h2>\n<table>\n<tr><th>field</th>{head}</tr>\n{rows}</table>\n"


def _stamps(manifest: Manifest, note: str) -> str:
    if not manifest.timestamps:
        return ""
    digest = sha256(as_signed(note.encode("utf-8", "replace"))).hexdigest()
    rows = "".join(
        f"<tr><td>{_text(authority)}</td><td><pre>{_text(stamp_command(stamp_name(number), digest))}</pre></td></tr>\n"
        for number, authority in enumerate(manifest.timestamps, 1)
    )
    return (
        "<h2>Timestamps</h2>\n<p>RFC 3161 tokens over the checkpoint as the log signed it. <code>advice-ledger-verify"
        "</code> does not verify them. This does, with the authority's certificates in <code>authority.pem</code>:</p>"
        "\n"
        f"<table>\n<tr><th>authority</th><th>check</th></tr>\n{rows}</table>\n"
    )


def _json(value: Any) -> str:
    return quick(value).decode() or "(nested too deep)"


def _text(value: object) -> str:
    """Escape and shorten a text, without characters that turn its direction."""
    text = str(value)
    cut = text[:MOST_CHARS] + (" …" if len(text) > MOST_CHARS else "")
    return escape(cut.translate(_DIRECTIONS))
