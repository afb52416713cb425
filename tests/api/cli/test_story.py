"""`advice-ledger case` and `client` answer "one client, two dates" for a person, and say who looked."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ledger.wording import counted
from tests.api.acting import EDIT, REJECT, Acting
from tests.api.program import cli
from tests.api.served import Api
from tests.support import eventually


@pytest.fixture
def acting(fresh_api: Api) -> Acting:
    """A client with an edited recommendation, and another client with a rejected one."""
    acting = Acting(fresh_api)
    first = acting.proposed(client_id="client-1", notes="two\nlines \x1b[31m")
    acting.decided(first, **EDIT)
    acting.decided(acting.proposed(client_id="client-2"), **REJECT)
    return acting


def test_a_case_and_a_client_are_shown_and_that_is_recorded(acting: Acting) -> None:
    """The text has who, in which role, and recommended beside decided; JSON has the same events as HTTP."""
    api = acting.api
    over_http = api.get("/cases/1").json()
    ran = cli("case", "1", "--zone", "Europe/Zurich", "--database-url", api.url)
    assert ran.code == 0, ran.err
    for text in ("weights.cash", "advisor (advisor, human)", "rationale: safer", "UTC (", "notes: two"):
        assert text in ran.out
    assert "\x1b" not in ran.out
    [changed] = [line for line in ran.out.splitlines() if "weights.cash" in line]
    assert changed.split() == ["*", "weights.cash", "1.0000", "0.6000"]
    rejected = cli("case", "2", "--database-url", api.url).out
    assert re.search(r"^ +weights\.cash +1\.0000 +\(reject\)$", rejected, re.MULTILINE), rejected
    found = json.loads(cli("case", "1", "--json", "--database-url", api.url).out)
    assert found["events"] == over_http["events"]
    [record] = api.items("/access", request_id=1, action="read", limit=1)
    assert (record["resource"], record["role"], record["requests"]) == ("advice-ledger case", "operator", [1])
    early = cli("case", "1", "--as-of", "3", "--database-url", api.url)
    assert (early.code, early.out) == (2, "")


def test_one_client_and_two_dates(acting: Acting) -> None:
    """A window that has today has the client's events and no other's; an early one has none; a stranger is exit 2."""
    api = acting.api
    today = datetime.now(UTC).date()
    window = ("--from", str(today - timedelta(days=1)), "--to", str(today + timedelta(days=1)))
    ran = cli("client", "client-1", *window, "--json", "--database-url", api.url)
    found = json.loads(ran.out)
    assert [case["request_id"] for case in found["cases"]] == [1]
    over_http = api.get("/clients/1/timeline", as_of=found["last"]).json()
    assert found["cases"] == over_http["cases"]
    text = cli("client", "client-1", *window, "--database-url", api.url).out
    assert "who looked" in text
    assert "client-2" not in text
    past = cli("client", "client-1", "--from", "2001-01-01", "--to", "2001-12-31", "--json", "--database-url", api.url)
    assert json.loads(past.out)["cases"] == []

    def accesses() -> list[dict[str, Any]]:
        """The reads of this client so far. The server records its own in the background."""
        return json.loads(cli("access", "--client", "client-1", "--json", "--database-url", api.url).out)  # type: ignore[no-any-return]

    both = {"advice-ledger client", "GET /clients/{client}/timeline"}
    eventually("both reads are recorded", lambda: {access["resource"] for access in accesses()} >= both)
    assert {tuple(access["requests"]) for access in accesses()} == {(1,)}
    for command in (("client", "nobody"), ("access", "--client", "nobody"), ("credentials", "list", "nobody")):
        nobody = cli(*command, "--database-url", api.url)
        assert (nobody.code, nobody.out) == (2, "")


@pytest.mark.parametrize(("number", "text"), [(0, "0 cases"), (1, "1 case"), (2, "2 cases"), (21, "21 cases")])
def test_one_is_not_several(number: int, text: str) -> None:
    """A number of things is written as people write it."""
    assert counted(number, "case") == text
