"""Events about deliveries: endpoints in `endpoint-NAME`, and messages to them in `delivery-N`.

A message names decisions by their positions. It has no data of a client, and no key of an endpoint is in an event.
"""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from schema.event_base import Event
from schema.fields import Code, Position, Rationale, Sealed
from schema.monitoring import Number, Receiver

# Decisions of one message; a run with more of them sends several.
MOST_DECISIONS = 500


def _plain_url(url: str) -> str:
    """Refuse what is no address of a web server, and what could hold a secret: it would be in the chain for good."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise PydanticCustomError("url", "Input should be a URL such as https://alerts.example/ledger")
    if "@" in url or "?" in url or "#" in url:
        raise PydanticCustomError("url_secret", "Input should have no user, query or fragment: a URL is recorded")
    return url


EndpointUrl = Annotated[
    str, StringConstraints(max_length=500, pattern=r"^https?://[!-~]+$"), AfterValidator(_plain_url)
]
Decisions = Annotated[list[Position], Field(min_length=1, max_length=MOST_DECISIONS)]


def _once(receivers: list[Receiver]) -> list[Receiver]:
    if len(set(receivers)) < len(receivers):
        raise PydanticCustomError("named_twice", "Input should name each receiver once")
    return receivers


class DefineEndpoint(BaseModel):
    """Where messages go, and how: to whom the endpoint belongs, and how many messages it takes an hour."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    channel: Literal["webhook", "mail"] = "webhook"
    # Of a webhook. Addresses of mail are personal: they are in a file of the operator.
    url: EndpointUrl | None = None
    # Decisions to tell one of these are sent.
    receivers: Annotated[list[Receiver], Field(min_length=1, max_length=2), AfterValidator(_once)]
    messages_per_hour: Annotated[int, Field(strict=True, ge=1, le=3600)] = 60
    enabled: Annotated[bool, Field(strict=True)] = True

    @model_validator(mode="after")
    def _one_way(self) -> DefineEndpoint:
        if (self.channel == "webhook") != (self.url is not None):
            raise PydanticCustomError("url_of_webhook", "Input should have a url for a webhook, and none for mail")
        if self.channel == "mail" and len(self.receivers) > 1:
            raise PydanticCustomError("one_receiver", "Input should name one receiver: clients get mail of their own")
        return self


class EndpointDefined(DefineEndpoint, Event):
    """Messages go to this endpoint from now on, or no longer. The last event of its stream counts."""

    type = "endpoint.defined"
    schema_version = 1


class DeliveryPlanned(Event):
    """A run has a message for an endpoint. Its id is the same for all attempts. Opens the stream `delivery-N`."""

    type = "delivery.planned"
    schema_version = 1

    run: Number
    endpoint: Code
    # The positions of the decisions.
    decisions: Decisions


class DeliveryAttempted(Event):
    """The message is about to be sent. Attempts count up from 1."""

    type = "delivery.attempted"
    schema_version = 1

    attempt: Number
    # Those of the message that are still to be told.
    decisions: Decisions
    # The first 16 hex digits of the SHA-256 of each key that signs.
    keys: Annotated[list[Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]], Field(max_length=8)]


class DeliveryEnded(Event):
    """An attempt has ended, or none is made: `unknown` is an answer that was not read. `final`: it is not tried again.

    Without an attempt the message is withheld.
    """

    type = "delivery.ended"
    schema_version = 1

    attempt: Number | None = None
    outcome: Literal["delivered", "failed", "unknown", "withheld"]
    reason: Code
    # The status of the HTTP response, or the code of the mail server, if there was one.
    status: Annotated[int, Field(strict=True, ge=100, le=999)] | None = None
    final: Annotated[bool, Field(strict=True)]


class ResendDelivery(BaseModel):
    """A person has a message sent again that was given up."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reason: Annotated[Rationale, Sealed()]


class DeliveryResent(ResendDelivery, Event):
    """The message is tried again, from the first pause on, under the same id."""

    type = "delivery.resent"
    schema_version = 1


DELIVERY_EVENTS = (EndpointDefined, DeliveryPlanned, DeliveryAttempted, DeliveryEnded, DeliveryResent)
