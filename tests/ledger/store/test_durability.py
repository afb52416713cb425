"""What an acknowledged commit has survived follows from the settings of the session that commits."""

from __future__ import annotations

import pytest
from psycopg import sql

from ledger.store.durability import Settings, judge, read_acknowledged
from tests.pages import code, table_with
from tests.paths import DOCS
from tests.support import connect

NAMES = "FIRST 2 (a, b, c)"
PAGE = (DOCS / "operate/durability.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("names", "standbys"),
    [
        ("", 0),
        ("  ", 0),
        ("a", 1),
        ("*", 1),
        ("a, b", 1),
        (NAMES, 2),
        ("ANY 3 (*)", 3),
        ("any 1(a)", 1),
        ("2 (a,b)", 2),
    ],
)
def test_the_standbys_that_a_commit_waits_for(names: str, standbys: int) -> None:
    """Each form that PostgreSQL takes for synchronous_standby_names."""
    assert Settings("on", names, True, True).standbys == standbys


def test_the_table_of_the_page_is_that_of_the_code() -> None:
    """For each value of synchronous_commit, without standbys and with them."""
    rows = table_with(PAGE, "`synchronous_commit`", "with standbys").rows
    assert [code(row["`synchronous_commit`"])[0] for row in rows] == [
        "off",
        "local",
        "remote_write",
        "on",
        "remote_apply",
    ]
    for row in rows:
        [value] = code(row["`synchronous_commit`"])
        assert judge(Settings(value, "", True, True)).meaning == row["without `synchronous_standby_names`"]
        meaning = judge(Settings(value, NAMES, True, True)).meaning
        assert meaning.replace(f"2 standbys of: {NAMES}", "the standbys") == row["with standbys"]


@pytest.mark.parametrize(
    ("settings", "warning"),
    [
        (Settings("on", "", False, True), "fsync is off"),
        (Settings("on", "", True, False), "full_page_writes is off"),
        (Settings("off", "", True, True), "synchronous_commit is off"),
        (Settings("local", "a", True, True), "no commit waits for the standbys"),
        (Settings("remote_write", "a", True, True), "a standby may lose"),
    ],
)
def test_each_weak_setting_has_a_warning(settings: Settings, warning: str) -> None:
    """One warning for each; none for what PostgreSQL has by default, with and without standbys."""
    [found] = judge(settings).warnings
    assert warning in found
    for strong in (
        Settings("on", "", True, True),
        Settings("on", NAMES, True, True),
        Settings("local", "", True, True),
    ):
        assert judge(strong).warnings == ()


def test_the_settings_are_those_of_the_session(database_url: str) -> None:
    """A login or a database may have its own synchronous_commit."""
    with connect(database_url) as conn:
        name = sql.Identifier(conn.info.dbname)
        conn.execute(sql.SQL("ALTER DATABASE {} SET synchronous_commit = off").format(name))
    with connect(database_url, "writer") as conn:
        acknowledged = read_acknowledged(conn)
    assert acknowledged is not None
    with connect(database_url, "writer") as conn:
        conn.execute("SET synchronous_commit = on")
        strict = read_acknowledged(conn)
    assert strict is not None
    assert acknowledged.meaning == strict.meaning  # append() turns it on: test_append.py
    assert any("synchronous_commit is off" in warning for warning in acknowledged.warnings)
