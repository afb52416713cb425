"""advice-ledger export: write an evidence bundle that an auditor verifies without this ledger."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import psycopg
import typer

from api.cli.bars import OnProgress, progress
from api.cli.configure import configured, opened
from api.cli.export_record import record_export
from api.cli.export_search import Search, Searched, one_kind, options_of, search_of, selection_of_search, streams_of
from api.cli.extent import Extent, From, To, Zone, parse_extent, positions
from api.cli.keys import SIGNING_KEY, KeyFile, place
from api.cli.new_file import exists_already, new_file
from api.cli.recording import recorder_of
from api.cli.shared import AsJson, CannotRun, ConfigFile, DatabaseUrl, DataDir, note, say, say_json
from api.cli.streams import naming, notes_after
from api.postgres.connect import DatabaseError, connect
from api.settings import Settings
from api.times import DEFAULT_ZONE
from ledger.database import Connection, Url, one_line
from ledger.export.bundle import Disclosure, write_bundle
from ledger.export.log_parts import CannotExport, checkpoint_of
from ledger.export.selection import client_within, condition, of_client
from ledger.export.stream_heads import record_if_older
from ledger.proof.bundle.manifest import HEADS, Manifest
from ledger.proof.bundle.selection import Selection
from ledger.proof.errors import EvidenceError
from ledger.proof.tlog.note import MAX_NOTE_BYTES, VerifierKey
from ledger.proof.tlog.trust import Unusable, read_file, read_keys
from ledger.store.head import read_head
from ledger.store.recorder import Recorder
from ledger.wording import counted
from schema.events import CATALOGUE

ALL, NONE = "all", "none"
PRIVATE = "PRIVATE+KEY+"
MOST_KEY_BYTES = 64 * 1024
# The longest wait for a checkpoint that covers the record of where streams end. A server signs each second.
SIGNED_WITHIN_S = 3.0

Client = Annotated[
    str | None,
    typer.Option(
        metavar="ID",
        show_default=False,
        help="The cases of this client, with all their events, under all its identifiers.",
    ),
]
Request = Annotated[
    int | None, typer.Option(min=1, metavar="NUMBER", show_default=False, help="One request, with all its events.")
]
Out = Annotated[
    Path,
    typer.Option("--output", "-o", metavar="FILE", help="The bundle to write; an existing file is not overwritten."),
]
Disclose = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FIELD|all|none",
        show_default=False,
        help="Include the values of this sealed field: field or event-type.field. May be given repeatedly. "
        "Default: all for a client or a request, none for a range.",
    ),
]
Withhold = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FIELD",
        show_default=False,
        help="Leave the values of this sealed field out, even if they would be disclosed.",
    ),
]
Since = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        show_default=False,
        help="A checkpoint that the reader has: include the proof that the bundle's checkpoint extends it.",
    ),
]


def export(  # noqa: PLR0913, PLR0917 - each option is an argument
    output: Out,
    client: Client = None,
    request: Request = None,
    search: Search = None,
    start: From = None,
    end: To = None,
    zone: Zone = DEFAULT_ZONE,
    disclose: Disclose = None,
    withhold: Withhold = None,
    since: Since = None,
    key: KeyFile = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Write an evidence bundle: events, sealed values, and the proof that they are in the signed log.

    The events are those of a client, of a request, of what a search finds, or of a range of positions or time. A client
    and two dates give what took place with the client then, from the beginning of each case, and what it refers to:
    earlier recommendations that the model was shown, agents and policies. An imported event took place when its source
    says, others when they were recorded. A search gives the cases with an event that it finds, in the same way. A range
    of times alone has what was recorded then. Reads as the role verifier, and for a search as reader too. As the role
    writer, the ledger first records who exports what, without which nothing is written. For a client or a request it
    also records where all streams end, so that the bundle can show that it is complete. The reader verifies the file
    with advice-ledger-verify, without this ledger. Only the public part of the key goes in, as a claim.
    """
    with notes_after():
        one_kind(client, request, search, start or end)
        searched = search_of(search)
        extent = parse_extent(start, end, zone)
        disclosure = _disclosure(disclose, withhold, everything=client is not None or request is not None)
        older = None if since is None else _older(since)
        if output.exists():
            raise exists_already(output)
        settings = configured(config, key_file=key, database_url=database_url, data_dir=data_dir)
        keys = _keys(settings)
        with opened(settings) as url, connect(url, "verifier") as conn, progress() as on_progress:
            selection = _selection(conn, url, client, request, searched, extent)
            streams = streams_of(conn, url, selection) if searched is not None else []
            recorder = recorder_of(settings, url)
            options = options_of(client, request, search, start, end, disclose, withhold)
            record_export(conn, url, selection, options, recorder, streams)
            at = _record_ends(conn, url, selection, older, recorder)
            parts = Parts(selection, disclosure, keys, older, at, zone, streams)
            manifest = _write(conn, output, parts, on_progress)
        with naming(f"the bundle is complete, in {output}"):
            _show(manifest, output, extent, as_json=as_json)


def _disclosure(disclose: list[str] | None, withhold: list[str] | None, *, everything: bool) -> Disclosure:
    known = {name for kind in CATALOGUE.values() for name in kind.sealed}
    known |= {f"{type_}.{name}" for type_, kind in CATALOGUE.items() for name in kind.sealed}
    given, left_out = set(disclose or ()), set(withhold or ())
    if len(given) > 1 and given & {ALL, NONE}:
        raise CannotRun("--disclose all and --disclose none stand alone")
    if unknown := sorted((given - {ALL, NONE} | left_out) - known):
        raise CannotRun(f"no event has the sealed field {unknown[0]!a}; there are: {', '.join(sorted(known))}")
    if given:
        everything = given == {ALL}
    return Disclosure(everything, frozenset(given - {ALL, NONE}), frozenset(left_out))


def _older(path: Path) -> bytes:
    """Read an older checkpoint, and check the form of its note."""
    try:
        data = read_file(str(path), MAX_NOTE_BYTES)
        checkpoint_of(data, "older")
    except (Unusable, CannotExport) as error:
        raise CannotRun(str(error)) from error
    return data


def _keys(settings: Settings) -> list[str]:
    """Return the public part of the signing key, if it is known. The key file may hold verifier keys instead."""
    key = settings.key_file
    if key is not None:
        try:
            lines = read_keys(read_file(str(key), MOST_KEY_BYTES), str(key))
            if not lines:
                raise CannotRun(f"{key} holds no key")
            if not any(line.startswith(PRIVATE) for line in lines):
                return [VerifierKey.parse(line).text for line in lines]
        except (Unusable, EvidenceError) as error:
            raise CannotRun(f"{key} holds no key: {error}") from error
    key_place = place(settings, state_needed=False)
    if key_place is None or (key is None and key_place.path is not None and not key_place.path.exists()):
        note(f"the bundle names no verifier key: give it with --key or in {SIGNING_KEY} if the reader wants one")
        return []
    return [key_place.key().verifier.text]


def _selection(
    conn: Connection, url: Url, client: str | None, request: int | None, search: Searched | None, extent: Extent
) -> Selection:
    if client is not None:
        return _of_client(conn, unicodedata.normalize("NFC", client), extent)
    if request is not None:
        return Selection("request", request=request)
    head = read_head(conn)
    last = 0 if head is None else head.position
    if search is not None:
        return selection_of_search(url, search, extent, last)
    first, final = positions(conn, extent, last)
    if first > final:
        raise CannotRun(f"there are no events {extent.text}; the last is {last}")
    return Selection("positions", first_position=first, last_position=final)


def _of_client(conn: Connection, client: str, extent: Extent) -> Selection:
    start, end = extent.start, extent.end
    if start is None and end is None:
        return of_client(conn, client)
    if isinstance(start, int) or isinstance(end, int):
        raise CannotRun("with --client, --from and --to are times or days, not positions")
    head = read_head(conn)
    return client_within(conn, client, start, end, 0 if head is None else head.position)


@dataclass(frozen=True)
class Parts:
    """The content of the bundle. `at`: the size of the checkpoint to prefer, 0 for any. `zone`: of its page."""

    selection: Selection
    disclosure: Disclosure
    keys: list[str]
    since: bytes | None
    at: int
    zone: str
    # The streams of a search.
    streams: list[str]


def _record_ends(
    conn: Connection, url: Url, selection: Selection, older: bytes | None, recorder: Recorder | None
) -> int:
    """Record where streams end, so that the bundle can show it. If that fails, print a note with the reason.

    Return the position of the record; 0 without a signed one.
    """
    if not selection.has_leaf:
        return 0
    since = 0 if older is None else checkpoint_of(older, "older").size
    try:
        with connect(url, "writer") as writer:
            signed = record_if_older(conn, writer, condition(selection), SIGNED_WITHIN_S, recorder, since=since)
    except (psycopg.Error, DatabaseError) as error:
        reason = one_line(error) if isinstance(error, psycopg.Error) else str(error)
        note(f"the bundle may not show where its streams end, as that cannot be recorded: {reason}")
        return 0
    if signed is None:
        note(
            "the bundle may not show where its streams end: no checkpoint covers the record of it yet. Sign one with"
            " advice-ledger sign --once, then export again"
        )
    return signed or 0


def _write(conn: Connection, output: Path, parts: Parts, on_progress: OnProgress) -> Manifest:
    """Write the bundle to a new file that only its owner can read. After a failure the file is removed."""
    try:
        with new_file(output) as file:
            return write_bundle(
                conn,
                parts.selection,
                parts.disclosure,
                file,
                keys=parts.keys,
                since=parts.since,
                at=parts.at,
                zone=parts.zone,
                streams=parts.streams,
                on_progress=lambda done, in_all: on_progress("events", done, in_all),
            )
    except CannotExport as error:
        raise CannotRun(str(error)) from error


def _show(manifest: Manifest, output: Path, extent: Extent, *, as_json: bool) -> None:
    if manifest.excluded:
        left_out = f"{counted(manifest.excluded, 'event')} from position {manifest.excluded_from} on"
        note(f"left out: {left_out}, which no checkpoint covers yet (advice-ledger sign --once signs one)")
    if manifest.selection.kind != "positions" and HEADS not in manifest.files:
        unnamed = manifest.selection.kind == "client" and manifest.selection.client is None
        reason = ", as it does not name the client" if unnamed else ""
        if manifest.selection.until_us or manifest.selection.kind == "search":
            reason = ": a bundle of the whole client shows that nothing is missing"
        note(f"the bundle does not show where its streams end{reason}")
    if as_json:
        found = {
            "file": str(output),
            "also": manifest.selection.also,
            "events": manifest.count,
            "checkpoint_size": manifest.checkpoint_size,
        }
        places: dict[str, object] = {"first_position": manifest.first_position, "last_position": manifest.last_position}
        places |= {"from": extent.start, "to": extent.end, "zone": extent.zone}
        say_json({**found, **places, "excluded": manifest.excluded, "fields": manifest.fields})
        return
    say(
        f"{output}: {counted(manifest.count, 'event')}, positions {manifest.first_position} to {manifest.last_position}"
    )
    if manifest.selection.also:
        say(f"the client has other identifiers, which are in it: {', '.join(manifest.selection.also)}")
    if extent.text:
        say(f"the range is {extent.text}")
    say(f"covered by the checkpoint of size {manifest.checkpoint_size} of {manifest.origin}")
    for name, counts in sorted(manifest.fields.items()):
        say(f"  {name}: " + ", ".join(f"{number} {state}" for state, number in counts.items() if number))
    say(f"check it with: advice-ledger-verify {output} --key KEY, the key from elsewhere than this file")
