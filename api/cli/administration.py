"""Share helpers of the commands about subjects and credentials: commands of the ledger, reads of the record, times."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, TypeVar

import typer
from psycopg import sql
from psycopg.rows import class_row
from pydantic import BaseModel, ValidationError

from api.cli.assemble import policies, registration
from api.cli.configure import operator
from api.cli.recording import recorder_of
from api.cli.shared import CannotRun
from api.cli.streams import OutputFailed
from api.postgres.connect import RoleDenied, connect
from api.services import ERASING
from api.settings import Settings
from api.times import BadTime, parse, start
from ledger.database import Url
from ledger.service.accesses import Access
from ledger.service.ledger import Ledger
from ledger.service.open_ledger import LedgerParts, open_ledger
from ledger.service.subjects import SubjectCommands
from ledger.store.envelope import Actor
from projections.engine import step
from projections.read_model import ReadModel
from projections.subjects.model import SUBJECTS, Subject
from schema.events import CredentialRevoked

T = TypeVar("T")
Row = TypeVar("Row", bound=BaseModel)
Made = TypeVar("Made", bound=BaseModel)

GRACE = re.compile(r"([0-9]{1,6})([smhd])")
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="The name of the subject, a pseudonym: events carry it for good, so no personal data. a to z, 0 to 9, "
        "and . _ @ -",
    ),
]

Expires = Annotated[
    str | None,
    typer.Option(metavar="TIME", show_default=False, help="When it expires, such as 2030-01-31. Default: never."),
]


def command(settings: Settings, url: Url, work: Callable[[SubjectCommands, Actor], Awaitable[T]]) -> T:
    """Run a command about subjects, as the operator of this command line. Raises CannotRun or LedgerError."""
    return on_ledger(settings, url, lambda ledger, actor: work(ledger.subjects, actor))


def on_ledger(settings: Settings, url: Url, work: Callable[[Ledger, Actor], Awaitable[T]]) -> T:
    """Run a command of the ledger, as the operator of this command line. Raises CannotRun or LedgerError."""
    try:
        connect(url, "writer").close()
    except RoleDenied as error:
        raise CannotRun(f"every change is recorded, and {error}") from error
    actor = Actor(id=operator(), kind="human", role="operator")
    form, rules = registration(settings), policies(settings)
    recorder = recorder_of(settings, url)
    parts = LedgerParts(url, readers=2, recorder=recorder, registration=form, policies=rules, erasing=ERASING)

    async def run() -> T:
        async with open_ledger(parts) as ledger:
            return await work(ledger, actor)

    return asyncio.run(run())


def record_look(settings: Settings, url: Url, what: str, filters: tuple[str, ...], rows: int) -> None:
    """Record that the operator is about to see rows by the command `what`. Raises CannotRun or LedgerError."""

    async def run(ledger: Ledger, actor: Actor) -> None:
        access = Access(actor.id, "operator", "read", f"advice-ledger {what}", filters)
        await ledger.accesses.record(access, (), rows)

    on_ledger(settings, url, run)


def shown(settings: Settings, url: Url, name: str, sha256: str, show: Callable[[], None]) -> None:
    """Show a new token. If that fails, revoke it, so that no token exists that nobody has seen."""
    try:
        show()
    except OutputFailed:

        async def revoke(ledger: SubjectCommands, actor: Actor) -> None:
            state = await ledger.executor.authority.state(name)
            numbers = [one.number for one in state.credentials.values() if one.sha256 == sha256]
            await ledger.change(actor, name, CredentialRevoked(credential=numbers[-1], reason="could not be shown"))

        command(settings, url, revoke)
        raise


def rows_of(url: Url, read_model: ReadModel, kind: type[Row], **filters: Any) -> list[Row]:
    """Return the rows of a read model, the oldest first, brought up to the head if this login may do so."""
    return first_rows_of(url, read_model, kind, None, filters)


def first_rows_of(
    url: Url, read_model: ReadModel, kind: type[Row], most: int | None, filters: Mapping[str, Any]
) -> list[Row]:
    """Return the first rows, as `rows_of` does; None for all."""
    catch_up(url, read_model)
    conditions = [read_model.filters[name].condition for name in filters]
    query = sql.SQL("SELECT {} FROM {} model WHERE {} ORDER BY model.id LIMIT %(most)s").format(
        sql.SQL(", ").join(sql.Identifier("model", name) for name in kind.model_fields),
        sql.Identifier(read_model.name),
        sql.SQL(" AND ").join([sql.SQL("true"), *conditions]),
    )
    with connect(url, "reader") as conn, conn.cursor(row_factory=class_row(kind)) as cursor:
        return cursor.execute(query, {**filters, "most": most}).fetchall()


def subject_of(url: Url, name: str) -> Subject:
    """Return the recorded state of a subject. Raises CannotRun if no subject has this name."""
    found = rows_of(url, SUBJECTS, Subject, name=name)
    if not found:
        raise CannotRun(f"there is no subject {name!r}; advice-ledger subjects list shows them")
    return found[0]


def catch_up(url: Url, read_model: ReadModel) -> None:
    """Bring a read model up to the head, because perhaps no server runs to do it.

    Without the right to it, do nothing.
    """
    try:
        conn = connect(url, "projector")
    except RoleDenied:
        return
    with conn:
        while step(conn, read_model) is not None:
            pass


def made(event_type: type[Made], /, **members: object) -> Made:
    """Make an event from the arguments of a command. Raises CannotRun, which names the member."""
    try:
        return event_type.model_validate({name: value for name, value in members.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise CannotRun(f"{where}: {first['msg']}") from None


def time_text(text: str | None) -> str | None:
    """Return a time or date of the command line in the form that events have. Raises CannotRun."""
    if text is None:
        return None
    try:
        return _utc(start(parse(text), UTC))
    except BadTime as error:
        raise CannotRun(f"{text!r} is not {error}") from error


def grace_end(text: str | None) -> str | None:
    """Return the end of a time such as 90s, 30m, 1h or 2d that begins now. Raises CannotRun."""
    if text is None:
        return None
    found = GRACE.fullmatch(text)
    if found is None:
        raise CannotRun(f"{text!r} is not a grace period: use for example 30m, 1h or 2d")
    return _utc(datetime.now(UTC) + timedelta(**{UNITS[found[2]]: int(found[1])}))


def minute(time: datetime | None) -> str:
    """Format a time for a table."""
    return "" if time is None else f"{time.astimezone(UTC):%Y-%m-%d %H:%M}"


def _utc(time: datetime) -> str:
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")
