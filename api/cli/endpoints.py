"""advice-ledger monitor endpoints: where messages go, and the keys that sign them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from api.cli.administration import made, minute, on_ledger
from api.cli.configure import configured, endpoint_keys_folder, opened
from api.cli.shared import AsJson, CannotRun, ConfigFile, DatabaseUrl, DataDir, say, say_json, say_table
from api.cli.streams import naming
from api.jobs.addresses import file_of as addresses_of
from api.jobs.webhook_keys import Algorithm, BadKeys, NoKey, file_of, in_force, read_keys, replace_key
from api.settings import Settings
from ledger.database import Url
from ledger.service.ledger import Ledger
from ledger.service.monitoring.deliveries import Endpoint
from ledger.service.open_ledger import LedgerParts, open_ledger
from ledger.store.envelope import Actor
from schema.events import DefineEndpoint

app = typer.Typer(
    help="Receivers of monitoring messages, and the keys that sign them. Every change is recorded.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

NAME = re.compile(r"[a-z][a-z0-9-]{0,99}")
EndpointName = Annotated[str, typer.Argument(metavar="NAME", help="The name of the endpoint, such as house-desk.")]
KeyAlgorithm = Annotated[Algorithm, typer.Option(help="v1: a shared secret. v1a: an Ed25519 key.")]


@app.command()
def add(  # noqa: PLR0913, PLR0917 - each option is an argument
    endpoint: EndpointName,
    receiver: Annotated[
        list[str], typer.Option(metavar="NAME", help="advisor or client: whose messages it takes. Repeat it for both.")
    ],
    url: Annotated[
        str | None,
        typer.Option(
            metavar="URL", show_default=False, help="Of a webhook: where it goes. It is recorded: no user, no query."
        ),
    ] = None,
    channel: Annotated[
        Literal["webhook", "mail"], typer.Option(help="webhook, or mail to the addresses in NAME.addresses.")
    ] = "webhook",
    messages_per_hour: Annotated[int, typer.Option(min=1, max=3600, help="The most messages an hour.")] = 60,
    algorithm: KeyAlgorithm = "v1",
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Define an endpoint, or change or enable it. Makes its key if it has none here, and prints what verifies it."""
    body = made(DefineEndpoint, channel=channel, url=url, receivers=receiver, messages_per_hour=messages_per_hour)
    settings = configured(config, database_url=database_url, data_dir=data_dir)
    folder = key_folder(settings, endpoint)
    with opened(settings) as url_:
        position, changed = _define(settings, url_, endpoint, body)
    has_key = channel == "mail" or bool(keys_of(folder, endpoint))
    key = None if has_key else new_key(folder, endpoint, algorithm, None)
    place = addresses_of(folder, endpoint) if channel == "mail" else file_of(folder, endpoint)
    with naming(f"the endpoint is defined; see {place}"):
        if as_json:
            say_json({"endpoint": endpoint, "event": position, "changed": changed, "file": str(place), "key": key})
            return
        say(f"endpoint {endpoint} is defined: event {position}" if changed else f"endpoint {endpoint} is as it was")
        say(f"addresses {place}" if channel == "mail" else f"key       {key or f'as it was, in {place}'}")


@app.command(name="list")
def list_endpoints(
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """List all endpoints, and how many keys of each sign now."""
    settings = configured(config, database_url=database_url, data_dir=data_dir)
    folder = endpoint_keys_folder(settings)
    with opened(settings) as url:
        found = list(_endpoints(url).values())
    rows = [_row(one, [] if folder is None else keys_of(folder, one.name)) for one in found]
    if as_json:
        say_json(rows)
    elif not rows:
        say("there are no endpoints: make one with advice-ledger monitor endpoints add")
    else:
        header = ("endpoint", "url", "receivers", "an hour", "enabled", "keys", "by", "since (UTC)")
        say_table(header, [_cells(row) for row in rows])


@app.command()
def rotate(
    endpoint: EndpointName,
    hours: Annotated[
        int, typer.Option(min=0, max=720, metavar="HOURS", help="How long the former key signs as well. 0: no longer.")
    ] = 24,
    algorithm: KeyAlgorithm = "v1",
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Replace the key of an endpoint. For some hours both sign, so that the receiver can follow."""
    folder = key_folder(configured(config, database_url=database_url, data_dir=data_dir), endpoint)
    show_key(folder, endpoint, new_key(folder, endpoint, algorithm, hours), as_json=as_json)


@app.command()
def remove(
    endpoint: EndpointName,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Disable an endpoint: its messages are withheld from now on. It stays on record, and `add` enables it again."""
    settings = configured(config, database_url=database_url, data_dir=data_dir)
    with opened(settings) as url:
        known = _endpoints(url).get(endpoint)
        if known is None:
            raise CannotRun(f"there is no endpoint {endpoint!r}; advice-ledger monitor endpoints list shows them")
        body = known.definition.model_copy(update={"enabled": False})
        position, changed = _define(settings, url, endpoint, body)
    if as_json:
        say_json({"endpoint": endpoint, "event": position, "changed": changed})
    else:
        say(f"endpoint {endpoint} is disabled: event {position}")


def key_folder(settings: Settings, endpoint: str) -> Path:
    """Return the folder for the key of an endpoint of this name. Raises CannotRun."""
    folder = endpoint_keys_folder(settings)
    if folder is None or not NAME.fullmatch(endpoint):
        raise CannotRun(
            "there is no folder for keys" if folder is None else "the name is invalid: use one such as house-desk"
        )
    return folder


def new_key(folder: Path, endpoint: str, algorithm: Algorithm, rotate_hours: int | None) -> str:
    """Make a key, or replace the one that is there; return what the receiver verifies with. Raises CannotRun."""
    try:
        return replace_key(folder, endpoint, algorithm, rotate_hours, datetime.now(UTC)).for_receiver
    except (BadKeys, OSError) as error:
        raise CannotRun(str(error)) from error


def keys_of(folder: Path, endpoint: str) -> list[str]:
    """Return the fingerprints of the keys that sign now. Raises CannotRun."""
    try:
        return [key.fingerprint for key in in_force(read_keys(folder, endpoint), datetime.now(UTC))]
    except NoKey:
        return []
    except BadKeys as error:
        raise CannotRun(str(error)) from error


def show_key(folder: Path, endpoint: str, key: str, *, as_json: bool) -> None:
    """Print what the receiver verifies with."""
    path = file_of(folder, endpoint)
    with naming(f"the key is in {path}"):
        if as_json:
            say_json({"endpoint": endpoint, "file": str(path), "key": key})
        else:
            say(key)


def _define(settings: Settings, url: Url, name: str, body: DefineEndpoint) -> tuple[int, bool]:
    async def work(ledger: Ledger, actor: Actor) -> tuple[int, bool]:
        receipt, changed = await ledger.deliveries.define(actor, name, body)
        return receipt.position, changed

    return on_ledger(settings, url, work)


def _endpoints(url: Url) -> dict[str, Endpoint]:
    async def read() -> dict[str, Endpoint]:
        async with open_ledger(LedgerParts(url, readers=1, read_only=True)) as ledger:
            return await ledger.deliveries.endpoints()

    return asyncio.run(read())


def _row(endpoint: Endpoint, keys: Sequence[str]) -> dict[str, Any]:
    return {
        "endpoint": endpoint.name,
        **endpoint.definition.model_dump(),
        "event": endpoint.position,
        "defined_by": endpoint.defined_by,
        "defined_at": endpoint.recorded_at,
        "keys": keys,
    }


def _cells(row: dict[str, Any]) -> tuple[object, ...]:
    enabled = "yes" if row["enabled"] else "no"
    receivers, since = ", ".join(row["receivers"]), minute(row["defined_at"])
    names = (row["endpoint"], row["url"] or row["channel"], receivers, row["messages_per_hour"])
    return (*names, enabled, len(row["keys"]), row["defined_by"], since)
