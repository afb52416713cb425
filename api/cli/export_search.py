"""Parse the option --search of advice-ledger export, and find the streams to export."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from pydantic import TypeAdapter, ValidationError

from api.cli.extent import Extent
from api.cli.shared import CannotRun, note
from api.postgres.connect import connect
from ledger.database import Connection, Url
from ledger.domain.export import search_filters
from ledger.export.selection import with_referred
from ledger.proof.bundle.selection import Selection
from projections.found_streams import TooManyStreams, found_streams, indexed_upto
from schema.exports import ExportSearch, Words

# The longest wait for the index of events.
PATIENCE_S = 3.0
WORDS: TypeAdapter[str] = TypeAdapter(Words)
TEXT = "text"
FILTERS = (*ExportSearch.model_fields, TEXT)

Search = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FILTER=VALUE",
        show_default=False,
        help=f"The streams with an event of this filter, and what they refer to. FILTER is one of {', '.join(FILTERS)}."
        " May be given repeatedly: all must hold for one event.",
    ),
]


def one_kind(client: str | None, request: int | None, search: list[str] | None, range_: str | None) -> None:
    """Raise CannotRun unless the options state one selection. `range_` is one end of a range, if given."""
    kinds = [client is not None, request is not None, bool(search)]
    if sum(kinds) > 1 or (not any(kinds) and range_ is None) or (request is not None and range_):
        raise CannotRun(
            "give one selection: --client or --search, with or without --from and --to, --request, or --from and --to"
        )


def options_of(*given: object) -> tuple[str, ...]:
    """Return the names of the options that were given, for the record of the export."""
    names = ("client", "request", "search", "from", "to", "disclose", "withhold")
    return tuple(name for name, value in zip(names, given, strict=True) if value)


@dataclass(frozen=True)
class Searched:
    """The filters of a search, and its words."""

    filters: ExportSearch | None
    text: str | None


def search_of(options: list[str] | None) -> Searched | None:
    """Parse the options. Raises CannotRun."""
    if not options:
        return None
    pairs = [option.partition("=")[::2] for option in options]
    if wrong := [name for name, _ in pairs if name not in FILTERS]:
        raise CannotRun(f"--search takes FILTER=VALUE; {wrong[0][:80]!a} is none of {', '.join(FILTERS)}")
    members: dict[str, Any] = dict(pairs)
    if len(members) < len(pairs):
        raise CannotRun("each filter of --search can be given once")
    text = members.pop(TEXT, None)
    if members.get("client", "").isdecimal():
        members["client"] = int(members["client"])
    try:
        return Searched(ExportSearch.model_validate(members) if members else None, text and WORDS.validate_python(text))
    except ValidationError as error:
        first = error.errors()[0]
        raise CannotRun(f"--search {'.'.join(map(str, first['loc'])) or TEXT}: {first['msg']}") from error


def selection_of_search(url: Url, search: Searched, extent: Extent, last: int) -> Selection:
    """Return the selection of the search's results in a range, in a ledger whose last position is `last`."""
    with connect(url, "reader") as reader:
        indexed = indexed_upto(reader, last, patience_s=PATIENCE_S)
    if indexed < last:
        note(f"the search ends at position {indexed} of {last}: serve fills the index, and so does rebuild")
    filters = search.filters
    members: dict[str, object] = {"search": None if filters is None else filters.model_dump(exclude_none=True)}
    for name, end in (("from", extent.start), ("to", extent.end)):
        if isinstance(end, datetime):
            members[f"occurred_{name}"] = end.astimezone(UTC).isoformat().replace("+00:00", "Z")
        else:
            members[f"position_{name}"] = end
    return Selection("search", last_position=indexed, filters=search_filters(members, search.text))


def streams_of(conn: Connection, url: Url, selection: Selection) -> list[str]:
    """Find the streams of a search, and the streams that they refer to.

    `conn` has the role verifier. Raises CannotRun.
    """
    try:
        with connect(url, "reader") as reader:
            found = found_streams(reader, dict(selection.filters), selection.last_position)
    except TooManyStreams as error:
        raise CannotRun(str(error)) from error
    if not found:
        raise CannotRun("the search finds nothing")
    return with_referred(conn, found, selection.last_position)
