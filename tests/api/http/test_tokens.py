"""Tokens: enough random bits, stored as a hash alone, named once, and each refusal with its own class."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256

import psycopg
import pytest

from api.agents.registry import RECORDED
from api.http.auth import tokens
from api.http.auth.tokens import AlreadyRevoked, BadName, Counts, NameTaken, UnknownName, UnknownRole
from ledger.database import Connection
from ledger.domain.agent import RESERVED
from tests.support import connect


@pytest.fixture
def owner(database_url: str) -> Iterator[Connection]:
    """A connection that acts as the ledger's owner."""
    with connect(database_url, "owner") as conn:
        yield conn


def who(conn: Connection, token: str) -> list[tuple[str, str]]:
    """Whom the database takes the bearer of a token for."""
    return [(str(name), str(role)) for name, role in conn.execute(tokens_of, [sha256(token.encode()).digest()])]


tokens_of = "SELECT * FROM authenticate(%s)"


def test_a_token_has_256_random_bits_and_only_its_hash_is_kept(owner: Connection) -> None:
    """`alt_` and 43 url-safe characters of 32 bytes, different each time; no column of any row holds the token."""
    made = [tokens.create(owner, f"user-{number}", "advisor") for number in range(3)]
    assert len(set(made)) == 3
    for token in made:
        assert re.fullmatch(r"alt_[A-Za-z0-9_-]{43}", token)
        assert len(base64.urlsafe_b64decode(token.removeprefix("alt_") + "=")) == 32
        stored = owner.execute("SELECT count(*) FROM tokens t WHERE t::text LIKE %s", [f"%{token[4:]}%"]).fetchone()
        assert stored == (0,)
    hashes = {bytes(row[0]) for row in owner.execute("SELECT hash FROM tokens")}
    assert hashes == {sha256(token.encode()).digest() for token in made}


@pytest.mark.parametrize("role", tokens.ROLES)
def test_its_bearer_has_its_name_and_role_until_it_is_revoked(owner: Connection, role: str) -> None:
    """authenticate() knows the token after create() and not after revoke()."""
    token = tokens.create(owner, "ann@example.com", role)
    assert who(owner, token) == [("ann@example.com", role)]
    tokens.revoke(owner, "ann@example.com")
    assert who(owner, token) == []


def test_the_roles_are_those_of_the_database(owner: Connection) -> None:
    """One list of roles, wherever it is written down."""
    row = owner.execute(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'tokens_role_check'"
    ).fetchone()
    assert row is not None
    assert set(re.findall(r"'(\w+)'", row[0])) == set(tokens.ROLES)


def test_the_list_says_who_and_when(owner: Connection) -> None:
    """The oldest first, revoked ones too, and nothing that a token could be found from."""
    tokens.create(owner, "first", "agent")
    tokens.create(owner, "second", "admin")
    tokens.revoke(owner, "first")
    first, second = tokens.listed(owner)
    assert (first.name, first.role, second.name, second.role) == ("first", "agent", "second", "admin")
    assert first.revoked_at is not None
    assert first.created_at < first.revoked_at
    assert second.revoked_at is None
    assert tokens.counts(owner) == Counts(active=1, revoked=1)


@pytest.mark.parametrize(
    "name", ["", "Ann", "-ann", "ann smith", "ann\n", "ann\0", "änn", "a" * 101, "ann;--", "\udcff"]
)
def test_a_name_has_a_form(owner: Connection, name: str) -> None:
    """A name that the database would refuse is refused before, and no token has it."""
    with pytest.raises(BadName, match="cannot be a token's name"):
        tokens.create(owner, name, "advisor")
    with pytest.raises(UnknownName):
        tokens.revoke(owner, name)
    assert tokens.listed(owner) == []


def test_names_that_the_database_takes_are_taken(owner: Connection) -> None:
    """The longest name, and every character that one may have."""
    for name in ("a" * 100, "0.a_b-c@d"):
        tokens.create(owner, name, "advisor")
    with pytest.raises(psycopg.errors.CheckViolation):
        owner.execute("INSERT INTO tokens (name, role, hash) VALUES ('Ann', 'advisor', sha256('a'))")


def test_an_unknown_role_is_refused(owner: Connection) -> None:
    """UnknownRole, which names the roles there are."""
    with pytest.raises(UnknownRole, match="'root'; there are advisor, compliance, auditor, agent, admin"):
        tokens.create(owner, "ann", "root")


def test_a_name_is_used_once(owner: Connection) -> None:
    """NameTaken, also once the token is revoked: events carry the name, and it must stay one person's."""
    token = tokens.create(owner, "ann", "advisor")
    with pytest.raises(NameTaken, match="ann"):
        tokens.create(owner, "ann", "advisor")
    assert who(owner, token) == [("ann", "advisor")]
    tokens.revoke(owner, "ann")
    with pytest.raises(NameTaken):
        tokens.create(owner, "ann", "admin")


def test_an_unknown_name_is_not_revoked(owner: Connection) -> None:
    """UnknownName, and everybody else keeps theirs."""
    token = tokens.create(owner, "ann", "advisor")
    with pytest.raises(UnknownName, match="'bob'"):
        tokens.revoke(owner, "bob")
    assert who(owner, token) == [("ann", "advisor")]


def test_revoking_twice_keeps_the_first_time(owner: Connection) -> None:
    """AlreadyRevoked, with the time that is kept."""
    tokens.create(owner, "ann", "advisor")
    tokens.revoke(owner, "ann")
    before = tokens.listed(owner)
    with pytest.raises(AlreadyRevoked, match="revoked already, at 20"):
        tokens.revoke(owner, "ann")
    assert tokens.listed(owner) == before


def test_the_first_tokens_are_made_once(database_url: str, owner: Connection) -> None:
    """If processes start at once on a fresh ledger, one makes a token per role; a revoked token counts as made."""

    def start() -> dict[str, str]:
        with connect(database_url, "owner") as conn:
            return tokens.create_first(conn)

    with ThreadPoolExecutor(4) as pool:
        made = [found for found in pool.map(lambda _: start(), range(4)) if found]
    assert len(made) == 1
    assert tuple(made[0]) == tokens.ROLES
    for role, token in made[0].items():
        assert who(owner, token) == [(role, role)]
        tokens.revoke(owner, role)
    assert start() == {}


def test_nobody_passes_for_an_agent_of_ours(owner: Connection) -> None:
    """A token cannot have a name under which the worker records."""
    assert RECORDED.keys() == RESERVED
    for name in RECORDED:
        with pytest.raises(tokens.NameTaken):
            tokens.create(owner, name, "agent")
