"""The auditor's program at its edges: what it is given, what it says where it cannot run, and a log that is served."""

from __future__ import annotations

import contextlib
import http.server
import json
import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ledger.proof.auditor.__main__ import _audit, _parser
from ledger.proof.bundle.manifest import ROTATIONS
from ledger.proof.bundle.selection import Selection
from ledger.proof.findings import BUNDLE
from ledger.proof.tlog import http_log
from ledger.proof.tlog.checkpoint import Checkpoint
from ledger.proof.tlog.http_log import LiveLog, LogUnreachable
from ledger.proof.tlog.key_rotation import key_name
from ledger.proof.tlog.merkle import leaf_hashes, parents, root_of
from ledger.proof.tlog.trust import Trust, Unusable
from ledger.tlog.signing_keys import SigningKey, WitnessSigningKey, sign_checkpoint, sign_rotation
from tests.ledger.proof.bundle.bundles import Case, make_bundle, program
from tests.ledger.proof.chains import ORIGIN, chain_of
from tests.paths import DOCS

KEY = SigningKey.generate(ORIGIN)
SIZE = 700
EVENTS = list(chain_of(900))
LEAVES = leaf_hashes(event.hash for event in EVENTS)
RANGE = Selection("positions", first_position=10, last_position=20)


def note(size: int, leaves: list[bytes] = LEAVES, key: SigningKey = KEY) -> bytes:
    """The checkpoint of this size."""
    return sign_checkpoint(Checkpoint(ORIGIN, size, root_of(leaves[:size])), key).encode()


@pytest.fixture
def case(tmp_path: Path) -> Path:
    """A good bundle."""
    path = tmp_path / "case.zip"
    chosen = lambda event: 10 <= event.position <= 20  # noqa: E731
    path.write_bytes(make_bundle(SIZE, RANGE, KEY, chosen, events=EVENTS[:SIZE]))
    return path


@dataclass
class Served:
    """A log over HTTP: what it answers by path; what is missing is a 404."""

    base: str = ""
    answers: dict[str, bytes] = field(default_factory=dict)
    status: int = 200
    asked: list[str] = field(default_factory=list)

    def serve(self, size: int, leaves: list[bytes] = LEAVES, key: SigningKey = KEY) -> None:
        """Checkpoint and full tiles of a tree; partial tiles as wide as they are now."""
        self.answers = {"/checkpoint": note(size, leaves, key)}
        row, level = leaves[:size], 0
        while row:
            for at in range(0, len(row), 256):
                piece = row[at : at + 256]
                tail = f"{at // 256:03}" if len(piece) == 256 else f"{at // 256:03}.p/{len(piece)}"
                self.answers[f"/tile/{level}/{tail}"] = b"".join(piece)
            row = row[: len(row) // 256 * 256]
            for _ in range(8):
                row = parents(row)
            level += 1


@pytest.fixture
def log() -> Iterator[Served]:
    """A log that is served, of SIZE events."""
    served = Served()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.asked.append(self.path)
            body = served.answers.get(self.path)
            self.send_response(404 if body is None else served.status)
            if served.status == 302:
                self.send_header("Location", f"{served.base}/elsewhere")
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        served.base = f"http://127.0.0.1:{server.server_port}"
        served.serve(SIZE)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield served
        finally:
            server.shutdown()
            thread.join()


def cannot_run(*arguments: object) -> str:
    """The one line with which it ends where it cannot run."""
    ran = program(*arguments)
    assert (ran.code, ran.out) == (2, ""), ran
    assert ran.err.startswith("error: ")
    assert ran.err.count("\n") == 1
    return ran.err


def test_the_steps_are_numbered(case: Path) -> None:
    """Each step is printed with its number; the page of the format has the same ones."""
    ran = program(case, "--key", KEY.verifier.text)
    assert [line[:4] for line in ran.out.splitlines() if line[3:4] == "."] == [
        f"{number:>3}." for number in BUNDLE.steps
    ]
    assert ran.out.splitlines()[-1] == f"verified: all of the above holds, signed by {ORIGIN}+{KEY.verifier.key_id:08x}"


def test_every_option_is_described() -> None:
    """Each option stands in docs/use/auditor.md, and has help."""
    page = (DOCS / "use/auditor.md").read_text("utf-8")
    actions = [action for action in _parser()._actions if action.dest != "help"]
    assert [one.dest for one in actions if not one.help] == []
    assert [one for action in actions for one in action.option_strings if f"`{one}" not in page] == []


def test_every_member_of_the_json_is_described(case: Path) -> None:
    """The table of docs/use/auditor.md has each member, those of the checkpoint too, and no others."""
    table = (DOCS / "use/auditor.md").read_text("utf-8").partition("## For programs")[2].partition("\n## ")[0]
    case.write_bytes(make_bundle(SIZE, RANGE, KEY, lambda one: 10 <= one.position <= 20, lambda _: True, EVENTS[:SIZE]))
    found = program(case, "--json", "--key", KEY.verifier.text).json
    listed = {name for line in table.splitlines() for name in re.findall(r"`(\w+)`", line.split(" | ")[0])}
    assert listed == found.keys()
    inner = [*found["checkpoint"], *found["steps"][0], *found["absent"][0]]
    assert [name for name in inner if f"`{name}`" not in table] == []


def test_what_cannot_be_used(case: Path, tmp_path: Path) -> None:
    """A missing file, malformed keys, an impossible policy, nothing to do: exit 2 and one line."""
    assert "No such file" in cannot_run(tmp_path / "none.zip")
    assert "directory" in cannot_run(tmp_path)
    assert "give a bundle" in cannot_run()
    assert "name" in cannot_run(case, "--key", "x+y+z")
    assert "No such file" in cannot_run(case, "--key", "none.key")
    assert "type" in cannot_run(case, "--witness", KEY.verifier.text)
    secret = WitnessSigningKey.generate("w").reveal()
    assert secret.split("+", 4)[-1] not in cannot_run(case, "--witness", secret)
    policy = tmp_path / "policy.json"
    for text in ("", "[]", '{"witness":[]}', '{"log":{}}', '{"log":[1]}', '{"witnesses_needed":1}', '{"log":["x"]}'):
        policy.write_text(text)
        cannot_run(case, "--policy", policy)
    for url in ("file:///etc/passwd", "ftp://x/", "http://user:secret@x/", "http://", "http://[", "x"):
        message = cannot_run(case, "--log", url)
        assert "secret" not in message


def test_an_older_checkpoint_that_cannot_be_used_is_exit_2(case: Path, tmp_path: Path) -> None:
    """The auditor's own file says nothing of the bundle: no checkpoint, or not signed by whom it says, is exit 2."""
    old = tmp_path / "old.txt"
    good = note(300)
    at = good.rindex(b" ") + 10
    forged = good[:at] + (b"A" if good[at : at + 1] != b"A" else b"B") + good[at + 1 :]
    for data, reason in ((b"nothing\n", "is not a checkpoint"), (forged, "the older checkpoint")):
        old.write_bytes(data)
        assert reason in cannot_run(case, "--json", "--key", KEY.verifier.text, "--since", old)


def test_an_older_checkpoint_by_an_older_key(case: Path, tmp_path: Path) -> None:
    """From before a rotation: the old key is asked for; where rotations show it, the key that it led to is named."""
    first, second = SigningKey.generate(ORIGIN), SigningKey.generate(ORIGIN)
    old = tmp_path / "old.txt"
    old.write_bytes(note(SIZE, key=first))
    arguments = (case, "--since", old, "--key", KEY.verifier.text)
    assert "with --key as well\n" in cannot_run(*arguments)
    taken = Case.read(case.read_bytes())
    taken.files[ROTATIONS] = sign_rotation(second, KEY).note + sign_rotation(first, second).note
    case.write_bytes(taken.write())
    message = cannot_run(*arguments)
    assert f"give {key_name(first.verifier)} with --key as well" in message
    assert f"it led to {key_name(KEY.verifier)}, which you gave" in message
    ran = program(*arguments, "--key", first.verifier.text)
    assert ran.code == 0, ran


def test_a_bundle_from_a_pipe_is_refused_with_advice(case: Path) -> None:
    """It is read more than once: that is said, and what to do."""
    with subprocess.Popen(["cat", case], stdout=subprocess.PIPE) as cat:
        assert cat.stdout is not None
        with pytest.raises(Unusable, match="save it to a file"):
            _audit(_parser().parse_args([f"/dev/fd/{cat.stdout.fileno()}"]), Trust())


def test_output_in_another_encoding(case: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Characters that the terminal's encoding lacks are escaped; JSON stays JSON in every encoding."""
    client = Selection("client", client="client-\u5ba2")
    case.write_bytes(make_bundle(40, client, KEY, lambda one: one.stream == "request-1", events=EVENTS[:40]))
    for encoding in ("cp1252", "ascii", "utf-8"):
        monkeypatch.setenv("PYTHONIOENCODING", encoding)
        ran = program(case, "--key", KEY.verifier.text)
        assert ran.code == 1, "another client's"
        assert ("client-\u5ba2" if encoding == "utf-8" else "client-\\u5ba2") in ran.out
        assert program(case, "--json", "--key", KEY.verifier.text).json["selection"]["client"] == "client-\u5ba2"


def test_a_log_is_followed(log: Served, tmp_path: Path) -> None:
    """Its checkpoint is checked against the key and, by tiles, against the one that was kept; nothing is written."""
    old = tmp_path / "old.txt"
    arguments = ("--log", f"{log.base}/", "--key", KEY.verifier.text, "--since", old, "--json")
    for size in (1, 255, 256, 257, 512, 699, 700):
        old.write_bytes(note(size))
        ran = program(*arguments)
        assert (ran.code, ran.found) == (0, []), ran.out
    old.write_bytes(note(800))
    assert program(*arguments).found == [("rolled-back", 701)]
    old.write_bytes(note(300, LEAVES[::-1]))
    assert program(*arguments).found == [("forked", 0)]
    assert sorted(tmp_path.iterdir()) == [old]
    log.serve(SIZE, key=SigningKey.generate(ORIGIN))
    assert ("untrusted-key", 0) in program("--log", log.base, "--key", KEY.verifier.text, "--json").found


def test_only_a_log_that_extends_the_bundles_checkpoint_passes(log: Served, case: Path, tmp_path: Path) -> None:
    """A log that extends the bundle's checkpoint passes; one that was cut, or shows another history, does not."""
    arguments = (case, "--key", KEY.verifier.text, "--log", log.base, "--json")
    for size in (700, 701, 900):
        log.serve(size)
        assert program(*arguments).code == 0
    log.serve(300)
    assert program(*arguments).found == [("rolled-back", 301)]
    log.serve(900, LEAVES[::-1])
    assert program(*arguments).found == [("forked", 0)]
    old = tmp_path / "old.txt"
    old.write_bytes(note(800))
    log.serve(900)
    assert program(*arguments, "--since", old).code == 0, "the bundle is older than what was kept, and the log shows it"


def test_a_log_that_answers_badly_is_exit_2(log: Served, case: Path, tmp_path: Path) -> None:
    """Too much, too little, another status, a redirect, nobody there: exit 2, and nothing is followed elsewhere."""
    old = tmp_path / "old.txt"
    old.write_bytes(note(300))
    arguments = ("--log", log.base, "--key", KEY.verifier.text, "--since", old)
    good = dict(log.answers)
    log.answers["/checkpoint"] = b"x" * 600_000
    assert "more than" in cannot_run(*arguments)
    for change in ({"/tile/0/001": b"x"}, {"/tile/0/001": b"x" * 9000}, {"/tile/0/001": None}):
        log.answers = {path: body for path, body in {**good, **change}.items() if body is not None}
        assert "/tile/0/001" in cannot_run(*arguments)
    log.answers = good | {"/tile/0/001": good["/tile/0/000"]}
    assert json.loads(program(*arguments, "--json").out)["findings"][0]["kind"] == "forked"
    for status in (302, 500):
        log.status = status
        assert str(status) in cannot_run(*arguments)
    assert "/elsewhere" not in log.asked
    cannot_run("--log", "http://127.0.0.1:1", "--key", KEY.verifier.text)


@pytest.mark.parametrize("before", [b"", b"HTTP/1.0 200 OK\r\n\r\n"])
def test_a_log_that_answers_byte_by_byte(before: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer has a time to be whole in, also where each byte comes soon enough; so has its header."""
    monkeypatch.setattr(http_log, "ANSWER_S", 0.5)
    done = threading.Event()

    def drip(listener: socket.socket) -> None:
        with contextlib.suppress(OSError), listener.accept()[0] as client:
            client.sendall(before)
            while not done.wait(0.05):
                client.sendall(b"x")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, args=(listener,))
        thread.start()
        try:
            with pytest.raises(LogUnreachable, match="not answered in full"):
                LiveLog(f"http://127.0.0.1:{listener.getsockname()[1]}").checkpoint()
        finally:
            done.set()
            thread.join()


def test_what_is_wrong_is_told_also_without_the_log(case: Path, tmp_path: Path) -> None:
    """A log that does not answer, or no way to compare with an older checkpoint, hides no finding: exit 1, not 2."""
    old = tmp_path / "old.txt"
    old.write_bytes(note(300))
    data = case.read_bytes()
    at = data.index(b"horizon_years")
    for arguments in (("--since", old), ("--log", "http://127.0.0.1:1")):
        case.write_bytes(data)
        cannot_run(case, "--key", KEY.verifier.text, *arguments)
        case.write_bytes(data[:at] + b"H" + data[at + 1 :])
        ran = program(case, "--json", "--key", KEY.verifier.text, *arguments)
        assert (ran.code, ran.found) == (1, [("edited", 10)])
