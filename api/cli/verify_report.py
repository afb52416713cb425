"""Print the result of `advice-ledger verify`, as text and as JSON: docs/use/cli.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from api.cli.shared import say
from ledger.proof.findings import CHAIN, Finding, Kind, Verdict, first_bad_position
from ledger.store.head import Clocks
from ledger.verify.report import ChainReport
from ledger.wording import counted
from projections.compare import ReadModelCheck

CHECKPOINTS_STEP = CHAIN.step_of[Kind.FORKED]
ACTS_STEP = CHAIN.step_of[Kind.SIGNATURE_KEY]
PROJECTIONS_STEP = CHAIN.step_of[Kind.PROJECTION_DRIFT]
OTHER_VERSION = (
    "the database says that another version of advice-ledger migrated it or built its read models: then run verify of"
    " that version, or migrate of this one first; else somebody wrote that there to explain what differs"
)

# The number of erasures that are listed; --json has all.
MOST_ERASURES = 20
NO_READ_MODELS = "that read models hold what folding the chain gives: --no-projections left them out"
MEMBERS = "that the right people act in the ledger's roles, as these may, and the server's first superuser"


@dataclass(frozen=True)
class Result:
    """The results. `read_models` is empty with --no-projections.

    `objects` has a line for each object of the database that differs from this version's. `other_version`: the
    database says that another version made its objects.
    """

    chain: ChainReport
    read_models: tuple[ReadModelCheck, ...]
    objects: list[str]
    other_version: bool = False
    # The logins, besides these roles, that may act in the ledger's roles.
    role_members: Sequence[str] = ()
    # Verifier keys that were not given, and that recorded rotations connect with a given key.
    followed: tuple[str, ...] = ()
    # The last event and the database's clock; None without a head.
    clocks: Clocks | None = None
    # Facts that a person should look at, but that do not change the result.
    warnings: Sequence[str] = ()

    @property
    def verdict(self) -> Verdict:
        """Return the result in words."""
        return Verdict.FAILED if self.objects or not all(map(holds, self.read_models)) else self.chain.verdict

    @property
    def findings(self) -> list[Finding]:
        """Return the findings in the chain, and the objects that differ."""
        objects = [CHAIN.finding(Kind.SCHEMA_MISMATCH, 0, line) for line in self.objects]
        hint = [CHAIN.finding(Kind.OTHER_VERSION, 0, OTHER_VERSION)] if objects and self.other_version else []
        return [*self.chain.findings, *hint, *objects]

    @property
    def not_proven(self) -> list[str]:
        """Return the claims that remain unproven."""
        members = [f"{MEMBERS}: {', '.join(self.role_members)}"] if self.role_members else []
        return [*self.chain.not_proven, *([] if self.read_models else [NO_READ_MODELS]), *members]

    @property
    def ok(self) -> bool:
        """Return True if everything that was checked holds."""
        return self.verdict is not Verdict.FAILED


def holds(checked: ReadModelCheck) -> bool:
    """Return True if a read model follows the chain and agrees with it."""
    return checked.error is None and not checked.findings


def _more(result: Result, most: int) -> int:
    return result.chain.more + max(0, len(result.findings) - most)


def as_json(result: Result, most: int) -> dict[str, Any]:
    """Return the result for --json."""
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
        "erasures": [{"erasure": erasure, "values": values} for erasure, values in chain.erasures],
        "first_bad_position": first_bad_position(result.findings),
        "findings": [finding.as_json() for finding in result.findings[:most]],
        "more_findings": _more(result, most),
        "read_models": result.read_models,
        "checkpoints": chain.checkpoints,
        "tiles": chain.tiles,
        "by_tree": chain.by_tree,
        "stream_heads": chain.heads,
        "covered_by_checkpoint": chain.covered,
        "followed_keys": result.followed,
        "acts": chain.acts.as_json(),
        "not_proven": result.not_proven,
        "warnings": result.warnings,
        "head_ahead_s": result.clocks and result.clocks.ahead_s,
        "times_stand_still_since": result.clocks and result.clocks.since,
    }


def show(result: Result, most: int) -> None:
    """Print the result as text."""
    chain = result.chain
    say(f"ledger {chain.origin or '(without a head)'}")
    if chain.by_tree:
        say(f"     positions 1 to {chain.by_tree}: the tree is that of the trusted checkpoint; the events are NOT READ")
    for number, promise in CHAIN.steps.items():
        wrong = sum(finding.step == number for finding in result.findings)
        if number == PROJECTIONS_STEP:
            _show_read_models(result.read_models)
            continue
        outcome = _signed_outcome(chain, wrong) if number == CHECKPOINTS_STEP else _outcome(wrong)
        say(f"{number:>3}. {promise}: {outcome}")
        for key in result.followed if number == CHECKPOINTS_STEP else ():
            say(f"       by the recorded rotations also: {key}")
        for line in chain.acts.lines() if number == ACTS_STEP else ():
            say(f"       {line}")
        for finding in result.findings[:most]:
            if finding.step == number:
                say(f"       {finding}")
    if more := _more(result, most):
        say(f"     {more} more findings are not shown")
    say("")
    _summarise(result)


def _signed_outcome(chain: ChainReport, wrong: int) -> str:
    """Return the result of step 10. Without a key the signer is unknown; without checkpoints nothing is signed."""
    if wrong or (chain.covered is not None and chain.covered.size):
        return _outcome(wrong)
    if chain.checkpoints:
        return "holds, but WHO SIGNED IS NOT KNOWN, as no key was given that you trust"
    return "nothing is signed"


def _outcome(wrong: int) -> str:
    return "holds" if wrong == 0 else f"FAILS, {wrong} finding{'s' if wrong > 1 else ''}"


def _show_read_models(checked: tuple[ReadModelCheck, ...]) -> None:
    if not checked:
        say(f"{PROJECTIONS_STEP:>3}. {CHAIN.steps[PROJECTIONS_STEP]}: NOT CHECKED, as --no-projections was given")
        return
    wrong = sum(not holds(read_model) for read_model in checked)
    say(f"{PROJECTIONS_STEP:>3}. {CHAIN.steps[PROJECTIONS_STEP]}: {_outcome(wrong)}")
    for read_model in checked:
        most = "at least " if read_model.truncated else ""
        differing = f"{most}{len(read_model.differences)} differ" if read_model.differences else "none differs"
        say(
            f"       {read_model.name} up to position {read_model.position}: {counted(read_model.rows, 'row')},"
            f" {differing}"
        )
        if read_model.error is not None:
            say(f"       {read_model.name} is stopped: {read_model.error}")
        for aside in read_model.set_aside:
            say(f"       {aside}")
        for finding in read_model.findings:
            say(f"       {finding}")
    if wrong:
        say("       advice-ledger rebuild makes them agree with the chain")


def _summarise(result: Result) -> None:
    chain = result.chain
    if chain.head_hash is not None:
        places = f"positions {chain.first_position} to {chain.last_position}"
        say(f"{counted(chain.events, 'event')}, {places}, last hash {chain.head_hash.hex()}")
    else:
        say(counted(chain.events, "event"))
    say(f"{chain.opened} sealed values open to their commitments, {chain.erased} are erased")
    for erasure, values in chain.erasures[:MOST_ERASURES]:
        say(f"  {values} by erasure {erasure}")
    if len(chain.erasures) > MOST_ERASURES:
        say(f"  and more by {len(chain.erasures) - MOST_ERASURES} other erasures, which --json lists")
    compared = f"{counted(chain.checkpoints, 'checkpoint')} and {counted(chain.tiles, 'tile')}"
    say(f"{compared} of the database were compared with the events")
    if chain.heads.records:
        say(f"{chain.heads.built} of {chain.heads.records} records of where streams end were computed again")
    if chain.covered is not None:
        trusted, signed = chain.covered.trusted, chain.covered.signed
        say(
            f"a trusted checkpoint covers {counted(trusted, 'event')}, one signed with the ledger's key covers {signed}"
        )
    if result.clocks is not None and result.clocks.since is not None:
        say(f"note: {result.clocks}")
    for warning in result.warnings:
        say(f"warning: {warning}")
    for claim in result.not_proven:
        say(f"not proven: {claim}")
    say(_last_line(result))


def _last_line(result: Result) -> str:
    chain = result.chain
    match result.verdict:
        case Verdict.VERIFIED:
            return f"{Verdict.VERIFIED}: all of the above holds, and a trusted key signed all events"
        case Verdict.VERIFIED_IN_PART:
            size = 0 if chain.covered is None else chain.covered.size
            read = f"from position {chain.first_position} up to" if chain.by_tree else "up to"
            unsigned = f"; {Verdict.NOT_SIGNED.upper()}: positions {size + 1} to {chain.last_position}"
            before = f"; BY THE TREE ALONE: positions 1 to {chain.by_tree}" if chain.by_tree else ""
            return f"{Verdict.VERIFIED} {read} position {size}{unsigned if size < chain.last_position else ''}{before}"
        case Verdict.SIGNER_UNKNOWN:
            return f"{Verdict.SIGNER_UNKNOWN.upper()}: give the ledger's key with --key, from another source than this"
        case Verdict.NOT_SIGNED:
            return f"{Verdict.NOT_SIGNED.upper()}: all of the above holds, and no checkpoint covers an event"
        case Verdict.FAILED:
            return f"FAILED: {_failure(result)}"


def _failure(result: Result) -> str:
    if (first := first_bad_position(result.chain.findings)) is not None:
        return f"the first bad position is {first}"
    if result.objects:
        return f"the chain holds, but objects of the database are not of this version: {len(result.objects)}"
    return "the chain holds, but a read model does not follow it"
