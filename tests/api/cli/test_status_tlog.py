"""`advice-ledger status` shows what is signed, who endorsed it, and an unfinished rotation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ledger.tlog.sign import keys
from ledger.tlog.sign.rotate import beside
from ledger.tlog.signing_keys import WitnessSigningKey
from tests.api.program import cli, variables
from tests.ledger.tlog.logs import fill, key_for, sign
from tests.support import connect
from tests.tampering import tamper

COSIGN = "INSERT INTO cosignatures (size, witness, line) VALUES (%s, %s, 'line')"
STAMP = "INSERT INTO checkpoint_timestamps (size, authority, token) VALUES (2, 'https://tsa.example', '')"


def test_the_log_in_status(database_url: str, tmp_path: Path) -> None:
    """Sizes, ages and events not covered; stored cosignatures by the quorum that is asked for; 1 within a rotation."""
    path = tmp_path / "log.key"
    options = ("status", "--database-url", database_url)
    fill(database_url, 2)
    cli("rebuild", "--database-url", database_url)
    before = cli(*options, "--json")
    assert (before.code, before.json()["log"]["size"], before.json()["log"]["not_covered"]) == (0, None, 2)
    assert before.json()["log"]["rotation_pending"] is None
    key = keys.generate(key_for(database_url).verifier.name, path)
    witnesses = [WitnessSigningKey.generate(f"witness.example/{nth}").verifier for nth in (1, 2)]
    names = [f"{one.name}+{one.key_id:08x}" for one in witnesses]
    sign(database_url, key, beside(path, "last"))
    fill(database_url, 2)
    sign(database_url, key, beside(path, "last"))
    fill(database_url, 3)
    with connect(database_url, "signer") as conn:
        for size, name in ((2, names[0]), (2, names[1]), (4, names[1])):
            conn.execute(COSIGN, [size, name])
        conn.execute(STAMP)
    asked = variables(witnesses=[f"http://w.example={one.text}" for one in witnesses], witness_quorum=2)
    found = cli(*options, "--key", path, "--json", env=asked).json()["log"]
    assert (found["size"], found["not_covered"], found["cosignatures"]) == (4, 3, 1)
    assert (found["witnesses_needed"], found["witnessed_size"], found["rotation_pending"]) == (2, 2, False)
    assert 0 <= found["age_s"] <= found["witnessed_age_s"] < 60
    assert [(one["kind"], one["name"], one["size"]) for one in found["endorsements"]] == [
        ("authority", "https://tsa.example", 2),
        ("witness", names[0], 2),
        ("witness", names[1], 4),
    ]
    keys.generate(key.verifier.name, beside(path, "new"))
    shown = cli(*options, "--key", path, env=asked)
    assert shown.code == 1
    for line in (
        r"signed   checkpoint over 4 events, \d+ s old; 3 events not covered(, for \d+ s)?\n",
        r"cosigned by 1 witness; newest with its quorum of 2: over 2 events, \d+ s old\n",
        rf"witness  {re.escape(names[1])} up to 4\n",
        r"stamped  https://tsa\.example up to 2, \d+ s old\n",
        r"rotation begun and not finished, so nothing signs: run advice-ledger keys rotate again\n",
    ):
        assert re.search(line, shown.out), shown.out


@pytest.mark.tampers
def test_an_older_database_is_found_out_by_the_file_beside_the_key(database_url: str, tmp_path: Path) -> None:
    """Exit code 1, and what the file knows; a key that cannot be read accuses nobody."""
    path = tmp_path / "log.key"
    options = ("status", "--database-url", database_url, "--key", path)
    key = keys.generate(key_for(database_url).verifier.name, path)
    fill(database_url, 4)
    sign(database_url, key, beside(path, "last"))
    cli("rebuild", "--database-url", database_url)
    good = cli(*options, "--json")
    assert (good.code, good.json()["log"]["signed_last"]) == (0, {"size": 4, "contradiction": None, "unknown": None})
    tamper(
        database_url,
        "DELETE FROM checkpoints",
        "DELETE FROM events WHERE position = 4",
        "UPDATE head SET position = 3, hash = (SELECT hash FROM events WHERE position = 3)",
    )
    found = cli(*options)
    assert found.code == 1
    assert re.search(
        r"^refused  the database has 3 events, and a checkpoint over 4 was signed: ", found.out, re.MULTILINE
    )
    assert cli(*options, "--json").json()["log"]["signed_last"]["size"] == 4
    cli("rebuild", "--database-url", database_url)
    path.chmod(0o644)
    unread = cli(*options, env=variables(sign_every=600))
    assert unread.code == 0
    assert re.search(r"^unknown  what was signed last: .*can be read by others", unread.out, re.MULTILINE)
