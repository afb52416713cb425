"""Where a witness's state is: a file, or a PostgreSQL named by its URL."""

from __future__ import annotations

from pathlib import Path

from api.witness.state import FileState, State
from api.witness.state_postgres import PostgresState
from ledger.proof.tlog.cosignature import WitnessSigningKey


def open_state(place: str, key: WitnessSigningKey) -> State:
    """The state that belongs to the key. Raises StateError."""
    return PostgresState(place, key.verifier.text) if is_url(place) else FileState(Path(place), key.verifier.text)


def is_url(place: str) -> bool:
    """Whether a state is in PostgreSQL."""
    return place.startswith(("postgresql://", "postgres://"))
