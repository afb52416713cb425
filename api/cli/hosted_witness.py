"""Let `serve` be a witness for the logs of others, beside serving its own ledger."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from api.cli.configure import origin_of
from api.cli.shared import CannotRun, note, printable
from api.postgres.connect import connect
from api.settings import Settings
from api.witness import keys
from api.witness.store import StoreError, WitnessStore
from api.witness.witness import Witness
from ledger.proof.errors import EvidenceError
from ledger.proof.tlog.cosignature import WitnessSigningKey
from ledger.proof.tlog.note import VerifierKey


@dataclass(frozen=True)
class Offer:
    """A witness to be: its key, the keys of the logs that it cosigns for, and where its state is."""

    key: WitnessSigningKey
    logs: tuple[VerifierKey, ...]
    state: Path


def offered(settings: Settings) -> Offer | None:
    """Return the witness that the settings describe, or None. Raises CannotRun and KeyUnusable."""
    logs, key, state = settings.witness_logs, settings.witness_key_file, settings.witness_state
    if not logs and key is None and state is None:
        return None
    if not logs or key is None or state is None:
        raise CannotRun("the settings witness_logs, witness_key_file and witness_state go together")
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
        store = WitnessStore(offer.state, offer.key.verifier.text)
    for name in sorted({one.name for one in offer.logs}):
        note(f"cosigns for {printable(name)} as {offer.key.verifier.text}")
    with contextlib.closing(store):
        yield Witness(offer.key, offer.logs, store)


def check_apart(offer: Offer, origin: str) -> None:
    """Raises CannotRun where the ledger would be its own witness, or be taken for it."""
    if origin in {one.name for one in offer.logs}:
        raise CannotRun(
            f"{origin} is this ledger, and it cannot be a witness for itself: anybody who can change the log can change"
            " the state of this witness too, so its cosignature would prove nothing; another party must run the witness"
        )
    if offer.key.verifier.name == origin:
        raise CannotRun(
            f"the witness's key is named {origin}, as this ledger is: who reads its cosignatures on other logs could"
            " take them for the log's own signature; make a key of another name with advice-ledger witness keygen"
        )


@contextlib.contextmanager
def plainly() -> Iterator[None]:
    """Turn the expected failures of a witness into CannotRun."""
    try:
        yield
    except (StoreError, EvidenceError) as error:
        raise CannotRun(printable(str(error))) from error
