"""`/readyz` and the gauges in each fault: without appends, strong reads or signatures it is not ready, and says why."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from psycopg import sql

from api.agents.protocol import AgentAnswer, AgentRefused, AgentRequest
from api.postgres.embedded import EmbeddedPostgres
from ledger.tlog.heads.recorder import HeadsRecorder
from ledger.tlog.sign.signer_thread import SigningConfig
from ledger.verify.continuous import VerificationConfig
from tests.api.program import cli
from tests.api.served import Api, make_tokens, served
from tests.faults.test_database_down import freeze, locked_head
from tests.faults.workers import Does, fine, working
from tests.ledger.tlog.logs import key_for
from tests.support import connect, eventually

PATIENCE_S = 2.5
LOCKED = ("nothing can be recorded", "holds a lock that appends need")
# Stands for a full disk, or a standby: the insert of an event fails as it would there, and nothing else does.
NO_INSERT = """
    CREATE FUNCTION no_insert() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION USING ERRCODE = {}, MESSAGE = 'no'; END $$;
    CREATE TRIGGER no_insert BEFORE INSERT ON events EXECUTE FUNCTION no_insert();
"""
NO_HEADS = """
    CREATE TRIGGER no_heads BEFORE INSERT ON events FOR EACH ROW WHEN (NEW.stream = 'stream-heads')
    EXECUTE FUNCTION no_insert();
"""
WAIT_FOR_LOCKS = "SELECT FROM pg_locks WHERE NOT granted"


@pytest.fixture
def api(database_url: str) -> Iterator[Api]:
    """The application, with little patience."""
    with served(database_url, patience_s=PATIENCE_S) as found:
        eventually("readiness", lambda: found.get("/readyz", None).status_code == 200)
        yield found


def not_ready(api: Api, *words: str) -> None:
    """Wait until /readyz is 503 with one reason that has all these words."""

    def reason() -> bool:
        answer = api.get("/readyz", None)
        reasons = answer.json()["reasons"]
        return answer.status_code == 503 and any(all(word in text for word in words) for text in reasons)

    eventually(f"not ready: {words}", reason)


def ready(api: Api) -> None:
    """Wait until /readyz is 200 without reasons."""
    eventually("ready again", lambda: (found := api.get("/readyz", None)).status_code == 200 and found)


def warnings(api: Api) -> str:
    """The warnings of /readyz."""
    return "; ".join(api.get("/readyz", None).json()["warnings"])


def gauge(api: Api, name: str) -> float:
    """The value of a gauge, with its labels as Prometheus writes them."""
    lines = api.get("/metrics", None).text.splitlines()
    [value] = [line.rpartition(" ")[2] for line in lines if line.startswith(f"advice_ledger_{name} ")]
    return float(value)


def test_an_idle_transaction_that_holds_the_head(api: Api) -> None:
    """Nobody has to write for it: the check waits for the row as an append does."""
    with api.records_nothing(), locked_head(api.url) as pid:
        holder = f"process {pid} (login postgres, application 'a forgotten psql') holds the table head"
        not_ready(api, "nothing can be recorded", "holds a lock that appends need", holder)
        assert gauge(api, "append_failing_seconds") > 0
    ready(api)
    assert gauge(api, "append_failing_seconds") == 0


@pytest.mark.parametrize(
    ("table", "mode", "words"),
    [
        ("events", "SHARE", LOCKED),
        ("sealed_fields", "SHARE", LOCKED),
        ("sealed_fields_0", "SHARE", LOCKED),
        ("stream_clients", "SHARE", LOCKED),
        ("stream_numbers", "SHARE", LOCKED),
        ("event_types", "ACCESS EXCLUSIVE", LOCKED),
        ("credentials", "ACCESS EXCLUSIVE", ("callers cannot be authenticated", "credentials")),
    ],
)
def test_a_table_that_somebody_locked(
    api: Api, monkeypatch: pytest.MonkeyPatch, table: str, mode: str, words: tuple[str, ...]
) -> None:
    """The first answer is 503, though nobody writes; the reason names the lock."""
    monkeypatch.setattr("ledger.store.writer_health.FRESH_S", 0)
    with api.records_nothing():
        with connect(api.url) as conn, conn.transaction():
            conn.execute(sql.SQL("LOCK TABLE {} IN {} MODE").format(sql.Identifier(table), sql.SQL(mode)))
            assert api.get("/readyz", None).status_code == 503
            who = (
                ()
                if table == "credentials"
                else (f"process {conn.info.backend_pid} ", f"holds the table {table.removesuffix('_0')}")
            )
            not_ready(api, *words, *who)
            # A caller who is known already needs no look at the credentials.
            assert table == "credentials" or api.ask().status_code == 503
            # The writer gives up just after the lock's timeout, or before it if the machine is busy. Then the append
            # still waits, and would be recorded if the lock were released now.
            eventually("no append waits for the lock", lambda: not conn.execute(WAIT_FOR_LOCKS).fetchall())
        ready(api)
    assert api.ask().status_code == 202


def test_a_full_disk_while_nobody_writes(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Now and then a check writes, so it is noticed without an append, and by `advice-ledger status` at once."""
    cli("rebuild", "--database-url", api.url)
    with api.records_nothing(), connect(api.url) as conn:
        conn.execute(sql.SQL(NO_INSERT).format(sql.Literal("53100")))
        ran = cli("status", "--json", "--database-url", api.url)
        assert (ran.code, ran.json()["recording"]) == (1, "the disk of the database is full")
        monkeypatch.setattr("ledger.store.writer_health.DEEP_S", 0)
        not_ready(api, "nothing can be recorded", "disk")
        conn.execute("DROP TRIGGER no_insert ON events")
        ready(api)


def test_sealed_values_cannot_be_written(api: Api) -> None:
    """Events without them are recorded all the same; no success of theirs makes the process ready."""
    register = partial(api.call, "POST", "/agents/agent/registrations", "admin")
    assert register(json={"answer_schema": "allocations/v1"}).status_code == 201  # records the policies, too
    with connect(api.url) as conn:
        conn.execute(sql.SQL(NO_INSERT).format(sql.Literal("53100")))
        conn.execute("DROP TRIGGER no_insert ON events")
        conn.execute("CREATE TRIGGER no_insert BEFORE INSERT ON sealed_fields EXECUTE FUNCTION no_insert()")
        assert api.ask().status_code == 503
        for answers in ("any/v1", "allocations/v1", "any/v1"):
            assert register(json={"answer_schema": answers}).status_code == 201
            assert gauge(api, "append_failing_seconds") > 0
            assert api.get("/readyz", None).status_code == 503
        conn.execute("DROP TRIGGER no_insert ON sealed_fields")
        # Nobody has to ask /readyz: a check follows the next append by itself.
        assert api.ask().status_code == 202
        eventually("the failure is over", lambda: gauge(api, "append_failing_seconds") == 0)
    ready(api)


@pytest.mark.parametrize(("sqlstate", "words"), [("53100", "disk"), ("25006", "takes no writes")])
def test_no_event_can_be_written(api: Api, sqlstate: str, words: str) -> None:
    """After an append that met it, readiness does not come back before an event could be written."""
    with connect(api.url) as conn:
        conn.execute(sql.SQL(NO_INSERT).format(sql.Literal(sqlstate)))
        assert api.ask().status_code == 503
        for _ in range(3):
            not_ready(api, "nothing can be recorded", words)
        conn.execute("DROP TRIGGER no_insert ON events")
    with api.records_nothing():
        ready(api)
    assert api.ask().status_code == 202


@pytest.mark.slow
def test_a_synchronous_standby_that_hangs(server: EmbeddedPostgres, ledger: str) -> None:
    """Commits wait for a standby that never answers; the check waits as well, though it records nothing."""
    with served(ledger, patience_s=PATIENCE_S) as api, connect(server.url) as admin:
        ready(api)
        admin.execute("SET synchronous_commit = local")
        admin.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        admin.execute("SELECT pg_reload_conf()")
        try:
            not_ready(api, "nothing can be recorded", "standby")
        finally:
            admin.execute("ALTER SYSTEM RESET synchronous_standby_names")
            admin.execute("SELECT pg_reload_conf()")
        ready(api)
        assert api.ask().status_code == 202


def test_a_database_that_hangs(server: EmbeddedPostgres, ledger: str) -> None:
    """It neither answers nor goes away: /readyz and /metrics answer all the same."""
    with served(ledger, patience_s=PATIENCE_S) as api:
        ready(api)
        with freeze(server):
            not_ready(api, "nothing can be recorded", "does not answer")
            assert gauge(api, "append_failing_seconds") > 0
        ready(api)


def test_a_read_model_that_does_not_move(api: Api) -> None:
    """Somebody holds its table: it is behind, says so with its lag, and is ready when it moves again."""
    lag = 'projection_lag_events{read_model="portfolio_requests"}'
    api.asked()  # registers the client, too
    eventually("no lag", lambda: gauge(api, lag) == 0)
    with connect(api.url) as conn:
        with conn.transaction():
            conn.execute("LOCK TABLE portfolio_requests IN SHARE MODE")
            assert api.ask().status_code == 202
            not_ready(api, "portfolio_requests", "1 event behind")
            assert gauge(api, lag) == 1
            assert gauge(api, 'projection_stalled_seconds{read_model="portfolio_requests"}') > PATIENCE_S
        ready(api)
    assert gauge(api, "requests_queued") == 2
    assert gauge(api, "requests_queued_oldest_seconds") > 0


@pytest.mark.parametrize("fault", ["another-leads", "state-file"])
def test_nothing_is_signed(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    """A leader that does not sign, and a state file that cannot be written: not ready, also as a follower."""
    monkeypatch.setattr("api.http.readiness.LEAST_WAIT_S", 0.2)
    folder = tmp_path / "folder"
    state = folder / "log.key.last"
    signing = SigningConfig(key_for(database_url), state, every_s=0.05)
    with contextlib.ExitStack() as stack:
        leader = stack.enter_context(connect(database_url, "signer"))
        if fault == "another-leads":
            assert leader.execute("SELECT lead_signing()").fetchone() == (True,)
        else:
            folder.touch()  # no folder, so no file can be in it
        api = stack.enter_context(served(database_url, patience_s=PATIENCE_S, signing=signing))
        eventually("a request is recorded", lambda: api.ask().status_code == 202)
        not_ready(api, "nothing was signed", "events wait", "leads" if fault == "another-leads" else "cannot be used")
        assert gauge(api, "checkpoint_waiting_seconds") > 0
        if fault == "another-leads":
            leader.close()
        else:
            folder.unlink()
        ready(api)
        assert gauge(api, "checkpoint_events_not_covered") == 0


def test_where_streams_end_cannot_be_recorded(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker that records it fails: a warning with the cause, and a gauge, until it works. Still ready."""
    monkeypatch.setattr("ledger.tlog.sign.signer_thread.HeadsRecorder", partial(HeadsRecorder, settle_s=0, look_s=0.05))
    signing = SigningConfig(key_for(database_url), tmp_path / "log.key.last", every_s=0.05)
    tokens = make_tokens(database_url)
    with contextlib.ExitStack() as stack:
        conn = stack.enter_context(connect(database_url))
        conn.execute(sql.SQL(NO_INSERT).format(sql.Literal("53100")))
        conn.execute("DROP TRIGGER no_insert ON events")
        conn.execute(NO_HEADS)  # before the worker first looks
        api = stack.enter_context(served(database_url, tokens=tokens, patience_s=PATIENCE_S, signing=signing))
        assert api.ask().status_code == 202
        eventually("a warning", lambda: "where streams end cannot be recorded: the database failed" in warnings(api))
        assert api.get("/readyz", None).status_code == 200
        assert gauge(api, "stream_heads_failing") == 1
        conn.execute("DROP TRIGGER no_heads ON events")
        eventually("no warning", lambda: "streams end" not in warnings(api))
        assert gauge(api, "stream_heads_failing") == 0


def test_a_leader_of_verification_that_stands_still(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process follows, and nobody verifies: a warning."""
    monkeypatch.setattr("ledger.verify.continuous.STALLED_S", 0.3)
    with connect(database_url, "verifier") as leader:
        assert leader.execute("SELECT lead_verifying()").fetchone() == (True,)
        with served(database_url, patience_s=PATIENCE_S, verification=VerificationConfig()) as api:
            words = "continuous verification stands still: this process follows"
            eventually("a warning", lambda: words in warnings(api))
            assert api.get("/readyz", None).status_code == 200


def test_an_agent_that_only_fails(api: Api) -> None:
    """It is a warning and a gauge: requests still go in. One answer ends it."""

    def answers(request: AgentRequest, before: int = 0) -> AgentAnswer:
        if request.amount_usd == 1:
            raise AgentRefused("not-suitable", "nothing suits")
        return fine(request)

    for _ in range(5):
        api.asked(amount_usd=1)
    with working(api.url, Does(answers)):
        eventually("a warning", lambda: "does-as-told" in str(api.get("/readyz", None).json()["warnings"]))
        assert api.get("/readyz", None).status_code == 200
        assert gauge(api, 'agent_failing{agent="does-as-told"}') == 1
        labels = 'agent="does-as-told",error_type="not-suitable",outcome="failed"'
        assert gauge(api, f"agent_calls_recent{{{labels}}}") == 5
        api.asked()
        eventually("no warning but that about the login", lambda: api.get("/readyz", None).json()["warnings"][1:] == [])
    assert gauge(api, 'agent_failing{agent="does-as-told"}') == 0


def test_latencies_are_counted(api: Api) -> None:
    """Appends and requests have histograms; a check is no append."""
    assert gauge(api, "append_seconds_count") == 0
    api.ask()  # the client comes first, in an append of its own
    for _ in range(2):
        api.ask()
    assert gauge(api, "append_seconds_count") == 4
    assert gauge(api, 'append_seconds_bucket{le="+Inf"}') == 4
    labels = 'method="POST",route="/portfolio/recommendations"'
    assert gauge(api, f"http_request_seconds_count{{{labels}}}") == 3


@pytest.mark.slow
def test_status_tries_an_append(database_url: str) -> None:
    """`advice-ledger status` exits with 1 and says why while no append is possible, and with 0 afterwards."""
    cli("rebuild", "--database-url", database_url)
    with locked_head(database_url) as pid:
        ran = cli("status", "--json", "--database-url", database_url)
        said = f"another session holds a lock that appends need: process {pid} (login postgres, "
        assert (ran.code, ran.json()["recording"].startswith(said)) == (1, True)
    ran = cli("status", "--json", "--database-url", database_url)
    assert (ran.code, ran.json()["recording"]) == (0, "ok")
