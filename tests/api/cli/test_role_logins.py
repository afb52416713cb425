"""A server whose five roles log in with passwords: migrate makes them, serve and the commands use nothing else."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from api.postgres.embedded import EmbeddedPostgres
from schema.database_roles import ROLES
from tests.api.cli.test_serve import ask, bearer, recommended
from tests.api.program import cli, serving, variables

pytestmark = [pytest.mark.slow, pytest.mark.database]

# The superuser gets in by the socket; everybody else needs a password.
HBA = "local all postgres trust\nlocal all all scram-sha-256\n"
OURS = "SELECT DISTINCT usename::text FROM pg_stat_activity WHERE application_name LIKE 'advice-ledger%' ORDER BY 1"
# The eraser has a session only while it erases.
AT_WORK = sorted(f"ledger_{role}" for role in ROLES if role != "eraser")


class Place(NamedTuple):
    """The superuser's URL, a reader's URL without password, and the file with the passwords."""

    owner: str
    reader: str
    logins: Path


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    """A server that asks the ledger's roles for passwords, migrated with logins."""
    with tempfile.TemporaryDirectory(prefix="advice-ledger-") as folder:
        logins = Path(folder) / "logins"
        with EmbeddedPostgres(Path(folder) / "data", settings={"fsync": "off"}) as server:
            (Path(folder) / "data/postgres/pg_hba.conf").write_text(HBA)
            with psycopg.connect(server.url) as admin:
                admin.execute("SELECT pg_reload_conf()")
            assert cli("migrate", "--logins", logins, "--database-url", server.url).code == 0
            yield Place(server.url, make_conninfo(server.url, user="ledger_reader"), logins)


def settings(place: Place) -> dict[str, str]:
    """The environment of a machine that serves: no login but those of the roles."""
    return variables(database_url=place.reader, database_logins=place.logins)


def test_serve_uses_the_logins_of_the_roles_alone(place: Place) -> None:
    """A request is recorded, answered, signed and verified, and each session on the server is one of the five's."""
    token = cli("subjects", "add", "ann", "--role", "advisor", "--token", "--database-url", place.owner).out.strip()
    key = place.logins.with_name("log.key")
    assert cli("keys", "generate", "--key", key, env=settings(place)).code == 0
    with serving("--key", key, env=settings(place)) as server:
        location = ask(server, token).raise_for_status().headers["location"]
        recommended(server, token, location)
        state = httpx.get(f"{server.base}/readyz").json()
        assert (state["status"], state["warnings"]) == ("ready", [])
        assert "warning: the login" not in server.err
        with psycopg.connect(place.owner) as admin:
            assert [name for (name,) in admin.execute(OURS).fetchall()] == AT_WORK
    for command in ("status", "verify", "orphans"):
        assert cli(command, env=settings(place)).code == 0


def test_the_embedded_server_is_used_by_the_roles_alone() -> None:
    """The same without any setting, and without the superuser once serve has started."""
    with tempfile.TemporaryDirectory(prefix="advice-ledger-") as name:
        data = Path(name) / "data"
        with serving("--data-dir", data) as server, EmbeddedPostgres(data) as database:
            token = server.tokens()["advisor"]
            recommended(server, token, ask(server, token).raise_for_status().headers["location"])
            assert httpx.get(f"{server.base}/readyz", headers=bearer(token)).json()["warnings"] == []
            with psycopg.connect(database.url) as admin:
                used = [login for (login,) in admin.execute(OURS).fetchall()]
        assert used == AT_WORK


def test_a_server_of_one_login_warns(place: Place) -> None:
    """The superuser in every role: serve, /readyz and status name the login and the page."""
    environment = variables(database_url=place.owner)
    with serving("--no-worker", env=environment) as server:
        assert "warning: the login postgres is a superuser" in server.err
        [found] = httpx.get(f"{server.base}/readyz").json()["warnings"]
        assert "docs/operate/logins.md" in found
    ran = cli("status", "--json", env=environment)
    assert ran.json()["privileged_logins"] == ["postgres"]
    assert "warning: the login postgres" in cli("status", env=environment).out


def test_a_password_that_does_not_fit_is_told_and_mended(place: Place) -> None:
    """One line says what to run; a login that may not cannot mend it; the owner's can, and changes nothing else."""
    with psycopg.connect(place.owner, autocommit=True) as admin:
        admin.execute("ALTER ROLE ledger_verifier PASSWORD 'another'")
    ran = cli("verify", env=settings(place))
    assert ran.failed_with("password authentication failed", "ledger_verifier", "migrate --logins", str(place.logins))
    assert cli("migrate", env=settings(place)).failed_with("may not do this")
    before = place.logins.read_text()
    assert cli("migrate", "--logins", place.logins, "--database-url", place.owner).code == 0
    assert place.logins.read_text() == before
    assert cli("verify", env=settings(place)).code == 0


def test_settings_that_exclude_logins_are_refused(place: Place) -> None:
    """A password of the environment would win over the file's; the embedded server has logins of its own."""
    ran = cli("status", env={**settings(place), "PGPASSWORD": "s3cret"})
    assert ran.failed_with("PGPASSWORD", str(place.logins))
    assert "s3cret" not in ran.err
    ran = cli("migrate", "--logins", place.logins.with_name("more"), "--data-dir", place.logins.with_name("none"))
    assert ran.failed_with("needs database_url")
    assert not place.logins.with_name("more").exists()


def test_a_restore_into_a_server_with_logins(place: Place, tmp_path: Path) -> None:
    """With the file of passwords, restore makes the logins of a server that has none, and they are all that is used."""
    file = tmp_path / "ledger.backup"
    assert cli("backup", "-o", file, env=settings(place)).code == 0
    with tempfile.TemporaryDirectory(prefix="advice-ledger-") as folder:
        data = Path(folder) / "data"
        with EmbeddedPostgres(data, settings={"fsync": "off"}) as server:
            (data / "postgres/pg_hba.conf").write_text(HBA)
            with psycopg.connect(server.url) as admin:
                admin.execute("SELECT pg_reload_conf()")
            there = variables(database_url=server.url, database_logins=place.logins)
            restored = cli("restore", file, "--json", env=there)
            assert (restored.code, restored.json()["ok"], restored.json()["grants"]) == (0, True, [])
            alone = Place(server.url, make_conninfo(server.url, user="ledger_reader"), place.logins)
            status = cli("status", "--json", env=settings(alone)).json()
            assert (status["position"], status["recording"]) == (restored.json()["position"], "ok")
            assert cli("verify", env=settings(alone)).code == 0
            refused = cli("status", env=variables(database_url=alone.reader))
            assert refused.failed_with("no password supplied")
