"""A database that the signer refuses takes no events: in no process, and not after a restart, until a person acts."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from psycopg import sql

from ledger.database import conninfo
from ledger.errors import LogRefused
from ledger.proof.tlog.checkpoint import open_checkpoint
from ledger.store.writer import Writer
from ledger.tlog.sign import keys
from ledger.tlog.sign.rotate import beside
from ledger.tlog.sign.signer_thread import SigningConfig
from ledger.tlog.signing_keys import SigningKey
from schema.migrate import migrate
from tests.api.program import cli
from tests.api.served import make_tokens, problem, served
from tests.ledger.tlog.logs import fill, key_for, sign
from tests.support import connect, eventually, new
from tests.tampering import TABLES, tamper

pytestmark = pytest.mark.tampers

ROLL_BACK = (
    "DELETE FROM checkpoints WHERE size > 20",
    "DELETE FROM events WHERE position > 20",
    "DELETE FROM sealed_fields WHERE position > 20",
    "UPDATE head SET position = 20, hash = (SELECT hash FROM events WHERE position = 20)",
)
DECISIONS = "SELECT position, body::json FROM events WHERE type = 'log-checkpoint.adopted' ORDER BY position"


class Rolled:
    """A ledger that was signed at 20 and 30, and is back at 20, as a standby without its tail would be."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.path = folder / "log.key"
        self.key: SigningKey = keys.generate(key_for(url).verifier.name, self.path)
        self.public = folder / "public"
        self.public.write_text(self.key.verifier.text)
        self.state = beside(self.path, "last")
        self.signing = SigningConfig(self.key, self.state, every_s=0.05)
        self.tokens = make_tokens(url)
        self.kept = {}
        for size in (20, 30):
            fill(url, size - self.position())
            sign(url, self.key, self.state)
            with connect(url) as conn:
                [(self.kept[size],)] = conn.execute("SELECT note FROM checkpoints WHERE size = %s", [size]).fetchall()
        tamper(url, *ROLL_BACK)
        with connect(url) as conn:  # a standby without its tail has its triggers
            for table in TABLES:
                conn.execute(sql.SQL("ALTER TABLE {} ENABLE TRIGGER ALL").format(sql.Identifier(table)))
            migrate(conn)

    def command(self, *arguments: object) -> Any:
        """Run `advice-ledger sign` with the key."""
        return cli("sign", "--database-url", self.url, "--key", self.path, *arguments)

    def position(self) -> int:
        """The position of the last event."""
        with connect(self.url) as conn:
            [(position,)] = conn.execute("SELECT position FROM head").fetchall()
        return int(position)


@pytest.fixture
def rolled(database_url: str, tmp_path: Path) -> Rolled:
    """Such a ledger."""
    return Rolled(database_url, tmp_path)


def test_a_server_takes_no_write_before_it_has_looked(rolled: Rolled) -> None:
    """From the first request on each write is 503 `log-refused`; /readyz and metrics say why."""
    with served(rolled.url, tokens=rolled.tokens, signing=rolled.signing) as api:
        found = problem(api.ask(), 503, "log-refused")
        assert str(rolled.state.parent) not in found["detail"]
        ready = api.get("/readyz", None)
        assert ready.status_code == 503
        reasons = "\n".join(ready.json()["reasons"])
        assert re.search(r"^nothing can be recorded, .*position 30 that was signed", reasons, re.MULTILINE)
        assert re.search(r"^nothing is signed any more: the database has 20 events", reasons, re.MULTILINE)
        assert "\nadvice_ledger_append_refused 1.0\n" in api.get("/metrics", None).text
    assert rolled.position() == 20


@pytest.mark.slow
def test_it_holds_in_all_processes_and_after_a_restart(rolled: Rolled) -> None:
    """A process without a key takes nothing either once a signer has refused; nor does the next one that starts."""
    with (
        served(rolled.url, tokens=rolled.tokens) as keyless,
        served(rolled.url, tokens=rolled.tokens, signing=rolled.signing),
    ):
        problem(keyless.ask(), 503, "log-refused")
    with served(rolled.url, tokens=rolled.tokens) as again:
        problem(again.ask(), 503, "log-refused")
        assert again.get("/readyz", None).status_code == 503
        problem(again.get("/portfolio/requests"), 503, "log-refused")  # nothing can say that somebody read it
        for path in ("/agents", "/reports/override-rates", "/proofs/inclusion/1", "/checkpoint"):
            assert again.get(path).status_code == 200, path
    status = cli("status", "--database-url", rolled.url)
    assert status.code == 1
    assert "appends  the database has 20 events, and a checkpoint over 30 was signed" in status.out
    assert rolled.position() == 20


def test_a_writer_compares_each_database_that_it_connects_to(rolled: Rolled) -> None:
    """Also where no signer has looked yet, as after a failover under a running server."""

    async def run() -> None:
        writer = Writer(conninfo(rolled.url, "writer"), known=rolled.signing.known_events)
        await writer.start()
        with pytest.raises(LogRefused, match="position 30"):
            await writer.append([new("s")])
        assert writer.status().refused
        await writer.close()

    asyncio.run(run())
    assert rolled.position() == 20


def test_recording_may_be_configured_to_go_on(rolled: Rolled) -> None:
    """With the setting `record_refused` writes are taken, and nothing is signed."""
    signing = SigningConfig(rolled.key, rolled.state, every_s=0.05, stops_appends=False)
    with served(rolled.url, tokens=rolled.tokens, signing=signing) as api:
        assert api.ask().status_code == 202
        eventually("it refuses to sign", lambda: "nothing is signed any more" in api.get("/readyz", None).text)
    assert rolled.position() == 22  # the client comes first


@pytest.mark.slow
def test_a_person_gives_up_what_is_lost_and_that_is_on_record(rolled: Rolled, tmp_path: Path) -> None:
    """Who, why, and from which size and root to which. Then writes are taken, and the kept checkpoint refuses them."""
    assert rolled.command("--once").code == 1
    twenty = tmp_path / "twenty"
    twenty.write_text(rolled.kept[20])
    assert rolled.command("--adopt", twenty, "--give-up", 30).failed_with("--reason")
    assert rolled.command("--adopt", twenty, "--reason", "the disk was lost").code == 1
    done = rolled.command("--adopt", twenty, "--give-up", 30, "--reason", "the disk was lost")
    assert done.code == 0, done.err
    with connect(rolled.url) as conn:
        [(position, body)] = conn.execute(DECISIONS).fetchall()
    roots = {size: opened(rolled, size).root.hex() for size in (20, 30)}
    assert position == 21
    assert body["data"] == {"size": 20, "root": roots[20], "given_up_size": 30, "given_up_root": roots[30]}
    assert body["actor"]["id"].startswith("cli:")
    with served(rolled.url, tokens=rolled.tokens, signing=rolled.signing) as api:
        assert [api.ask().status_code for _ in range(12)] == [202] * 12
        eventually("all is signed", lambda: api.get("/readyz", None).json()["checkpoint"]["size"] >= 34)
        assert api.get("/readyz", None).status_code == 200
    thirty, verify = tmp_path / "thirty", ("verify", "--database-url", rolled.url, "--key", rolled.public)
    thirty.write_text(rolled.kept[30])
    assert cli(*verify, "--since", twenty).code == 0
    refused = cli(*verify, "--since", thirty)
    assert refused.code == 1
    assert "forked" in refused.out


def opened(rolled: Rolled, size: int) -> Any:
    """The checkpoint that was kept."""
    return open_checkpoint(rolled.kept[size].encode(), rolled.key.verifier.name, [rolled.key.verifier]).checkpoint
