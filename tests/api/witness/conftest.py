"""Fixtures of the witness."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from api.witness.app import make_app
from api.witness.store import WitnessStore, make_store
from api.witness.witness import Witness
from ledger.proof.tlog.checkpoint import SignedCheckpoint, open_checkpoint
from ledger.tlog.signing_keys import SigningKey, WitnessSigningKey
from tests.api.served import listening
from tests.api.witness.logs import ORIGIN, Log, logs_of

NOW_S = 1_767_225_600


@dataclass
class Served:
    """A witness behind a real server, and the log whose key it has."""

    base: str
    client: httpx.Client
    key: WitnessSigningKey
    log: Log
    state: WitnessStore

    def post(self, body: bytes) -> httpx.Response:
        """Send a request and return the answer."""
        return self.client.post(f"{self.base}/add-checkpoint", content=body)

    def seen(self) -> int:
        """The size it has seen of the log."""
        found = self.state.seen().get(ORIGIN)
        return 0 if found is None else found.size

    def cosigned(self, answer: httpx.Response, size: int, log: Log | None = None) -> SignedCheckpoint:
        """The checkpoint, with the cosignature in the answer verified."""
        assert answer.status_code == 200, answer.text
        found = open_checkpoint(
            (log or self.log).note(size) + answer.content, ORIGIN, [self.log.key.verifier], [self.key.verifier]
        )
        assert len(found.witnesses) == 1
        return found


@pytest.fixture(scope="session")
def log_key() -> SigningKey:
    """The key of the log that is witnessed."""
    return SigningKey.generate(ORIGIN)


@pytest.fixture
def served(tmp_path: Path, log_key: SigningKey) -> Iterator[Served]:
    """A witness that has seen nothing."""
    with serving_witness(tmp_path / "state", log_key) as found:
        yield found


@contextlib.contextmanager
def serving_witness(path: Path, log_key: SigningKey) -> Iterator[Served]:
    """A new witness, with its state in a new file."""
    key = WitnessSigningKey.generate("witness.example/w1")
    make_store(path, key.verifier.text)
    state = WitnessStore(path, key.verifier.text)
    witness = Witness(key, logs_of(log_key.verifier), state, lambda: NOW_S)
    app = make_app(witness)
    with contextlib.closing(state), listening(app) as base, httpx.Client(timeout=30) as client:
        yield Served(base, client, key, Log(log_key), state)
