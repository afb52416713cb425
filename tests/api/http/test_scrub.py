"""After a scrub no file of the database has a byte of an erased client, and each erasure says since when."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.verify.database import verify_chain
from projections.objects import changed_objects
from projections.rebuild import rebuild_read_models
from projections.registry import READ_MODELS
from tests.api.acting import Acting, second_tokens
from tests.api.http.test_erasure import Scene, holding, policies
from tests.api.http.test_monitoring import POLICY, PORTFOLIO, put
from tests.api.program import cli
from tests.api.served import served
from tests.support import connect

GONE, STAYS = "Wq7-Erased", "Zk4-Stays"


@pytest.fixture
def scene(database_url: str, tmp_path: Path) -> Iterator[Scene]:
    """A server whose policy keeps nothing."""
    with served(database_url, policies=policies(tmp_path, 0)) as api:
        second_tokens(api)
        yield Scene(Acting(api))


def everything(scene: Scene, words: str) -> int:
    """Record what a ledger can hold of a client, with this text in all that is sealed; return its number."""
    api, client = scene.api, scene.client(words)
    # Longer than a page: kept in a TOAST table, compressed where that helps.
    noise = random.Random(words).randbytes(6000).hex()
    long = {"client_id": f"{words} id", "notes": f"{words} {noise} {words * 100}", "risk_profile": "balanced"}
    assert api.call("POST", "/portfolio/recommendations", "advisor", json={**long, "amount_usd": 5}).status_code == 202
    name = words.lower()
    alias = {"client_id": f"{words} alias"}
    assert api.call("POST", f"/clients/{client}/aliases", "compliance", json=alias).status_code == 201
    assert put(api, f"/portfolios/{name}", "advisor", {**PORTFOLIO, "client_id": f"{words} id"}).status_code == 201
    held = {"as_of": "2026-03-01", "positions": {"EQ": "1", "BD": "1"}}
    assert put(api, f"/portfolios/{name}/holdings", "advisor", held).status_code == 201
    assert scene.acting.post(f"/clients/{client}/legal-holds", "compliance", {"reason": words}).status_code == 201
    [hold] = api.get("/legal-holds", "compliance", client=client).json()["items"]
    assert scene.acting.post(f"/legal-holds/{hold['id']}/releases", "compliance", {"reason": words}).status_code == 201
    return client


def files_with(url: str, words: str) -> list[str]:
    """Return the files of the server, without its write-ahead log, that hold this text; after a checkpoint."""
    with connect(url) as conn:
        conn.execute("CHECKPOINT")
        [(folder,)] = conn.execute("SHOW data_directory").fetchall()
    found = []
    for path in Path(folder).rglob("*"):
        # Some go while we look.
        with contextlib.suppress(FileNotFoundError):
            if path.is_file() and "pg_wal" not in path.parts and words.encode() in path.read_bytes():
                found.append(str(path.relative_to(folder)))
    return found


def statistics_file(url: str) -> str:
    """Return the file with the planner's statistics."""
    with connect(url) as conn:
        [(path,)] = conn.execute("SELECT pg_relation_filepath('pg_statistic')").fetchall()
    return str(path)


def test_no_file_has_an_erased_byte_after_a_scrub(scene: Scene) -> None:
    """Before it some have, also the planner's statistics; what belongs to others stays, and all still verifies."""
    url = scene.api.url
    assert put(scene.api, "/policies/monitoring/drift", "compliance", POLICY).status_code == 201
    client = everything(scene, GONE)
    everything(scene, STAYS)
    with connect(url) as conn:
        conn.execute("ANALYZE")
    assert statistics_file(url) in files_with(url, GONE)
    erasure = scene.request(client).json()["erasure"]
    event = scene.confirm(erasure).json()["event"]
    assert holding(url, GONE) == []
    assert len(files_with(url, GONE)) > 3
    assert scene.api.get(f"/erasures/{erasure}").json()["scrubbed_at"] is None
    plan = cli("erasures", "scrub", "--dry-run", "--json", "--database-url", url).json()
    assert (plan["upto"], plan["erasures"], plan["event"]) == (event, 1, None)
    assert {"sealed_fields_0", "stream_clients", "event_texts", "pg_statistic"} <= plan["tables"].keys()
    assert len(files_with(url, GONE)) > 3

    done = cli("erasures", "scrub", "--json", "--database-url", url).json()

    assert files_with(url, GONE) == []
    assert files_with(url, STAYS)
    assert (done["upto"], done["bytes"] > 0, set(done["tables"])) == (event, True, plan["tables"].keys())
    row = scene.api.get(f"/erasures/{erasure}").json()
    [listed] = scene.api.get("/erasures", client=client).json()["items"]
    shown = scene.api.get(f"/events/{done['event']}").json()
    assert row["scrubbed_at"] == listed["scrubbed_at"] == shown["recorded_at"]
    assert scene.api.get(f"/erasures/{erasure}", as_of=event).json()["scrubbed_at"] is None
    assert "erased" in cli("erasures", "list", "--database-url", url).out
    assert cli("erasures", "scrub", "--database-url", url).out.startswith("nothing to do")
    with connect(url, "verifier") as conn:
        assert verify_chain(conn).ok
        assert changed_objects(conn) == []
    assert all(one.differing == 0 for one in rebuild_read_models(url, list(READ_MODELS)))
    scene.client("Later")
