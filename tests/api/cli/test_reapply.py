"""Erasures that the restore of an older backup undid are done again, from the list outside the database."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from api.jobs.kept_erasures import keep
from api.services import ERASING
from ledger.database import conninfo
from ledger.erasure.eraser import Eraser
from ledger.erasure.kept import BadList, read_kept
from ledger.errors import Unavailable
from ledger.proof.tlog.note import VerifierKey
from ledger.service.ledger import Ledger
from ledger.service.reapply import Reapplication, Reapplier
from ledger.store.envelope import Actor
from ledger.tlog.signing_keys import SigningKey
from projections.erased import read_models_folded_again
from projections.rebuild import rebuild_outdated
from schema.events import ClientMerged, PlaceHold, RequestErasure
from tests.api.http.test_erasure import holding, policies
from tests.api.program import Ran, cli
from tests.ledger.backup.test_backup import backed_up, restore
from tests.ledger.erasure.test_eraser import ANN, BOB, check, opened
from tests.ledger.tlog.logs import key_for, sign
from tests.projections.scenes import catch_up
from tests.support import connect, requested, scratch_database

OPERATOR = Actor("cli:root", "human", "operator")


class Scene(NamedTuple):
    """An older backup, the list of all erasures, the log's key, and the numbers of clients by name."""

    backup: Path
    kept: Path
    key: SigningKey
    policy: Path
    number: dict[str, int]

    def reapply(self, url: str, file: Path | None = None) -> Ran:
        """Run the command with the list."""
        key = ("--key", self.key.verifier.text)
        env = {"ADVICE_LEDGER_DATABASE_URL": url, "ADVICE_LEDGER_RETENTION_POLICY": str(self.policy)}
        return cli("erasures", "reapply", file or self.kept, *key, "--json", env=env)


def caught_up(url: str) -> None:
    """Bring the read models up to the head."""
    with connect(url) as conn:
        catch_up(conn)


async def made(ledger: Ledger, url: str, name: str) -> int:
    """Make a client with a request; return its number."""
    await ledger.requests.request_recommendation(ANN, requested(name, notes=f"{name} notes"))
    caught_up(url)
    number = await ledger.clients.number(name)
    assert number is not None
    return number


async def asked(ledger: Ledger, url: str, number: int) -> int:
    """Request an erasure; return its id."""
    erasure = (await ledger.erasures.request(ANN, number, RequestErasure(reason="client-request"))).position
    caught_up(url)
    return erasure


async def erase(ledger: Ledger, url: str, number: int) -> None:
    """Erase a client by two subjects."""
    await ledger.erasures.confirm(BOB, await asked(ledger, url, number))
    caught_up(url)


@pytest.fixture(scope="module")
def scene(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Clients erased before and after a backup; one of them waits in it, and two are one client only after it."""
    folder = tmp_path_factory.mktemp("reapply")
    policies(folder, 0)
    with scratch_database(server_url) as url:
        from schema.migrate import migrate

        with connect(url) as conn:
            migrate(conn)
        rebuild_outdated(url)
        key = key_for(url)

        async def run() -> dict[str, int]:
            async with opened(url) as ledger:
                names = ("Early", "Ada-Back", "Bea-Waits", "Cyd-Merged", "Dan-Other", "Stays")
                number = {name: await made(ledger, url, name) for name in names}
                await erase(ledger, url, number["Early"])
                waiting = await asked(ledger, url, number["Bea-Waits"])
                sign(url, key, folder / "last")
                backed_up(url, folder / "backup")
                number["Late"] = await made(ledger, url, "Late")
                await ledger.clients.merge(ANN, number["Cyd-Merged"], ClientMerged(into=number["Dan-Other"]))
                caught_up(url)
                await ledger.erasures.confirm(BOB, waiting)
                caught_up(url)
                for name in ("Ada-Back", "Dan-Other", "Late"):
                    await erase(ledger, url, number[name])
                sign(url, key, folder / "last")
                assert await keep(ledger, folder / "kept") == 5
                assert await keep(ledger, folder / "kept") == 0
                return number

        yield Scene(folder / "backup", folder / "kept", key, folder / "retention.json", asyncio.run(run()))


@pytest.fixture
def restored(scene: Scene, server_url: str) -> Iterator[str]:
    """A ledger made from the backup: what was erased after it has come back."""
    with scratch_database(server_url) as url:
        restore(url, scene.backup)
        rebuild_outdated(url)
        yield url


def outcomes(scene: Scene, ran: Ran) -> dict[str, str]:
    """Return what became of each client, by name."""
    names = {number: name for name, number in scene.number.items()}
    return {names[one["client"]]: one["outcome"] for one in json.loads(ran.out)["erasures"]}


def test_what_came_back_is_erased_again(scene: Scene, restored: str) -> None:
    """Readable after the restore, gone after the command; verify names the erasures; the second run records nothing."""
    back = ("Ada-Back", "Bea-Waits", "Cyd-Merged", "Dan-Other")
    assert [name for name in scene.number if holding(restored, name)] == [*back, "Stays"]
    ran = scene.reapply(restored)
    assert (ran.code, ran.err) == (0, "")
    again = dict.fromkeys(back, "erased again")
    assert outcomes(scene, ran) == {"Early": "erased already", **again, "Late": "not here"}
    assert [name for name in scene.number if holding(restored, name)] == ["Stays"]
    caught_up(restored)
    check(restored)
    with connect(restored) as conn:
        head = conn.execute("SELECT position FROM head").fetchone()
        rows = conn.execute(
            "SELECT client, state, answered_by, reapplies->>'erased_by' FROM erasures ORDER BY id"
        ).fetchall()
    assert [row[1:] for row in rows] == [("erased", "bob", None), *[("erased", rows[1][2], "bob")] * 4]
    assert rows[1][2].startswith("cli:")
    second = scene.reapply(restored)
    assert outcomes(scene, second) == {
        "Early": "erased already",
        **dict.fromkeys(back, "erased already"),
        "Late": "not here",
    }
    with connect(restored) as conn:
        assert conn.execute("SELECT position FROM head").fetchone() == head


def again(
    scene: Scene, url: str, change: Callable[[Ledger], Any] = lambda ledger: ledger.erasures
) -> Sequence[Reapplication]:
    """Reapply the list in this process."""

    async def work() -> None:
        caught_up(url)

    async def run() -> list[Reapplication]:
        async with opened(url) as ledger:
            reapplier = Reapplier(change(ledger), OPERATOR, work)
            kept = [one for one in read_kept(scene.kept, [scene.key.verifier]) if one is not None]
            return [result for one in kept for result in await reapplier.reapply(one)]

    return asyncio.run(run())


def test_killed_anywhere_it_finishes(scene: Scene, restored: str) -> None:
    """After a request, and after an erasure whose answer is lost: the next run does the rest once."""

    class Dying(Eraser):
        """Dies before or after its transaction, in turn."""

        calls = 0

        async def erase(self, lines: Any, seen: int) -> Any:
            """Erase, or not, and die."""
            self.calls += 1
            if self.calls % 2 == 0:
                await super().erase(lines, seen)
            raise Unavailable("killed")

    dying = Dying(conninfo(restored, "eraser"), read_models_folded_again)
    for _ in range(8):
        try:
            again(scene, restored, lambda ledger: ledger.erasures.by(dying, ERASING.family))
            break
        except Unavailable:
            caught_up(restored)
    assert dying.calls == 8
    assert [name for name in scene.number if holding(restored, name)] == ["Stays"]
    with connect(restored) as conn:
        counts = conn.execute(
            "SELECT count(*) FILTER (WHERE type = 'erasure.requested'), count(*) FILTER (WHERE type = 'client.erased')"
            " FROM events"
        ).fetchone()
    # Two from before the backup, of which one waited.
    assert counts == (5, 5)


def test_a_hold_of_the_restored_ledger_wins(scene: Scene, restored: str) -> None:
    """The client is refused by name, the others are erased, and nothing is recorded of the refusal: exit code 1."""

    async def run() -> None:
        async with opened(restored) as ledger:
            await ledger.legal_holds.place(ANN, scene.number["Ada-Back"], PlaceHold(reason="an inquiry"))

    asyncio.run(run())
    ran = scene.reapply(restored)
    assert (ran.code, outcomes(scene, ran)["Ada-Back"]) == (1, "refused")
    assert "a legal hold stands" in ran.out
    assert [name for name in scene.number if holding(restored, name)] == ["Ada-Back", "Stays"]
    with connect(restored) as conn:
        row = conn.execute("SELECT count(*) FROM erasures WHERE client = %s", [scene.number["Ada-Back"]]).fetchone()
    assert row == (0,)


def test_more_than_was_erased_is_not_erased(scene: Scene, restored: str) -> None:
    """A client that became one with another after the restore is refused; another's number is not looked at."""

    async def run() -> None:
        async with opened(restored) as ledger:
            assert await made(ledger, restored, "New-Here") == scene.number["Late"]
            await ledger.clients.merge(ANN, scene.number["Stays"], ClientMerged(into=scene.number["Ada-Back"]))
            caught_up(restored)

    asyncio.run(run())
    ran = scene.reapply(restored)
    assert ran.code == 1
    found = outcomes(scene, ran)
    assert (found["Ada-Back"], found["Late"]) == ("refused", "not here")
    assert holding(restored, "New-Here")
    assert holding(restored, "Stays")


def test_another_ledger_and_a_changed_list_are_refused(scene: Scene, database_url: str, tmp_path: Path) -> None:
    """Whole, before anything is recorded, with the line. A line that is cut off is left out, and told: exit code 1."""
    ran = scene.reapply(database_url)
    assert (ran.code, "another one" in ran.err) == (2, True)
    lines = scene.kept.read_bytes().splitlines(keepends=True)
    assert b"Back" not in scene.kept.read_bytes()
    keys, other = [scene.key.verifier], [SigningKey.generate(scene.key.verifier.name).verifier]
    entry = json.loads(lines[1])
    file = tmp_path / "list"

    def bad(changed: Any, keys: Sequence[VerifierKey] = keys) -> bool:
        file.write_bytes(lines[0] + json.dumps(changed).encode() + b"\n")
        try:
            list(read_kept(file, keys))
        except BadList as error:
            return f"{file}, line {1 if keys is other else 2}:" in str(error)
        return False

    assert not bad(entry)
    assert bad({**entry, "format": "x"})
    assert bad({**entry, "first_events": []})
    assert bad({**entry, "first_events": [{**entry["first_events"][0], "version": 2}]})
    assert bad({**entry, "first_events": json.loads(lines[0])["first_events"]})
    assert bad({**entry, "certificate": {**entry["certificate"], "origin": "other"}})
    assert bad([])
    assert bad(entry, other)
    file.write_bytes(lines[0] + lines[1][:-10])
    assert [one is None for one in read_kept(file, keys)] == [False, True]
    ran = scene.reapply(database_url, tmp_path / "none")
    assert ran.code == 2
