"""A bundle of a client has what belongs to it under all its identifiers, and shows that they are of one client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.export.bundle import Disclosure
from ledger.export.selection import client_within, of_client
from ledger.proof.bundle.manifest import HEADS
from ledger.proof.bundle.selection import Selection
from ledger.proof.format.canonical import canonical
from ledger.store.client_names import other_names
from schema.events import ClientAliased, ClientMerged, ClientRegistered
from schema.migrate import migrate
from tests.api.program import cli
from tests.ledger.cases import Ledger, signed_ledger
from tests.ledger.export.test_export import checked
from tests.ledger.proof.bundle.bundles import Case
from tests.support import append, connect, new, requested, scratch_database

# kim-2 and kim-3 were merged into kim-1, and kim-4 is an alias of kim-2; kim-5 is somebody else.
ONE = ("kim-1", "kim-2", "kim-3", "kim-4")
OWN = {"client-1", "client-2", "client-3", "client-4"}
WITH_REQUESTS = ("kim-1", "kim-2", "kim-3", "kim-5")


@pytest.fixture(scope="module")
def ledger(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """A signed ledger of these clients, with the record of where streams end."""
    with signed_ledger(server_url, tmp_path_factory.mktemp("names")) as ledger:
        with connect(ledger.url) as conn:
            for number in (1, 2, 3):
                append(conn, new(f"client-{number}", ClientRegistered(client_id=f"kim-{number}")))
            append(conn, new("client-4", ClientAliased(client_id="kim-4", of=2)))
            append(conn, new("client-5", ClientRegistered(client_id="kim-5")))
            for client_id in WITH_REQUESTS:
                append(conn, new("request-", requested(client_id, notes=f"notes of {client_id}")))
            append(conn, new("client-2", ClientMerged(into=1)), new("client-3", ClientMerged(into=1)))
        ledger.record_heads()
        yield ledger


def selected(ledger: Ledger, client_id: str) -> Selection:
    """Everything of a client, by one of its identifiers."""
    with connect(ledger.url, "verifier") as conn:
        return of_client(conn, client_id)


def request_of(ledger: Ledger, client_id: str) -> str:
    """The stream of the one request of this identifier."""
    with connect(ledger.url) as conn:
        statement = "SELECT stream FROM stream_clients WHERE client_id = %s AND stream LIKE 'request-%%'"
        [(stream,)] = conn.execute(statement, [client_id]).fetchall()
    return str(stream)


def streams(data: bytes) -> set[str]:
    """The streams of a bundle."""
    return {json.loads(line["body"])["stream"] for line in Case.read(data).lines}


@pytest.mark.parametrize("client_id", ONE)
def test_whichever_identifier_is_asked_for(ledger: Ledger, tmp_path: Path, client_id: str) -> None:
    """The bundle has all streams of all identifiers, names the others, and is shown to be complete."""
    data, manifest = ledger.bundle(selected(ledger, client_id))
    others = tuple(name for name in ONE if name != client_id)
    assert (manifest.selection.client, manifest.selection.also) == (client_id, others)
    assert streams(data) == OWN | {request_of(ledger, name) for name in ("kim-1", "kim-2", "kim-3")}
    ran = checked(tmp_path, data, "--key", ledger.key.verifier.text, "--complete")
    assert ran.code == 0, ran.out
    assert ran.json["complete"] is True
    assert f"asked for: client {client_id}, also known as {', '.join(others)}" in json.dumps(ran.json["steps"])
    assert "that the client has no other identifier" in ran.json["not_proven"]


def test_somebody_else_is_exported_alone(ledger: Ledger, tmp_path: Path) -> None:
    """A client with one identifier names no other, and its bundle has no stream of the others."""
    data, manifest = ledger.bundle(selected(ledger, "kim-5"))
    assert manifest.selection == Selection("client", client="kim-5")
    assert streams(data) == {"client-5", request_of(ledger, "kim-5")}
    assert checked(tmp_path, data, "--key", ledger.key.verifier.text, "--complete").code == 0


@pytest.mark.parametrize("lost", ["client-2", "client-4", "kim-3"])
def test_a_stream_of_another_identifier_that_was_taken_out_is_named(ledger: Ledger, tmp_path: Path, lost: str) -> None:
    """The record of where streams end covers each identifier: whoever leaves out a stream of one is found out."""
    data, _ = ledger.bundle(selected(ledger, "kim-1"))
    gone = request_of(ledger, lost) if lost in ONE else lost
    case = Case.read(data)
    case.lines = [line for line in case.lines if json.loads(line["body"])["stream"] != gone]
    found = checked(tmp_path, case.write(), "--key", ledger.key.verifier.text)
    assert found.code == 1
    assert ("deleted", 0) in found.found or ("client-mismatch", 0) in found.found, found.out


def test_a_leaf_of_another_identifier_cannot_be_left_out(ledger: Ledger, tmp_path: Path) -> None:
    """As many leaves as identifiers, each at its own key."""
    data, _ = ledger.bundle(selected(ledger, "kim-1"))
    two, three, four = json.loads(Case.read(data).files[HEADS])["also"]
    for leaves in ([two, three], [four, three, two], [two, three, four, four]):
        case = Case.read(data)
        case.files[HEADS] = canonical({**json.loads(case.files[HEADS]), "also": leaves})
        found = checked(tmp_path, case.write(), "--key", ledger.key.verifier.text)
        assert [kind for kind, _ in found.found] == ["heads-mismatch"], found.out


def test_within_a_window_all_identifiers_count(ledger: Ledger, tmp_path: Path) -> None:
    """What happened then with any of them, and the streams that say that they are one client."""
    with connect(ledger.url, "verifier") as conn:
        rows = dict(conn.execute("SELECT stream, min(recorded_at) FROM events GROUP BY stream").fetchall())
        window = client_within(conn, "kim-4", rows[request_of(ledger, "kim-3")], datetime(2100, 1, 1, tzinfo=UTC), 0)
    data, manifest = ledger.bundle(window)
    assert manifest.selection.also == ("kim-1", "kim-2", "kim-3")
    assert streams(data) == OWN | {request_of(ledger, "kim-3")}
    ran = checked(tmp_path, data, "--key", ledger.key.verifier.text)
    assert ran.code == 0, ran.out
    assert any("these identifiers are of one client" in claim for claim in ran.json["not_proven"])


def test_without_its_name_a_client_has_no_other_names(ledger: Ledger, tmp_path: Path) -> None:
    """If identifiers are withheld, the manifest has none of them."""
    data, manifest = ledger.bundle(
        selected(ledger, "kim-1"), Disclosure(everything=True, withhold=frozenset(("client_id",)))
    )
    assert (manifest.selection.client, manifest.selection.also) == (None, ())
    assert not [name for name in ONE if f'"{name}"' in Case.read(data).files["manifest.json"].decode()]
    assert checked(tmp_path, data, "--key", ledger.key.verifier.text).code == 0


def test_the_command_takes_any_identifier_and_names_the_others(ledger: Ledger, tmp_path: Path) -> None:
    """By an alias: the bundle of the whole client, and a record of who exports with the requests of all identifiers."""
    out = tmp_path / "out.zip"
    exported = ("export", "--client", "kim-4", "--database-url", ledger.url, "--json")
    done = cli(*exported, "-o", out)
    assert done.code == 0, done.err
    assert done.json()["also"] == ["kim-1", "kim-2", "kim-3"]
    assert streams(out.read_bytes()) == OWN | {request_of(ledger, name) for name in ("kim-1", "kim-2", "kim-3")}
    with connect(ledger.url) as conn:
        newest = (
            "SELECT body::json->'data'->'requests' FROM events WHERE type = 'access.recorded' ORDER BY position DESC"
        )
        [(requests,), *_] = conn.execute(newest).fetchall()
    named = {int(request_of(ledger, name).removeprefix("request-")) for name in ("kim-1", "kim-2", "kim-3")}
    assert set(requests) == named


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_the_names_are_those_of_one_tree(server_url: str, data: st.DataObject) -> None:
    """For any history of registrations, aliases and merges: exactly the identifiers that links connect."""
    groups: list[set[int]] = []
    roots: list[int] = []
    with scratch_database(server_url) as url, connect(url) as conn:
        migrate(conn)
        for number in range(1, data.draw(st.integers(1, 7)) + 1):
            event: ClientRegistered | ClientAliased = ClientRegistered(client_id=f"c{number}")
            mine = {number}
            if bool(roots) and data.draw(st.booleans()):
                of = data.draw(st.sampled_from(sorted(set().union(*groups))))
                event = ClientAliased(client_id=f"c{number}", of=of)
                next(group for group in groups if of in group).add(number)
            else:
                groups.append(mine)
                roots.append(number)
            append(conn, new(f"client-{number}", event))
        while len(roots) > 1 and data.draw(st.booleans()):
            away, into = data.draw(st.lists(st.sampled_from(roots), min_size=2, max_size=2, unique=True))
            append(conn, new(f"client-{away}", ClientMerged(into=into)))
            roots.remove(away)
            [gone] = [group for group in groups if away in group]
            groups.remove(gone)
            next(group for group in groups if into in group).update(gone)
        for group in groups:
            for number in group:
                expected = tuple(sorted(f"c{other}" for other in group - {number}))
                assert other_names(conn, f"c{number}") == expected
