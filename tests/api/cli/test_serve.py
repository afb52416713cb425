"""serve, as a process: from nothing to an answered request, sharing, crashes, signals, and when it refuses to start."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from api.postgres.embedded import EmbeddedPostgres
from ledger.domain import policy
from ledger.domain.subject import ROLES
from schema.migrate import migrate
from tests.api.agents import openai_server
from tests.api.program import Ran, Serving, cli, serving, variables
from tests.support import connect, eventually, login_role, scratch_database

ASKED = {"client_id": "client-1", "risk_profile": "balanced", "amount_usd": 250000}
PATIENCE_S = 30
EVERYWHERE = "0.0.0.0"  # noqa: S104 - refused, or listened on for a second


@pytest.fixture(scope="module")
def data_dir() -> Iterator[Path]:
    """A folder for an embedded database, outside pytest's own, which as root shut out the server's account."""
    with tempfile.TemporaryDirectory(prefix="advice-ledger-") as name:
        yield Path(name) / "data"


@pytest.fixture(scope="module")
def embedded(data_dir: Path) -> Iterator[Serving]:
    """A server on a data folder of its own, made by itself; after SIGTERM it leaves nothing running."""
    with serving("--data-dir", data_dir, fresh=True) as server:
        yield server
        assert server.stop() == 0
        assert server.err.endswith("stopped\n")
        assert not EmbeddedPostgres(data_dir).is_running()


def bearer(token: str) -> dict[str, str]:
    """The header that carries a token."""
    return {"Authorization": f"Bearer {token}"}


def eventually_answers(look: Callable[[], Any]) -> Any:
    """Return the first true result of `look`, despite connections that fail meanwhile."""
    return eventually("the server answers", look, within_s=PATIENCE_S, despite=(httpx.TransportError,))


def ask(server: Serving, token: str) -> httpx.Response:
    """Posts a request for a recommendation."""
    return httpx.post(f"{server.base}/portfolio/recommendations", json=ASKED, headers=bearer(token))


def recommended(server: Serving, token: str, location: str) -> dict[str, Any]:
    """The request once the worker has answered it."""

    def look() -> dict[str, Any] | None:
        found: dict[str, Any] = httpx.get(server.base + location, headers=bearer(token)).raise_for_status().json()
        return found if found["status"] == "recommended" else None

    answered: dict[str, Any] = eventually_answers(look)
    return answered


def test_the_first_start_keeps_a_token_for_each_role(embedded: Serving, data_dir: Path) -> None:
    """All five are in a file of their owner, none in what may be a log, and each of them is one of a caller."""
    tokens = embedded.tokens()
    assert tuple(tokens) == ROLES
    assert stat.filemode((data_dir / "tokens.sh").stat().st_mode) == "-rw-------"
    assert "alt_" not in embedded.out + embedded.err
    for token in tokens.values():
        answer = httpx.get(f"{embedded.base}/proofs/inclusion/1", headers=bearer(token))
        assert answer.status_code not in {401, 403}


def test_the_printed_lines_can_be_pasted(embedded: Serving) -> None:
    """The file sets the tokens; the first curl is answered 202, and the second one shows what came of it."""
    pasted = embedded.out[embedded.out.index("\n. ") :]
    exports, _, first, second = pasted.strip().split("\n\n")

    def paste(command: str) -> str:
        script = f"{exports}\n{command}"
        return subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout

    answer = paste(first)
    assert answer.startswith("HTTP/1.1 202 ")
    location = re.search(r"(?mi)^location: (\S+)", answer)
    assert location is not None
    recommended(embedded, embedded.tokens()["advisor"], location[1])
    [newest] = json.loads(paste(second))["items"]
    assert (f"/portfolio/requests/{newest['id']}", newest["status"]) == (location[1], "recommended")


@pytest.mark.slow
def test_commands_share_the_running_database(embedded: Serving, data_dir: Path) -> None:
    """Others work on the same folder meanwhile, and what they do counts at once; the server's database stays up."""
    ran = cli("subjects", "add", "bob", "--role", "advisor", "--token", "--data-dir", data_dir)
    assert ran.code == 0
    token = ran.out.strip()
    location = ask(embedded, token).raise_for_status().headers["location"]
    assert recommended(embedded, token, location)["requested_by"] == "bob"
    assert cli("status", "--data-dir", data_dir).code == 0
    assert cli("verify", "--data-dir", data_dir).code == 0
    assert cli("rebuild", "--data-dir", data_dir).code == 0
    assert cli("credentials", "revoke", "bob", "1", "--data-dir", data_dir).code == 0
    eventually_answers(lambda: ask(embedded, token).status_code == 401)


@pytest.mark.slow
def test_a_killed_postgres_comes_back(embedded: Serving, data_dir: Path) -> None:
    """After kill -9 of PostgreSQL the same server process records and answers again, and nothing is lost."""
    token = embedded.tokens()["advisor"]
    before = ask(embedded, token).raise_for_status().headers["location"]
    os.kill(int((data_dir / "postgres" / "postmaster.pid").read_text().split("\n")[0]), signal.SIGKILL)
    after = eventually_answers(lambda: (answer := ask(embedded, token)).is_success and answer).headers["location"]
    for location in (before, after):
        recommended(embedded, token, location)
    assert embedded.process.poll() is None
    assert cli("verify", "--data-dir", data_dir).code == 0


@pytest.mark.slow
def test_a_second_server_on_the_same_port_is_refused(embedded: Serving, data_dir: Path) -> None:
    """Port and advice in one line, exit 2; the first one goes on, and so does its database."""
    ran = cli("serve", "--port", embedded.port, "--data-dir", data_dir)
    assert ran.failed_with(f"port {embedded.port} of 127.0.0.1 is in use", "--port")
    assert httpx.get(f"{embedded.base}/healthz").status_code == 200
    assert EmbeddedPostgres(data_dir).is_running()


@pytest.mark.slow
def test_a_second_server_on_the_same_folder_shares_it(embedded: Serving, data_dir: Path) -> None:
    """On another port it serves the same ledger and shows no tokens; Ctrl-C leaves the database to the first."""
    with serving("--data-dir", data_dir, "--no-worker") as other:
        assert other.out == ""
        location = ask(other, embedded.tokens()["advisor"]).raise_for_status().headers["location"]
        recommended(embedded, embedded.tokens()["advisor"], location)
        assert other.stop(signal.SIGINT) == 0
    assert EmbeddedPostgres(data_dir).is_running()


@pytest.mark.parametrize("how", [signal.SIGTERM, pytest.param(signal.SIGHUP, marks=pytest.mark.slow)])
def test_signals_end_it_cleanly(database_url: str, how: signal.Signals) -> None:
    """SIGTERM and a closed terminal: exit 0, after the application has shut down, without a traceback."""
    with serving("--database-url", database_url) as server:
        assert server.stop(how) == 0
        assert "Application shutdown complete" in server.err
        assert "Traceback" not in server.err
        assert server.err.endswith("stopped\n")


def test_it_makes_the_ledger(server_url: str) -> None:
    """On an empty database it migrates, builds the read models, and is ready; on the next start it need do nothing."""
    with scratch_database(server_url) as url:
        with serving(env={"ADVICE_LEDGER_DATABASE_URL": url}) as server:
            assert "applied 0001_events" in server.err
            assert "built portfolio_requests" in server.err
            ready = eventually_answers(lambda: (answer := httpx.get(f"{server.base}/readyz")).is_success and answer)
            assert ready.json()["position"] == 3 * len(ROLES)
        with serving("--database-url", url) as server:
            assert (server.out, "applied" in server.err, "built portfolio" in server.err) == ("", False, False)


@pytest.mark.slow
def test_without_a_worker_requests_stay_queued(database_url: str) -> None:
    """--no-worker records requests and answers none."""
    with serving("--database-url", database_url, "--no-worker") as server:
        location = ask(server, server.tokens()["advisor"]).raise_for_status().headers["location"]
        for _ in range(50):  # a worker looks ten times a second
            found = httpx.get(server.base + location, headers=bearer(server.tokens()["advisor"])).json()
            assert found["status"] == "queued"


@pytest.mark.slow
def test_addresses_that_others_reach_need_tokens(database_url: str) -> None:
    """Exit 2 with the command that makes one, and none is made; with one it serves, and shows nothing."""
    ran = cli("serve", "--host", EVERYWHERE, "--port", "0", "--database-url", database_url)
    assert lacks_a_token(ran)
    assert cli("credentials", "list", "--json", "--database-url", database_url).json() == []
    assert cli("subjects", "add", "ann", "--role", "admin", "--token", "--database-url", database_url).code == 0
    with serving("--host", EVERYWHERE, "--database-url", database_url) as server:
        assert server.out == ""
        assert httpx.get(f"{server.base}/healthz").status_code == 200
    assert cli("credentials", "revoke", "ann", "1", "--database-url", database_url).code == 0
    ran = cli("serve", "--host", EVERYWHERE, "--port", "0", "--database-url", database_url)
    assert lacks_a_token(ran)


def lacks_a_token(ran: Ran) -> bool:
    """The last line, after those about this server's settings and login, says so and what to do."""
    last = ran.err.splitlines()[-1]
    told = last.startswith("error: there is no good credential") and "subjects add NAME --role ROLE --token" in last
    return (ran.code, ran.out) == (2, "") and told


@pytest.mark.slow
def test_an_address_that_is_not_ours_is_exit_2(database_url: str) -> None:
    """An address that is not ours, and a name that does not exist: one line, exit 2."""
    assert cli("serve", "--host", "192.0.2.1", "--database-url", database_url).failed_with("cannot listen on 192.0.2.1")
    assert cli("serve", "--host", "no.such.invalid", "--database-url", database_url).failed_with("no.such.invalid")


def test_the_log_has_no_personal_data(database_url: str) -> None:
    """Nothing of a request is logged; with --access-log its path, without the query, which may name a client."""
    with serving("--database-url", database_url, "--access-log") as server:
        headers = bearer(server.tokens()["advisor"])

        def listed() -> httpx.Response:
            return httpx.get(f"{server.base}/portfolio/requests", params={"client_id": "s3cret"}, headers=headers)

        assert listed().status_code == 404  # a client that the ledger does not have
        asked = {**ASKED, "client_id": "s3cret"}
        path = f"{server.base}/portfolio/recommendations"
        httpx.post(path, json=asked, headers=headers).raise_for_status()
        assert listed().status_code == 200
        lines = [f'"GET /portfolio/requests HTTP/1.1" {status}' for status in (404, 200)]
        eventually_answers(lambda: all(line in server.err for line in lines))
        assert "s3cret" not in server.err
        assert "alt_" not in server.err


@pytest.mark.slow
def test_a_login_that_may_not_migrate_serves_what_is_ready(database_url: str) -> None:
    """It starts on a ledger that is up to date; otherwise it says what to run, and that another login must do it."""
    with login_role(database_url, "PASSWORD 'test'", member_of="ledger_reader") as login:
        with connect(database_url) as conn:
            migrate(conn)
            conn.execute(sql.SQL("GRANT ledger_writer, ledger_projector TO {}").format(sql.Identifier(login)))
            conn.execute("GRANT SELECT ON ledger.schema_migrations TO ledger_reader")
        url = make_conninfo(database_url, user=login, password="test")
        with serving("--database-url", url) as server:
            assert httpx.get(f"{server.base}/healthz").status_code == 200
        with connect(database_url, "owner") as conn:
            conn.execute("UPDATE projections SET digest = 'old' WHERE name = 'ai_recommendations'")
        ran = cli("serve", "--port", "0", "--database-url", url)
        assert ran.failed_with("read models ai_recommendations are missing, outdated or stopped", "rebuild")
        with connect(database_url, "owner") as conn:
            conn.execute("DELETE FROM schema_migrations WHERE name = '0002_tokens'")
        ran = cli("serve", "--port", "0", "--database-url", url)
        assert ran.failed_with("the ledger lacks 0002_tokens", "run advice-ledger migrate")


@pytest.mark.slow
def test_another_agent_by_the_environment(database_url: str) -> None:
    """Each option has a variable; the key reaches the model's server, and neither output nor the ledger."""
    key = "sk-test-0123456789-secret"
    shares = [{"asset_class": "cash", "weight": "1", "rationale": "safe"}]
    with openai_server.serving() as model:
        model.says(json.dumps({"summary": "A proposal.", "allocations": shares}))
        settings = {
            "ADVICE_LEDGER_AGENT": "openai",
            "ADVICE_LEDGER_AGENT_URL": model.url,
            "ADVICE_LEDGER_AGENT_MODEL": "test-model",
            "ADVICE_LEDGER_AGENT_API_KEY": key,
            "ADVICE_LEDGER_FOUR_EYES_POLICY": str(policy.HOME / "four-eyes.json"),
            "ADVICE_LEDGER_REASON_CODES": str(policy.HOME / "reason-codes.json"),
            "ADVICE_LEDGER_ORPHAN_AFTER": "7",
        }
        with serving("--database-url", database_url, env=settings) as server:
            assert "requests are answered by openai-compatible 1.0.0+prompt.1.0.0.model.test-model\n" in server.err
            token = server.tokens()["advisor"]
            location = ask(server, token).raise_for_status().headers["location"]
            found = recommended(server, token, location)
            assert "and have not ended for 7 s" in httpx.get(f"{server.base}/metrics").text
            path = f"{server.base}/recommendations/{found['recommendation_id']}"
            assert httpx.get(path, headers=bearer(token)).json()["model_name"] == "test-model"
            assert key not in server.out + server.err
        [received] = model.received
    assert received.headers["authorization"] == f"Bearer {key}"
    with connect(database_url) as conn:
        rows = conn.execute("SELECT body, fields::text FROM events LEFT JOIN sealed_fields USING (position)").fetchall()
    assert key not in str(rows)


@pytest.mark.slow
def test_the_optimiser_serves_with_prices_of_the_given_day(database_url: str) -> None:
    """On the prices known on the day given: its version says which."""
    until = variables(agent_until="2015-12-31")
    with serving("--database-url", database_url, "--agent", "optimiser", env=until) as server:
        assert re.search(r"answered by skfolio-optimiser \S+\.until\.2015-12-31\n", server.err)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"agent": "openai"}, ("needs the settings agent_url and agent_model",)),
        ({"agent": "openai", "agent_url": "http://x/v1?key=1", "agent_model": "m"}, ("password or a query",)),
        ({"agent_url": "http://x/v1"}, ("the agent builtin has no setting agent_url",)),
        ({"agent": "optimiser", "agent_until": "1980-01-01"}, ("the agent optimiser cannot be used",)),
        ({"four_eyes_policy": "/nonexistent"}, ("four-eyes", "/nonexistent", "No such file")),
        ({"reason_codes": str(policy.HOME / "four-eyes.json")}, ("reason-codes", "four-eyes.json")),
        ({"sign_every": "0"}, ("ADVICE_LEDGER_SIGN_EVERY", "a number from 0.01 to 86400")),
    ],
    ids=lambda found: str(found)[-20:],
)
def test_settings_that_cannot_be_used(settings: dict[str, str], words: tuple[str, ...], tmp_path: Path) -> None:
    """One line, exit 2, before anything is made in the folder."""
    ran = cli("serve", "--port", "0", "--data-dir", tmp_path, env=variables(**settings))
    assert ran.failed_with(*words)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_extra_is_named(tmp_path: Path) -> None:
    """The pip command, before anything is opened."""
    before = "import sys; sys.modules['skfolio'] = None"
    ran = cli("serve", "--port", "0", "--data-dir", tmp_path, "--agent", "optimiser", before=before)
    assert ran.failed_with("pip install 'advice-ledger[optimise]'")
    assert list(tmp_path.iterdir()) == []


def test_an_application_that_does_not_start_is_exit_2(database_url: str) -> None:
    """A failure while the application starts ends with exit 2 and a last line that says where to look."""
    broken = "import api.services\ndef fail(*_): raise OSError('no')\napi.services.open_ledger = fail"
    ran = cli("serve", "--port", "0", "--database-url", database_url, before=broken)
    assert ran.code == 2
    assert ran.err.endswith("error: the application did not start: the reason is above\n")
