"""advice-ledger erasures certificate: write a certificate that proves offline that an erasure was done, and by whom."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from api.cli.administration import on_ledger, record_look
from api.cli.configure import configured, opened
from api.cli.new_file import exists_already, new_file
from api.cli.shared import AsJson, CannotRun, ConfigFile, DatabaseUrl, DataDir, say, say_json
from api.erasure_certificate import Certificate, NotCovered, certificate_of, stored_inclusion
from ledger.proof.tlog.tiles import TileError
from ledger.service.ledger import Ledger
from ledger.store.envelope import Actor

UNCOVERED = "no signed checkpoint covers it yet: let a server sign, or run advice-ledger sign --once"

Id = Annotated[int, typer.Argument(metavar="ERASURE", min=1, help="The id of the erasure.")]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", metavar="FILE", show_default=False, help="A new file for it. Default: print it as JSON."
    ),
]


def certificate(
    erasure: Id,
    output: Output = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Make the certificate of an erasure that was done: advice-ledger-verify --erasure checks it offline.

    It names no client. A signed checkpoint must cover the erasure; a server signs each second.
    """
    if output is not None and output.exists():
        raise exists_already(output)
    settings = configured(config, database_url=database_url, data_dir=data_dir)
    with opened(settings) as url:
        made = on_ledger(settings, url, partial(_made, erasure))
        record_look(settings, url, "erasures certificate", (), 1)
    if output is None:
        say_json(made.model_dump())
        return
    with new_file(output) as file:
        file.write(made.model_dump_json().encode())
    if as_json:
        say_json({"erasure": erasure, "event": made.events[-1].position, "output": str(output)})
    else:
        say(f"the certificate of erasure {erasure} is in {output}")


async def _made(erasure: int, ledger: Ledger, _actor: Actor) -> Certificate:
    try:
        return await certificate_of(ledger, erasure, stored_inclusion(ledger))
    except NotCovered:
        raise CannotRun(UNCOVERED) from None
    except TileError as error:
        raise CannotRun(f"the stored tiles are damaged ({error}): run advice-ledger verify") from error
