"""advice-ledger verify: recompute the whole chain, and on request every read model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from api.cli.bars import OnProgress, progress
from api.cli.configure import configured, opened
from api.cli.shared import FOUND_WRONG, AsJson, CannotRun, ConfigFile, DatabaseUrl, DataDir, say, say_json
from api.postgres.connect import connect
from ledger.database import Connection
from ledger.proof.findings import CHAIN, MOST_FINDINGS, first_bad_position
from ledger.proof.tlog.trust import Unusable, read_note, trust
from ledger.store.head import Clocks, read_clocks
from ledger.verify.database import verify_chain
from ledger.verify.report import ChainReport
from ledger.verify.trusted_checkpoints import NamedNote, TrustedCheckpoints
from projections.compare import ReadModelCheck, check
from projections.registry import READ_MODELS

# The last steps: the one that takes checkpoints and keys, and the one about read models.
CHECKPOINTS_STEP, PROJECTIONS_STEP = len(CHAIN.steps) - 1, len(CHAIN.steps)
NOT_CHECKED = "not checked, give --key and --since"

WithProjections = Annotated[
    bool, typer.Option("--projections", help="Also fold every read model again, and report each row that differs.")
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
Key = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY|FILE",
        show_default=False,
        help="A verifier key of the ledger that you trust. May be given repeatedly.",
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


@dataclass(frozen=True)
class Result:
    """The results. `read_models` is empty unless --projections was given."""

    chain: ChainReport
    read_models: tuple[ReadModelCheck, ...]
    # Verifier keys that were not given, and that recorded rotations connect with a given one.
    followed: tuple[str, ...] = ()
    # The last event and the database's clock; None without a head.
    clocks: Clocks | None = None

    @property
    def ok(self) -> bool:
        """True if everything that was checked holds."""
        return self.chain.ok and all(map(holds, self.read_models))


def verify(  # noqa: PLR0913, PLR0917 - each option is an argument
    projections: WithProjections = False,
    since: Since = None,
    key: Key = None,
    witness: Witness = None,
    policy: Policy = None,
    max_findings: MaxFindings = 20,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Recompute the whole chain and report what is wrong. You trust this program and the database's answers.

    Every hash and commitment is computed again from the rows; each finding has a kind and a position. With a key and a
    trusted checkpoint, also check that this is still the history that was signed. Reads the database in one snapshot,
    as the role verifier, while others go on writing. Exit code 1 if something does not hold.
    """
    trusted = _trusted(since or (), key or (), witness or (), policy)
    settings = configured(config, database_url=database_url, data_dir=data_dir)
    with opened(settings) as url, connect(url, "verifier") as conn, progress() as on_progress:
        result = _check(conn, on_progress, trusted, projections=projections, most=max_findings)
    if as_json:
        say_json(_as_json(result, max_findings))
    else:
        _show(result, max_findings)
    if not result.ok:
        raise typer.Exit(FOUND_WRONG)


def holds(checked: ReadModelCheck) -> bool:
    """True if a read model follows the chain and agrees with it."""
    return checked.error is None and not checked.differences


def _trusted(
    since: Sequence[str], key: Sequence[str], witness: Sequence[str], policy: str | None
) -> TrustedCheckpoints | None:
    """The checkpoints to compare with; None if no option gives one. Raises CannotRun."""
    if not (since or key or witness or policy):
        return None
    try:
        trusted = trust(key, witness, policy)
        if not trusted.log:
            raise CannotRun(
                "a checkpoint proves something only with a key that you trust: give the verifier key with --key"
            )
        return TrustedCheckpoints(trusted, [NamedNote(name, read_note(name)) for name in since])
    except Unusable as error:
        raise CannotRun(str(error)) from error


def _check(
    conn: Connection, on_progress: OnProgress, trusted: TrustedCheckpoints | None, *, projections: bool, most: int
) -> Result:
    chain = verify_chain(conn, on_progress=lambda done, in_all: on_progress("events", done, in_all), trusted=trusted)
    checked: list[ReadModelCheck] = []
    for read_model in READ_MODELS if projections else ():
        on_progress("read models", len(checked), len(READ_MODELS))
        checked.append(check(conn, read_model, most=most))
    followed = () if trusted is None else tuple(key.text for key in trusted.followed)
    return Result(chain, tuple(checked), followed, read_clocks(conn))


def _more(chain: ChainReport, most: int) -> int:
    return chain.more + max(0, len(chain.findings) - most)


def _as_json(result: Result, most: int) -> dict[str, Any]:
    chain = result.chain
    return {
        "ok": result.ok,
        "origin": chain.origin,
        "events": chain.events,
        "first_position": chain.first_position,
        "last_position": chain.last_position,
        "head_hash": None if chain.head_hash is None else chain.head_hash.hex(),
        "sealed": {"opened": chain.opened, "erased": chain.erased},
        "first_bad_position": first_bad_position(chain.findings),
        "findings": [
            {
                "step": finding.step,
                "kind": finding.kind,
                "position": finding.position,
                "last_position": finding.last_position,
                "message": finding.message,
            }
            for finding in chain.findings[:most]
        ],
        "more_findings": _more(chain, most),
        "read_models": result.read_models,
        "covered_by_checkpoint": chain.covered,
        "followed_keys": result.followed,
        "not_proven": chain.not_proven,
        "head_ahead_s": result.clocks and result.clocks.ahead_s,
        "times_stand_still_since": result.clocks and result.clocks.since,
    }


def _show(result: Result, most: int) -> None:
    chain = result.chain
    say(f"ledger {chain.origin or '(without a head)'}")
    for number, promise in CHAIN.steps.items():
        if number == PROJECTIONS_STEP:
            break
        wrong = sum(finding.step == number for finding in chain.findings)
        skipped = number == CHECKPOINTS_STEP and chain.covered is None
        say(f"{number:>3}. {promise}: {NOT_CHECKED if skipped else _verdict(wrong)}")
        for key in result.followed if number == CHECKPOINTS_STEP else ():
            say(f"       by the recorded rotations also: {key}")
        for finding in chain.findings[:most]:
            if finding.step == number:
                say(f"       {finding}")
    if result.read_models:
        _show_read_models(result.read_models)
    if more := _more(chain, most):
        say(f"     {more} more findings are not shown")
    say("")
    _summarise(result)


def _verdict(wrong: int) -> str:
    return "holds" if wrong == 0 else f"FAILS, {wrong} finding{'s' if wrong > 1 else ''}"


def _show_read_models(checked: tuple[ReadModelCheck, ...]) -> None:
    wrong = sum(not holds(read_model) for read_model in checked)
    say(f"{PROJECTIONS_STEP:>3}. {CHAIN.steps[PROJECTIONS_STEP]}: {_verdict(wrong)}")
    for read_model in checked:
        most = "at least " if read_model.truncated else ""
        differing = f"{most}{len(read_model.differences)} differ" if read_model.differences else "none differs"
        say(f"       {read_model.name} up to position {read_model.position}: {read_model.rows} rows, {differing}")
        if read_model.error is not None:
            say(f"       {read_model.name} is stopped: {read_model.error}")
        for finding in read_model.findings:
            say(f"       {finding}")
    if wrong:
        say("       advice-ledger rebuild makes them agree with the chain")


def _summarise(result: Result) -> None:
    chain = result.chain
    if chain.head_hash is not None:
        places = f"positions {chain.first_position} to {chain.last_position}"
        say(f"{chain.events} events, {places}, last hash {chain.head_hash.hex()}")
    else:
        say(f"{chain.events} events")
    say(f"{chain.opened} sealed values open to their commitments, {chain.erased} are erased")
    if chain.covered is not None:
        trusted, signed = chain.covered.trusted, chain.covered.signed
        say(f"a trusted checkpoint covers {trusted} events, one signed with the ledger's key covers {signed}")
    if result.clocks is not None and result.clocks.since is not None:
        say(f"note: {result.clocks}")
    say(f"not proven: {chain.not_proven}")
    if result.ok:
        say("verified: all of the above holds")
    elif (first := first_bad_position(chain.findings)) is not None:
        say(f"FAILED: the first bad position is {first}")
    else:
        say("FAILED: the chain holds, but a read model does not follow it")
