"""A wrong tile: what /readyz says of it, and that the remedy in docs/operate/continuous-verification.md is one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ledger.tlog.sign import keys
from ledger.tlog.sign.rotate import beside
from ledger.verify.continuous import VerificationConfig
from tests.api.program import cli
from tests.api.served import Api, served
from tests.ledger.tlog.logs import fill, key_for, sign
from tests.paths import DOCS
from tests.support import connect, eventually

DOCUMENT = DOCS / "operate/continuous-verification.md"
FAST = VerificationConfig(rate=1_000_000, rest_s=0.05, rests=0, settle_s=3600)
SPOIL = """
    ALTER TABLE tiles DISABLE TRIGGER refuse_change;
    UPDATE tiles SET hashes = repeat('x', 8192)::bytea WHERE number = 1;
    DELETE FROM tiles WHERE number = 0;
    ALTER TABLE tiles ENABLE ALWAYS TRIGGER refuse_change;
    UPDATE partial_tiles SET hashes = substring(hashes FROM 1 FOR 32) || sha256('x');
"""
TILES = (
    "SELECT level, number, hashes FROM tiles UNION ALL SELECT level, number, hashes FROM partial_tiles ORDER BY 1, 2"
)
ALWAYS = "SELECT tgenabled FROM pg_trigger WHERE tgrelid = 'tiles'::regclass AND tgname = 'refuse_change'"


def reasons(api: Api) -> list[str]:
    """Why it is not ready, once a round has come to an end."""
    found = api.get("/readyz", None).json()
    seen = found["verification"]["finding"] or found["verification"]["passed_age_s"] is not None
    return found["reasons"] or ["none"] if seen else []


@pytest.mark.slow
def test_the_remedy_for_wrong_tiles(database_url: str, tmp_path: Path) -> None:
    """Deleted as the document says and made again by --adopt, tiles are as before; verify has no other finding."""
    path = tmp_path / "log.key"
    keys.generate(key_for(database_url).verifier.name, path)
    key = keys.read(path)
    fill(database_url, 700)
    sign(database_url, key, beside(path, "last"))
    newest = tmp_path / "newest"
    with connect(database_url) as conn:
        before = conn.execute(TILES).fetchall()
        newest.write_text(conn.execute("SELECT note FROM checkpoints").fetchall()[0][0])
        conn.execute(SPOIL)
    with served(database_url, verification=FAST) as api:
        told = eventually("a round", lambda: reasons(api))
    assert [
        one
        for one in told
        if "the stored tiles are not what the events make" in one and "docs/operate/continuous-verification.md" in one
    ]
    assert not [one for one in told if "verify" in one]
    options = ("--database-url", database_url)
    ran = cli("verify", "--since", newest, "--key", key.verifier.text, "--json", *options)
    found = [(one["step"], one["kind"], one["position"]) for one in ran.json()["findings"]]
    assert (ran.code, found) == (1, [(10, "proof-mismatch", 1)])
    refused = cli("sign", "--adopt", newest, "--reason", "wrong tiles", "--key", path, *options)
    assert (refused.code, "holds another tile/0/001 than" in refused.err) == (1, True)
    [remedy] = re.findall(r"```sql\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL)
    with connect(database_url) as conn:
        conn.execute(remedy)
    assert cli("sign", "--adopt", newest, "--reason", "wrong tiles", "--key", path, *options).code == 0
    with connect(database_url) as conn:
        assert conn.execute(TILES).fetchall() == before
        assert conn.execute(ALWAYS).fetchall() == [("A",)]
    assert cli("verify", "--key", key.verifier.text, *options).code == 0
    with served(database_url, tokens={}, verification=FAST) as api:
        assert eventually("a round", lambda: reasons(api)) == ["none"]
