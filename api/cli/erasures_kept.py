"""advice-ledger erasures keep and reapply: the list of erasures outside the database, and what a restore undid."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from api.cli.administration import catch_up, on_ledger
from api.cli.configure import configured, opened
from api.cli.erasure_certificate import UNCOVERED
from api.cli.shared import FOUND_WRONG, AsJson, CannotRun, ConfigFile, DatabaseUrl, DataDir, note, say, say_json
from api.cli.trusted import log_keys
from api.cli.verify import Key
from api.erasure_certificate import NotCovered
from api.jobs.kept_erasures import keep as keep_list
from ledger.database import Url
from ledger.erasure.kept import KeptErasure, read_kept
from ledger.proof.casefile.moments import time_text
from ledger.proof.tlog.note import VerifierKey
from ledger.proof.tlog.tiles import TileError
from ledger.service.ledger import Ledger
from ledger.service.reapply import Outcome, Reapplication, Reapplier
from ledger.store.envelope import Actor
from projections.clients.model import CLIENTS

File = Annotated[Path, typer.Argument(metavar="FILE", help="The list of erasures. Keep it outside the database.")]
CUT_OFF = "the last line is cut off: the list was being written, and lacks that erasure"


def keep(
    file: File,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Add to a list, kept outside the database, the erasures that it lacks; make the list if there is none.

    Each has its certificate, so a signed checkpoint must cover it. It names no client. `serve` does this after each
    erasure if the setting erasures_file is set.
    """
    settings = configured(config, database_url=database_url, data_dir=data_dir)

    async def run(ledger: Ledger, _actor: Actor) -> int:
        try:
            return await keep_list(ledger, file)
        except OSError as error:
            raise CannotRun(f"{file}: {error.strerror}") from error
        except NotCovered:
            raise CannotRun(UNCOVERED) from None
        except TileError as error:
            raise CannotRun(f"the stored tiles are damaged ({error}): run advice-ledger verify") from error

    with opened(settings) as url:
        added = on_ledger(settings, url, run)
    if as_json:
        say_json({"added": added})
    else:
        say(f"added to {file}: {added}")


def reapply(
    file: File,
    key: Key = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """After the restore of an older backup, erase again what came back with it.

    Run it before anybody else uses the ledger. Each certificate of the list is verified first. A legal hold or the
    retention policy refuses an erasure as ever. Exit code 1 if one was refused. It may be killed, and run again.
    """
    settings = configured(config, database_url=database_url, data_dir=data_dir)
    kept, cut_off = _verified(file, log_keys(settings, key or ()))
    with opened(settings) as url:
        done = on_ledger(settings, url, lambda ledger, actor: _reapply(ledger, actor, url, kept))
    found = [(one, result) for one, results in zip(kept, done, strict=True) for result in results]
    if as_json:
        say_json({"erasures": [_as_json(*each) for each in found], "cut_off": cut_off})
    else:
        for each in found:
            say(_line(*each))
        say(", ".join(f"{outcome}: {sum(one.outcome == outcome for _, one in found)}" for outcome in get_args(Outcome)))
    if cut_off:
        note(CUT_OFF)
    if cut_off or any(result.outcome == "refused" for _, result in found):
        raise typer.Exit(FOUND_WRONG)


async def _reapply(ledger: Ledger, actor: Actor, url: Url, kept: Sequence[KeptErasure]) -> list[list[Reapplication]]:
    row = await ledger.readers.fetch_one("SELECT origin FROM head", [])
    for one in kept:
        if row is None or one.certified.origin != row[0]:
            raise CannotRun(f"the list is of the ledger {one.certified.origin!a}, and this is another one")
    reapplier = Reapplier(ledger.erasures, actor, lambda: asyncio.to_thread(catch_up, url, CLIENTS))
    return [await reapplier.reapply(one) for one in kept]


def _verified(file: Path, keys: Sequence[VerifierKey]) -> tuple[list[KeptErasure], bool]:
    """Read the whole list before anything is done. Raises CannotRun."""
    try:
        kept = list(read_kept(file, keys))
    except OSError as error:
        raise CannotRun(f"{file}: {error.strerror}") from error
    return [one for one in kept if one is not None], None in kept


def _as_json(kept: KeptErasure, result: Reapplication) -> dict[str, Any]:
    return {
        "client": result.client,
        "erasure": kept.certified.requested.position,
        "position": kept.certified.erased.position,
        "outcome": result.outcome,
        "event": result.event,
        "why": result.why,
    }


def _line(kept: KeptErasure, result: Reapplication) -> str:
    done = kept.certified
    more = f": event {result.event}" if result.event else f": {result.why}" if result.why else ""
    at = time_text(done.erased.recorded_at_us)
    return f"client {result.client}, erased at {at} UTC by {done.erased.by}: {result.outcome}{more}"
