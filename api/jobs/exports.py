"""Make an evidence bundle as a job: docs/use/exports.md.

The file gets its name once its digest is known, and the event that has the digest decides which file is the export's:
of two runs at once, one is recorded, and the other removes its own file.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

from api.jobs.kind import JobFailed, JobFiles, JobKind, JobParameters, JobRun, JobTools, Result
from api.private_file import private_file
from ledger.database import Connection, connect
from ledger.domain.export import ALL, Export, search_filters
from ledger.errors import Unavailable
from ledger.export.bundle import Disclosure, write_bundle
from ledger.export.log_parts import CannotExport
from ledger.export.selection import client_within, condition, of_client, with_referred
from ledger.export.stream_heads import record_if_older
from ledger.proof.bundle.manifest import Manifest
from ledger.proof.bundle.selection import Selection
from ledger.store.head import position_at
from ledger.tlog.serve.newest_checkpoint import newest_size
from projections.found_streams import TooManyStreams, found_streams, indexed_upto
from schema.events import ExportCompleted, ExportFailed

# The longest wait for a checkpoint that covers the selection. A server signs each second.
COVERED_WITHIN_S = 10.0
LOOK_S = 0.5
# The client was erased before the export was made.
ERASED = "client-erased"
CHUNK_BYTES = 1 << 20
TICK = timedelta(microseconds=1)


class ExportParameters(JobParameters):
    """The number of the export. Its stream has the request."""

    export: int


@dataclass(frozen=True)
class Sealed:
    """The sealed values of an export's request: the identifier of its client, and the words of a search."""

    client_id: str | None
    words: str | None


@dataclass(frozen=True)
class Made:
    """A bundle that was written to a file of its own."""

    path: Path
    manifest: Manifest
    sha256: str
    size: int


def file_of(files: JobFiles, number: int, sha256: str) -> Path:
    """Return the path of the bundle of an export with this digest, while it is kept."""
    return files.folder / f"export-{number}-{sha256[:16]}.zip"


async def run_export(run: JobRun[ExportParameters]) -> Result:
    """Make the bundle, unless an earlier run has, and record it."""
    number, files, exports = run.parameters.export, run.tools.files, run.tools.ledger.exports
    found = await exports.get(number)
    run.keep_s = None if files is None else files.keep_s
    if found.erased:
        raise JobFailed(ERASED)
    if found.completed is None and found.failed is None:
        if files is None:
            found = await exports.finish(number, ExportFailed(reason="no-folder"))
        else:
            sealed = Sealed(await exports.client_id(number), await exports.words(number))
            found = await _make(run, files, found, sealed)
    if found.completed is None:
        raise JobFailed(found.failed or ERASED)
    return {"export": number, "sha256": found.completed["sha256"], "events": found.completed["events"]}


async def expire_export(parameters: ExportParameters, tools: JobTools) -> None:
    """Delete the file of an export, and files of runs that died."""
    if tools.files is not None:
        remove_files(tools.files, parameters.export)


EXPORT: JobKind[ExportParameters] = JobKind(
    name="export",
    parameters=ExportParameters,
    run=run_export,
    permission="export",
    role="verifier",
    lane="long",
    expire=expire_export,
)


async def _make(run: JobRun[ExportParameters], files: JobFiles, found: Export, sealed: Sealed) -> Export:
    number, exports = run.parameters.export, run.tools.ledger.exports
    try:
        made = await run.in_thread(lambda: _write(run, files, found, sealed))
    except CannotExport:
        return await exports.finish(number, ExportFailed(reason="nothing-covered"))
    except TooManyStreams:
        return await exports.finish(number, ExportFailed(reason="too-many-streams"))
    target = file_of(files, number, made.sha256)
    made.path.replace(target)
    manifest = made.manifest
    expires = datetime.now(UTC) + timedelta(seconds=files.keep_s)
    after = await exports.finish(
        number,
        ExportCompleted.model_validate(
            {
                "events": manifest.count,
                "first_position": manifest.first_position,
                "last_position": manifest.last_position,
                "excluded": manifest.excluded,
                "checkpoint_size": manifest.checkpoint_size,
                "bytes": made.size,
                "sha256": made.sha256,
                "fields": manifest.fields,
                "expires_at": f"{expires:%Y-%m-%dT%H:%M:%SZ}",
            }
        ),
    )
    if after.completed is None or after.completed["sha256"] != made.sha256:
        target.unlink(missing_ok=True)
    return after


def _write(run: JobRun[ExportParameters], files: JobFiles, found: Export, sealed: Sealed) -> Made:
    """Write the bundle to a new file that only its owner can read. Raises CannotExport, TooManyStreams."""
    number, until_s = run.parameters.export, time.monotonic() + COVERED_WITHIN_S
    remove_files(files, number)
    path = files.folder / f"export-{number}-{os.getpid()}-{run.attempt}.part"
    with connect(run.conninfo) as conn, _new_file(path) as file:
        selection = _selection(conn, found, sealed)
        streams = _streams(run, conn, selection) if selection.kind == "search" else ()
        at = _record_ends(run, conn, selection)
        # What no checkpoint covers is left out, as the manifest says. The signer needs a moment for the newest events.
        needed = selection.last_position or int(found.requested.data["upto"])
        while newest_size(conn) < needed and time.monotonic() < until_s:
            run.pause(LOOK_S)
        while True:
            try:
                manifest = write_bundle(
                    conn,
                    selection,
                    _disclosure(found, selection),
                    file,
                    keys=run.tools.verifier_keys,
                    at=at,
                    zone=found.requested.data.get("zone", "UTC"),
                    streams=streams,
                    on_progress=run.progress,
                )
            except CannotExport:
                if time.monotonic() >= until_s:
                    raise
                file.seek(0)
                file.truncate()
                run.pause(LOOK_S)
            else:
                run.progress(manifest.count, manifest.count)
                return Made(path, manifest, *_digest(file))


def _record_ends(run: JobRun[ExportParameters], conn: Connection, selection: Selection) -> int:
    """Have the ledger record where streams end, so that the bundle can show it: as the command `export` does."""
    if not selection.has_leaf:
        return 0
    recorder = None if run.tools.recorder is None else run.tools.recorder.another()
    with connect(run.tools.conninfo("writer", "export")) as writer:
        return record_if_older(conn, writer, condition(selection), COVERED_WITHIN_S, recorder) or 0


def _times(data: Mapping[str, Any], kind: str) -> tuple[datetime | None, datetime | None]:
    """Return the ends of a range of times."""
    ends = (data.get(f"{kind}_{end}") for end in ("from", "to"))
    start, end = (None if text is None else datetime.fromisoformat(text) for text in ends)
    return start, end


def _selection(conn: Connection, found: Export, sealed: Sealed) -> Selection:
    """Return the selection of the bundle. Raises CannotExport for a range without events, and an erased client."""
    data = found.requested.data
    if "client" in data:
        if sealed.client_id is None:
            raise CannotExport("the client was erased")
        start, end = _times(data, "occurred")
        if start is None and end is None:
            return of_client(conn, sealed.client_id)
        return client_within(conn, sealed.client_id, start, end, int(data["upto"]))
    if "request" in data:
        return Selection("request", request=int(data["request"]))
    if "search" in data or sealed.words is not None:
        return Selection("search", last_position=int(data["upto"]), filters=search_filters(data, sealed.words))
    start, end = _times(data, "recorded")
    first, last = int(data.get("position_from", 1)), min(int(data.get("position_to", data["upto"])), int(data["upto"]))
    if start is not None:
        first = position_at(conn, start - TICK) + 1
    if end is not None:
        last = min(last, position_at(conn, end - TICK))
    if first > last:
        raise CannotExport("there are no events in this range")
    return Selection("positions", first_position=first, last_position=last)


def _streams(run: JobRun[ExportParameters], conn: Connection, selection: Selection) -> list[str]:
    """Find the streams of a search and those they refer to. Raises CannotExport, Unavailable, TooManyStreams."""
    with connect(run.tools.conninfo("reader", "export")) as reader:
        upto = selection.last_position
        if indexed_upto(reader, upto, patience_s=COVERED_WITHIN_S, pause=run.pause) < upto:
            raise Unavailable("the index of events is behind")
        found = found_streams(reader, dict(selection.filters), upto)
    if not found:
        raise CannotExport("the search finds nothing")
    return with_referred(conn, found, selection.last_position)


def _disclosure(found: Export, selection: Selection) -> Disclosure:
    data = found.requested.data
    names, withhold = data.get("disclose"), frozenset(data.get("withhold") or ())
    if names is None:
        return Disclosure(selection.kind in {"client", "request"}, frozenset(), withhold)
    return Disclosure(names == [ALL], frozenset(names) - {ALL}, withhold)


@contextmanager
def _new_file(path: Path) -> Iterator[BinaryIO]:
    """Open a new file in the folder of exports, on disk once the block has ended; remove it if the block fails."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with private_file(path) as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def _digest(file: BinaryIO) -> tuple[str, int]:
    """Return the SHA-256 of a file and its size in bytes."""
    file.flush()
    file.seek(0)
    digest = hashlib.sha256()
    while chunk := file.read(CHUNK_BYTES):
        digest.update(chunk)
    return digest.hexdigest(), file.tell()


def exports_with_files(files: JobFiles) -> list[int]:
    """Return the numbers of exports that have files."""
    names = (path.name.split("-")[1] for path in files.folder.glob("export-*-*"))
    return sorted({int(number) for number in names if number.isdecimal()})


def remove_files(files: JobFiles, number: int) -> int:
    """Delete the file of an export, and files of runs that died; return their number."""
    paths = list(files.folder.glob(f"export-{number}-*"))
    for path in paths:
        path.unlink(missing_ok=True)
    return len(paths)
