"""/readyz names what continuous verification finds beside the chain, and what to do about it."""

from __future__ import annotations

import pytest

from ledger.verify.continuous import VerificationConfig
from projections.beside import CHECKS
from tests.api.served import served
from tests.support import connect, eventually

FAST = VerificationConfig(rate=1_000_000, rest_s=0.05, rests=0, settle_s=3600, beside=CHECKS)
# A run of all checks takes a share of a core only: with all read models, objects are looked at again after some 30 s.
AGAIN_S = 120
CHANGES = {
    "UPDATE portfolio_requests SET risk_profile = 'growth' WHERE id = 1": ("projection-drift", "advice-ledger rebuild"),
    "DROP VIEW override_rates": ("schema-mismatch", "advice-ledger migrate"),
}


@pytest.mark.parametrize(
    "change", [pytest.param(each, marks=pytest.mark.slow if "VIEW" in each else ()) for each in CHANGES]
)
def test_a_finding_beside_the_chain_is_a_reason(database_url: str, change: str) -> None:
    """The process is not ready, and the reason has the kind and the command that mends it."""
    kind, command = CHANGES[change]
    with served(database_url, verification=FAST) as api:
        assert api.asked() == 1
        eventually("it is ready", lambda: api.get("/readyz", None).status_code == 200)
        eventually("a scan passed", lambda: api.get("/readyz", None).json()["verification"]["passed_age_s"])
        with connect(database_url) as conn:
            eventually("the row is there", lambda: conn.execute("SELECT 1 FROM portfolio_requests").fetchone())
            conn.execute(change.encode())

        def reason() -> str | None:
            found: list[str] = api.get("/readyz", None).json()["reasons"]
            return next((one for one in found if kind in one), None)

        assert command in eventually("the finding is a reason", reason, within_s=AGAIN_S)


@pytest.mark.slow
def test_objects_of_another_version_are_a_warning(database_url: str) -> None:
    """Old processes serve on while a newer version migrates, and say what they see."""
    with served(database_url, verification=FAST) as api:
        eventually("it is ready", lambda: api.get("/readyz", None).status_code == 200)
        with connect(database_url) as conn:
            conn.execute("COMMENT ON SCHEMA ledger IS 'x'; DROP VIEW override_rates")
        eventually(
            "it warns", lambda: "other-version" in str(api.get("/readyz", None).json()["warnings"]), within_s=AGAIN_S
        )
        assert api.get("/readyz", None).status_code == 200
