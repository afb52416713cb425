"""The options that make `serve` a witness for the logs of others, beside being a ledger."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from api.cli.keys import origin_of
from api.cli.shared import CannotRun, note, printable
from api.postgres.connect import connect
from api.witness import keys
from api.witness.place import open_state
from api.witness.state import StateError
from api.witness.witness import Witness
from ledger.proof.errors import EvidenceError
from ledger.proof.tlog.cosignature import WitnessSigningKey
from ledger.proof.tlog.note import VerifierKey

WitnessFor = Annotated[
    list[str] | None,
    typer.Option(
        "--witness-for",
        envvar="ADVICE_LEDGER_WITNESS_LOGS",
        metavar="VERIFIER_KEY",
        show_default=False,
        help="Be a witness for the log with this key, at /add-checkpoint; as often as there are logs.",
    ),
]
WitnessKeyFile = Annotated[
    Path | None,
    typer.Option(
        "--witness-key",
        envvar="ADVICE_LEDGER_WITNESS_KEY_FILE",
        metavar="FILE",
        show_default=False,
        help="With --witness-for: the witness's key, as made by advice-ledger witness keygen.",
    ),
]
WitnessStatePlace = Annotated[
    str | None,
    typer.Option(
        "--witness-state",
        envvar="ADVICE_LEDGER_WITNESS_STATE",
        metavar="FILE|URL",
        show_default=False,
        help="With --witness-for: what the witness has seen, as made by advice-ledger witness keygen.",
    ),
]


@dataclass(frozen=True)
class Offer:
    """A witness to be: its key, the keys of the logs that it cosigns for, and where its state is."""

    key: WitnessSigningKey
    logs: tuple[VerifierKey, ...]
    state: str


def offered(logs: list[str] | None, key: Path | None, state: str | None) -> Offer | None:
    """What the options say; None where they say nothing. Raises CannotRun and KeyUnusable."""
    if not logs and key is None and state is None:
        return None
    if not logs or key is None or state is None:
        raise CannotRun("--witness-for, --witness-key and --witness-state go together")
    with plainly():
        return Offer(keys.read(key), tuple(VerifierKey.parse(text) for text in logs), state)


@contextlib.contextmanager
def opened(offer: Offer | None, url: str) -> Iterator[Witness | None]:
    """The witness while the block runs, beside the ledger at `url`. Raises CannotRun, also where both are one."""
    if offer is None:
        yield None
        return
    with connect(url, "reader") as conn:
        check_apart(offer, origin_of(conn))
    with plainly():
        state = open_state(offer.state, offer.key)
    for name in sorted({one.name for one in offer.logs}):
        note(f"cosigns for {printable(name)} as {offer.key.verifier.text}")
    with contextlib.closing(state):
        yield Witness(offer.key, offer.logs, state)


def check_apart(offer: Offer, origin: str) -> None:
    """Raises CannotRun where the ledger would be its own witness, or be taken for it."""
    if origin in {one.name for one in offer.logs}:
        raise CannotRun(
            f"{origin} is this ledger, and it cannot be a witness for itself: whoever can change the log can change"
            " what this witness remembers, so its cosignature would prove nothing; somebody else has to run one"
        )
    if offer.key.verifier.name == origin:
        raise CannotRun(
            f"the witness's key is named {origin}, as this ledger is: who reads its cosignatures on other logs could"
            " take them for the log's own signature; make a key of another name with advice-ledger witness keygen"
        )


@contextlib.contextmanager
def plainly() -> Iterator[None]:
    """What is expected to go wrong with a witness, as one line."""
    try:
        yield
    except (StateError, EvidenceError) as error:
        raise CannotRun(printable(str(error))) from error
