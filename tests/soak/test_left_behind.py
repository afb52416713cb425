"""What a server keeps in memory does not grow with the requests that it has answered."""

from __future__ import annotations

import gc
import sys
from pathlib import Path

import httpx
import pytest

from ledger.tlog.sign.signer_thread import SigningConfig
from tests.api.served import served
from tests.ledger.tlog.logs import key_for
from tests.soak.mixed import TIMEOUT_S, MixedLoad
from tests.support import eventually

# How often each kind of caller acts: once to fill caches and pools, then while it is measured.
ACTS = {"ask": 60, "decide": 12, "report": 60, "list": 40, "as_of": 40, "prove": 60, "operate": 40, "leave": 60}
# Blocks of memory for each act that may stay. A request that is kept, or its task, has some hundred.
MOST_LEFT = 10


def blocks() -> int:
    """Count Python's blocks of memory, without garbage."""
    gc.collect()
    return sys.getallocatedblocks()


@pytest.mark.slow
def test_answers_leave_nothing_behind(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each kind of caller acts again and again. No memory stays for an act, once nothing is in hand.

    Caches that fill with time have small bounds here.
    """
    for bound in ("ledger.service.accesses.MOST_REMEMBERED", "ledger.tlog.sign.signed_checkpoints.MAX_KNOWN"):
        monkeypatch.setattr(bound, 1)
    signing = SigningConfig(key_for(database_url), tmp_path / "log.key.last", every_s=0.05)
    with served(database_url, run_worker=True, signing=signing) as api:
        load = MixedLoad(api.base, api.tokens)
        load.prepare()
        with httpx.Client(base_url=api.base, timeout=TIMEOUT_S) as client:
            for name, count in ACTS.items():
                act = getattr(load, f"_{name}")
                for _ in range(count):
                    act(client)
                before = blocks()
                for _ in range(count):
                    act(client)
                most = before + MOST_LEFT * count
                eventually(f"nothing is left of {name}", lambda most=most: blocks() <= most, every_s=0.2)
    assert load.errors == []
