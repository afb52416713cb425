"""Let `serve` be a witness for other logs, besides serving its own ledger."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from api.cli.configure import origin_of
from api.cli.shared import CannotRun, note
from api.postgres.connect import connect
from api.settings import Settings
from api.witness import keys
from api.witness.store import StoreError, WitnessStore
from api.witness.witness import LogKeys, Witness, parse_logs
from ledger.database import Url
from ledger.proof.auditor.report import printable
from ledger.proof.errors import EvidenceError
from ledger.tlog.signing_keys import WitnessSigningKey


@dataclass(frozen=True)
class Offer:
    """The settings of a witness: its key, the keys of the logs that it cosigns for, and the file of its state."""

    key: WitnessSigningKey
    logs: LogKeys
    state: Path


def offered(settings: Settings) -> Offer | None:
    """Return the witness that the settings describe, or None. Raises CannotRun and KeyUnusable."""
    logs, key, state = settings.witness_logs, settings.witness_key_file, settings.witness_state
    if not logs and key is None and state is None:
        return None
    if not logs or key is None or state is None:
        raise CannotRun("the settings witness_logs, witness_key_file and witness_state go together")
    with plainly():
        return Offer(keys.read(key), parse_logs(logs), state)


@contextlib.contextmanager
def opened(offer: Offer | None, url: Url) -> Iterator[Witness | None]:
    """Yield the witness while the block runs, besides the ledger at `url`.

    Raises CannotRun, also if both are the same.
    """
    if offer is None:
        yield None
        return
    with connect(url, "reader") as conn:
        check_apart(offer, origin_of(conn))
    with plainly():
        store = WitnessStore(offer.state, offer.key.verifier.text)
    for name in offer.logs:
        note(f"cosigns for {printable(name)} as {offer.key.verifier.text}")
    with contextlib.closing(store):
        yield Witness(offer.key, offer.logs, store)


def check_apart(offer: Offer, origin: str) -> None:
    """Raise CannotRun if the ledger would be its own witness, or could be mistaken for it."""
    if origin in {*offer.logs, *(key.name for keys_ in offer.logs.values() for key in keys_)}:
        raise CannotRun(
            f"{origin} is this ledger, and it cannot be a witness for itself: somebody who can change the"
            " transparency log could change the state of this witness too, so its cosignature would prove nothing:"
            " another party has to run it"
        )
    if offer.key.verifier.name == origin:
        raise CannotRun(
            f"the witness's key is named {origin}, as this ledger is: readers could take its cosignatures on other logs"
            " for signatures of this ledger; make a key with another name with advice-ledger witness keygen"
        )


@contextlib.contextmanager
def plainly() -> Iterator[None]:
    """Turn expected errors of a witness into CannotRun, with one line."""
    try:
        yield
    except (StoreError, EvidenceError) as error:
        raise CannotRun(printable(str(error))) from error
