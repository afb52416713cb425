"""A bundle of streams shows where they end and that a client has no other; what was taken out of it is named."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from psycopg.conninfo import make_conninfo

from ledger.background import running
from ledger.database import Connection
from ledger.export.bundle import Disclosure
from ledger.proof.bundle import manifest as bundle
from ledger.proof.bundle.selection import Selection
from ledger.store.envelope import NewEvent, uuid7
from ledger.store.events import append_now
from ledger.tlog.heads import record
from ledger.tlog.heads.record import ACTOR, STREAM, newest_heads, record_heads
from ledger.tlog.sign.signer_thread import SignerThread, SigningConfig
from ledger.verify.database import verify_chain
from schema.events import ModelCallContentJoined, StreamHeadsRecorded
from tests.api.program import cli
from tests.ledger.cases import ALL, CLIENT, REQUEST, Ledger, ask, signed_ledger
from tests.ledger.proof.bundle.bundles import Case, Ran, program
from tests.support import append, connect, new

Lines = list[dict[str, Any]]
OTHER = Selection("client", client="client-2")


@pytest.fixture(scope="module")
def ledger(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """Six requests of three clients; then a record of where streams end, at position 649, and 30 more events."""
    with signed_ledger(server_url, tmp_path_factory.mktemp("key")) as found:
        found.record_heads()
        found.fill(30)
        found.sign()
        yield found


def checked(ledger: Ledger, tmp_path: Path, data: bytes, *bound: object) -> Ran:
    """Run the auditor's program on a bundle that must be complete, up to `bound` or else to the checkpoint's end."""
    path = tmp_path / "case.zip"
    path.write_bytes(data)
    needed = ("--complete-to", *bound) if bound else ("--complete",)
    return program(path, "--json", *needed, "--key", ledger.key.verifier.text)


@pytest.mark.parametrize("selection", [CLIENT, OTHER, REQUEST], ids=["client", "another client", "request"])
def test_where_streams_end_is_shown(ledger: Ledger, tmp_path: Path, selection: Selection) -> None:
    """The bundle is complete up to the record; that a later event may exist is said."""
    data, manifest = ledger.bundle(selection)
    assert bundle.HEADS in manifest.files
    assert checked(ledger, tmp_path, data).found == [("not-shown", 0)], "30 more events may be of anybody"
    ran = checked(ledger, tmp_path, data, 649)
    assert (ran.code, ran.found) == (0, []), ran.out
    assert (ran.json["complete"], ran.json["complete_to"]["position"]) == (None, 649)
    assert "; complete up to position 649 (recorded at 20" in ran.json["verdict"]
    assert ran.json["verdict"].endswith("UTC); what came after is not shown")
    about = " ".join(ran.json["steps"][9]["about"])
    assert "no other event" in about
    assert "up to position 648 the ledger recorded so in the event at position 649, at 20" in about
    assert any("between position 649 and the size of the checkpoint, 679" in one for one in ran.json["not_proven"])
    assert not any("no later event" in one for one in ran.json["not_proven"])


def test_nothing_of_other_clients_is_in_it(ledger: Ledger) -> None:
    """Neither another client's id or streams, nor the secret that would let one guess them."""
    data, _ = ledger.bundle()
    with connect(ledger.url) as conn:
        [(blinding,)] = conn.execute("SELECT fields ->> 'blinding' FROM sealed_fields WHERE position = 649").fetchall()
    heads = json.loads(Case.read(data).files[bundle.HEADS])
    assert heads["streams"] == [["request-1", 4], ["request-4", 4]]
    assert blinding.encode() not in data
    assert b"client-2" not in data
    assert b"request-2" not in data
    assert all(len(each) == 64 for each in heads["path"])


def without_decisions(lines: Lines) -> Lines:
    """What an insider hides: the last events of the case."""
    return [line for line in lines if line["position"] != lines[-1]["position"]]


def without_stream(lines: Lines) -> Lines:
    """A whole stream of the client."""
    return [line for line in lines if '"stream":"request-4"' not in line["body"]]


@pytest.mark.parametrize(
    ("take_out", "found"), [(without_decisions, ("truncated", 319)), (without_stream, ("deleted", 0))]
)
def test_what_was_taken_out_is_named(
    ledger: Ledger, tmp_path: Path, take_out: Callable[[Lines], Lines], found: tuple[str, int]
) -> None:
    """A careful attacker makes manifest, page and counts fit, and the record still says what there was."""
    case = Case.read(ledger.bundle()[0])
    case.lines = take_out(case.lines)
    ran = checked(ledger, tmp_path, careful(case))
    assert (ran.code, ran.found) == (1, [found]), ran.out
    assert ran.json["complete"] is False


def test_a_bundle_without_the_record_is_not_shown_to_be_complete(ledger: Ledger, tmp_path: Path) -> None:
    """An attacker who leaves the record out as well has a bundle that passes, but not as a complete one."""
    case = Case.read(ledger.bundle()[0])
    case.lines = without_decisions(case.lines)
    del case.files[bundle.HEADS]
    ran = checked(ledger, tmp_path, careful(case))
    assert (ran.code, ran.found) == (1, [("not-shown", 0)])
    ran = program(tmp_path / "case.zip", "--json", "--key", ledger.key.verifier.text)
    assert (ran.code, ran.json["complete"], ran.json["complete_to"]) == (0, None, None)


def test_a_stream_of_another_client_is_named(ledger: Ledger, tmp_path: Path) -> None:
    """Put in with its true events, all of them in the log: by the client that it discloses."""
    mine, other = Case.read(ledger.bundle()[0]), Case.read(ledger.bundle(OTHER)[0])
    mine.lines = sorted([*mine.lines, *other.lines], key=lambda line: int(line["position"]))
    ran = checked(ledger, tmp_path, careful(mine))
    assert (ran.code, ran.found[0]) == (1, ("client-mismatch", 2)), ran.out


@pytest.mark.parametrize("forge", ["a stream less", "a lower version", "another client", "as of less", "another path"])
def test_a_forged_record_is_named(ledger: Ledger, tmp_path: Path, forge: str) -> None:
    """Streams, versions, the client, the event and the path are held to the root that the log has."""
    case = Case.read(ledger.bundle()[0])
    heads = json.loads(case.files[bundle.HEADS])
    if forge == "a stream less":
        heads["streams"], case.lines = heads["streams"][:1], without_stream(case.lines)
    elif forge == "a lower version":
        heads["streams"][1][1], case.lines = 3, without_decisions(case.lines)
    elif forge == "another client":
        heads = json.loads(Case.read(ledger.bundle(OTHER)[0]).files[bundle.HEADS])
    elif forge == "as of less":
        heads["event"]["body"] = heads["event"]["body"].replace('"as_of":648', '"as_of":300')
    else:
        heads["path"] = heads["path"][::-1]
    case.files[bundle.HEADS] = orjson.dumps(heads, option=orjson.OPT_SORT_KEYS)
    ran = checked(ledger, tmp_path, careful(case))
    assert ran.code == 1
    assert set(ran.found) - {("proof-mismatch", 0)} == {("heads-mismatch", 649)}, "and a tile that no event needs now"


def careful(case: Case) -> bytes:
    """The bundle with counts of fields that fit its lines."""
    manifest = case.manifest
    manifest.fields = {}
    for line in case.lines:
        body, shown = json.loads(line["body"]), json.loads(line.get("fields", "{}"))
        for name in body.get("sealed", {}):
            bundle.count_field(manifest.fields, f"{body['type']}.{name}", "disclosed" if name in shown else "erased")
    case.files[bundle.MANIFEST] = manifest.encode()
    return case.write()


def test_a_client_that_is_not_named_has_no_record(ledger: Ledger, tmp_path: Path) -> None:
    """The leaf of a client is at a place that follows from the id."""
    data, manifest = ledger.bundle(CLIENT, Disclosure(everything=True, withhold=frozenset(("client_id",))))
    assert bundle.HEADS not in manifest.files
    assert checked(ledger, tmp_path, data).found == [("not-shown", 0)]
    case = Case.read(data)
    case.files[bundle.HEADS] = Case.read(ledger.bundle()[0]).files[bundle.HEADS]
    assert checked(ledger, tmp_path, careful(case)).found == [("damaged", 0)]


def test_a_record_that_is_older_than_the_events(server_url: str, tmp_path: Path) -> None:
    """It shows where streams ended by then; later events are not complete until the next record."""
    with signed_ledger(server_url, tmp_path) as ledger:
        ledger.record_heads()
        ask(ledger.url, 3)
        ledger.sign()
        ran = checked(ledger, tmp_path, ledger.bundle()[0])
        assert ran.found == [("not-shown", 0)]
        assert "up to position 650 alone, of 661" in ran.json["findings"][0]["message"]
        # An attacker hides a stream from before the record, although later events are here.
        case = Case.read(ledger.bundle()[0])
        case.lines = without_stream(case.lines)
        assert checked(ledger, tmp_path, careful(case)).found == [("deleted", 0)]
        ledger.record_heads()
        ran = checked(ledger, tmp_path, ledger.bundle()[0])
        assert (ran.code, ran.json["complete"], ran.json["streams"]) == (0, True, 3)


def test_the_end_after_the_record_cannot_be_cut_off(server_url: str, tmp_path: Path) -> None:
    """All positions from the record to the checkpoint's size are here; without the last one that is not so."""
    with signed_ledger(server_url, tmp_path) as ledger:
        record = ledger.record_heads()
        ask(ledger.url, 1)
        ledger.sign()
        data, manifest = ledger.bundle()
        assert manifest.checkpoint_size == record + 4
        ran = checked(ledger, tmp_path, data)
        assert (ran.code, ran.json["complete"], ran.json["complete_to"]["position"]) == (0, True, record + 4)
        assert ran.json["verdict"].endswith("UTC), the last of the checkpoint")
        case = Case.read(data)
        case.lines = case.lines[:-1]
        cut = careful(case)
        ran = checked(ledger, tmp_path, cut)
        assert (ran.code, ran.found, ran.json["complete"]) == (1, [("not-shown", 0)], None)
        end = ran.json["complete_to"]
        assert end == {"position": record + 3, "recorded_at_us": case.lines[-1]["recorded_at_us"]}
        shown_at = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=end["recorded_at_us"])
        later = shown_at + timedelta(microseconds=1)
        for bound, code in ((record + 3, 0), (record + 4, 1), (shown_at.isoformat(), 0), (later.isoformat(), 1)):
            assert checked(ledger, tmp_path, cut, bound).code == code, bound


@pytest.mark.parametrize("bound", ["0", "-1", "soon", "2026-01-31", "2026-01-31T12:00:00", "1960-01-01T00:00:00Z", ""])
def test_a_bound_is_a_position_or_a_time_with_its_zone(tmp_path: Path, bound: str) -> None:
    """Anything else is refused, so that no bound is taken for another one."""
    (tmp_path / "case.zip").touch()
    ran = program(tmp_path / "case.zip", f"--complete-to={bound}")
    assert (ran.code, ran.out) == (2, "")
    assert "--complete-to must be a position from 1 on, or a time with its zone" in ran.err


def test_a_record_that_nobody_signed_yet_is_not_used(server_url: str, tmp_path: Path) -> None:
    """The bundle has the newest record that its checkpoint covers."""
    with signed_ledger(server_url, tmp_path) as ledger:
        position = ledger.record_heads()
        ledger.fill(1)
        assert ledger.record_heads(signed=False) == position + 2
        data = ledger.bundle()[0]
        assert json.loads(Case.read(data).files[bundle.HEADS])["event"]["position"] == position
        assert checked(ledger, tmp_path, data).code == 0


def test_a_false_record_is_evidence_against_the_ledger(server_url: str, tmp_path: Path) -> None:
    """If the ledger recorded less than there was, a bundle with all events shows that the record is false."""
    with signed_ledger(server_url, tmp_path) as ledger:
        with connect(ledger.url) as conn:
            conn.execute("ALTER TABLE stream_clients DISABLE TRIGGER USER")
            conn.execute("DELETE FROM stream_clients WHERE stream = 'request-4'")
        position = ledger.record_heads()
        data = ledger.bundle()[0]
        assert checked(ledger, tmp_path, data).code == 0, "the stream is hidden, and the ledger's record says so too"
        with connect(ledger.url) as conn:
            conn.execute("INSERT INTO stream_clients (stream, client_id, position) VALUES ('request-4', 'client-1', 1)")
        case = Case.read(ledger.bundle()[0])
        assert bundle.HEADS not in case.files, "the ledger of now has another tree"
        case.files[bundle.HEADS] = Case.read(data).files[bundle.HEADS]
        ran = checked(ledger, tmp_path, careful(case))
        assert ran.found == [("heads-mismatch", position)]
        assert "the record is false" in ran.json["findings"][0]["message"]


def test_without_its_secret_a_record_shows_nothing(server_url: str, tmp_path: Path) -> None:
    """Once the sealed value was erased, the tree cannot be built again: the bundle says that it shows no end."""
    with signed_ledger(server_url, tmp_path) as ledger:
        position = ledger.record_heads()
        with connect(ledger.url) as conn:
            conn.execute("ALTER TABLE sealed_fields DISABLE TRIGGER USER")
            conn.execute("DELETE FROM sealed_fields WHERE position = %s", [position])
        data, manifest = ledger.bundle(CLIENT, ALL)
        assert bundle.HEADS not in manifest.files
        assert checked(ledger, tmp_path, data).found == [("not-shown", 0)]


def exported(ledger: Ledger, out: Path, url: str | None = None, since: Path | None = None) -> str:
    """Run the command for client-1; return what it says on stderr but for the key."""
    out.unlink(missing_ok=True)
    older = () if since is None else ("--since", since)
    done = cli("export", "--client", "client-1", "-o", out, "--database-url", url or ledger.url, *older)
    assert done.code == 0, done.err
    return "\n".join(line for line in done.err.splitlines() if "names no verifier key" not in line)


def complete(out: Path) -> bool:
    """True if the bundle is shown to be complete."""
    return program(out, "--json", "--complete").code == 0


def test_the_command_records_where_streams_end(server_url: str, tmp_path: Path) -> None:
    """Before it exports, once for all that is recorded; without a signer it says what to do, and that helps."""
    out = tmp_path / "case.zip"
    with signed_ledger(server_url, tmp_path) as ledger:
        said = exported(ledger, out)
        assert "Sign one with advice-ledger sign --once, then export again" in said
        assert said.splitlines()[-1] == "the bundle does not show where its streams end"
        assert not complete(out)
        ledger.sign()
        assert exported(ledger, out) == ""
        assert complete(out)
        with connect(ledger.url) as conn:
            assert conn.execute("SELECT count(*) FROM events WHERE stream = 'stream-heads'").fetchall() == [(1,)]
        ask(ledger.url, 3)
        signer = SignerThread(ledger.url, SigningConfig(ledger.key, ledger.state, every_s=0.1))
        with running(signer, 10):
            assert exported(ledger, out) == ""
        assert complete(out)
        # Three exports were recorded before their bundles.
        assert program(out, "--json").json["complete_to"]["position"] == 665
        with running(SignerThread(ledger.url, SigningConfig(ledger.key, ledger.state, every_s=0.1)), 10):
            assert exported(ledger, out) == ""
        assert complete(out)


def test_a_checkpoint_that_the_auditor_kept_after_the_record_is_extended(server_url: str, tmp_path: Path) -> None:
    """With `--since` the streams' ends are recorded again if the record is before it: complete, and no roll-back."""
    out, kept = tmp_path / "case.zip", tmp_path / "kept"
    with signed_ledger(server_url, tmp_path) as ledger:
        signer = SignerThread(ledger.url, SigningConfig(ledger.key, ledger.state, every_s=0.1))
        with running(signer, 10):
            assert exported(ledger, out) == ""
        ledger.fill(3)
        ledger.sign()
        with connect(ledger.url) as conn:
            [(note,)] = conn.execute("SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1").fetchall()
        kept.write_text(note)
        with running(SignerThread(ledger.url, SigningConfig(ledger.key, ledger.state, every_s=0.1)), 10):
            assert exported(ledger, out, since=kept) == ""
        ran = program(out, "--json", "--complete", "--key", ledger.key.verifier.text, "--since", kept)
        assert (ran.code, ran.json["findings"]) == (0, [])


def test_without_the_right_to_record_nothing_is_exported(server_url: str, tmp_path: Path) -> None:
    """With a login that has the role of a verifier alone: it cannot be recorded who exports, so there is no bundle."""
    out = tmp_path / "case.zip"
    with signed_ledger(server_url, tmp_path) as ledger:
        with connect(ledger.url) as conn:
            conn.execute("CREATE ROLE reads_alone LOGIN PASSWORD 'x' IN ROLE ledger_verifier")
        try:
            url = make_conninfo(ledger.url, user="reads_alone", password="x")
            done = cli("export", "--client", "client-1", "-o", out, "--database-url", url)
        finally:
            with connect(ledger.url) as conn:
                conn.execute("DROP ROLE reads_alone")
    assert done.code == 2
    assert "error: nothing is exported, as it cannot be recorded who exports it" in done.err
    assert not out.exists()


def test_an_export_is_on_record_before_the_bundle(server_url: str, tmp_path: Path) -> None:
    """Who, what, with which options, and the requests of the client; without the client's id."""
    out = tmp_path / "case.zip"
    with signed_ledger(server_url, tmp_path) as ledger:
        exported(ledger, out)
        with connect(ledger.url) as conn:
            [(body,)] = conn.execute("SELECT body::json FROM events WHERE type = 'access.recorded'").fetchall()
    data = body["data"]
    assert data.pop("subject").startswith("cli:")
    assert data == {
        "role": "operator",
        "action": "export",
        "resource": "advice-ledger export",
        "parameters": ["client"],
        "requests": [1, 4],
        "rows": 2,
    }


@contextlib.contextmanager
def busy(ledger: Ledger) -> Iterator[None]:
    """Somebody appends without a pause while the block runs."""
    ended = threading.Event()

    def append_on() -> None:
        with connect(ledger.url, "writer") as conn:
            while not ended.is_set():
                append(conn, new("s"))

    thread = threading.Thread(target=append_on)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_a_busy_ledger_gives_complete_bundles(server_url: str, tmp_path: Path) -> None:
    """While others append all the time: nothing is between record and checkpoint, in each of several exports."""
    with signed_ledger(server_url, tmp_path) as ledger:
        signer = SignerThread(ledger.url, SigningConfig(ledger.key, ledger.state, every_s=0.05))
        with running(signer, 10), busy(ledger):
            for nth in range(4):
                ask(ledger.url, 2)
                out = tmp_path / f"case-{nth}.zip"
                assert exported(ledger, out) == ""
                ran = program(out, "--json", "--complete", "--key", ledger.key.verifier.text)
                assert (ran.code, ran.json["complete"]) == (0, True), ran.out
                assert ran.json["streams"] == 2 + nth + 1


@pytest.mark.parametrize("before", [0, 1, 3])
def test_an_event_in_between_is_followed_by_another_record(
    server_url: str, tmp_path: Path, before: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It speaks of the first record too, and its tree can be built again; without time for that there is one record."""
    build = record._event_at_head
    with signed_ledger(server_url, tmp_path) as ledger:
        for _ in range(before):
            ledger.record_heads()
        with connect(ledger.url, "verifier") as conn, connect(ledger.url, "writer") as writer:

            def build_slowly(conn: Connection, own_version: int) -> StreamHeadsRecorded:
                event = build(conn, own_version)
                if not own_version:
                    ledger.fill(2)
                return event

            monkeypatch.setattr(record, "_event_at_head", build_slowly)
            for hold_s, versions, between in ((10, 2, 0), (0, 1, 2)):
                last = newest_heads(conn)
                position = record_heads(conn, writer, last, None, hold_s)
                made = newest_heads(conn)
                assert made is not None
                assert (made.event.position, made.as_of) == (position, position - 1 - between)
                assert made.event.version == versions + (0 if last is None else last.event.version)
                with conn.transaction():
                    assert made.tree(conn) is not None


def test_a_client_that_a_stream_gets_later_does_not_change_an_older_record(server_url: str, tmp_path: Path) -> None:
    """The stream is the client's from the event on that names the client: the record before it still shows its end."""
    with signed_ledger(server_url, tmp_path) as ledger:
        with connect(ledger.url) as conn:
            append(conn, new("content-1", ModelCallContentJoined()))
        position = ledger.record_heads()
        assert complete_one(ledger, tmp_path)
        with connect(ledger.url) as conn:
            append(conn, new("content-1", ModelCallContentJoined(client_id="client-1")))
        ledger.sign()
        data = ledger.bundle(CLIENT)[0]
        heads = json.loads(Case.read(data).files[bundle.HEADS])
        assert heads["event"]["position"] == position
        assert [name for name, _ in heads["streams"]] == ["request-1", "request-4"]
        with connect(ledger.url, "verifier") as conn:
            assert verify_chain(conn).findings == ()


def complete_one(ledger: Ledger, tmp_path: Path) -> bool:
    """True if the bundle of client-1 is shown to be complete."""
    return checked(ledger, tmp_path, ledger.bundle(CLIENT)[0]).code == 0


@pytest.mark.parametrize("change", [{"root": "ab" * 32}, {"as_of": 600}, {"as_of": 10**9}])
def test_verify_names_a_false_record(
    server_url: str, tmp_path: Path, change: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer's login records where streams end, and lies: `verify` without options computes the tree again.

    Also if a true record follows; and what is not computed again, in a large ledger, is not called proven.
    """
    with signed_ledger(server_url, tmp_path) as ledger:
        position = ledger.record_heads()
        ran = cli("verify", "--no-projections", "--json", "--database-url", ledger.url)
        assert (ran.code, ran.json()["stream_heads"]) == (0, {"built": 1, "records": 1})
        with connect(ledger.url, "verifier") as conn, connect(ledger.url, "writer") as writer:
            last = newest_heads(conn)
            assert last is not None
            assert last.blinding is not None
            true = {"as_of": last.as_of, "root": last.root.hex(), "blinding": last.blinding.hex()}
            append_now(writer, NewEvent(uuid7(), STREAM, StreamHeadsRecorded(**{**true, **change}), ACTOR, 1), None)
        for records in (2, 3):
            ran = cli("verify", "--no-projections", "--json", "--database-url", ledger.url)
            found = [(one["step"], one["kind"], one["position"]) for one in ran.json()["findings"]]
            assert (ran.code, found) == (1, [(9, "heads-mismatch", position + 1)])
            assert ran.json()["stream_heads"] == {"built": records, "records": records}
            ledger.record_heads()
        monkeypatch.setattr("ledger.verify.stream_heads.MOST_COST", 0)
        monkeypatch.setattr("ledger.verify.stream_heads.ROUNDS", 0)
        with connect(ledger.url, "verifier") as conn:
            report = verify_chain(conn)
        assert (report.findings, report.heads.built) == ((), 1)
        assert any("the newest 1 of 4 were computed again" in claim for claim in report.not_proven)
