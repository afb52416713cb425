"""advice-ledger verify: recompute the whole chain, and compare read models and objects of the database with it."""

from __future__ import annotations

from typing import Annotated

import typer

from api.cli.bars import OnProgress, progress
from api.cli.configure import configured, opened
from api.cli.shared import FOUND_WRONG, AsJson, ConfigFile, DatabaseUrl, DataDir, say_json
from api.cli.trusted import trusted_checkpoints
from api.cli.verify_report import Result, show
from api.cli.verify_report import as_json as result_as_json
from api.postgres.connect import connect
from ledger.database import Connection, conninfo
from ledger.proof.findings import MOST_FINDINGS
from ledger.store.head import read_clocks
from ledger.verify.database import verify_chain
from ledger.verify.helpers import Helpers
from ledger.verify.objects import role_members
from ledger.verify.trusted_checkpoints import TrustedCheckpoints
from projections.compare import ReadModelCheck, check
from projections.objects import changed_objects, says_other_version, setting_warnings
from projections.registry import all_models

WithProjections = Annotated[
    bool,
    typer.Option(
        "--projections/--no-projections",
        help="Fold every read model again, and report each row that differs. Without, the chain alone is quicker.",
    ),
]
MaxFindings = Annotated[
    int,
    typer.Option(
        min=1,
        max=MOST_FINDINGS,
        metavar="NUMBER",
        help=f"How many findings, and differing rows of each read model, to show; at most {MOST_FINDINGS}.",
    ),
]

Since = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FILE",
        show_default=False,
        help="A trusted checkpoint, kept elsewhere: the ledger must still have its events. May be given repeatedly.",
    ),
]
OnlyNew = Annotated[
    bool,
    typer.Option(
        "--only-new",
        help="Do not read the events that the newest checkpoint in --since covers: compare only the tree with it.",
    ),
]
Key = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY|FILE",
        show_default=False,
        help="A verifier key of the ledger that you trust. May be given repeatedly. Default: this installation's own.",
    ),
]
Witness = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY|FILE",
        show_default=False,
        help="A witness that must have cosigned a checkpoint. May be given repeatedly.",
    ),
]
Policy = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        show_default=False,
        help="JSON: log and witnesses, lists of keys, and witnesses_needed, a number.",
    ),
]
Attested = Annotated[
    bool,
    typer.Option("--attested", help="Fail unless a registered recording key attests each event: --attested-from 1."),
]
AttestedFrom = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="POSITION",
        show_default=False,
        help="Fail unless a registered recording key attests each event from this position on.",
    ),
]


def verify(  # noqa: PLR0913, PLR0917 - each option is an argument
    projections: WithProjections = True,
    since: Since = None,
    only_new: OnlyNew = False,
    key: Key = None,
    witness: Witness = None,
    policy: Policy = None,
    attested: Attested = False,
    attested_from: AttestedFrom = None,
    max_findings: MaxFindings = 20,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Recompute the whole chain and report what is wrong. You trust this program and the database's answers.

    Every hash and commitment is computed again from the rows; every checkpoint, every stored tile and every row of a
    read model is compared with them. Each finding has a kind and a position. Functions, triggers, grants, tables and
    views must be those of this version. Only a signature by a key that you trust makes events "verified":
    give --key and --since, or the key of this installation is used, and its state file in any case. Reads the database
    in one snapshot, as the role verifier, while others go on writing. Exit code 1 if something does not hold; 0 also if
    nothing is wrong and nothing is signed, which the last line says; 2 if a file or the database cannot be read.
    """
    settings = configured(config, database_url=database_url, data_dir=data_dir)
    trusted = trusted_checkpoints(settings, since or (), key or (), witness or (), policy, only_new=only_new)
    with opened(settings) as url, connect(url, "verifier") as conn, progress() as on_progress:
        helpers = Helpers(conninfo(url, "verifier", tcp_user_timeout="0"))
        needed_from = 1 if attested else attested_from
        result = _check(
            conn, on_progress, trusted, helpers, projections=projections, most=max_findings, attested_from=needed_from
        )
    if as_json:
        say_json(result_as_json(result, max_findings))
    else:
        show(result, max_findings)
    if not result.ok:
        raise typer.Exit(FOUND_WRONG)


def _check(
    conn: Connection,
    on_progress: OnProgress,
    trusted: TrustedCheckpoints,
    helpers: Helpers,
    *,
    projections: bool,
    most: int,
    attested_from: int | None,
) -> Result:
    def tell(done: int, in_all: int) -> None:
        on_progress("events", done, in_all)

    chain = verify_chain(conn, on_progress=tell, trusted=trusted, helpers=helpers, attested_from=attested_from)
    checked: list[ReadModelCheck] = []
    for read_model in all_models() if projections else ():
        on_progress("read models", len(checked), len(all_models()))
        checked.append(check(conn, read_model, most=most))
    followed = tuple(key.text for key in trusted.followed)
    return Result(
        chain,
        tuple(checked),
        changed_objects(conn),
        says_other_version(conn),
        role_members(conn),
        followed,
        read_clocks(conn),
        setting_warnings(conn),
    )
