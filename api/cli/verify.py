"""advice-ledger verify: recompute the whole chain, and on request every read model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from api.cli.bars import OnProgress, progress
from api.cli.configure import configured, opened
from api.cli.shared import FOUND_WRONG, AsJson, ConfigFile, DatabaseUrl, DataDir, say, say_json
from api.cli.trusted import trusted_checkpoints
from api.postgres.connect import connect
from ledger.database import Connection
from ledger.proof.findings import CHAIN, MOST_FINDINGS, Verdict, first_bad_position
from ledger.store.head import Clocks, read_clocks
from ledger.verify.database import verify_chain
from ledger.verify.report import ChainReport
from ledger.verify.trusted_checkpoints import TrustedCheckpoints
from projections.compare import ReadModelCheck, check
from projections.registry import READ_MODELS

# The last steps: the one that takes checkpoints and keys, and the one about read models.
CHECKPOINTS_STEP, PROJECTIONS_STEP = len(CHAIN.steps) - 1, len(CHAIN.steps)

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
    def verdict(self) -> Verdict:
        """The result in words."""
        return self.chain.verdict if all(map(holds, self.read_models)) else Verdict.FAILED

    @property
    def ok(self) -> bool:
        """True if everything that was checked holds."""
        return self.verdict is not Verdict.FAILED


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

    Every hash and commitment is computed again from the rows, and every checkpoint of the database is compared with
    them; each finding has a kind and a position. Only a signature by a key that you trust makes events "verified":
    give --key and --since, or the key and the state file of this installation are used. Reads the database in one
    snapshot, as the role verifier, while others go on writing. Exit code 1 if something does not hold; 0 also if
    nothing is wrong and nothing is signed, which the last line says; 2 if a file or the database cannot be read.
    """
    settings = configured(config, database_url=database_url, data_dir=data_dir)
    trusted = trusted_checkpoints(settings, since or (), key or (), witness or (), policy)
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


def _check(
    conn: Connection, on_progress: OnProgress, trusted: TrustedCheckpoints, *, projections: bool, most: int
) -> Result:
    chain = verify_chain(conn, on_progress=lambda done, in_all: on_progress("events", done, in_all), trusted=trusted)
    checked: list[ReadModelCheck] = []
    for read_model in READ_MODELS if projections else ():
        on_progress("read models", len(checked), len(READ_MODELS))
        checked.append(check(conn, read_model, most=most))
    followed = tuple(key.text for key in trusted.followed)
    return Result(chain, tuple(checked), followed, read_clocks(conn))


def _more(chain: ChainReport, most: int) -> int:
    return chain.more + max(0, len(chain.findings) - most)


def _as_json(result: Result, most: int) -> dict[str, Any]:
    chain = result.chain
    return {
        "ok": result.ok,
        "verdict": result.verdict,
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
        "checkpoints": chain.checkpoints,
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
        outcome = _signed_outcome(chain, wrong) if number == CHECKPOINTS_STEP else _outcome(wrong)
        say(f"{number:>3}. {promise}: {outcome}")
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


def _signed_outcome(chain: ChainReport, wrong: int) -> str:
    """Say what step 10 shows: without a key nobody knows who signed, and without checkpoints there is nothing."""
    if wrong or (chain.covered is not None and chain.covered.size):
        return _outcome(wrong)
    if chain.checkpoints:
        return "holds, but WHO SIGNED IS NOT KNOWN, as no key was given that you trust"
    return "nothing is signed"


def _outcome(wrong: int) -> str:
    return "holds" if wrong == 0 else f"FAILS, {wrong} finding{'s' if wrong > 1 else ''}"


def _show_read_models(checked: tuple[ReadModelCheck, ...]) -> None:
    wrong = sum(not holds(read_model) for read_model in checked)
    say(f"{PROJECTIONS_STEP:>3}. {CHAIN.steps[PROJECTIONS_STEP]}: {_outcome(wrong)}")
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
    say(f"{chain.checkpoints} checkpoints of the database were compared with the events")
    if chain.covered is not None:
        trusted, signed = chain.covered.trusted, chain.covered.signed
        say(f"a trusted checkpoint covers {trusted} events, one signed with the ledger's key covers {signed}")
    if result.clocks is not None and result.clocks.since is not None:
        say(f"note: {result.clocks}")
    for claim in chain.not_proven:
        say(f"not proven: {claim}")
    say(_last_line(result))


def _last_line(result: Result) -> str:
    chain = result.chain
    match result.verdict:
        case Verdict.VERIFIED:
            return f"{Verdict.VERIFIED}: all of the above holds, and a trusted key signed all events"
        case Verdict.VERIFIED_IN_PART:
            size = 0 if chain.covered is None else chain.covered.size
            return (
                f"{Verdict.VERIFIED} up to position {size}; {Verdict.NOT_SIGNED.upper()}: positions {size + 1} to"
                f" {chain.last_position}"
            )
        case Verdict.SIGNER_UNKNOWN:
            return f"{Verdict.SIGNER_UNKNOWN.upper()}: give the ledger's key with --key, from another source than this"
        case Verdict.NOT_SIGNED:
            return f"{Verdict.NOT_SIGNED.upper()}: all of the above holds, and no checkpoint covers an event"
        case Verdict.FAILED if (first := first_bad_position(chain.findings)) is not None:
            return f"FAILED: the first bad position is {first}"
        case Verdict.FAILED:
            return "FAILED: the chain holds, but a read model does not follow it"
