"""Deliver a message to an endpoint as a job: docs/use/deliveries.md.

An attempt is recorded before it is made, and its end afterwards. A process that dies in between leaves an attempt with
an unknown end: the next run records it as `unknown` and sends the message again, under the same id. Mail to a client
is repeated only by people. The job makes the pauses; the events count the attempts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from uuid import UUID, uuid5

from api.jobs.channels import channel_of
from api.jobs.kind import JobFailed, JobKind, JobParameters, JobRun, JobTools, Result, TryLater
from ledger.database import AsyncConnection
from ledger.domain.monitoring.delivery import SLOW_DOWN, Delivery, is_to_client_by_mail, pause_s, without_answer
from schema.events import DeliveryAttempted, DeliveryEnded
from schema.states import DeliveryState

DUE = (Path(__file__).parent / "due.sql").read_bytes()
ASKED = "SELECT key FROM jobs WHERE key = ANY (%s)"
# The number of messages that are queued at once.
DUE_AT_ONCE = 200
KEYS = UUID("6f1d7f4e-2b52-4b0e-9d55-6a3f6a9f7a31")
# The pause after a message of the same endpoint.
BUSY_S = 1.0
# The longest rest of an endpoint that does not answer, before another message is tried.
REST_S = 300.0


class DeliveryParameters(JobParameters):
    """The number of the message, and the number of times that it was requested."""

    delivery: int
    round: int


@dataclass
class Deliverer:
    """Deliver messages, one at a time for each endpoint, so that a slow endpoint does not delay the others.

    After an attempt without an answer, the endpoint rests: no message that was never tried is sent to it for as long
    as the one that failed waits. So an endpoint that is down for hours, with thousands of messages, takes the time of
    few attempts. `resting` has the time on `clock` at which a rest ends, in seconds, by endpoint. It is of this
    process; after a restart, one attempt finds out anew.
    """

    busy: set[str] = field(default_factory=set)
    resting: dict[str, float] = field(default_factory=dict)
    clock: Callable[[], float] = monotonic

    async def run(self, run: JobRun[DeliveryParameters]) -> Result:
        """Make one attempt. Raises TryLater until the message is delivered or withheld, then JobFailed `given-up`."""
        number, deliveries = run.parameters.delivery, run.tools.ledger.deliveries
        found, _ = await deliveries.get(number)
        if found.round == run.parameters.round and found.state == DeliveryState.SENDING:
            by_people = is_to_client_by_mail((await deliveries.endpoint(found.endpoint)).definition)
            unread = without_answer(found.attempt, found.attempts, "unknown", "interrupted", by_people=by_people)
            found = await deliveries.end(number, found, unread) or found
            if found.state == DeliveryState.FAILED:
                raise JobFailed("given-up")
        if found.round != run.parameters.round or found.state not in {DeliveryState.WAITING, DeliveryState.SENDING}:
            return _result(number, found)
        if found.endpoint in self.busy or found.state == DeliveryState.SENDING:
            raise TryLater("endpoint-busy", BUSY_S)
        rest_s = self.resting.get(found.endpoint, 0.0) - self.clock()
        if found.attempts == 0 and rest_s > 0:
            raise TryLater("endpoint-resting", rest_s)
        self.busy.add(found.endpoint)
        try:
            return await self._attempt(run, found)
        finally:
            self.busy.discard(found.endpoint)

    async def _attempt(self, run: JobRun[DeliveryParameters], found: Delivery) -> Result:
        number, deliveries = run.parameters.delivery, run.tools.ledger.deliveries
        endpoint = await deliveries.endpoint(found.endpoint)
        message = await deliveries.message(found, run.tools.link_base)
        if not endpoint.definition.enabled or not message.decisions:
            reason = message.reason if not message.decisions else "endpoint-disabled"
            end = DeliveryEnded(outcome="withheld", reason=reason, final=True)
            return _result(number, await deliveries.end(number, found, end) or found)
        channel = channel_of(run.tools, endpoint, message)
        wait_s = await deliveries.take_slot(endpoint)
        if wait_s is not None:
            raise TryLater("messages-per-hour", max(BUSY_S, wait_s))
        event = DeliveryAttempted(attempt=found.attempt + 1, decisions=list(message.decisions), keys=channel.keys)
        begun = await deliveries.begin(number, found, event)
        if begun is None:
            raise TryLater("endpoint-busy", BUSY_S)
        sent = await channel.send(begun, message)
        end = sent.end
        ended = await deliveries.end(number, begun, end)
        if end.reason == "gone":
            await deliveries.disable(endpoint.name, begun.id)
        if end.status is None or end.status in SLOW_DOWN:
            rest_s = min(REST_S, pause_s(begun.attempts, sent.asked_s))
            self.resting[endpoint.name] = self.clock() + rest_s
        else:
            self.resting.pop(endpoint.name, None)
        if end.outcome == "delivered":
            return _result(number, ended or begun)
        if end.final:
            raise JobFailed("given-up")
        raise TryLater(end.reason, pause_s(begun.attempts, sent.asked_s))


async def due(tools: JobTools) -> Sequence[tuple[UUID, DeliveryParameters]]:
    """Return messages that wait and have no job yet, with the keys of their jobs."""

    async def work(conn: AsyncConnection) -> list[tuple[UUID, DeliveryParameters]]:
        rows = await (await conn.execute(DUE, {"most": DUE_AT_ONCE}, prepare=True)).fetchall()
        waiting = {uuid5(KEYS, f"{number}\n{asked}"): (number, asked) for number, asked in rows}
        known = {row[0] for row in await (await conn.execute(ASKED, [list(waiting)], prepare=True)).fetchall()}
        return [
            (key, DeliveryParameters(delivery=number, round=asked))
            for key, (number, asked) in waiting.items()
            if key not in known
        ]

    return await tools.ledger.readers.run_short(work)


DELIVER: JobKind[DeliveryParameters] = JobKind(
    name="deliver",
    parameters=DeliveryParameters,
    run=Deliverer().run,
    permission=None,
    lane="network",
    most_waiting=10_000,
    due=due,
)


def _result(number: int, found: Delivery) -> Result:
    return {"delivery": number, "state": str(found.state), "attempts": found.attempt}
