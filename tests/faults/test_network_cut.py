"""The network between the application and PostgreSQL lets nothing through, and no side is told; then it does again."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.agents.run.worker import Worker
from ledger.tlog.sign.signer_thread import SigningConfig
from ledger.verify.continuous import VerificationConfig
from tests.api.served import make_tokens, served
from tests.faults.callers import Callers
from tests.faults.proxy import network
from tests.faults.test_database_down import PATIENCE_S, TOO_LATE_S, unavailable
from tests.ledger.tlog.logs import key_for
from tests.support import eventually

CUT = "cut"


@pytest.mark.slow
@pytest.mark.parametrize("late", [True, False], ids=["arrives late", "is lost"])
def test_a_network_cut(ledger: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: bool) -> None:
    """Within the patience, /readyz and all calls say 503. Afterwards all goes on by itself; nothing is lost or doubled.

    What was on its way arrives late, after its callers were told, or never does.
    """
    monkeypatch.setattr("api.services.Worker", partial(Worker, lease_s=2.0))
    signing = SigningConfig(key_for(ledger), tmp_path / "log.key.last", every_s=0.05)
    parts: dict[str, Any] = {
        "run_worker": True,
        "projector": "process",
        "signing": signing,
        "verification": VerificationConfig(),
    }
    tokens = make_tokens(ledger)
    with network(ledger) as between, served(between.url, tokens=tokens, patience_s=PATIENCE_S, **parts) as api:
        api.client.timeout = httpx.Timeout(TOO_LATE_S)
        eventually("readiness", lambda: api.get("/readyz", None).status_code == 200)
        callers = Callers(api.base, tokens["advisor"])
        with callers.calling(3):
            callers.go_on()
            between.cut()
            callers.are_refused()
            ready = api.get("/readyz", None)
            assert (ready.status_code, ready.json()["status"]) == (503, "not ready")
            assert any("does not answer" in reason for reason in ready.json()["reasons"])
            unavailable(api.ask(client_id=CUT, key=CUT, notes="under load"))
            unavailable(api.get("/portfolio/requests"))
            assert api.get("/healthz", None).status_code == 200
            between.heal(late=late)
            callers.go_on()
        assert callers.statuses <= {202, 503}
        assert callers.broken == 0
        again = eventually(
            "the write", lambda: (found := api.ask(client_id=CUT, key=CUT, notes="under load")).is_success and found
        )
        callers.acknowledged[CUT] = again.json()["request_id"]
        eventually("readiness", lambda: api.get("/readyz", None).status_code == 200)
        eventually("the worker", lambda: not api.items("/portfolio/requests", status="queued"), within_s=60)
        eventually("all is signed", lambda: api.get("/readyz", None).json()["checkpoint"]["not_covered"] == 0)
    callers.check(ledger)
