"""A server that only reads, on a hot standby: what it answers while replay is late, stopped, cut off and promoted."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import LiteralString

import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from api.cli.schema import bring_up
from api.cli.serve import prepare
from api.postgres.account import give, run_as, server_account
from api.postgres.cluster import binaries
from api.postgres.connect import connect as connect_as
from api.postgres.embedded import EmbeddedPostgres
from ledger.database import Connection
from tests.api.program import cli, serving
from tests.api.served import Api, make_tokens, problem, served
from tests.paths import DOCS
from tests.support import connect, eventually, login_role

pytestmark = pytest.mark.slow  # two servers

PATIENCE_S = 3.0
REQUESTS = "/portfolio/requests"
PAGE = DOCS / "operate/standbys.md"


@pytest.fixture(scope="module")
def standby(server: EmbeddedPostgres) -> Iterator[EmbeddedPostgres]:
    """A standby of the module's server, for which commits wait."""
    folder = Path(tempfile.mkdtemp(prefix="advice-ledger-"))
    account = server_account(server.data_dir / "postgres")
    give(folder, account)
    parts = conninfo_to_dict(server.url)
    source = make_conninfo("", host=parts["host"], port=parts["port"], user=parts["user"])
    command = [str(binaries() / "pg_basebackup"), "--pgdata", str(folder / "postgres"), "--dbname", source]
    code, output = run_as(account, [*command, "--write-recovery-conf", "--checkpoint", "fast"], timeout_s=60)
    assert code == 0, output
    try:
        with EmbeddedPostgres(folder, settings={"fsync": "off"}) as found:
            configure(server.url, "synchronous_standby_names = '*'")
            yield found
            configure(server.url, "synchronous_standby_names = ''")
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def apis(server: EmbeddedPostgres, standby: EmbeddedPostgres, ledger: str) -> Iterator[tuple[Api, Api]]:
    """A server on the primary, and one on the standby that only reads, with the same tokens."""
    tokens = make_tokens(ledger)
    url = make_conninfo(standby.url, dbname=conninfo_to_dict(ledger)["dbname"])
    eventually("the ledger is there", lambda: replayed(server, standby))
    with (
        served(ledger, tokens=tokens) as primary,
        served(url, tokens=tokens, read_only=True, projector="none", patience_s=PATIENCE_S) as reader,
    ):
        yield primary, reader


def configure(url: str, setting: LiteralString) -> None:
    """Change a setting of a server."""
    with connect(url) as conn:
        conn.execute(sql.SQL("ALTER SYSTEM SET ") + sql.SQL(setting))
        conn.execute("SELECT pg_reload_conf()")


def replayed(server: EmbeddedPostgres, standby: EmbeddedPostgres) -> bool:
    """Tell whether the standby has replayed all that the primary has written."""
    with connect(server.url) as conn:
        [(written,)] = conn.execute("SELECT pg_current_wal_lsn()").fetchall()
    with connect(standby.url) as conn:
        return conn.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", [written]).fetchone() == (True,)


def reasons(api: Api) -> str:
    """Return the reasons of /readyz; none if it is ready."""
    response = api.get("/readyz", None)
    assert (response.status_code == 200) == (response.json()["reasons"] == []), response.text
    return "; ".join(response.json()["reasons"])


def test_it_answers_reads_and_refuses_writes(apis: tuple[Api, Api]) -> None:
    """The same lists as on the primary; 405 by name for each other method, whoever asks."""
    primary, reader = apis
    primary.answered(primary.asked())
    assert reader.items(REQUESTS) == primary.items(REQUESTS)
    refused = reader.ask()
    problem(refused, 405, "read-only")
    assert refused.headers["allow"] == "GET, HEAD, OPTIONS"
    problem(reader.call("DELETE", "/nothing", None), 405, "read-only")
    state = eventually("it is ready", lambda: not reasons(reader) and reader.get("/readyz", None).json())
    assert state["standby"]["receives"] is True
    metrics = reader.get("/metrics", None).text
    assert "advice_ledger_standby_receives 1.0" in metrics
    assert primary.get("/readyz", None).json()["standby"] is None


def test_a_consistent_read_waits_for_replay(standby: EmbeddedPostgres, apis: tuple[Api, Api]) -> None:
    """What the synchronous standby has, and not replayed yet, is in the answer all the same."""
    primary, reader = apis
    reader.items(REQUESTS)  # a token that the standby has not seen yet waits for replay too
    with ThreadPoolExecutor(1) as pool, connect(standby.url) as conn:
        for _ in range(5):
            conn.execute("SELECT pg_wal_replay_pause()")
            try:
                # The request to pause is granted between two records.
                eventually("replay is paused", lambda: paused(conn))
                number = primary.asked()
                missing = reader.items(REQUESTS, consistency="eventual")
                waiting = pool.submit(reader.items, REQUESTS)
            finally:
                conn.execute("SELECT pg_wal_replay_resume()")
            assert number not in [item["id"] for item in missing]
            assert number in [item["id"] for item in waiting.result()]


def paused(conn: Connection) -> bool:
    """Tell whether a standby has stopped replaying."""
    return conn.execute("SELECT pg_get_wal_replay_pause_state()").fetchone() == ("paused",)


def stands(api: Api, **query: str) -> str | None:
    """The position that the answer to a list names."""
    found: str | None = api.get(REQUESTS, **query).headers.get("ledger-as-of")
    return found


def test_an_asynchronous_standby_says_where_it_stands(
    server: EmbeddedPostgres, standby: EmbeddedPostgres, apis: tuple[Api, Api]
) -> None:
    """It receives late what the primary acknowledged: an answer has what it names, and lacks the rest."""
    primary, reader = apis
    first = primary.asked()
    eventually("it is ready", lambda: not reasons(reader))
    assert stands(primary) is None
    before = str(primary.head()[0])
    eventually("nothing is on its way", lambda: stands(reader) == before)
    assert (stands(reader, consistency="eventual"), stands(reader, as_of="1")) == (None, None)
    with connect(server.url) as admin:
        configure(server.url, "synchronous_standby_names = ''")
        sender = "SELECT pid FROM pg_stat_replication"
        try:
            [(pid,)] = eventually("it replicates", lambda: admin.execute(sender).fetchall())
            eventually("nothing is on its way", lambda: replayed(server, standby))
            os.kill(pid, signal.SIGSTOP)
            position = int(primary.ask().headers["ledger-position"])
            answer = reader.get(REQUESTS)
            assert (answer.headers["ledger-as-of"], [item["id"] for item in answer.json()["items"]]) == (
                before,
                [first],
            )
        finally:
            os.kill(pid, signal.SIGCONT)
            configure(server.url, "synchronous_standby_names = '*'")
        eventually("it has all", lambda: stands(reader) == str(position))


def test_replay_that_stands_still(standby: EmbeddedPostgres, apis: tuple[Api, Api]) -> None:
    """Consistent reads are 503, others are answered as of the past; /readyz has the reason until it goes on."""
    primary, reader = apis
    primary.asked()
    eventually("it is ready", lambda: not reasons(reader))
    with connect(standby.url) as conn:
        conn.execute("SELECT pg_wal_replay_pause()")
        eventually(
            "it stands", lambda: conn.execute("SELECT pg_get_wal_replay_pause_state()").fetchone() == ("paused",)
        )
        before = reader.items(REQUESTS, consistency="eventual")
        position = int(primary.ask().headers["ledger-position"])
        assert "bytes to replay" in problem(reader.get(REQUESTS), 503, "unavailable")["detail"]
        problem(reader.get(REQUESTS, as_of=str(position)), 503, "unavailable")
        assert reader.items(REQUESTS, consistency="eventual") == before
        assert "bytes to replay" in reasons(reader)
        conn.execute("SELECT pg_wal_replay_resume()")
    eventually("it is ready", lambda: not reasons(reader))
    assert reader.items(REQUESTS, as_of=str(position)) == reader.items(REQUESTS)


def read_only_command() -> list[str]:
    """Return the words of the page's command that serves a standby, from its options up to the address."""
    [found] = re.findall(r"^    advice-ledger serve (.+)$", PAGE.read_text("utf-8"), re.MULTILINE)
    *options, address = shlex.split(found)
    assert conninfo_to_dict(address)["user"] == "ledger_reader"
    return options


def test_commands_on_a_standby(apis: tuple[Api, Api], tmp_path: Path) -> None:
    """serve needs --read-only there, and says so, and then only the reader's rights; status, verify and backup work."""
    primary, reader = apis
    primary.asked()
    where = {"ADVICE_LEDGER_DATABASE_URL": reader.url}
    eventually("it is ready", lambda: not reasons(reader))
    assert cli("serve", "--port", "0", env=where).err.splitlines()[-1].startswith("error: this server is a standby")
    status = cli("status", "--json", env=where)
    assert (status.code, status.json()["acknowledged"], status.json()["recording"]) == (0, None, None)
    assert cli("backup", "-o", tmp_path / "file", "--json", env=where).json()["position"] == primary.head()[0]
    assert cli("verify", env=where).code == 0
    with (
        login_role(primary.url, member_of="ledger_reader") as login,
        serving(*read_only_command(), make_conninfo(reader.url, user=login)) as found,
    ):
        api = Api(reader.url, found.base, primary.tokens, reader.app)
        assert len(api.items(REQUESTS)) == 1
        problem(api.ask(), 405, "read-only")
        assert found.stop() == 0


def test_commands_that_write_take_the_primary(apis: tuple[Api, Api], capsys: pytest.CaptureFixture[str]) -> None:
    """Given both hosts, the standby first, migrating and the start of serve go to the primary; reading to any."""
    primary, reader = apis
    first, second = conninfo_to_dict(reader.url), conninfo_to_dict(primary.url)
    both = {name: f"{first[name]},{second[name]}" for name in ("host", "port")}
    where = make_conninfo(primary.url, **both)
    bring_up(where, None, lambda *_: None)
    prepare(where)
    assert "and flushed on 1 standby of: *" in capsys.readouterr().err
    with connect_as(where, "reader") as conn:
        assert conn.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)


def test_a_standby_that_is_cut_off_and_promoted(
    server: EmbeddedPostgres, standby: EmbeddedPostgres, apis: tuple[Api, Api]
) -> None:
    """Without its primary it cannot know what it lacks, and says so. Promoted, it answers all reads."""
    primary, reader = apis
    primary.answered(primary.asked())
    eventually("it is ready", lambda: not reasons(reader))
    everything = reader.items(REQUESTS)
    server.stop()
    try:
        eventually("it says so", lambda: "receives nothing from its primary" in reasons(reader))
        problem(reader.get(REQUESTS), 503, "unavailable")
        assert reader.items(REQUESTS, consistency="eventual") == everything
        with connect(standby.url) as conn:
            conn.execute("SELECT pg_promote()")
        eventually("it is ready", lambda: not reasons(reader))
        assert reader.items(REQUESTS) == everything
        problem(reader.ask(), 405, "read-only")
    finally:
        server.start()
        configure(server.url, "synchronous_standby_names = ''")
