"""advice-ledger status: the state of the chain, its read models and its transparency log."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

import psycopg
import typer

from api.cli import assemble, orphans, status_reasons, status_tlog
from api.cli.configure import configured, opened
from api.cli.keys import KeyFile, Place, place
from api.cli.shared import FOUND_WRONG, AsJson, CannotRun, ConfigFile, DatabaseUrl, DataDir, say, say_json, say_table
from api.cli.status_tlog import LogState
from api.cli.status_writer import acknowledged, try_append
from api.postgres.connect import RoleDenied, connect
from api.postgres.privileged import privileged_logins, warning
from ledger.database import Connection, Url
from ledger.store.durability import Acknowledged
from ledger.store.head import read_head
from ledger.tlog.quorum import WitnessPolicy
from ledger.wording import counted
from projections.health import (
    QUEUE,
    READ_MODELS_LAG,
    RECENT_CALLS,
    CallCount,
    Queue,
    ReadModelLag,
    failing_agents,
)
from projections.objects import changed_objects, setting_warnings
from projections.rebuild import outdated_read_models
from projections.registry import all_models
from projections.set_aside import SetAside, listed
from schema.migrate import pending

# The first of these roles in which the login may act. The owner comes last, because it can do more than read.
ROLES = ("reader", "verifier", "owner")

EXISTS = "SELECT to_regclass(%s) IS NOT NULL"
CREDENTIALS = (
    "SELECT count(*) FILTER (WHERE good), count(*) FILTER (WHERE NOT good) FROM"
    " (SELECT revoked_at IS NULL AND (ends_at IS NULL OR ends_at > now()) AS good FROM credentials) c"
)


@dataclass(frozen=True)
class CredentialCounts:
    """The numbers of credentials that are valid, revoked, replaced and expired."""

    good: int
    ended: int


@dataclass(frozen=True)
class ReadModel:
    """The state of a read model. `lag` counts events not yet folded. Without a table, it and `position` are None."""

    name: str
    state: Literal["ok", "never built", "outdated", "stopped"]
    position: int | None
    lag: int | None
    error: str | None
    stalled_s: float | None = None


@dataclass(frozen=True)
class Status:
    """The state of a ledger. A member is None if this login may not see it. The time of an empty chain is None, too."""

    ok: bool
    # Reasons of `/readyz` about read models, signing and agents. Each makes the exit code 1.
    reasons: list[str]
    warnings: list[str]
    origin: str
    position: int
    hash: str
    recorded_at: datetime | None
    read_models: list[ReadModel]
    migrations_pending: list[str] | None
    # "ok", or the reason for which an append fails.
    recording: str | None
    # The failures that an acknowledged event survives; None on a standby.
    acknowledged: Acknowledged | None
    requests_queued: int | None
    requests_queued_oldest_s: float | None
    agents_failing: list[str] | None
    # None for a database that an older version migrated.
    streams_set_aside: list[SetAside] | None
    model_calls_orphaned: int | None
    # None if the read model was never built.
    credentials: CredentialCounts | None
    # Functions, triggers, grants and so on that differ from this version's.
    objects_changed: list[str]
    log: LogState | None
    # The logins of these settings that have more rights than a server needs.
    privileged_logins: list[str]


def status(
    key: KeyFile = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Show the state of the chain, its read models and its transparency log.

    Also what "acknowledged" means on this server, the number of queued requests, of model calls without an end and of
    credentials, the agents whose last calls all failed, the streams that a read model cannot show, and the pending
    migrations. Exit code 1 if an append fails, a read model is stopped, missing or outdated, does not move although
    events wait, or cannot show a stream, nothing is signed although events wait, all last calls of an agent failed, an
    object of the database is not of this version, a migration is pending, a key rotation was not finished, or the
    database does not continue what was signed last.
    """
    settings = configured(config, key_file=key, database_url=database_url, data_dir=data_dir)
    policy = assemble.endorsers(settings).policy
    where = place(settings, state_needed=False)  # only the place of the key counts
    with opened(settings) as url, _connected(url) as conn:
        state = look(conn, policy, where, settings.orphan_after, settings.sign_every)
        state = replace(state, recording=try_append(url), acknowledged=acknowledged(url, conn))
        sound = state.ok and state.recording in {None, "ok"}
        state = replace(state, ok=sound, privileged_logins=privileged_logins(conn, url))
    if as_json:
        say_json(state)
    else:
        _show(state, settings.orphan_after)
    if not state.ok:
        raise typer.Exit(FOUND_WRONG)


def look(
    conn: Connection, policy: WitnessPolicy, key: Place | None, orphan_after_s: float, sign_every_s: float
) -> Status:
    """Read the state of a ledger, as far as the connection's role may see it."""
    head = read_head(conn)
    if head is None:
        raise CannotRun("this ledger has no head row: run advice-ledger migrate")
    stale = {read_model.name for read_model in outdated_read_models(conn)}
    lags = {row[0]: ReadModelLag(*row) for row in conn.execute(READ_MODELS_LAG).fetchall()}
    read_models = [_read_model(model.name, lags.get(model.name), model.name in stale) for model in all_models()]
    queue, calls = _queue(conn), _calls(conn)
    aside = _set_aside(conn)
    lacking = _pending(conn)
    log = status_tlog.look(conn, policy, key)
    objects = changed_objects(conn)
    contradicted = log is not None and log.signed_last is not None and log.signed_last.contradiction is not None
    reasons = list(status_reasons.reasons(list(lags.values()), calls or [], log, sign_every_s))
    unsound = bool(reasons) or bool(objects) or contradicted or (log is not None and bool(log.rotation_pending))
    return Status(
        ok=not lacking and not unsound and not aside and all(read_model.state == "ok" for read_model in read_models),
        reasons=reasons,
        warnings=[*status_reasons.warnings(log), *setting_warnings(conn)],
        origin=head.origin,
        position=head.position,
        hash=head.hash.hex(),
        recorded_at=head.recorded_at if head.position else None,
        read_models=read_models,
        migrations_pending=lacking,
        recording=None,
        acknowledged=None,
        requests_queued=queue and queue.requests,
        requests_queued_oldest_s=queue and queue.oldest_s,
        agents_failing=None if calls is None else failing_agents(calls),
        streams_set_aside=aside,
        model_calls_orphaned=orphans.count(conn, orphan_after_s),
        credentials=_credentials(conn),
        objects_changed=objects,
        log=log,
        privileged_logins=[],
    )


def _connected(url: Url) -> Connection:
    for role in ROLES[:-1]:
        try:
            return connect(url, role)
        except RoleDenied:
            continue
    return connect(url, ROLES[-1])


def _read_model(name: str, lag: ReadModelLag | None, stale: bool) -> ReadModel:
    if lag is None:
        return ReadModel(name, "never built", None, None, None)
    return ReadModel(
        name,
        "stopped" if lag.error else "outdated" if stale else "ok",
        lag.position,
        lag.lag,
        lag.error,
        lag.stalled_s,
    )


def _pending(conn: Connection) -> list[str] | None:
    try:
        return pending(conn)
    except psycopg.errors.InsufficientPrivilege:
        return None


def _queue(conn: Connection) -> Queue | None:
    if conn.execute(EXISTS, ["portfolio_requests"]).fetchone() != (True,):
        return None
    return Queue(*conn.execute(QUEUE).fetchall()[0])


def _set_aside(conn: Connection) -> list[SetAside] | None:
    if conn.execute(EXISTS, ["streams_set_aside"]).fetchone() != (True,):
        return None
    return listed(conn)


def _calls(conn: Connection) -> list[CallCount] | None:
    if conn.execute(EXISTS, ["model_calls"]).fetchone() != (True,):
        return None
    return [CallCount(*row) for row in conn.execute(RECENT_CALLS).fetchall()]


def _credentials(conn: Connection) -> CredentialCounts | None:
    if conn.execute(EXISTS, ["credentials"]).fetchone() != (True,):
        return None
    return CredentialCounts(*conn.execute(CREDENTIALS).fetchall()[0])


def _queued(status: Status) -> str:
    if status.requests_queued is None:
        return "unknown"
    oldest_s = status.requests_queued_oldest_s
    return f"{status.requests_queued}, the oldest {status_tlog.aged(oldest_s)}" if status.requests_queued else "0"


def _orphans(number: int | None, after_s: float) -> str:
    if number is None:
        return "unknown"
    listed = "; advice-ledger orphans lists them" if number else ""
    return f"{counted(number, 'model call')} open for {after_s:g} s or longer{listed}"


def _objects(changed: list[str]) -> str:
    if not changed:
        return "all are of this version"
    return f"{len(changed)} are not of this version: {changed[0]}; advice-ledger verify names all"


def _show(status: Status, orphan_after_s: float) -> None:
    unseen = "not visible to this login"
    at = f" at {status.recorded_at:%Y-%m-%d %H:%M:%S} UTC" if status.recorded_at else ", empty"
    say(f"ledger   {status.origin}")
    say(f"head     position {status.position}{at}")
    say(f"hash     {status.hash}")
    say(f"appends  {status.recording or 'not tried: a standby, or this login may not append'}")
    say(f"durable  acknowledged means: {status.acknowledged.meaning if status.acknowledged else 'nothing, a standby'}")
    for text in status.acknowledged.warnings if status.acknowledged else ():
        say(f"         warning: {text}")
    say(f"queued   {_queued(status)}")
    say(f"orphans  {_orphans(status.model_calls_orphaned, orphan_after_s)}")
    known = status.credentials
    say(f"callers  {f'{known.good} good credentials, {known.ended} ended' if known else 'not known'}")
    for line in status_tlog.lines(status.log):
        say(line)
    say(f"objects  {_objects(status.objects_changed)}")
    migrations = status.migrations_pending
    say(f"pending  {unseen if migrations is None else ', '.join(migrations) or 'no migration'}")
    say("")
    rows = [
        (
            model.name,
            model.state,
            *("-" if value is None else value for value in (model.position, model.lag, model.error)),
        )
        for model in status.read_models
    ]
    say_table(("read model", "state", "position", "lag", "error"), rows)
    for reason in status.reasons:
        say(f"\n{reason}")
    for text in status.warnings:
        say(f"\nwarning: {text}")
    for aside in status.streams_set_aside or ():
        say(f"\n{aside}")
    if any(model.state != "ok" for model in status.read_models):
        say("\nadvice-ledger rebuild builds them anew")
    if migrations:
        say("\nadvice-ledger migrate applies what is pending")
    for login in status.privileged_logins:
        say(f"\nwarning: {warning(login)}")
