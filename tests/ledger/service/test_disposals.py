"""Disposal at the end of retention: who is proposed, two people, holds, and a step that is killed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from api.jobs.disposals import do_step
from api.services import ERASING
from ledger.database import conninfo
from ledger.domain.retention import Retention, RetentionClass
from ledger.erasure.eraser import Eraser
from ledger.errors import Unavailable
from ledger.service.disposals import number_of_disposal
from ledger.service.ledger import Ledger
from ledger.service.open_ledger import LedgerParts, open_ledger
from ledger.service.policies import Policies
from ledger.store.envelope import Actor, NewEvent, uuid7
from projections.erased import read_models_folded_again
from schema.events import ClientMerged, ClientRegistered, PlaceHold, RequestDisposal, RequestErasure
from tests.api.http.test_erasure import holding
from tests.ledger.erasure.test_eraser import ANN, BOB
from tests.projections.scenes import catch_up
from tests.support import append, connect, new, requested
from tests.tampering import tamper

YEAR = RetentionClass.model_validate({"years": 1, "from": "case", "counts": "days"})
NONE = RetentionClass.model_validate({"years": 0, "from": "event", "counts": "days"})
KEPT = replace(
    Retention.load(),
    classes={"year": YEAR, "none": NONE},
    types=dict.fromkeys(("client.registered", "legal-hold.placed"), "none"),
    other="year",
)
# As if recorded two years ago.
AGED = "UPDATE events SET recorded_at = recorded_at - interval '2 years'"


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Ledger]:
    """Open a ledger that keeps cases for a year."""
    policies = replace(Policies.packaged(), retention=KEPT)
    async with open_ledger(LedgerParts(url, policies=policies, erasing=ERASING, patience_s=20)) as ledger:
        yield ledger


async def caught_up(url: str) -> None:
    """Bring the read models up to the head."""
    with connect(url) as conn:
        catch_up(conn)


async def step(ledger: Ledger, url: str, actor: Actor, name: str, number: int | None = None) -> dict[str, Any]:
    """Do a step; return what its event says."""
    if number is None:
        number = number_of_disposal(
            await ledger.disposals.request(actor, RequestDisposal.model_validate({"step": name}))
        )
    done = await do_step(ledger, number, lambda _done, _total: None, lambda: caught_up(url))
    assert done.completed is not None
    return {name: done.completed.data[name] for name in ("looked_at", "done", "forbidden", "waiting")}


async def made(ledger: Ledger, url: str) -> dict[str, int]:
    """Make clients whose time is over, one of them held and one whose erasure waits, a prospect, and a new client."""
    for name in ("Old-One", "Old-Two", "Old-Held", "Old-Waits"):
        await ledger.requests.request_recommendation(ANN, requested(name, notes=name))
    with connect(url) as conn:
        append(conn, new("client-", ClientRegistered(client_id="Prospect")))
    tamper(url, AGED)
    await ledger.requests.request_recommendation(ANN, requested("New-One", notes="New-One"))
    await caught_up(url)
    names = ("Old-One", "Old-Two", "Old-Held", "Old-Waits", "Prospect", "New-One")
    numbers = {name: await ledger.clients.number(name) or 0 for name in names}
    await ledger.legal_holds.place(ANN, numbers["Old-Held"], PlaceHold(reason="an inquiry"))
    await caught_up(url)
    await ledger.erasures.request(BOB, numbers["Old-Waits"], RequestErasure(reason="client-request"))
    await caught_up(url)
    return numbers


@pytest.mark.tampers
def test_two_people_dispose_of_what_need_not_be_kept(database_url: str) -> None:
    """Only clients whose time is over are proposed, each once; the same person erases none, another one all."""

    async def run() -> None:
        async with opened(database_url) as ledger:
            numbers = await made(ledger, database_url)
            both = {"looked_at": 6, "done": 2, "forbidden": 1, "waiting": 1}
            assert await step(ledger, database_url, ANN, "propose") == both
            again = {"looked_at": 6, "done": 0, "forbidden": 1, "waiting": 3}
            assert await step(ledger, database_url, BOB, "propose") == again
            with connect(database_url) as conn:
                waiting = conn.execute(
                    "SELECT client FROM erasures WHERE reason = 'retention-over' ORDER BY 1"
                ).fetchall()
            assert [row[0] for row in waiting] == [numbers["Old-One"], numbers["Old-Two"]]
            assert await step(ledger, database_url, ANN, "erase") == {
                "looked_at": 2,
                "done": 0,
                "forbidden": 0,
                "waiting": 2,
            }
            assert holding(database_url, "Old-One")
            await ledger.legal_holds.place(ANN, numbers["Old-Two"], PlaceHold(reason="another one"))
            await caught_up(database_url)
            done = {"looked_at": 2, "done": 1, "forbidden": 1, "waiting": 0}
            assert await step(ledger, database_url, BOB, "erase") == done
            assert [name for name in numbers if not holding(database_url, name)] == ["Old-One"]
            assert (await step(ledger, database_url, BOB, "erase"))["looked_at"] == 0

    asyncio.run(run())


def test_a_client_without_a_number_is_passed_over(database_url: str) -> None:
    """An identifier in a stream that no command makes ends no disposal."""

    async def run() -> None:
        async with opened(database_url) as ledger:
            event = ClientRegistered(client_id="odd")
            with connect(database_url, "writer") as conn:
                append(conn, NewEvent(uuid7(), "client-odd", event, Actor("eve", "human", "admin")))
            await caught_up(database_url)
            nobody = {"looked_at": 0, "done": 0, "forbidden": 0, "waiting": 0}
            assert await step(ledger, database_url, ANN, "propose") == nobody

    asyncio.run(run())


@pytest.mark.tampers
def test_a_client_that_cannot_be_read_is_passed_over(database_url: str) -> None:
    """An event that no command makes ends no disposal of others, whichever step comes to it."""
    nothing: dict[str, Any] = {}
    odd = ClientMerged.model_construct(**nothing)

    async def run() -> None:
        async with opened(database_url) as ledger:
            numbers = await made(ledger, database_url)
            with connect(database_url, "writer") as conn:
                append(conn, new(f"client-{numbers['Old-One']}", odd))
            tamper(database_url, AGED)
            await caught_up(database_url)
            # Old-Two, and New-One, which is old by now.
            assert (await step(ledger, database_url, ANN, "propose"))["done"] == 2
            with connect(database_url, "writer") as conn:
                append(conn, new(f"client-{numbers['Old-Two']}", odd))
            await caught_up(database_url)
            one = {"looked_at": 2, "done": 1, "forbidden": 0, "waiting": 0}
            assert await step(ledger, database_url, BOB, "erase") == one

    asyncio.run(run())


@pytest.mark.tampers
def test_a_step_that_is_killed_is_finished(database_url: str) -> None:
    """Before and after each erasure: the next run does the rest, and the event counts what all runs have done."""

    class Dying(Eraser):
        """Dies before or after its transaction, in turn."""

        calls = 0

        async def erase(self, lines: Any, seen: int) -> Any:
            """Erase, or not, and die."""
            self.calls += 1
            if self.calls % 2 == 0:
                await super().erase(lines, seen)
            raise Unavailable("killed")

    async def run() -> None:
        async with opened(database_url) as ledger:
            await made(ledger, database_url)
            await step(ledger, database_url, ANN, "propose")
            number = number_of_disposal(await ledger.disposals.request(BOB, RequestDisposal(step="erase")))
            whole = ledger.disposals
            dying = Dying(conninfo(database_url, "eraser"), read_models_folded_again)
            ledger.disposals = replace(whole, erasures=ledger.erasures.by(dying, ERASING.family))
            for _ in range(4):
                with pytest.raises(Unavailable):
                    await step(ledger, database_url, BOB, "erase", number)
                assert (await whole.get(number)).completed is None
            ledger.disposals = whole
            assert (await step(ledger, database_url, BOB, "erase", number))["done"] == 2
            assert (await step(ledger, database_url, BOB, "erase", number))["done"] == 2
        for name in ("Old-One", "Old-Two"):
            assert holding(database_url, name) == []

    asyncio.run(run())
    with connect(database_url) as conn:
        counts = conn.execute(
            "SELECT count(*) FILTER (WHERE type = 'client.erased'), count(*) FILTER (WHERE type = 'disposal.completed')"
            " FROM events"
        ).fetchone()
        [(body,)] = conn.execute(
            "SELECT body FROM events WHERE type = 'disposal.completed' AND version = 2 ORDER BY position DESC LIMIT 1"
        ).fetchall()
    assert counts == (2, 2)
    assert json.loads(body)["data"]["values"] > 0
