"""The options that say whom `serve` and `sign` ask about checkpoints: witnesses, and a timestamp authority."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from api.cli.shared import CannotRun
from ledger.tlog.endorse.endorsers import EndorserConfig
from ledger.tlog.endorse.timestamp_client import EVERY_S, Authority, BadAuthority
from ledger.tlog.quorum import BadWitness, WitnessPolicy

Witnesses = Annotated[
    list[str] | None,
    typer.Option(
        "--witness",
        envvar="ADVICE_LEDGER_WITNESSES",
        metavar="URL=VERIFIER_KEY",
        show_default=False,
        help="Ask this witness to cosign checkpoints; as often as there are witnesses.",
    ),
]
Quorum = Annotated[
    int | None,
    typer.Option(
        "--witness-quorum",
        envvar="ADVICE_LEDGER_WITNESS_QUORUM",
        metavar="NUMBER",
        show_default=False,
        help="So many must have cosigned a checkpoint for it to count as witnessed. Default: a majority.",
    ),
]
TimestampAuthority = Annotated[
    str | None,
    typer.Option(
        "--timestamp-authority",
        envvar="ADVICE_LEDGER_TIMESTAMP_AUTHORITY",
        metavar="URL",
        show_default=False,
        help="Have checkpoints timestamped here (RFC 3161).",
    ),
]
TimestampCa = Annotated[
    Path | None,
    typer.Option(
        "--timestamp-ca",
        envvar="ADVICE_LEDGER_TIMESTAMP_CA",
        metavar="FILE",
        show_default=False,
        help="The certificates, in PEM, that vouch for the timestamp authority.",
    ),
]
TimestampEvery = Annotated[
    float,
    typer.Option(
        "--timestamp-every",
        envvar="ADVICE_LEDGER_TIMESTAMP_EVERY",
        min=1,
        metavar="SECONDS",
        help="So long, at least, between two timestamps.",
    ),
]


def endorsers(
    witnesses: list[str] | None,
    quorum: int | None,
    authority: str | None,
    certificates: Path | None,
    every_s: float = EVERY_S,
) -> EndorserConfig:
    """Whom to ask. Raises CannotRun."""
    if (authority is None) != (certificates is None):
        raise CannotRun("--timestamp-authority and --timestamp-ca go together")
    try:
        policy = WitnessPolicy.of(witnesses or (), quorum)
        if authority is None or certificates is None:
            return EndorserConfig(policy)
        return EndorserConfig(policy, (Authority.of(authority, certificates, every_s),))
    except (BadWitness, BadAuthority) as error:
        raise CannotRun(str(error)) from error
