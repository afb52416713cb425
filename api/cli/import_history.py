"""advice-ledger import: record what took place before this ledger had it."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import file_digest
from pathlib import Path
from time import monotonic
from typing import Annotated, Any

import typer

from api.cli.bars import progress
from api.cli.configure import configured, opened, operator
from api.cli.recording import recorder_of
from api.cli.shared import (
    AsJson,
    CannotRun,
    ConfigFile,
    DatabaseUrl,
    DataDir,
    note,
    say,
    say_json,
)
from api.postgres.connect import connect
from api.settings import Settings
from ledger.database import Url
from ledger.imports.check import Checked, check, check_past
from ledger.imports.history import HistoryEvent
from ledger.imports.importer import Imported, Importer
from ledger.imports.sources import FILE_NAME, SOURCE_NAME, NoEvent, read
from ledger.imports.tables import Tables
from ledger.proof.bundle.zip import BundleError
from ledger.store.envelope import Actor
from ledger.wording import counted
from schema.events import HistoryImported, ImportedFile

# The number of faults that are printed; more are only counted.
MOST_PRINTED = 100
MOST_OF_NAME = 200

app = typer.Typer(add_completion=False, rich_markup_mode=None)

File = Annotated[
    Path | None,
    typer.Argument(
        metavar="FILE",
        show_default=False,
        help="NDJSON with an event on each line, or the evidence bundle of another ledger.",
    ),
]
Source = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        show_default=False,
        help="The name of the system that the history comes from. The same name, to go on or to import later events.",
    ),
]
Requests = Annotated[
    Path | None,
    typer.Option(metavar="FILE", show_default=False, help="Instead: the table portfolio_requests, as CSV or NDJSON."),
]
Recommendations = Annotated[
    Path | None,
    typer.Option(metavar="FILE", show_default=False, help="The table ai_recommendations, with --requests."),
]
Check = Annotated[bool, typer.Option("--check", help="Check every line, and record nothing.")]


@app.command(name="import")
def import_history(  # noqa: PLR0913, PLR0917 - each option is an argument
    source: Source,
    file: File = None,
    requests: Requests = None,
    recommendations: Recommendations = None,
    only_check: Check = False,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Record what took place before this ledger had it, with its own times and actors.

    Every line is checked first; if one is wrong, each wrong line is named, and nothing is recorded. Then batches
    follow, each of which is recorded whole or not at all. What is recorded already is passed over, so an import that
    was interrupted is run again with the same arguments.
    """
    history = _history(file, requests, recommendations)
    if not SOURCE_NAME.fullmatch(source):
        raise CannotRun("--source is a name of a to z, 0 to 9 and . _ @ : / - such as old-advisor-tool")
    settings = configured(config, database_url=database_url, data_dir=data_dir)
    began_s = monotonic()
    try:
        with progress() as on_progress:
            checked = check(history.lines(lambda done: on_progress("lines checked", done, 0)))
            if not checked.events and not checked.faults:
                raise CannotRun(f"{file or requests} has no event")
            if checked.faults or only_check:
                _report(checked, as_json=as_json)
                return
            with opened(settings) as url:
                imported = _record(
                    settings,
                    url,
                    source,
                    history,
                    checked,
                    lambda done: on_progress("events", done, checked.events),
                )
    except BundleError as error:
        raise CannotRun(f"the bundle cannot be read: {error}") from error
    _say(checked, imported, monotonic() - began_s, as_json=as_json)


class _History:
    """The files of a history."""

    def __init__(self, file: Path | None, tables: Tables | None) -> None:
        self._file = file
        self._tables = tables

    def digests(self) -> list[ImportedFile]:
        """Return name, digest and size of each file."""
        paths = [self._file] if self._tables is None else [self._tables.requests, self._tables.recommendations]
        return [_digest(path) for path in paths if path is not None]

    def read(self) -> Iterator[HistoryEvent | NoEvent]:
        """Yield the events, and the faults of lines."""
        if self._tables is not None:
            return self._tables.read()
        assert self._file is not None
        return read(self._file)

    def lines(self, on_progress: Any) -> Iterator[HistoryEvent | NoEvent]:
        """Yield the same, and report the number after every 1000."""
        for number, line in enumerate(self.read(), 1):
            yield line
            if number % 1000 == 0:
                on_progress(number)

    def events(self) -> Iterator[HistoryEvent]:
        """Yield only the events."""
        return (line for line in self.read() if isinstance(line, HistoryEvent))


def _digest(path: Path) -> ImportedFile:
    with path.open("rb") as file:
        digest = file_digest(file, "sha256").hexdigest()
        return ImportedFile(name=path.name, sha256=digest, bytes=file.tell())


def _history(file: Path | None, requests: Path | None, recommendations: Path | None) -> _History:
    if (file is None) == (requests is None) or (requests is None and recommendations is not None):
        raise CannotRun("give FILE, or --requests with or without --recommendations")
    for path in (file, requests, recommendations):
        if path is not None and not FILE_NAME.fullmatch(path.name):
            raise CannotRun(f"each event names its file for good: rename {path} to letters, digits and . _ + @ -")
        if path is not None and path.exists() and not (path.is_file() or path.is_dir()):
            raise CannotRun(f"{path} is a pipe or a device: a history is read twice, so write it to a file first")
    return _History(file, None if requests is None else Tables(requests, recommendations))


def _record(
    settings: Settings, url: Url, source: str, history: _History, checked: Checked, on_progress: Any
) -> Imported:
    actor = Actor(id=operator(), kind="human", role="operator")
    with connect(url, "writer") as writer, connect(url, "reader") as reader:
        check_past(reader, checked)
        importer = Importer(writer, reader, source, actor, checked.erased, recorder_of(settings, url))
        imported = importer.run(history.events(), on_progress)
        importer.conclude(
            HistoryImported(
                source=source,
                files=history.digests(),
                events=checked.events,
                imported=imported.recorded + imported.already,
                signatures_dropped=checked.signed,
            )
        )
        return imported


def _report(checked: Checked, *, as_json: bool) -> None:
    """Print the result of the check. Raises CannotRun if a line is wrong."""
    wrong = len(checked.faults) + checked.more_faults
    for one in checked.faults[:MOST_PRINTED]:
        # The name of the member or column comes from the file. Escape it, so that it cannot control a terminal.
        field = one.field if one.field.isprintable() else ascii(one.field)
        note(f"{one.file}, line {one.line}: {field[:MOST_OF_NAME]}: {one.reason}")
    if wrong > MOST_PRINTED:
        note(f"and {wrong - MOST_PRINTED} more")
    if wrong:
        raise CannotRun(f"{counted(wrong, 'line')} cannot be imported: nothing is recorded")
    if as_json:
        say_json({"events": checked.events, "left_out": dict(checked.left_out)})
    else:
        say("every line can be imported")
        _say_left_out(checked.left_out)


def _say(checked: Checked, imported: Imported, took_s: float, *, as_json: bool) -> None:
    left_out = checked.left_out + imported.left_out
    rate = imported.recorded / max(took_s, 0.001)
    if as_json:
        say_json(
            {
                "events": checked.events,
                "recorded": imported.recorded,
                "already_recorded": imported.already,
                "left_out": dict(left_out),
                "signatures_dropped": checked.signed,
                "seconds": round(took_s, 3),
                "events_per_s": round(rate),
            }
        )
        return
    say(f"{counted(imported.recorded, 'event')} recorded in {took_s:.1f} s, {rate:.0f} in a second, with the check")
    if imported.already:
        say(f"{counted(imported.already, 'event')} recorded before")
    if checked.signed:
        say(f"{counted(checked.signed, 'signature')} dropped: a signature is about an event of its own ledger")
    _say_left_out(left_out)


def _say_left_out(left_out: Any) -> None:
    for why, number in sorted(left_out.items()):
        say(f"{counted(number, 'event')} left out: {why}")
