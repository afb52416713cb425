"""advice-ledger restore: make a ledger from a backup, and verify it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from psycopg import sql

from api.cli.bars import OnProgress, progress
from api.cli.configure import configured, opened
from api.cli.schema import tell_former
from api.cli.shared import FOUND_WRONG, AsJson, ConfigFile, DatabaseUrl, DataDir, note, say, say_json
from api.postgres.blockers import watched
from api.postgres.connect import connect
from api.postgres.logins import make_logins
from ledger.backup.manifest import Manifest, read_logins
from ledger.backup.restore import Backup
from ledger.database import Url, conninfo
from ledger.service.former_tokens import record_former_tokens
from ledger.verify.database import verify_chain
from ledger.verify.helpers import Helpers
from ledger.verify.report import ChainReport
from ledger.wording import counted
from projections.rebuild import rebuild_outdated

File = Annotated[Path, typer.Argument(metavar="FILE", help="The backup.")]


@dataclass(frozen=True)
class Result:
    """The result of a restore. `grants`: statements for logins that had rights on the ledger in its old place."""

    manifest: Manifest
    chain: ChainReport
    applied: list[str]
    read_models: list[str]
    grants: list[str]

    @property
    def ok(self) -> bool:
        """Return True if the chain holds and ends where the backup says."""
        return self.chain.ok and self.head == (self.manifest.position, self.manifest.hash)

    @property
    def head(self) -> tuple[int, str]:
        """Return the last position and hash of the restored chain; for an empty chain, 0 and the manifest's hash."""
        last_hash = self.chain.head_hash
        return self.chain.last_position, self.manifest.hash if last_hash is None else last_hash.hex()


def restore(
    file: File,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Make a ledger from a backup, build its read models, and verify its chain.

    The database must not have a ledger yet. First the whole file is checked. A restore that is interrupted leaves no
    ledger behind. It needs the rights that migrate needs. Exit code 1 if the restored chain does not hold.
    """
    settings = configured(config, database_url=database_url, data_dir=data_dir)
    with progress() as on_progress, Backup(file) as backup:
        backup.check(on_progress)
        with opened(settings, make=True) as url:
            result = _restore(url, backup, on_progress)
    _show(result, as_json=as_json)
    if not result.ok:
        raise typer.Exit(FOUND_WRONG)


def _restore(url: Url, backup: Backup, on_progress: OnProgress) -> Result:
    with connect(url, None) as conn:
        with watched(url, conn, note):
            done = backup.restore(conn, on_progress)
        make_logins(conn, url)
        grants = _grants(backup.manifest, read_logins(conn))
    with connect(url, "owner") as conn:
        tell_former(record_former_tokens(conn))
    rebuilt = rebuild_outdated(url, on_progress=on_progress)
    with connect(url, "verifier") as conn:
        helpers = Helpers(conninfo(url, "verifier", tcp_user_timeout="0"))
        chain = verify_chain(
            conn, on_progress=lambda done, in_all: on_progress("verifying", done, in_all), helpers=helpers
        )
    later = [name for name in done.applied if name not in backup.manifest.migrations]
    return Result(backup.manifest, chain, later, [report.name for report in rebuilt], grants)


def _grants(manifest: Manifest, present: dict[str, tuple[str, ...]]) -> list[str]:
    grant = sql.SQL("GRANT {} TO {}")
    return [
        grant.format(sql.Identifier(role), sql.Identifier(login)).as_string(None)
        for role, logins in manifest.logins.items()
        for login in logins
        if login not in present.get(role, ())
    ]


def _show(result: Result, *, as_json: bool) -> None:
    position, last_hash = result.head
    if as_json:
        say_json(
            {
                "ok": result.ok,
                "origin": result.manifest.origin,
                "position": position,
                "hash": last_hash,
                "made_at": result.manifest.made_at,
                "migrations_applied": result.applied,
                "read_models": result.read_models,
                "findings": [str(finding) for finding in result.chain.findings],
                "grants": result.grants,
            }
        )
        return
    manifest = result.manifest
    say(f"ledger {manifest.origin}, as backed up at {manifest.made_at:%Y-%m-%d %H:%M:%S} UTC")
    for name in result.applied:
        say(f"applied {name}, which is newer than the backup")
    say(f"built {', '.join(result.read_models)}")
    say(f"{counted(result.chain.events, 'event')}, last hash {last_hash}")
    for finding in result.chain.findings:
        say(f"  {finding}")
    say("verified: the chain holds, and ends as the backup says" if result.ok else _failed(result))
    for grant in result.grants:
        note(f"as before the backup, if you want it so: {grant}")
    note("erasures after the backup are undone: run advice-ledger erasures reapply before anybody works here")
    note("the signing key is not in a backup: docs/operate/backup.md says how to go on signing")


def _failed(result: Result) -> str:
    if not result.chain.ok:
        return "FAILED: the chain in the backup does not hold; advice-ledger verify says more"
    return f"FAILED: the backup says position {result.manifest.position}, last hash {result.manifest.hash}"
