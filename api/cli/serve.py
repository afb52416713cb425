"""advice-ledger serve: database, migrations, read models, tokens, then the HTTP server."""

from __future__ import annotations

import copy
import logging
import socket
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli import options_agents, options_endorsers, options_witness
from api.cli.keys import NOTHING_SIGNED, KeyFile, KeyState, Place, origin_of, place
from api.cli.orphans import AFTER_S, MOST_S
from api.cli.schema import bring_up, check_ready
from api.cli.serving import GRACE_S, base_url, bound, cannot_listen, is_loopback, log_to_stderr, run_server
from api.cli.shared import CannotRun, DatabaseUrl, DataDir, note, opened, progress, say
from api.cli.sign import SignEvents, SignEvery
from api.http.auth import tokens
from api.postgres.connect import RoleDenied, connect
from ledger.domain.policy import BadPolicy
from ledger.proof.tlog.note import SigningKey
from ledger.service.policies import Policies
from ledger.tlog.endorse.timestamp_client import EVERY_S as EVERY_STAMP_S
from ledger.tlog.sign import keys
from ledger.tlog.sign.signer_thread import EVENTS, EVERY_S, SigningConfig
from ledger.verify.continuous import RATE, VerificationConfig
from schema.migrate import NotPermitted

if TYPE_CHECKING:
    from api.services import Parts

ANY_CHECKPOINT = "SELECT EXISTS (SELECT FROM checkpoints)"

Host = Annotated[str, typer.Option(metavar="ADDRESS", help="Listen here; 0.0.0.0 or :: is every address.")]
Port = Annotated[int, typer.Option(min=0, max=65535, metavar="NUMBER", help="Listen here; 0 takes a free port.")]
Worker = Annotated[bool, typer.Option("--worker/--no-worker", help="Answer queued requests, by asking an agent.")]
AccessLog = Annotated[
    bool, typer.Option("--access-log", help="Log each request: method, path without its query, status.")
]

FourEyes = Annotated[
    Path | None,
    typer.Option(
        "--four-eyes-policy",
        envvar="ADVICE_LEDGER_FOUR_EYES_POLICY",
        metavar="FILE",
        show_default=False,
        help="Which decisions need a second person, as JSON. Default: the policy that comes with the program.",
    ),
]
ReasonCodes = Annotated[
    Path | None,
    typer.Option(
        "--reason-codes",
        envvar="ADVICE_LEDGER_REASON_CODES",
        metavar="FILE",
        show_default=False,
        help="The reasons that a decision may give, as JSON. Default: the list that comes with the program.",
    ),
]
OrphanAfter = Annotated[
    float,
    typer.Option(
        "--orphan-after",
        envvar="ADVICE_LEDGER_ORPHAN_AFTER",
        min=0,
        max=MOST_S,
        metavar="SECONDS",
        help="Count a model call that has been open for so long as an orphan, in the metrics.",
    ),
]

VerifyRate = Annotated[
    int,
    typer.Option(
        "--verify-rate",
        envvar="ADVICE_LEDGER_VERIFY_RATE",
        min=0,
        metavar="EVENTS",
        help="Check the whole chain again and again in the background, so many events a second; 0 does not.",
    ),
]

INTRODUCTION = """\
A token for each role. They are shown only now; "advice-ledger tokens" makes and revokes more.
Paste these lines into the terminal that you want to work in:

{exports}

Then request a recommendation, and read the newest request:

curl -i {base}/portfolio/recommendations \\
  -H "Authorization: Bearer $ADVISOR" -H 'Content-Type: application/json' \\
  -d '{{"client_id": "client-1", "risk_profile": "balanced", "amount_usd": "250000.00"}}'

curl '{base}/portfolio/requests?limit=1' -H "Authorization: Bearer $ADVISOR"
"""


class PathOnly(logging.Filter):
    """Cuts the query off the path in uvicorn's access log: filters such as client_id are personal data."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Changes the record; keeps all."""
        if isinstance(record.args, tuple) and len(record.args) == 5:
            client, method, path, *rest = record.args
            record.args = (client, method, str(path).partition("?")[0], *rest)
        return True


def serve(  # noqa: PLR0913, PLR0917 - each option is an argument
    ctx: typer.Context,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    worker: Worker = True,
    agent: options_agents.AgentName = "builtin",
    agent_url: options_agents.AgentUrl = None,
    agent_model: options_agents.AgentModel = None,
    agent_until: options_agents.AgentUntil = None,
    four_eyes_policy: FourEyes = None,
    reason_codes: ReasonCodes = None,
    orphan_after: OrphanAfter = AFTER_S,
    key: KeyFile = None,
    key_state: KeyState = None,
    sign_every: SignEvery = EVERY_S,
    sign_events: SignEvents = EVENTS,
    witness: options_endorsers.Witnesses = None,
    witness_quorum: options_endorsers.Quorum = None,
    timestamp_authority: options_endorsers.TimestampAuthority = None,
    timestamp_ca: options_endorsers.TimestampCa = None,
    timestamp_every: options_endorsers.TimestampEvery = EVERY_STAMP_S,
    witness_for_: options_witness.WitnessFor = None,
    witness_key: options_witness.WitnessKeyFile = None,
    witness_state: options_witness.WitnessStatePlace = None,
    verify_rate: VerifyRate = RATE,
    access_log: AccessLog = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Run the HTTP API and the worker. Ctrl-C or SIGTERM ends it, and the embedded PostgreSQL with it.

    Makes or upgrades the ledger first. On a loopback address, a ledger without tokens gets one for each role, shown
    once; on any other address it must have tokens already.
    """
    from api.services import Parts  # noqa: PLC0415 - the other commands need not wait for it

    log_to_stderr()
    policies = read_policies(four_eyes_policy, reason_codes)
    endorsers = options_endorsers.endorsers(witness, witness_quorum, timestamp_authority, timestamp_ca, timestamp_every)
    settings = partial(Parts, run_worker=worker, policies=policies, orphan_after_s=orphan_after, endorsers=endorsers)
    asked = options_agents.make(agent, agent_url, agent_model, agent_until) if worker else None
    if asked is not None:
        settings = partial(settings, make_agent=lambda: asked)
    offer = options_witness.offered(witness_for_, witness_key, witness_state)
    where = place(ctx, key, key_state, database_url, data_dir)
    with bound(host, port) as listener, opened(ctx, database_url, data_dir, make=True, supervise=True) as url:
        base = base_url(host, listener)
        prepare(url)
        make = partial(SigningConfig, every_s=sign_every, events=sign_events)
        signing = signing_with(where, url, make, own=key is None)
        with options_witness.opened(offer, url) as mine:
            welcome(url, base, local=is_loopback(listener))
            if signing is None:
                note(NOTHING_SIGNED)
            if asked is not None:
                note(f"requests are answered by {asked.name} {asked.version}")
            verification = verification_with(signing, verify_rate)
            made = settings(url, signing=signing, verification=verification, witness=mine)
            run(made, listener, access_log=access_log, on_start=lambda: note(f"serving on {base}"))
    note("stopped")


def verification_with(signing: SigningConfig | None, rate: int) -> VerificationConfig | None:
    """How to check the chain in the background; with our own key, where there is one, also what was signed."""
    if not rate:
        return None
    return VerificationConfig(rate=rate, keys=(signing.key.verifier,) if signing is not None else ())


def signing_with(
    where: Place | None, url: str, make: Callable[[SigningKey, Path], SigningConfig], *, own: bool
) -> SigningConfig | None:
    """What to sign with; None where there is no key. Beside our `own` database one is made, unless it had one before.

    Raises KeyUnusable for a key that was given and cannot be used.
    """
    if where is None:
        return None
    if own and where.path is not None and not where.path.exists():
        with connect(url, "reader") as conn:
            if where.state.exists() or conn.execute(ANY_CHECKPOINT).fetchone() == (True,):
                note(f"checkpoints were signed with {where.path}, which is gone: put it back")
                return None
            made = keys.generate(origin_of(conn), where.path)
        note(f"made {where.path}, which signs the log; give those who verify it: {made.verifier.text}")
    return make(where.key(), where.state)


def read_policies(four_eyes: Path | None, reason_codes: Path | None) -> Policies:
    """Those in the files, or the packaged ones. Raises CannotRun."""
    try:
        return Policies.of(four_eyes, reason_codes)
    except BadPolicy as error:
        raise CannotRun(" ".join(str(error).split())) from error


def prepare(url: str) -> None:
    """Migrates and builds read models; with a login that may not, checks that there is nothing to do."""
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


def welcome(url: str, base: str, *, local: bool) -> None:
    """Sees to it that somebody can call, and shows new tokens: their only appearance. Raises CannotRun."""
    try:
        conn = connect(url, "owner")
    except RoleDenied:
        note("this login may not see the tokens; whoever calls needs one: advice-ledger tokens create")
        return
    with conn:
        made = tokens.create_first(conn) if local else {}
        if made:
            say(_introduction(made, base))
        elif tokens.counts(conn).active == 0:
            advice = "make one first: advice-ledger tokens create NAME --role ROLE, with the same database options"
            if not local:
                raise CannotRun(f"nobody has a token, and others can reach this address; {advice}")
            note(f"every token is revoked, so nobody can call; {advice}")


def run(parts: Parts, listener: socket.socket, *, access_log: bool, on_start: Callable[[], None]) -> None:
    """Serves until a signal ends it. Raises CannotRun when it does not come up."""
    import uvicorn  # noqa: PLC0415 - the other commands need not wait for the web framework

    from api.app import create_app  # noqa: PLC0415

    app = create_app(parts)
    log = copy.deepcopy(uvicorn.config.LOGGING_CONFIG)
    log["handlers"]["access"]["stream"] = "ext://sys.stderr"  # stdout is for what people paste
    config = uvicorn.Config(
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


def _introduction(made: Mapping[str, str], base: str) -> str:
    exports = "\n".join(f"export {role.upper()}={token}" for role, token in made.items())
    return INTRODUCTION.format(exports=exports, base=base)
