"""advice-ledger monitor endpoints and deliveries: where messages go, their keys, and the dead letters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from api.jobs.webhook_keys import file_of, read_keys
from schema.events import DeliveryAttempted, DeliveryEnded, DeliveryPlanned
from tests.api.program import Ran, cli, variables
from tests.support import append, connect, new

URL = ("--url", "https://x.example/in")


class Desk:
    """The commands, on one ledger with one folder of keys."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url, folder

    def run(self, *arguments: object) -> Ran:
        """Run `advice-ledger monitor` with these arguments."""
        return cli("monitor", *arguments, env=variables(database_url=self.url, endpoint_keys=self.folder))

    def json(self, *arguments: object) -> Any:
        """Return the result of a command that succeeds."""
        ran = self.run(*arguments, "--json")
        assert ran.code == 0, ran
        return ran.json()


@pytest.fixture
def desk(database_url: str, tmp_path: Path) -> Desk:
    """A ledger without endpoints, and no keys."""
    return Desk(database_url, tmp_path / "keys")


def test_an_endpoint_is_added_changed_and_removed(desk: Desk) -> None:
    """The first `add` makes a key, later ones leave it; `remove` disables, `add` enables again."""
    assert desk.run("endpoints", "list").out.startswith("there are no endpoints")
    made = desk.json("endpoints", "add", "desk", *URL, "--receiver", "advisor")
    assert (made["changed"], made["key"].partition("_")[0]) == (True, "whsec")
    again = desk.json("endpoints", "add", "desk", *URL, "--receiver", "advisor")
    assert (again["changed"], again["event"], again["key"]) == (False, made["event"], None)
    both = desk.json("endpoints", "add", "desk", *URL, "--receiver", "advisor", "--receiver", "client")
    assert (both["changed"], both["key"]) == (True, None)
    [shown] = desk.json("endpoints", "list")
    [key] = read_keys(desk.folder, "desk")
    assert (shown["receivers"], shown["enabled"], shown["keys"]) == (["advisor", "client"], True, [key.fingerprint])
    assert key.text == made["key"]
    removed = desk.json("endpoints", "remove", "desk")
    assert (removed["changed"], desk.json("endpoints", "list")[0]["enabled"]) == (True, False)
    assert desk.json("endpoints", "remove", "desk") == {**removed, "changed": False}
    assert file_of(desk.folder, "desk").exists()
    assert desk.json("endpoints", "add", "desk", *URL, "--receiver", "advisor")["changed"]
    assert desk.json("endpoints", "list")[0]["enabled"]
    assert "desk" in desk.run("endpoints", "list").out


def test_an_endpoint_of_mail_has_no_key(desk: Desk) -> None:
    """The file of its addresses is named, and is the operator's to write."""
    made = desk.json("endpoints", "add", "post", "--channel", "mail", "--receiver", "client")
    assert (made["changed"], made["key"], made["file"]) == (True, None, str(desk.folder / "post.addresses"))
    assert not desk.folder.exists()
    [shown] = desk.json("endpoints", "list")
    assert (shown["channel"], shown["url"], shown["keys"]) == ("mail", None, [])
    both = desk.run("endpoints", "add", "post", "--channel", "mail", "--receiver", "client", "--receiver", "advisor")
    assert both.failed_with("one receiver")


def test_a_key_is_rotated(desk: Desk) -> None:
    """The former key signs beside the new one, which a second rotation has to wait for; after a leak it ends now."""
    desk.run("endpoints", "rotate", "desk").failed_with("no key to replace")
    first = desk.json("endpoints", "add", "desk", *URL, "--receiver", "advisor")["key"]
    second = desk.json("endpoints", "rotate", "desk", "--hours", 2)["key"]
    new_key, old_key = read_keys(desk.folder, "desk")
    assert [new_key.text, old_key.text, new_key.until, old_key.until is None] == [second, first, None, False]
    assert len(desk.json("endpoints", "list")[0]["keys"]) == 2
    desk.run("endpoints", "rotate", "desk", "--hours", 2).failed_with("two keys sign now")
    third = desk.json("endpoints", "rotate", "desk", "--hours", 0, "--algorithm", "v1a")["key"]
    assert [key.for_receiver for key in read_keys(desk.folder, "desk")] == [third]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["add", "desk", "--url", "https://u:p@x.example/", "--receiver", "advisor"], "no user, query"),
        (["add", "desk", "--url", "ftp://x.example/", "--receiver", "advisor"], "url"),
        (["add", "desk", *URL, "--receiver", "bank"], "receivers"),
        (["add", "Desk", *URL, "--receiver", "advisor"], "the name is invalid: use one such as house-desk"),
        (["add", "../desk", *URL, "--receiver", "advisor"], "the name is invalid: use one such as house-desk"),
        (["add", "desk", "--receiver", "advisor"], "a url for a webhook"),
        (["add", "desk", *URL, "--receiver", "advisor", "--channel", "mail"], "none for mail"),
        (["remove", "other"], "there is no endpoint 'other'"),
    ],
)
def test_what_is_refused(desk: Desk, arguments: list[str], words: str) -> None:
    """One line says why, and neither an event nor a key is made."""
    assert desk.run("endpoints", *arguments).failed_with(words)
    assert desk.json("endpoints", "list") == []
    assert not desk.folder.exists()


def test_dead_letters_are_listed_and_sent_again(desk: Desk) -> None:
    """`deliveries list` filters; `resend` takes one that has failed, and no other."""
    desk.json("endpoints", "add", "desk", *URL, "--receiver", "advisor")
    with connect(desk.url, "writer") as conn:
        for run in (1, 2):
            append(conn, new("delivery-", DeliveryPlanned(run=run, endpoint="desk", decisions=[1])))
        append(conn, new("delivery-1", DeliveryAttempted(attempt=1, decisions=[1], keys=[])))
        append(conn, new("delivery-1", DeliveryEnded(attempt=1, outcome="unknown", reason="no-answer", final=True)))
    assert [row["id"] for row in desk.json("deliveries", "list", "--endpoint", "desk")] == [1, 2]
    assert [row["id"] for row in desk.json("deliveries", "list", "--run", 2)] == [2]
    assert [row["id"] for row in desk.json("deliveries", "list", "--limit", 1)] == [1]
    assert [row["id"] for row in desk.json("deliveries", "list", "--after", 1)] == [2]
    assert desk.run("deliveries", "list", "--limit", 1).out.endswith("there are more: --after 1\n")
    [letter] = desk.json("deliveries", "list", "--state", "failed")
    assert (letter["id"], letter["outcome"], letter["reason"]) == (1, "unknown", "no-answer")
    assert "no-answer" in desk.run("deliveries", "list").out
    assert desk.run("deliveries", "resend", 2, "--reason", "why not").failed_with("is waiting")
    assert desk.run("deliveries", "resend", 3, "--reason", "why not").failed_with("no such delivery")
    assert desk.json("deliveries", "resend", 1, "--reason", "It is back.")["delivery"] == 1
    assert desk.json("deliveries", "list", "--state", "failed") == []
    assert desk.run("deliveries", "list", "--state", "failed").out == "there are no such deliveries\n"
