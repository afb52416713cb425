"""Send a message to an endpoint: by webhook, or by mail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import orjson

from api.jobs.addresses import OTHERS, BadAddresses, NoAddress, address_of
from api.jobs.kind import JobTools, TryLater
from api.jobs.mail import MailSettings, send_mail, text_of
from api.jobs.webhook import NoAnswer, NotSent, WebhookSettings, now_s, send, signed_headers
from api.jobs.webhook_keys import BadKeys, NoKey, WebhookKey, in_force, read_keys
from ledger.domain.monitoring.delivery import (
    SLOW_DOWN,
    Delivery,
    ending,
    is_to_client_by_mail,
    mail_ending,
    without_answer,
)
from ledger.service.monitoring.deliveries import Endpoint, Message
from schema.events import DeliveryEnded

# The pause before the next check of a condition that only people can change.
FOR_PEOPLE_S = 60.0
TYPE = "notification.decided"


@dataclass(frozen=True)
class Sent:
    """The result of an attempt to record, and the pause in seconds that the receiver asks for."""

    end: DeliveryEnded
    asked_s: float | None = None


class Channel(Protocol):
    """A channel to one receiver. `keys` are the fingerprints of the keys that sign."""

    @property
    def keys(self) -> list[str]:
        """Return the fingerprints of the keys that sign."""

    async def send(self, begun: Delivery, message: Message) -> Sent:
        """Send a message whose attempt is on record."""


def channel_of(tools: JobTools, endpoint: Endpoint, message: Message) -> Channel:
    """Return the channel to a receiver. Raises TryLater if the operator has to act first."""
    if endpoint.definition.channel == "mail":
        if tools.mail is None:
            raise TryLater("no-mail-server", FOR_PEOPLE_S)
        return MailChannel(
            tools.mail, _address(tools.mail, endpoint, message), is_to_client_by_mail(endpoint.definition)
        )
    if tools.webhooks is None:
        raise TryLater("no-folder-of-keys", FOR_PEOPLE_S)
    url = endpoint.definition.url
    assert url is not None
    return WebhookChannel(tools.webhooks, url, _keys(tools.webhooks, endpoint.name))


@dataclass(frozen=True)
class WebhookChannel:
    """A POST to a URL, with a signature by each key."""

    settings: WebhookSettings
    url: str
    signing: Sequence[WebhookKey]

    @property
    def keys(self) -> list[str]:
        """Return the fingerprints of the keys that sign."""
        return [key.fingerprint for key in self.signing]

    async def send(self, begun: Delivery, message: Message) -> Sent:
        """Send a message whose attempt is on record."""
        body = body_of(begun.run, message)
        try:
            headers = signed_headers(str(begun.id), body, self.signing, now_s())
            answer = await send(self.url, headers, body, self.settings)
        except NotSent as error:
            return Sent(without_answer(begun.attempt, begun.attempts, "failed", error.reason))
        except NoAnswer:
            return Sent(without_answer(begun.attempt, begun.attempts, "unknown", "no-answer"))
        asked_s = answer.retry_after_s if answer.status in SLOW_DOWN else None
        return Sent(ending(begun.attempt, begun.attempts, answer.status), asked_s)


@dataclass(frozen=True)
class MailChannel:
    """A mail to one address. `to_client`: nobody can recognise a mail that arrives twice, so only people repeat it."""

    settings: MailSettings
    to: str
    to_client: bool

    @property
    def keys(self) -> list[str]:
        """Return no fingerprint: no key signs a mail."""
        return []

    async def send(self, begun: Delivery, message: Message) -> Sent:
        """Send a message whose attempt is on record."""
        content = text_of(self.settings, self.to, begun.id, f"Portfolio monitoring, run {begun.run}", lines_of(message))
        try:
            code = await send_mail(self.settings, self.to, content)
        except NotSent as error:
            return Sent(without_answer(begun.attempt, begun.attempts, "failed", error.reason))
        except NoAnswer:
            unknown = without_answer(begun.attempt, begun.attempts, "unknown", "no-answer", by_people=self.to_client)
            return Sent(unknown)
        return Sent(mail_ending(begun.attempt, begun.attempts, code))


def body_of(run: int, message: Message) -> bytes:
    """Return the body of a webhook. It has little data, because what was sent cannot be erased."""
    data: dict[str, Any] = {"run": run, "decisions": message.items}
    return orjson.dumps({"type": TYPE, "timestamp": message.as_of, "data": data})


def lines_of(message: Message) -> list[str]:
    """Return the lines of a mail: the same ids, rules and states, for people."""
    lines = [f"Portfolio monitoring, as of {message.as_of}."]
    for one in message.items:
        lines += ["", f"Portfolio {one['portfolio']}, alert {one['alert']}: {one['rule']}, {one['about']}."]
        lines += [f"It is {one['state']} now: {one['link']}"]
    return lines


def _keys(settings: WebhookSettings, endpoint: str) -> list[WebhookKey]:
    """Return the keys that sign now. Raises TryLater."""
    try:
        keys = in_force(read_keys(settings.keys, endpoint), datetime.now(UTC))
    except NoKey:
        keys = []
    except BadKeys:
        raise TryLater("bad-keys", FOR_PEOPLE_S) from None
    if not keys:
        raise TryLater("no-key", FOR_PEOPLE_S)
    return keys


def _address(settings: MailSettings, endpoint: Endpoint, message: Message) -> str:
    """Return the address of a message. Raises TryLater."""
    to_client = is_to_client_by_mail(endpoint.definition)
    portfolios = {one["portfolio"] for one in message.items} if to_client else {OTHERS}
    try:
        return address_of(settings.folder, endpoint.name, portfolios)
    except NoAddress:
        raise TryLater("no-address", FOR_PEOPLE_S) from None
    except BadAddresses:
        raise TryLater("bad-addresses", FOR_PEOPLE_S) from None
