"""A process that delivers a message and kills itself at a step."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Literal
from unittest.mock import patch

from api.jobs import channels
from api.jobs.deliveries import DELIVER, DeliveryParameters
from api.jobs.kind import JobTools
from api.jobs.mail import MailSettings, send_mail
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
# The file with the port of the mail server of a process that delivers.
PORT_FILE = "port"


def settings_in(folder: Path, **options: Any) -> WebhookSettings:
    """Return settings that allow receivers on this machine."""
    return WebhookSettings(folder, LOOPBACK, **options)


async def breach(ledger: Ledger, name: str, endpoint: DefineEndpoint) -> None:
    """Define the endpoint `desk`, and have a run of now raise an alert."""
    await ledger.deliveries.define(OPS, "desk", endpoint)
    now = datetime.now(UTC)
    await watch(ledger, [name], tell={"drift": endpoint.receivers[0]})
    await ledger.portfolios.record_prices(OPS, [prices(f"{now:%Y-%m-%d}", EQ="90", BD="10")])
    await ledger.monitoring.run(OPS, now)


async def ask_delivery(url: str, receiver: str, folder: Path) -> None:
    """Record a message, and ask for its job."""
    write_keys(folder, "desk", [make_key("v1")])
    await _ask(url, DefineEndpoint(url=receiver, receivers=["advisor"]))


async def ask_mail(url: str, receiver: Literal["advisor", "client"], folder: Path) -> None:
    """Record a message that is mail to such a receiver, and ask for its job."""
    (folder / "desk.addresses").write_text("anna anna@client.example\n* desk@firm.example\n")
    await _ask(url, DefineEndpoint(channel="mail", receivers=[receiver]))


async def _ask(url: str, endpoint: DefineEndpoint) -> None:
    async with opened(url) as ledger, queue_of(url) as queue:
        await breach(ledger, "anna", endpoint)
        await queue.ask(DELIVER, DeliveryParameters(delivery=1, round=1), "advice-ledger", uuid.uuid4())


async def deliver(url: str, step: str, folder: Path) -> None:
    """Deliver the message, or die at a step."""
    assert await _deliver(url, step, folder, None) == JobState.DONE


async def deliver_mail(url: str, step: str, folder: Path) -> None:
    """Deliver the mail, or die at a step."""
    port = int((folder / PORT_FILE).read_text())
    await _deliver(url, step, folder, MailSettings("127.0.0.1", port, "ledger@firm.example", folder))


async def _deliver(url: str, step: str, folder: Path, mail: MailSettings | None) -> str:
    """Deliver the message, or die at a step; return the state of the job."""
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

    async def mails(*given: Any) -> Any:
        found = await send_mail(*given)
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
        patch.object(channels, "send", sends),
        patch.object(channels, "send_mail", mails),
    ):
        async with opened(url) as ledger, queue_of(url) as queue:
            ledger.deliveries = replace(ledger.deliveries, sending=queue.writing)
            tools = JobTools(ledger, lambda role, _: conninfo(url, role), webhooks=settings_in(folder), mail=mail)
            lease_s = SHORT_LEASE_S if step else 30.0  # that of the process that is killed has to end soon
            runner = JobRunner(queue, [DELIVER], tools, lease_s=lease_s, idle_s=0.02)
            runner.start()
            [job] = await ended(queue)
            await runner.stop()
            return job.state
