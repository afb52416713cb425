"""advice-ledger keys and advice-ledger sign, and the key that serve signs with: as processes, on embedded databases."""

from __future__ import annotations

import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from api.cli.keys import SIGNING_KEY
from ledger.proof.tlog.checkpoint import Checkpoint, open_checkpoint
from ledger.proof.tlog.merkle import leaf_hashes, root_of
from ledger.proof.tlog.note import VerifierKey
from ledger.tlog.sign import keys
from ledger.tlog.sign.rotate import beside
from ledger.tlog.sign.state_file import Signed
from ledger.tlog.signing_keys import SigningKey, sign_checkpoint
from tests.api.program import PROGRAM, cli, environment, serving, variables
from tests.api.served import ledger_copy
from tests.conftest import Template
from tests.ledger.tlog.logs import fill, key_for, sign
from tests.support import connect, eventually


@pytest.fixture
def url(server_url: str, template_database: Template) -> Iterator[str]:
    """A ledger on a server of the user's."""
    with ledger_copy(server_url, template_database) as found:
        yield found


@pytest.fixture
def key(url: str, tmp_path: Path) -> Path:
    """A key for it, in a file."""
    path = tmp_path / "log.key"
    keys.generate(key_for(url).verifier.name, path)
    return path


def secret_of(key: SigningKey) -> str:
    """Text that no output may hold."""
    return key.reveal().split("+", 4)[4]


def newest(url: str) -> tuple[int, str]:
    """Size and note of the newest checkpoint."""
    with connect(url) as conn:
        [row] = conn.execute("SELECT size, note FROM checkpoints ORDER BY size DESC LIMIT 1").fetchall()
    return row[0], row[1]


# --- keys -------------------------------------------------------------------------------------------------------------


def test_generate_and_show(url: str, tmp_path: Path) -> None:
    """The new file is its owner's alone; what is printed is the verifier key, named as the ledger."""
    path = tmp_path / "new" / "log.key"
    made = cli("keys", "generate", "--key", path, "--database-url", url, "--json")
    found = made.json()
    key = keys.read(path)
    assert VerifierKey.parse(found["verifier_key"]) == key.verifier
    assert found["name"] == key_for(url).verifier.name
    assert int(found["key_id"], 16) == key.verifier.key_id
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    shown = cli("keys", "show", "--key", path)
    assert (shown.code, shown.err) == (0, "")
    assert key.verifier.text in shown.out
    assert cli("keys", "show", "--json", env={SIGNING_KEY: key.reveal()}).json() == found
    assert not any(secret_of(key) in text for text in (made.out, made.err, shown.out))
    assert cli("keys", "generate", "--key", path, "--database-url", url).failed_with("never overwritten")
    assert keys.read(path).verifier == key.verifier


def test_generate_without_a_database(tmp_path: Path) -> None:
    """With the ledger's name a key is made on a machine that sees no database."""
    path = tmp_path / "log.key"
    made = cli("keys", "generate", "--key", path, "--origin", "ledger.example/a", "--json")
    assert made.json()["name"] == keys.read(path).verifier.name == "ledger.example/a"
    refused = cli("keys", "generate", "--key", tmp_path / "other", "--origin", "two words")
    assert refused.failed_with("white space")


@pytest.mark.slow
def test_a_key_that_cannot_be_used_is_refused_without_its_contents(tmp_path: Path) -> None:
    """Missing, readable by others, or no key: exit 2 with what to do, and nothing of what the file holds."""
    path = tmp_path / "log.key"
    assert cli("keys", "show", "--key", path).failed_with("keys generate")
    secret = SigningKey.generate("a.example").reveal()
    path.write_text(secret)
    path.chmod(0o644)
    assert cli("keys", "show", "--key", path).failed_with("chmod 600")
    path.write_text(secret[:-5])
    path.chmod(0o600)
    shown = cli("keys", "show", "--key", path)
    assert shown.failed_with("no signing key")
    assert secret[-20:-5] not in shown.err
    bad = cli("keys", "show", env={SIGNING_KEY: "PRIVATE+KEY+whatever+secret"})
    assert bad.failed_with(SIGNING_KEY)
    assert "secret" not in bad.err
    both = cli("keys", "show", env={SIGNING_KEY: secret, "ADVICE_LEDGER_KEY_FILE": str(path)})
    assert both.failed_with("exclude each other")
    assert cli("sign", "--once", env={SIGNING_KEY: secret}).failed_with("ADVICE_LEDGER_KEY_STATE")
    elsewhere = cli("sign", "--once", "--database-url", "postgresql://127.0.0.1:1/x")
    assert elsewhere.failed_with("--key")


@pytest.mark.slow
def test_rotate_prints_the_new_key_and_keeps_the_old_one(url: str, key: Path) -> None:
    """The old verifier key is kept, the new one printed and in the file; what comes is signed by the new one."""
    old = keys.read(key)
    fill(url, 3)
    done = cli("keys", "rotate", "--key", key, "--database-url", url, "--json")
    new = keys.read(key)
    assert done.json()["verifier_key"] == new.verifier.text != old.verifier.text
    assert newest(url)[0] == 3
    assert cli("sign", "--once", "--key", key, "--database-url", url, "--json").json()["size"] == 4
    open_checkpoint(newest(url)[1].encode(), new.verifier.name, [new.verifier])
    assert not any(secret_of(each) in text for each in (old, new) for text in (done.out, done.err))
    from_environment = {SIGNING_KEY: new.reveal(), "ADVICE_LEDGER_KEY_STATE": str(key)}
    assert cli("keys", "rotate", "--database-url", url, env=from_environment).failed_with("in a file")


@pytest.mark.slow
def test_nothing_signs_within_a_rotation(url: str, key: Path) -> None:
    """A rotation that did not end is said, by sign and by serve, and rotate ends it."""
    fill(url, 1)
    keys.generate(keys.read(key).verifier.name, beside(key, "new"))
    options = ("--key", key, "--database-url", url)
    assert cli("sign", "--once", *options).failed_with("keys rotate")
    assert "keys rotate" in cli("serve", "--port", "0", *options).err
    assert cli("keys", "rotate", *options).code == 0
    assert cli("sign", "--once", *options).code == 0


# --- sign -------------------------------------------------------------------------------------------------------------


def test_sign_once_signs_what_is_new_and_ends(url: str, key: Path) -> None:
    """Signs what there is, says what, and a second time that there is nothing new."""
    fill(url, 300)
    options = ("sign", "--once", "--key", key, "--database-url", url)
    done = cli(*options, "--json").json()
    assert (done["size"], done["note"]) == newest(url) == (300, done["note"])
    assert "nothing new" in cli(*options).out
    assert cli(*options, "--json").json() == {"size": None, "endorsements": []}
    fill(url, 1)
    assert "301 events" in cli(*options).out


@pytest.mark.slow
def test_a_refusal_is_exit_1(url: str, key: Path) -> None:
    """With the file gone nothing is signed: 1, with what to do on stderr."""
    fill(url, 3)
    sign(url, keys.read(key), beside(key, "last"))
    beside(key, "last").unlink()
    fill(url, 1)
    done = cli("sign", "--once", "--key", key, "--database-url", url)
    assert (done.code, done.out) == (1, "")
    assert "docs/operate/tlog.md" in done.err
    followed = cli("sign", "--key", key, "--database-url", url)
    assert followed.code == 1
    assert "docs/operate/tlog.md" in followed.err
    assert newest(url)[0] == 3


@pytest.mark.slow
def test_adopting_where_the_file_is_damaged(url: str, key: Path, tmp_path: Path) -> None:
    """The newest published checkpoint is adopted once the events have its root; then signing goes on."""
    fill(url, 700)
    sign(url, keys.read(key), beside(key, "last"))
    note = tmp_path / "newest"
    note.write_text(newest(url)[1])
    kept = beside(key, "last").read_bytes()
    beside(key, "last").write_text("{}")
    fill(url, 1)
    options = ("--key", key, "--database-url", url)
    adopt = ("sign", "--adopt", note, "--replace-damaged", "--reason", "the disk was damaged")
    assert cli(*adopt, *options, "--json").json()["size"] == 700
    assert beside(key, "last.damaged").read_text() == "{}"
    assert beside(key, "last").read_bytes() == kept
    # The 701 events, and the one that records the adoption.
    assert cli("sign", "--once", *options, "--json").json()["size"] == 702


@pytest.mark.slow
def test_what_is_not_adopted(url: str, key: Path, tmp_path: Path) -> None:
    """A changed, a missing note, no note; one over fewer events than were published, or over more than there are."""
    fill(url, 3)
    mine, last = keys.read(key), beside(key, "last")
    sign(url, mine, last)
    three = newest(url)[1]
    fill(url, 1)
    sign(url, mine, last)
    options = ("--key", key, "--database-url", url, "--reason", "test")
    note = tmp_path / "note"
    assert cli("sign", "--adopt", note, *options).failed_with(str(note))
    note.write_text(three.replace("\n3\n", "\n4\n"))
    assert cli("sign", "--adopt", note, *options).failed_with("bad signature")
    note.write_text("no note")
    assert cli("sign", "--adopt", note, *options).failed_with("no empty line")
    last.unlink()
    note.write_text(three)
    too_old = cli("sign", "--adopt", note, *options)
    assert (too_old.code, last.exists()) == (1, False)
    assert "over 4 at least" in too_old.err
    assert cli("sign", "--give-up", "3", *options).failed_with("--adopt")


def test_another_root_is_not_adopted(url: str, key: Path, tmp_path: Path) -> None:
    """A checkpoint by our key over other events than there are is refused, and no tile of them is kept."""
    mine = keys.read(key)
    fill(url, 300)
    note = tmp_path / "note"
    note.write_bytes(sign_checkpoint(Checkpoint(mine.verifier.name, 300, bytes(32)), mine).encode())
    done = cli("sign", "--adopt", note, "--reason", "test", "--key", key, "--database-url", url)
    assert (done.code, beside(key, "last").exists()) == (1, False)
    with connect(url) as conn:
        counts = "SELECT (SELECT count(*) FROM tiles) + (SELECT count(*) FROM partial_tiles)"
        assert conn.execute(counts).fetchone() == (0,)


@pytest.mark.slow
def test_a_restored_database_is_signed_only_when_told_to(url: str, key: Path, tmp_path: Path) -> None:
    """Without the newest signed events nothing is signed until their checkpoint is given up by name; it is kept."""
    options = ("--key", key, "--database-url", url)
    fill(url, 3)
    mine, last = keys.read(key), beside(key, "last")
    sign(url, mine, last)
    note = tmp_path / "note"
    note.write_text(newest(url)[1])
    # The state after the loss of two events: a file, signed by our key, with a checkpoint over five.
    leaves = leaf_hashes([bytes([n]) * 32 for n in range(5)])
    lost = sign_checkpoint(Checkpoint(mine.verifier.name, 5, root_of(leaves)), mine).encode().decode()
    ahead = Signed(5, root_of(leaves), b"x" * 32, lost, {0: b"".join(leaves)}).encode()
    last.write_bytes(ahead)
    for arguments in (("--once",), ("--adopt", note), ("--adopt", note, "--give-up", "4")):
        why = () if "--once" in arguments else ("--reason", "the disk was lost")
        refused = cli("sign", *arguments, *why, *options)
        assert (refused.code, last.read_bytes()) == (1, ahead)
        assert "--once" in arguments or "--give-up 5" in refused.err
    assert cli("sign", "--adopt", note, "--give-up", "5", "--reason", "the disk was lost", *options).code == 0
    assert beside(last, "given-up-5").read_bytes() == ahead
    fill(url, 1)
    # Three events, the record of the adoption, and the new one.
    assert cli("sign", "--once", *options, "--json").json()["size"] == 5


@pytest.mark.slow
def test_sign_goes_on_until_it_is_ended(url: str, key: Path) -> None:
    """Without --once it goes on; somebody else who would sign meanwhile could not run; SIGTERM ends it with 0."""
    command = [sys.executable, "-c", PROGRAM, "sign", "--key", str(key), "--database-url", url]
    process = subprocess.Popen(
        command, env=environment(**variables(sign_every=0.05)), stderr=subprocess.PIPE, text=True
    )
    try:
        for size in (1, 2):
            fill(url, 1)
            eventually("a checkpoint", lambda size=size: signed_size(url) == size)
        assert cli("sign", "--once", "--key", key, "--database-url", url).failed_with("another process")
        assert cli("keys", "rotate", "--key", key, "--database-url", url).failed_with("stop advice-ledger")
    finally:
        process.terminate()
    _, err = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "stopped" in err
    assert secret_of(keys.read(key)) not in err


def signed_size(url: str) -> int:
    """The size of the newest checkpoint; 0 before the first."""
    with connect(url) as conn:
        [(size,)] = conn.execute("SELECT coalesce(max(size), 0) FROM checkpoints").fetchall()
    return int(size)


# --- serve ------------------------------------------------------------------------------------------------------------


def asked(base: str, token: str) -> httpx.Response:
    """A write that waits for its checkpoint."""
    headers = {"Authorization": f"Bearer {token}", "Prefer": "wait"}
    body = {"client_id": "c", "risk_profile": "balanced", "amount_usd": "1.00"}
    return httpx.post(f"{base}/portfolio/recommendations", json=body, headers=headers, timeout=60)


@pytest.mark.slow
def test_serve_makes_a_key_beside_its_own_database(tmp_path: Path) -> None:
    """With the embedded database and nothing else the first start makes a key; later ones use it and no other."""
    folder = tmp_path / "data"
    with serving("--data-dir", folder, "--no-worker") as server:
        tokens = server.tokens()
        key = keys.read(folder / "log.key")
        assert key.verifier.text in server.err
        assert asked(server.base, tokens["advisor"]).headers["preference-applied"] == "wait"
        assert server.stop() == 0
        assert secret_of(key) not in server.err + server.out
    shown = cli("keys", "show", "--data-dir", folder, "--json").json()
    assert shown["verifier_key"] == key.verifier.text
    with serving("--data-dir", folder, "--no-worker") as server:
        answer = asked(server.base, tokens["advisor"])
        assert answer.status_code == 202
        note = httpx.get(f"{server.base}/checkpoint").content
        size = open_checkpoint(note, key.verifier.name, [key.verifier]).checkpoint.size
        assert str(size) == answer.headers["ledger-position"]
        assert "made" not in server.err
    (folder / "log.key").rename(folder / "away")
    with serving("--data-dir", folder, "--no-worker") as server:
        assert "which is gone" in server.err
        assert httpx.get(f"{server.base}/readyz").json()["checkpoint"]["signer"] == "none"
        assert not (folder / "log.key").exists()


@pytest.mark.slow
def test_serve_with_a_server_of_the_users(url: str, key: Path) -> None:
    """There nothing is signed unless a key is given, and that is said; a key in the environment is as good."""
    with serving("--database-url", url, "--no-worker") as server:
        tokens = server.tokens()
        assert "nothing is signed" in server.err
        assert "docs/operate/tlog.md" in server.err
    environment_key = {SIGNING_KEY: keys.read(key).reveal(), "ADVICE_LEDGER_KEY_STATE": str(key.with_name("state"))}
    with serving("--database-url", url, "--no-worker", env=environment_key | variables(sign_every=0.1)) as server:
        assert "nothing is signed" not in server.err
        headers = asked(server.base, tokens["advisor"]).headers
        assert headers["ledger-checkpoint-size"] == headers["ledger-position"]
        assert key.with_name("state").exists()
    missing = cli("serve", "--port", "0", "--database-url", url, "--key", key.with_name("nowhere"))
    assert missing.code == 2
    assert "keys generate" in missing.err
