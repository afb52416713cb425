"""The services of a ledger: opened and closed in one place, the same for the server and for a command."""

from __future__ import annotations

import asyncio
import re
from dataclasses import FrozenInstanceError
from decimal import Decimal

import pytest

from api.services import Parts, Services, open_services
from ledger.errors import Unavailable
from ledger.store.envelope import Actor
from schema.events import PortfolioRequested
from tests.paths import ROOT

ADVISOR = Actor(id="ann", kind="human", role="advisor")
REQUEST = PortfolioRequested(client_id="client-1", risk_profile="balanced", amount_usd=Decimal("1.00"))


def test_one_module_reads_what_the_application_holds() -> None:
    """`app.state` is written in api/app.py and read in api/services.py: everything else gets typed services."""
    users = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "api").rglob("*.py")
        if re.search(r"\bapp\.state\.", path.read_text("utf-8"))
    }
    assert users == {"api/app.py", "api/services.py"}


def test_a_command_opens_the_ledger_without_background_workers(database_url: str) -> None:
    """It records and reads; there is no signer and no verification; afterwards the connections are closed."""
    parts = Parts(database_url, readers=1, projector="none", run_worker=False)

    async def work() -> Services:
        async with open_services(parts) as services:
            receipt = await services.ledger.requests.request_recommendation(ADVISOR, REQUEST)
            assert await services.ledger.readers.fetch_one("SELECT position FROM head", []) == (receipt.position,)
        with pytest.raises(Unavailable):
            await services.ledger.readers.fetch_one("SELECT 1", [])
        return services

    services = asyncio.run(work())
    assert (services.signer, services.continuous_verification) == (None, None)


def test_services_are_not_replaced(database_url: str) -> None:
    """The bundle is frozen, so that every holder sees the same parts."""

    async def work() -> None:
        async with open_services(Parts(database_url, projector="none", run_worker=False)) as services:
            with pytest.raises(FrozenInstanceError):
                services.signer = None  # type: ignore[misc]

    asyncio.run(work())
