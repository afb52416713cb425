"""A process that delivers a message and kills itself at a step."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from unittest.mock import patch

from api.jobs import deliveries
from api.jobs.deliveries import DELIVER, DeliveryParameters
from api.jobs.kind import JobTools
from api.jobs.runner import JobRunner
from api.jobs.webhook import WebhookSettings, send
from api.jobs.webhook_keys import make_key, write_keys
from ledger.database import conninfo
from ledger.service.ledger import Ledger
from ledger.service.monitoring.deliveries import Deliveries
from schema.events import DefineEndpoint
from schema.states import JobState
from tests.api.jobs.running import SHORT_LEASE_S, die, ended, queue_of
from tests.faults.workers import opened
from tests.ledger.service.watching import OPS, prices, watch

LOOPBACK = (ip_network("127.0.0.0/8"),)
DELIVERY_STEPS = ("before the attempt", "after the attempt", "after the answer", "before the end", "after the end")
URL_FILE = "url"


def settings_in(folder: Path, **options: Any) -> WebhookSettings:
    """Return settings that allow receivers on this machine."""
    return WebhookSettings(folder, LOOPBACK, "https://ledger.example", **options)


async def breach(ledger: Ledger, name: str, url: str, folder: Path) -> None:
    """Define the endpoint `desk` with a key, and have a run of now raise an alert."""
    write_keys(folder, "desk", [make_key("v1")])
    await ledger.deliveries.define(OPS, "desk", DefineEndpoint(url=url, receivers=["advisor"]))
    now = datetime.now(UTC)
    await watch(ledger, [name])
    await ledger.portfolios.record_prices(OPS, [prices(f"{now:%Y-%m-%d}", EQ="90", BD="10")])
    await ledger.monitoring.run(OPS, now)


async def ask_delivery(url: str, receiver: str, folder: Path) -> None:
    """Record a message, and ask for its job."""
    async with opened(url) as ledger, queue_of(url) as queue:
        await breach(ledger, "anna", receiver, folder)
        await queue.ask(DELIVER, DeliveryParameters(delivery=1, round=1), "advice-ledger", uuid.uuid4())


async def deliver(url: str, step: str, folder: Path) -> None:
    """Deliver the message, or die at a step."""
    begin, end = Deliveries.begin, Deliveries.end

    def at(reached: str) -> None:
        if step == reached:
            die()

    async def begins(*given: Any) -> Any:
        at("before the attempt")
        found = await begin(*given)
        at("after the attempt")
        return found

    async def sends(*given: Any) -> Any:
        found = await send(*given)
        at("after the answer")
        return found

    async def ends(*given: Any) -> Any:
        at("before the end")
        found = await end(*given)
        at("after the end")
        return found

    with (
        patch.object(Deliveries, "begin", begins),
        patch.object(Deliveries, "end", ends),
        patch.object(deliveries, "send", sends),
    ):
        async with opened(url) as ledger, queue_of(url) as queue:
            tools = JobTools(ledger, lambda role, _: conninfo(url, role), webhooks=settings_in(folder))
            lease_s = SHORT_LEASE_S if step else 30.0  # that of the process that is killed has to end soon
            runner = JobRunner(queue, [DELIVER], tools, lease_s=lease_s, idle_s=0.02)
            runner.start()
            [job] = await ended(queue)
            assert (job.state, job.result) == (JobState.DONE, job.result)
            await runner.stop()
