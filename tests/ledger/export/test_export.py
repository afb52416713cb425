"""A bundle has what was asked for and what may be shown, and the auditor's program finds it in order."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from ledger.export.bundle import Disclosure
from ledger.export.log_parts import CannotExport
from ledger.export.selection import TICK, client_within, with_referred
from ledger.proof.bundle.manifest import CHECKPOINT, EVENTS, PAGE
from ledger.proof.bundle.selection import Selection
from ledger.proof.tlog.note import parse
from ledger.store.envelope import Actor
from ledger.tlog.signing_keys import WitnessSigningKey
from schema.calls import Shown
from schema.events import AgentRegistered, ModelCallStarted
from tests.api.program import cli
from tests.ledger.cases import CLIENT, REQUEST, Ledger, ask, positions, signed_ledger
from tests.ledger.proof.bundle.bundles import Case, Ran, program
from tests.support import append, connect, failed, new

ROBOT, DAY = Actor(id="robot", kind="agent", role="agent"), timedelta(days=1)


@pytest.fixture(scope="module")
def ledger(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """One ledger for all tests that add nothing to it."""
    with signed_ledger(server_url, tmp_path_factory.mktemp("key")) as found:
        yield found


def checked(tmp_path: Path, data: bytes, *arguments: object) -> Ran:
    """Run the auditor's program on a bundle."""
    path = tmp_path / "case.zip"
    path.write_bytes(data)
    return program(path, "--json", *arguments)


def test_an_export_of_a_client_has_all_its_events_and_no_other(ledger: Ledger, tmp_path: Path) -> None:
    """All events of all streams of the client and of no other, everything disclosed, all of it proven."""
    data, manifest = ledger.bundle()
    assert manifest.count == 8
    assert "client-2" not in repr(Case.read(data).files)
    ran = checked(tmp_path, data, "--key", ledger.key.verifier.text)
    assert (ran.code, ran.err) == (0, "")
    found = ran.json
    assert (found["ok"], found["trusted"], found["proven"], found["streams"]) == (True, True, 8, 2)
    assert found["fields"] == manifest.fields
    assert found["fields"]["request.failed.detail"] == {"disclosed": 6, "withheld": 0, "erased": 0}
    assert "no other stream of this client" in " ".join(found["not_proven"])


def test_an_export_of_a_request_has_its_events(ledger: Ledger, tmp_path: Path) -> None:
    """The events of one request."""
    data, manifest = ledger.bundle(REQUEST)
    assert (manifest.count, {json.loads(line["body"])["stream"] for line in Case.read(data).lines}) == (
        4,
        {"request-2"},
    )
    assert checked(tmp_path, data, "--key", ledger.key.verifier.text).code == 0


@pytest.mark.parametrize(
    ("first", "last"), [(1, 648), (1, 1), (648, 648), (200, 300), (256, 257), (513, 648), (512, 512)]
)
def test_an_export_of_a_range_has_every_position(ledger: Ledger, tmp_path: Path, first: int, last: int) -> None:
    """Every position of the range, wherever it lies in its tiles; nothing is disclosed."""
    data, manifest = ledger.bundle(positions(first, last), Disclosure())
    assert [line["position"] for line in Case.read(data).lines] == list(range(first, last + 1))
    ran = checked(tmp_path, data, "--key", ledger.key.verifier.text)
    assert ran.code == 0, ran.out
    assert all(counts["disclosed"] == 0 for counts in manifest.fields.values())


def test_a_client_within_a_window_has_what_happened_then(server_url: str, tmp_path: Path) -> None:
    """Each case in which something happened then, from its beginning, and nothing after the window; so it is with an
    earlier case that the model was shown, and with the agent.
    """
    call = ModelCallStarted(provider_name="p", request_model="m", shown=[Shown(kind="recommendation", id="1")])
    with signed_ledger(server_url, tmp_path) as ledger:
        with connect(ledger.url) as conn:
            append(conn, new("agent-robot", AgentRegistered(answer_schema="allocations/v1")))
            append(conn, replace(new("request-4", call), actor=ROBOT))
            [(at,)] = conn.execute("SELECT recorded_at FROM events ORDER BY position DESC LIMIT 1").fetchall()
            append(conn, new("request-4", failed()), new("request-2", failed()))
            window, nothing = (client_within(conn, "client-1", start, start + TICK, 0) for start in (at, at + DAY))
            open_end = client_within(conn, "client-1", at, None, ledger.sign())
            referred = {name for name in with_referred(conn, ["request-4"], 653) if not name.startswith("policy-")}
            assert referred == {"request-4", "request-1", "agent-robot"}
            assert set(with_referred(conn, ["request-4"], 3)) == set()
        data, _ = ledger.bundle(window)
        lines = Case.read(data).lines
        assert {json.loads(line["body"])["stream"] for line in lines} == {"request-1", "request-4", "agent-robot"}
        assert len(lines) == 4 + 5 + 1
        ran = checked(tmp_path, data, "--key", ledger.key.verifier.text)
        assert ran.code == 0, ran.out
        assert ran.json["complete"] is None
        assert "no later event before the end of the window" in " ".join(ran.json["not_proven"])
        assert len(Case.read(ledger.bundle(open_end)[0]).lines) == len(lines) + 1
        with pytest.raises(CannotExport, match="no event was recorded of client"):
            ledger.bundle(nothing)


def test_withheld_values_are_not_there(ledger: Ledger, tmp_path: Path) -> None:
    """Neither the value nor its salt nor, for a client's id, what was asked for is in the file; it is listed."""
    with connect(ledger.url) as conn:
        salts = conn.execute("SELECT salts::text FROM sealed_fields").fetchall()
    data, manifest = ledger.bundle(
        CLIENT, Disclosure(everything=True, withhold=frozenset(("client_id", "request.failed.detail")))
    )
    for secret in (
        b"client-1",
        b"detail 0 of",
        *(json.loads(one)["client_id"].encode() for (one,) in salts if "client_id" in one),
    ):
        assert secret not in data
    assert b"note 1" in data
    assert manifest.selection.client is None
    ran = checked(tmp_path, data)
    assert ran.code == 0, ran.out
    assert ran.json["fields"]["portfolio.requested.client_id"]["withheld"] == 2
    assert [one["field"] for one in ran.json["absent"]] == ["portfolio.requested.client_id", "request.failed.detail"]
    assert "withheld by the maker: portfolio.requested.client_id, 2, at 1, 313\n" in program(tmp_path / "case.zip").out


def test_a_range_with_ids_withheld_is_that_range(ledger: Ledger) -> None:
    """The manifest states the selection: for a client its id alone. A range ends with the log."""
    data, manifest = ledger.bundle(positions(1, 5000), Disclosure(everything=True, withhold=frozenset(("client_id",))))
    assert (manifest.selection, manifest.excluded) == (positions(1, 648), 0)
    assert b"<td>positions 1 to 648</td>" in Case.read(data).files[PAGE]


def test_only_the_named_field_is_disclosed(ledger: Ledger, tmp_path: Path) -> None:
    """Named fields are disclosed, and no others."""
    data, _ = ledger.bundle(CLIENT, Disclosure(disclose=frozenset(("notes",))))
    shown = [json.loads(line["fields"]) for line in Case.read(data).lines if "fields" in line]
    assert shown == [{"notes": "note 1"}, {"notes": "note 1"}]
    assert checked(tmp_path, data).code == 0


def test_without_a_key_it_says_so(ledger: Ledger, tmp_path: Path) -> None:
    """Without a key of the auditor's the verdict says loudly that the signer is unknown, and the exit code is 0."""
    path = tmp_path / "case.zip"
    path.write_bytes(ledger.bundle()[0])
    ran = program(path)
    assert ran.code == 0
    assert ran.out.splitlines()[-1].startswith("CONSISTENT, SIGNER UNKNOWN")
    assert program(path, "--json").json["trusted"] is False


def test_what_no_checkpoint_covers_is_left_out(server_url: str, tmp_path: Path) -> None:
    """Events past the newest checkpoint are left out and counted; where none is covered it says how to sign."""
    with signed_ledger(server_url, tmp_path) as ledger:
        ask(ledger.url, 1)
        data, manifest = ledger.bundle()
        assert (manifest.count, manifest.excluded, manifest.excluded_from) == (8, 4, 649)
        ran = checked(tmp_path, data)
        assert ran.code == 0, ran.out
        assert ran.json["excluded"] == 4
        data, manifest = ledger.bundle(positions(640, 5000))
        assert (manifest.selection, manifest.excluded, manifest.excluded_from) == (positions(640, 652), 4, 649)
        assert "every position from 640 to 648" in checked(tmp_path, data).json["steps"][9]["about"]
        with pytest.raises(CannotExport, match="advice-ledger sign --once"):
            ledger.bundle(positions(649, 652))
        with pytest.raises(CannotExport, match="no event"):
            ledger.bundle(Selection("client", client="x"))


def test_erased_values_are_listed(server_url: str, tmp_path: Path) -> None:
    """An erased value is erased in the bundle too, and the bundle verifies."""
    with signed_ledger(server_url, tmp_path) as ledger:
        with connect(ledger.url) as conn:
            conn.execute("ALTER TABLE sealed_fields DISABLE TRIGGER ALL")
            conn.execute("DELETE FROM sealed_fields WHERE position = 1")
        data, manifest = ledger.bundle()
        assert manifest.fields["portfolio.requested.notes"] == {"disclosed": 1, "withheld": 0, "erased": 1}
        assert manifest.selection.client is None, "one stream does not show whose it is"
        ran = checked(tmp_path, data, "--key", ledger.key.verifier.text)
        assert ran.code == 0, ran.out
        assert {"field": "portfolio.requested.notes", "state": "erased", "positions": [[1, 1]]} in ran.json["absent"]
        told = program(tmp_path / "case.zip").out
        assert "erased, as the maker says: portfolio.requested.notes, 1, at 1\n" in told
        assert "withheld" not in told


def test_an_export_carries_cosignatures(ledger: Ledger, tmp_path: Path) -> None:
    """The bundle carries cosignatures; the program says whose and how old, and fails where there are too few."""
    witness, absent = WitnessSigningKey.generate("witness.example/w"), WitnessSigningKey.generate("witness.example/x")
    line = witness.cosign(parse(ledger.note()).text, 1_700_000_000).line
    with connect(ledger.url) as conn:
        name = f"{witness.verifier.name}+{witness.verifier.key_id:08x}"
        conn.execute("INSERT INTO cosignatures (size, witness, line) VALUES (648, %s, %s)", [name, line])
        try:
            data, _ = ledger.bundle()
        finally:
            conn.execute("ALTER TABLE cosignatures DISABLE TRIGGER ALL")
            conn.execute("DELETE FROM cosignatures")
            conn.execute("ALTER TABLE cosignatures ENABLE TRIGGER ALL")
    assert line.encode() in Case.read(data).files[CHECKPOINT]
    key = ("--key", ledger.key.verifier.text)
    good = checked(tmp_path, data, *key, "--witness", witness.verifier.text)
    assert good.code == 0, good.out
    assert good.json["checkpoint"]["witnesses"] == [{"witness": name, "cosigned_at_s": 1_700_000_000}]
    assert "days ago" in program(tmp_path / "case.zip", *key, "--witness", witness.verifier.text).out
    few = checked(tmp_path, data, *key, "--witness", witness.verifier.text, "--witness", absent.verifier.text)
    assert (few.code, few.found) == (1, [("too-few-witnesses", 0)])
    policy = tmp_path / "policy.json"
    keys = [witness.verifier.text, absent.verifier.text]
    policy.write_text(json.dumps({"log": [ledger.key.verifier.text], "witnesses": keys, "witnesses_needed": 1}))
    assert checked(tmp_path, data, "--policy", policy).json["trusted"] is True


def test_the_proof_in_a_bundle_shows_that_it_extends_an_older_checkpoint(server_url: str, tmp_path: Path) -> None:
    """With the proof in the bundle it is shown to extend the auditor's; without, the program cannot say and exits 2."""
    with signed_ledger(server_url, tmp_path) as ledger:
        kept = ledger.note()
        (tmp_path / "old.txt").write_bytes(kept)
        ledger.fill(100)
        ledger.sign()
        arguments = ("--key", ledger.key.verifier.text, "--since", tmp_path / "old.txt")
        ran = checked(tmp_path, ledger.bundle(since=kept)[0], *arguments)
        assert ran.code == 0, ran.out
        assert "size 748 extends size 648" in ran.out
        without = checked(tmp_path, ledger.bundle()[0], *arguments)
        assert (without.code, without.out) == (2, "")
        assert "--since" in without.err


def test_the_command_writes_a_private_file_and_overwrites_none(server_url: str, tmp_path: Path) -> None:
    """Exports to a file that others cannot read, writes over nothing, refuses what makes no sense."""
    with signed_ledger(server_url, tmp_path) as ledger:
        key = tmp_path / "key"
        key.write_text(f"{ledger.key.verifier.text}\n")
        out, on = tmp_path / "case.zip", ("--database-url", ledger.url, "--key", key)
        done = cli("export", "--client", "client-1", "-o", out, *on)
        assert done.code == 0, done.err
        assert out.stat().st_mode & 0o777 == 0o600
        assert program(out, "--key", key).code == 0
        before = out.read_bytes()
        ask(ledger.url, 1)
        assert cli("export", "--client", "client-1", "-o", out, *on).failed_with("exists already")
        assert out.read_bytes() == before
        other = tmp_path / "other.zip"
        nobody = cli("export", "--client", "nobody", "-o", other, *on)
        assert nobody.failed_with("no event was recorded of client nobody")
        assert cli("export", "--request", 1, "--from", 3, "-o", other, *on).failed_with("give one selection")
        assert cli("export", "--client", "client-1", "--from", 3, "-o", other, *on).failed_with("times or days, not")
        days = ("--from", "2020-01-01", "--to", "2199-12-31", "--zone", "Europe/Zurich")
        within = cli("export", "--client", "client-1", *days, "-o", tmp_path / "days.zip", *on)
        assert within.code == 0, within.err
        assert program(tmp_path / "days.zip", "--key", key).code == 0
        assert cli("export", "--client", "client-1", "--withhold", "xyz", "-o", other, *on).failed_with("no event has")
        assert cli("export", "--from", "soon", "-o", other, *on).failed_with("--from must be a position, a time like")
        assert not other.exists()


def test_the_command_exports_what_a_search_finds(server_url: str, tmp_path: Path) -> None:
    """The whole streams of what is found, within a range if there is one; a filter that there is not is refused."""
    with signed_ledger(server_url, tmp_path) as ledger:
        out, on = tmp_path / "case.zip", ("--database-url", ledger.url)
        rebuilt = cli("rebuild", *on)
        assert rebuilt.code == 0, rebuilt.err
        failed_ = ("--search", "type=request.failed")
        done = cli("export", *failed_, "--from", 300, "--disclose", "detail", "-o", out, *on)
        assert done.code == 0, done.err
        streams = {json.loads(line["body"])["stream"] for line in Case.read(out.read_bytes()).lines}
        assert "request-1" not in streams
        assert {"request-2", "request-4"} & streams
        ran = program(out, "--json", "--key", ledger.key.verifier.text)
        assert ran.code == 0, ran.out
        other = tmp_path / "other.zip"
        for arguments, message in (
            (("--search", "type"), "type"),
            (("--search", "client_id=x"), "is none of"),
            (("--search", "amount_from=x"), "amount_from"),
            ((*failed_, *failed_), "once"),
            ((*failed_, "--client", "client-1"), "one selection"),
            (("--search", "type=nothing.happened"), "finds nothing"),
        ):
            refused = cli("export", *arguments, "-o", other, *on)
            assert (refused.code, refused.out) == (2, "")
            assert message in refused.err
        assert not other.exists()


def test_times_and_positions(ledger: Ledger, tmp_path: Path) -> None:
    """--from and --to take positions, which are included, and times."""
    with connect(ledger.url) as conn:
        [(first,)] = conn.execute("SELECT min(recorded_at) FROM events WHERE position > 400").fetchall()
        [(wanted,)] = conn.execute(
            "SELECT count(*) FROM events WHERE recorded_at >= %s AND position <= 500", [first]
        ).fetchall()
    out = tmp_path / "case.zip"
    arguments = ("export", "--from", first.isoformat(), "--to", 500, "-o", out, "--json", "--database-url", ledger.url)
    done = cli(*arguments)
    assert done.code == 0, done.err
    assert (done.json()["events"], done.json()["last_position"]) == (wanted, 500)
    assert program(out).code == 0


def test_the_page_is_text(ledger: Ledger) -> None:
    """The page shows what was recorded. It has no script and loads nothing from elsewhere."""
    page = Case.read(ledger.bundle()[0]).files[PAGE].decode()
    assert "note 1" in page
    assert "requested a recommendation" in page
    assert not {"<script", "<img", "<link", "http://", "https://"} & set(page.split())
    assert Case.read(ledger.bundle()[0]).files[EVENTS].count(b"\n") == 8


def test_an_export_that_breaks_off_says_why_and_nothing_else(server_url: str, tmp_path: Path) -> None:
    """Without a partial tile, after the file was begun: one line, no traceback of the archive, and no file."""
    with signed_ledger(server_url, tmp_path) as ledger:
        with connect(ledger.url) as conn:
            conn.execute("DELETE FROM partial_tiles")
        out = tmp_path / "case.zip"
        ran = cli("export", "--from", "1", "-o", str(out), "--database-url", ledger.url)
    assert ran.code == 2
    assert [line for line in ran.err.splitlines() if not line.startswith("note")][-1].startswith("error: the transp")
    assert "Exception" not in ran.err
    assert not out.exists()
