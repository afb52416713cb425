"""advice-ledger serve: database, migrations, read models, tokens, then the HTTP server."""

from __future__ import annotations

import copy
import logging
import os
import socket
from collections.abc import Callable
from functools import partial
from typing import Annotated

import typer
import uvicorn

from api.app import create_app
from api.cli import assemble, hosted_witness
from api.cli.bars import progress
from api.cli.configure import configured, data_folder, opened
from api.cli.first_tokens import ensure_tokens
from api.cli.keys import NOTHING_SIGNED, KeyFile, place
from api.cli.recording import ensure_recorder
from api.cli.schema import bring_up, check_ready, is_up_to_date
from api.cli.serving import GRACE_S, base_url, bound, cannot_listen, is_loopback, run_server
from api.cli.shared import CannotRun, ConfigFile, DatabaseUrl, DataDir, note
from api.cli.signing import signing_config, verification_config
from api.http.server import server_config
from api.jobs.kinds import KINDS
from api.malloc import configure_malloc
from api.postgres.connect import connect
from api.postgres.embedded import default_data_dir
from api.postgres.privileged import privileged_logins, warning
from api.services import Parts
from api.setting_types import Agent
from api.settings import Settings
from ledger.background import log_to_stderr
from ledger.database import Url
from ledger.store.durability import read_acknowledged
from projections.objects import changed_objects
from schema.errors import NotPermitted

# The most characters that are shown of a list of changed objects.
MOST_CHARS = 1000

Host = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        show_default=False,
        help="The address to listen on; 0.0.0.0 or :: is every address. Default: 127.0.0.1.",
    ),
]
Port = Annotated[
    int | None,
    typer.Option(
        metavar="NUMBER", show_default=False, help="The port to listen on; 0 takes a free port. Default: 8000."
    ),
]
Worker = Annotated[
    bool | None,
    typer.Option(
        "--worker/--no-worker",
        show_default=False,
        help="Answer queued requests, by asking an agent. Default: --worker.",
    ),
]
AgentName = Annotated[
    Agent | None,
    typer.Option(
        "--agent",
        show_default=False,
        help="The agent that the worker asks. Default: builtin. optimiser needs the extra optimise.",
    ),
]
AccessLog = Annotated[
    bool | None,
    typer.Option("--access-log", help="Log each request: method, path without its query, status."),
]
ReadOnly = Annotated[
    bool | None,
    typer.Option(
        "--read-only",
        help="Only read, for example from a standby: nothing is recorded, migrated, answered or signed.",
    ),
]


class PathOnly(logging.Filter):
    """Cut the query off the path in uvicorn's access log: filters such as client_id are personal data."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record; keep all records."""
        if isinstance(record.args, tuple) and len(record.args) == 5:
            client, method, path, *rest = record.args
            record.args = (client, method, str(path).partition("?")[0], *rest)
        return True


def serve(  # noqa: PLR0913, PLR0917 - each option is an argument
    host: Host = None,
    port: Port = None,
    worker: Worker = None,
    agent: AgentName = None,
    key: KeyFile = None,
    access_log: AccessLog = None,
    read_only: ReadOnly = None,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Run the HTTP API and the worker.

    It makes or upgrades the ledger first. On a loopback address, a ledger without tokens gets one for each role, shown
    on a terminal or kept in a file; on any other address it must have tokens already. Ctrl-C or SIGTERM ends it, and
    the embedded PostgreSQL with it. docs/operate/settings.md has the other settings, for file and environment.
    """
    configure_malloc()
    log_to_stderr()
    settings = configured(
        config,
        host=host,
        port=port,
        worker=worker,
        agent=agent,
        key_file=key,
        access_log=access_log,
        read_only=read_only,
        database_url=database_url,
        data_dir=data_dir,
    )
    if settings.read_only:
        only_read(settings)
    else:
        record(settings)
    note("stopped")


def record(settings: Settings) -> None:
    """Prepare the ledger, and serve reads and writes with all background work until a signal ends it."""
    worker_agent = assemble.agent(settings) if settings.worker else None
    parts = partial(
        Parts,
        # On one core, a second process would only take memory.
        projector="process" if (os.cpu_count() or 1) > 1 else "thread",
        run_worker=worker_agent is not None,
        job_kinds=KINDS,
        erasures_file=settings.erasures_file,
        job_files=assemble.job_files(settings),
        webhooks=assemble.webhooks(settings),
        mail=assemble.mail(settings),
        link_base=assemble.link_base(settings),
        policies=assemble.policies(settings),
        registration=assemble.registration(settings),
        orphan_after_s=settings.orphan_after,
        root_path=settings.root_path or "",
        public_origins=settings.public_origins,
        identity_provider=assemble.identity_provider(settings),
        endorsers=assemble.endorsers(settings),
    )
    if worker_agent is not None:
        parts = partial(parts, make_agent=lambda: worker_agent)
    offer = hosted_witness.offered(settings)
    where = place(settings)
    with bound(settings.host, settings.port) as listener, opened(settings, make=True, supervise=True) as url:
        base = base_url(settings.host, listener)
        prepare(url)
        signing = signing_config(settings, where, url)
        with hosted_witness.opened(offer, url) as witness:
            folder = data_folder(settings) or default_data_dir()
            known = () if signing is None else signing.known_events()
            ensure_tokens(url, base, folder, local=is_loopback(listener), known=known)
            # Do this after the first subjects, because events before the first registration need no attestation.
            recorder = ensure_recorder(settings, url)
            if signing is None:
                note(NOTHING_SIGNED)
            if worker_agent is not None:
                note(f"requests are answered by {worker_agent.name} {worker_agent.version}")
            verification = verification_config(settings, signing)
            run(
                parts(url, signing=signing, recorder=recorder, verification=verification, witness=witness),
                listener,
                access_log=settings.access_log,
                on_start=lambda: note(f"serving on {base}"),
            )


def only_read(settings: Settings) -> None:
    """Serve reads until a signal ends the server. The ledger must be ready: on a standby nothing can be built."""
    if settings.witness_logs:
        raise CannotRun("a server that only reads is no witness: leave witness_logs out, or run advice-ledger witness")
    with bound(settings.host, settings.port) as listener, opened(settings) as url:
        check_ready(url)
        parts = Parts(
            url,
            read_only=True,
            projector="none",
            run_worker=False,
            orphan_after_s=settings.orphan_after,
            root_path=settings.root_path or "",
            endorsers=assemble.endorsers(settings),
            identity_provider=assemble.identity_provider(settings),
        )
        note("this server only reads: writes are refused with 405 read-only")
        base = base_url(settings.host, listener)
        run(parts, listener, access_log=settings.access_log, on_start=lambda: note(f"serving on {base}"))


def prepare(url: Url) -> None:
    """Migrate and build read models, or check that this is not needed.

    Print what "acknowledged" means on this server. Warn of logins with too many rights, and of objects of the database
    that are not of this version: they stay as they are, as evidence.
    """
    migrate_or_check(url)
    tell_durability(url)
    with connect(url, "reader") as conn:
        if changed := ", ".join(changed_objects(conn)):
            note(f"warning: not as this version makes it: {changed[:MOST_CHARS]}; advice-ledger verify says more")
        for login in privileged_logins(conn, url):
            note(f"warning: {warning(login)}")


def migrate_or_check(url: Url) -> None:
    """Migrate and build read models if needed. With a login that may not do it, refuse to continue.

    The owner's rights are used only if needed.
    """
    if is_up_to_date(url):
        return
    try:
        with progress() as on_progress:
            done = bring_up(url, None, on_progress)
    except NotPermitted:
        check_ready(url)
        return
    if done.applied:
        note(f"ledger {done.origin}: applied {', '.join(done.applied)}")
    for report in done.rebuilt:
        note(f"ledger {done.origin}: built {report.name} up to position {report.position}")


def tell_durability(url: Url) -> None:
    """Print which failures an acknowledged event survives on this server, and warn of settings that weaken this."""
    with connect(url, "writer") as conn:
        acknowledged = read_acknowledged(conn)
    if acknowledged is not None:
        note(f"acknowledged means: {acknowledged.meaning} (docs/operate/durability.md)")
        for text in acknowledged.warnings:
            note(f"warning: {text}")


def run(parts: Parts, listener: socket.socket, *, access_log: bool, on_start: Callable[[], None]) -> None:
    """Serve until a signal ends it. Raises CannotRun if the application does not start."""
    app = create_app(parts)
    log = copy.deepcopy(uvicorn.config.LOGGING_CONFIG)
    log["handlers"]["access"]["stream"] = "ext://sys.stderr"  # stdout is for text that people paste
    config = server_config(
        app, log_config=log, log_level="info", access_log=access_log, timeout_graceful_shutdown=GRACE_S
    )
    logging.getLogger("uvicorn.access").addFilter(PathOnly())
    try:
        run_server(config, listener, on_start)
    except SystemExit as error:
        raise CannotRun("the application did not start: the reason is above") from error
    except OSError as error:
        host, port = listener.getsockname()[:2]
        raise cannot_listen(host, port, error) from error
