"""A server keeps the list of erasures outside the database."""

from __future__ import annotations

from pathlib import Path

from api.jobs.kept_erasures import KEEP_ERASURES
from ledger.erasure.kept import read_kept
from ledger.tlog.sign.signer_thread import SigningConfig
from tests.api.acting import Acting, second_tokens
from tests.api.http.test_erasure import Scene, policies
from tests.api.served import served
from tests.ledger.tlog.logs import key_for
from tests.support import eventually


def test_each_erasure_comes_into_the_list(database_url: str, tmp_path: Path) -> None:
    """Once a checkpoint covers it, with a certificate that verifies; a line that a crash cut off is written anew."""
    key, file = key_for(database_url), tmp_path / "erasures"
    file.write_bytes(b'{"format": ')
    with served(
        database_url,
        policies=policies(tmp_path, 0),
        signing=SigningConfig(key, tmp_path / "last", every_s=0.2),
        job_kinds=[KEEP_ERASURES],
        erasures_file=file,
    ) as api:
        second_tokens(api)
        scene = Scene(Acting(api))
        for count, name in enumerate(("First", "Second"), 1):
            client = scene.erased(name)
            eventually("it is in the list", lambda count=count: file.read_bytes().count(b"\n") == count)
            kept = list(read_kept(file, [key.verifier]))[-1]
            assert kept is not None
            assert list(kept.clients) == [client]
        [first, second] = api.get("/jobs", "admin", kind="keep-erasures").json()["items"]
        assert (first["state"], second["state"]) == ("done", "done")
