"""Evidence for the checkpoint in a bundle: rotations of the log's key, and timestamps."""

from __future__ import annotations

import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from ledger.export.bundle_writer import encode_rotations
from ledger.proof.bundle import manifest as bundle
from ledger.proof.tlog.checkpoint import Checkpoint, parse_checkpoint
from ledger.proof.tlog.key_rotation import check_rotation, key_name, statement
from ledger.proof.tlog.note import Note, parse
from ledger.tlog.sign.recorded_rotations import STREAM
from ledger.tlog.sign.rotate import rotated
from ledger.tlog.signing_keys import SigningKey, WitnessSigningKey, sign_checkpoint, sign_rotation
from schema.events import LogKeyRotated
from tests.ledger.cases import Ledger, signed_ledger
from tests.ledger.proof.bundle.bundles import Case, Ran, program
from tests.ledger.tlog.endorse.test_timestamp_client import Signer, make_signer, openssl
from tests.support import append, connect, new


@pytest.fixture(scope="module")
def ledger(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SigningKey, Ledger]]:
    """One ledger whose key was rotated twice, with events after each; and the key that it had first."""
    with signed_ledger(server_url, tmp_path_factory.mktemp("key")) as found:
        first = found.key
        for _ in range(2):
            later = SigningKey.generate(first.verifier.name)
            record(found, rotated(found.key, later))
            found = replace(found, key=later)  # noqa: PLW2901 - the same ledger with another key
            found.fill(20)
            found.sign()
        yield first, found


def record(ledger: Ledger, event: LogKeyRotated) -> None:
    """A rotation, or what claims to be one."""
    with connect(ledger.url) as conn:
        append(conn, new(STREAM, event))


def checked(tmp_path: Path, data: bytes, *keys: SigningKey) -> Ran:
    """Run the auditor's program with these keys."""
    (tmp_path / "case.zip").write_bytes(data)
    given = [word for key in keys for word in ("--key", key.verifier.text)]
    return program(tmp_path / "case.zip", "--json", *given)


def test_the_first_key_leads_to_the_last(ledger: tuple[SigningKey, Ledger], tmp_path: Path) -> None:
    """Every key of the log leads to the bundle's signer; each rotation is named, and none is followed backwards."""
    first, rotated_ledger = ledger
    data, _ = rotated_ledger.bundle()
    ran = checked(tmp_path, data, first)
    assert (ran.code, ran.json["trusted"]) == (0, True), ran.out
    assert [one["followed"] for one in ran.json["rotations"]] == [True, True]
    last = f"{first.verifier.name}+{rotated_ledger.key.verifier.key_id:08x}"
    assert ran.json["rotations"][1]["new"] == ran.json["checkpoint"]["signed_by"] == last
    assert "which the rotations lead to" in " ".join(ran.json["steps"][1]["about"])
    ran = checked(tmp_path, data, rotated_ledger.key)
    assert (ran.code, [one["followed"] for one in ran.json["rotations"]]) == (0, [False, False])
    stranger = checked(tmp_path, data, SigningKey.generate(first.verifier.name))
    assert (stranger.code, stranger.found) == (1, [("untrusted-key", 0)])
    assert checked(tmp_path, data).json["verdict"].startswith("CONSISTENT, SIGNER UNKNOWN")
    # A checkpoint by an earlier key is used only if there is no other: with the last key alone it cannot be verified.
    with connect(rotated_ledger.url) as conn:
        conn.execute("INSERT INTO cosignatures (size, witness, line) VALUES (648, 'w', 'x')")
    assert rotated_ledger.bundle()[1].checkpoint_size == 690


def checkpoint_of(case: Case) -> Checkpoint:
    """The signed text."""
    return parse_checkpoint(parse(case.files[bundle.CHECKPOINT]).text)


def test_an_older_checkpoint_by_an_older_key(ledger: tuple[SigningKey, Ledger], tmp_path: Path) -> None:
    """Comparing a checkpoint from before the rotations takes the old key; the last key alone is not enough."""
    first, rotated_ledger = ledger
    with connect(rotated_ledger.url) as conn:
        [(note,)] = conn.execute("SELECT note FROM checkpoints WHERE size = 648").fetchall()
    (tmp_path / "old.txt").write_text(note)
    (tmp_path / "case.zip").write_bytes(rotated_ledger.bundle(since=note.encode())[0])
    asked = (tmp_path / "case.zip", "--json", "--since", tmp_path / "old.txt", "--key")
    assert program(*asked, first.verifier.text).code == 0
    ran = program(*asked, rotated_ledger.key.verifier.text)
    assert (ran.code, ran.out) == (2, "")
    assert f"give {key_name(first.verifier)} with --key as well" in ran.err
    assert f"it led to {key_name(rotated_ledger.key.verifier)}" in ran.err


def one_sided(old: SigningKey, later: SigningKey, *signers: SigningKey) -> bytes:
    """A statement that not both signed."""
    text = statement(old.verifier, later.verifier)
    return Note(text, tuple(key.sign(text) for key in signers)).encode()


def test_a_forged_rotation_is_found(ledger: tuple[SigningKey, Ledger], tmp_path: Path) -> None:
    """A thief signs the checkpoint, and makes up how the auditor's key led to his; each try has its name."""
    first, rotated_ledger = ledger
    case = Case.read(rotated_ledger.bundle()[0])
    thief, accomplice = (SigningKey.generate(first.verifier.name) for _ in range(2))
    case.files[bundle.CHECKPOINT] = sign_checkpoint(checkpoint_of(case), thief).encode()
    genuine = case.files[bundle.ROTATIONS]
    elsewhere = sign_rotation(*(SigningKey.generate("elsewhere.example/log") for _ in range(2)))
    of_others = genuine.split(b"\n")
    of_others[3] = f"new {thief.verifier.text}".encode()
    for rotations, kinds in [
        (b"", {"untrusted-key"}),
        (sign_rotation(accomplice, thief).note, {"untrusted-key"}),
        (sign_rotation(thief, first).note, {"untrusted-key"}),
        (one_sided(first, thief, thief), {"untrusted-key", "bad-rotation"}),
        (one_sided(first, thief, thief, thief), {"untrusted-key", "bad-rotation"}),
        (one_sided(first, thief, thief, accomplice), {"untrusted-key", "bad-rotation"}),
        (elsewhere.note, {"untrusted-key", "bad-rotation"}),
        (b"\n".join(of_others), {"untrusted-key", "bad-rotation"}),
        (b"anything", {"untrusted-key", "bad-rotation"}),
    ]:
        case.files[bundle.ROTATIONS] = rotations
        ran = checked(tmp_path, case.write(), first)
        assert (ran.code, {kind for kind, _ in ran.found}) == (1, kinds), ran.out
    # Not even beside a checkpoint that is signed as it should be.
    case = Case.read(rotated_ledger.bundle()[0])
    case.files[bundle.ROTATIONS] = genuine + elsewhere.note
    assert checked(tmp_path, case.write(), first).found == [("bad-rotation", 0)]


def test_what_anybody_recorded_is_not_exported(server_url: str, tmp_path: Path) -> None:
    """An event that claims a rotation, and that both keys did not sign, spoils no bundle."""
    with signed_ledger(server_url, tmp_path) as ledger:
        later, thief = (SigningKey.generate(ledger.key.verifier.name) for _ in range(2))
        good, other = rotated(ledger.key, later), rotated(thief, later)
        record(ledger, good.model_copy(update={"old_signature": other.old_signature}))
        record(ledger, good)
        new_ledger = replace(ledger, key=later)
        new_ledger.sign()
        data, _ = new_ledger.bundle()
    assert Case.read(data).files[bundle.ROTATIONS] == encode_rotations([sign_rotation(ledger.key, later)])
    assert check_rotation(Case.read(data).files[bundle.ROTATIONS], later.verifier.name).new == later.verifier
    assert checked(tmp_path, data, ledger.key).code == 0


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    """An authority for timestamps."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to run an authority with")
    return make_signer(tmp_path_factory.mktemp("tsa") / "authority")


def token(signer: Signer, note: bytes) -> bytes:
    """The token over a note, as the signer stores it."""
    query, reply, out = (signer.folder / name for name in ("asked", "answered", "token"))
    openssl("ts", "-query", "-digest", sha256(note).hexdigest(), "-sha256", "-cert", "-out", query)
    reply.write_bytes(signer.stamp(query.read_bytes()))
    openssl("ts", "-reply", "-in", reply, "-token_out", "-out", out)
    return out.read_bytes()


def test_a_checkpoint_with_a_timestamp_is_preferred(server_url: str, tmp_path: Path, signer: Signer) -> None:
    """The checkpoint with a token is preferred, the token comes along, and the command that is printed verifies it.

    The program does not claim to have done so, and finds a token of another checkpoint, or none where one is named.
    """
    with signed_ledger(server_url, tmp_path) as ledger:
        note = ledger.note()
        with connect(ledger.url, "signer") as conn:
            store = "INSERT INTO checkpoint_timestamps (size, authority, token) VALUES (648, %s, %s)"
            conn.execute(store, ["http://tsa.example/<b>", token(signer, note)])
            # Not under the timestamp, although it is in the bundle's checkpoint.
            line = WitnessSigningKey.generate("witness.example/w").cosign(parse(note).text, 1_700_000_000).line
            conn.execute("INSERT INTO cosignatures (size, witness, line) VALUES (648, 'w', %s)", [line])
        ledger.fill(50)
        ledger.sign()
        data, manifest = ledger.bundle()
    assert Case.read(data).files[bundle.CHECKPOINT] == note + line.encode()
    assert (manifest.checkpoint_size, manifest.timestamps) == (648, ("http://tsa.example/<b>",))
    ran = checked(tmp_path, data, ledger.key)
    assert ran.code == 0, ran.out
    [stamp] = ran.json["timestamps"]
    assert (stamp["file"], stamp["verified"], stamp["digest"]) == (
        "timestamps/1.der",
        False,
        sha256(note).hexdigest(),
    )
    assert "NOT VERIFIED" in program(tmp_path / "case.zip").out
    page = Case.read(data).files[bundle.PAGE].decode()
    assert stamp["digest"] in page
    assert "tsa.example/&lt;b&gt;" in page
    shutil.copy(signer.root, tmp_path / "authority.pem")
    with zipfile.ZipFile(tmp_path / "case.zip") as archive:
        (tmp_path / "1.der").write_bytes(archive.read("timestamps/1.der"))
    verify = stamp["check"].partition("&& ")[2]
    done = subprocess.run(verify.split(), cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
    assert "Verification: OK" in done.stdout + done.stderr
    case = Case.read(data)
    case.files["timestamps/1.der"] = token(signer, note + b"x")
    assert checked(tmp_path, case.write(), ledger.key).found == [("bad-timestamp", 0)]
    del case.files["timestamps/1.der"]
    assert checked(tmp_path, case.write(), ledger.key).found == [("file-mismatch", 0)]
