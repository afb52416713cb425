"""The log over HTTP: as C2SP tlog-tiles says, nothing beyond a checkpoint, proofs that hold, and writes that wait."""

from __future__ import annotations

import base64
import hashlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from time import monotonic
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from api.http.prefer_wait import preferred
from ledger.proof.tlog.checkpoint import open_checkpoint
from ledger.proof.tlog.merkle import check_consistency, check_inclusion, leaf_hash, leaf_hashes, root_of
from ledger.proof.tlog.tiles import EntryBundle, Tile, decode_entries
from ledger.proof.tlog.tlog_proof import parse_proof, verify_proof
from ledger.tlog.sign.signer_thread import SigningConfig
from ledger.tlog.signing_keys import SigningKey
from ledger.verify.continuous import VerificationConfig
from tests.api.served import Api, ledger_copy, make_tokens, problem, served
from tests.conftest import Template
from tests.ledger.tlog.logs import all_tiles, fill, hashes, key_for, sign
from tests.support import connect, eventually

SIZE = 700
HEX_32 = re.compile(r"[0-9a-f]{64}")


@dataclass
class Log:
    """A running application on a ledger that is signed up to SIZE, with 3 events more, and signs nothing itself."""

    api: Api
    key: SigningKey
    entries: list[bytes]

    def get(self, path: str, **headers: str) -> httpx.Response:
        """Without a token."""
        return self.api.call("GET", path, None, headers=headers)


@pytest.fixture(scope="module")
def log(server_url: str, template_database: Template, tmp_path_factory: Any) -> Iterator[Log]:
    """A log to read."""
    path: Path = tmp_path_factory.mktemp("log") / "last"
    with ledger_copy(server_url, template_database) as url:
        key = key_for(url)
        fill(url, 300)
        sign(url, key, path)
        fill(url, SIZE - 300)
        assert sign(url, key, path) == SIZE
        fill(url, 3)
        with served(url) as api, connect(url) as conn:
            yield Log(api, key, hashes(conn))


# --- checkpoint and tiles ---------------------------------------------------------------------------------------------


def test_the_newest_checkpoint_is_served_to_everybody(log: Log) -> None:
    """The newest note, as text, for everybody, and not kept by caches for longer than seconds."""
    response = log.get("/checkpoint")
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert int(re.findall(r"max-age=(\d+)", response.headers["cache-control"])[0]) <= 5
    found = open_checkpoint(response.content, log.key.verifier.name, [log.key.verifier]).checkpoint
    assert (found.size, found.root) == (SIZE, root_of(leaf_hashes(log.entries[:SIZE])))


def test_tiles_and_bundles(log: Log) -> None:
    """Each tile and bundle of the tree, at its full width and at some smaller ones; a cache may keep all for good."""
    for (level, number), content in all_tiles(log.entries[:SIZE]).items():
        most = len(content) // 32
        for width in sorted({1, 2, most // 2, most - 1, most} - {0}):
            response = log.get("/" + Tile(level, number, width).path)
            assert (response.status_code, response.content) == (200, content[: 32 * width]), (level, number, width)
            assert response.headers["content-type"] == "application/octet-stream"
            assert "immutable" in response.headers["cache-control"]
            if level == 0:
                bundle = EntryBundle(number, width)
                response = log.get("/" + bundle.path)
                assert "immutable" in response.headers["cache-control"]
                first = number * 256
                assert decode_entries(bundle, response.content) == log.entries[first : first + width]


@pytest.mark.parametrize(
    "path",
    [
        "0/000.p/0", "0/000.p/256", "0/000.p/01", "0/0", "0/00", "0/0000", "0/x000/000", "00/000", "0/000/", "/0/000",
        "0/-01", "64/000", "0", "", "entries", "entries/0", "entries/000.p/", "data/000", "0/000.p", "0/000.P/1",
        "0/x001", "0/001/002", "0/000%20", "0/%EF%BC%90%EF%BC%90%EF%BC%90", "0/..%2f000", "0/000%0a", "9" * 500,
    ],
)  # fmt: skip
def test_a_misspelt_tile_path_is_not_found(log: Log, path: str) -> None:
    """Only the one spelling of a tile's path is served: anything else is a 404 that no cache keeps."""
    response = log.get(f"/tile/{path}")
    problem(response, 404, "not-found")
    assert response.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "path",
    ["0/002.p/189", "0/002", "0/003.p/1", "1/000", "1/000.p/3", "2/000.p/1", "entries/002.p/189", "entries/003",
     "0/x999/999", "6/000.p/1"],
)  # fmt: skip
def test_tiles_beyond_the_published_checkpoint_are_not_found(log: Log, path: str) -> None:
    """Tiles that no published checkpoint covers are not found, although the 703 events exist."""
    response = log.get(f"/tile/{path}")
    assert problem(response, 404, "not-covered")["size"] == SIZE
    assert response.headers["cache-control"] == "no-store"


def test_before_the_first_checkpoint(fresh_api: Api) -> None:
    """There is no checkpoint and no tile; /readyz is ready, and says that nothing is signed and what to do."""
    fresh_api.asked()
    for path in ("/checkpoint", "/tile/0/000.p/1", "/tile/entries/000.p/1"):
        assert problem(fresh_api.get(path, None), 404, "not-covered")["size"] == 0
    problem(fresh_api.get("/proofs/inclusion/1"), 404, "not-covered")
    problem(fresh_api.call("GET", "/proofs/consistency?from=1", "auditor"), 404, "not-covered")
    found = eventually("readiness", lambda: (r := fresh_api.get("/readyz", None)).status_code == 200 and r.json())
    state = found["checkpoint"]
    assert (state["size"], state["age_s"], state["signer"]) == (0, None, "none")
    assert "docs/operate/tlog.md" in state["error"]


def test_a_client_made_from_the_specification_recomputes_the_root(log: Log) -> None:
    """Knowing only the specification, a client recomputes the root from tiles, and these from entries."""
    note = log.get("/checkpoint").text
    _, size, root, *_ = note.split("\n")
    leaves: list[bytes] = []
    for first in range(0, int(size), 256):
        width = min(256, int(size) - first)
        suffix = "" if width == 256 else f".p/{width}"
        tile = log.get(f"/tile/0/{first // 256:03}{suffix}").content
        bundle = log.get(f"/tile/entries/{first // 256:03}{suffix}").content
        for at in range(width):
            assert bundle[34 * at : 34 * at + 2] == b"\x00\x20"
            assert tile[32 * at : 32 * at + 32] == sha(b"\x00", bundle[34 * at + 2 : 34 * at + 34])
            leaves.append(tile[32 * at : 32 * at + 32])
    assert base64.b64encode(tree(leaves)).decode() == root
    above = log.get("/tile/1/000.p/2").content
    assert above == tree(leaves[:256]) + tree(leaves[256:512])


def sha(*parts: bytes) -> bytes:
    """SHA-256 of the parts, one after the other."""
    return hashlib.sha256(b"".join(parts)).digest()


def tree(leaves: list[bytes]) -> bytes:
    """RFC 6962 section 2.1, word for word."""
    if len(leaves) == 1:
        return leaves[0]
    half = 1
    while half * 2 < len(leaves):
        half *= 2
    return sha(b"\x01", tree(leaves[:half]), tree(leaves[half:]))


# --- proofs -----------------------------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(position=st.integers(1, SIZE))
def test_an_inclusion_proof_holds_in_both_formats(log: Log, position: int) -> None:
    """JSON and the tlog-proof file, by Accept and by suffix, show the event's own hash in the signed tree."""
    path = f"/proofs/inclusion/{position}"
    found = log.api.get(path).json()
    keys = (log.key.verifier.name, [log.key.verifier])
    signed = open_checkpoint(found["checkpoint"].encode(), *keys).checkpoint
    assert (found["position"], found["size"], found["hash"]) == (position, SIZE, log.entries[position - 1].hex())
    leaf = leaf_hash(log.entries[position - 1])
    assert found["leaf"] == leaf.hex()
    assert all(HEX_32.fullmatch(each) for each in found["proof"])
    check_inclusion(leaf, position - 1, SIZE, [bytes.fromhex(each) for each in found["proof"]], signed.root)
    accepting = log.api.call("GET", path, "auditor", headers={"Accept": "application/octet-stream"})
    by_suffix = log.api.get(f"{path}.tlog-proof")
    assert accepting.content == by_suffix.content
    assert by_suffix.headers["content-type"] == "application/octet-stream"
    proof = parse_proof(by_suffix.content)
    assert proof.index == position - 1
    assert verify_proof(proof, leaf, *keys).checkpoint == signed


@settings(max_examples=30)
@given(st.data())
def test_a_consistency_proof_holds_between_any_two_sizes(log: Log, data: st.DataObject) -> None:
    """Any two sizes up to the newest one; the checkpoint comes along where there is one of just that size."""
    new = data.draw(st.integers(1, SIZE))
    old = data.draw(st.integers(1, new))
    leaves = leaf_hashes(log.entries)
    found = log.api.call("GET", f"/proofs/consistency?from={old}&to={new}", "auditor").json()
    assert (found["from"], found["to"]) == (old, new)
    assert (found["checkpoint"] is None) == (new not in {300, SIZE})
    proof = [bytes.fromhex(each) for each in found["proof"]]
    check_consistency(old, new, root_of(leaves[:old]), root_of(leaves[:new]), proof)


def test_consistency_with_the_newest(log: Log) -> None:
    """Without `to`, the newest checkpoint's tree is meant, and that checkpoint comes along."""
    found = log.api.call("GET", "/proofs/consistency?from=300", "auditor").json()
    assert found["to"] == SIZE
    assert found["checkpoint"] == log.get("/checkpoint").text


@pytest.mark.parametrize(
    ("path", "status", "slug"),
    [
        (f"/proofs/inclusion/{SIZE + 1}", 404, "not-covered"),
        (f"/proofs/inclusion/{SIZE + 1}.tlog-proof", 404, "not-covered"),
        (f"/proofs/inclusion/{2**53 - 1}", 404, "not-covered"),
        ("/proofs/inclusion/0", 422, "invalid"),
        ("/proofs/inclusion/+1", 422, "invalid"),
        ("/proofs/inclusion/x.tlog-proof", 422, "invalid"),
        (f"/proofs/consistency?from=1&to={SIZE + 1}", 404, "not-covered"),
        (f"/proofs/consistency?from={SIZE + 1}", 404, "not-covered"),
        ("/proofs/consistency?from=3&to=2", 422, "invalid"),
        ("/proofs/consistency?from=0&to=2", 422, "invalid"),
        ("/proofs/consistency?to=2", 422, "invalid"),
        ("/proofs/consistency?from=1&size=2", 422, "invalid"),
        ("/proofs/other", 404, "not-found"),
    ],
)
def test_what_cannot_be_proven(log: Log, path: str, status: int, slug: str) -> None:
    """Each gets a problem by its name; what is not covered yet, with the size that is."""
    found = problem(log.api.call("GET", path, "auditor"), status, slug)
    assert slug != "not-covered" or found["size"] == SIZE


@pytest.mark.parametrize(
    "path", ["/proofs/inclusion/1", "/proofs/inclusion/1.tlog-proof", "/proofs/consistency?from=1"]
)
def test_proofs_take_a_token(log: Log, path: str) -> None:
    """Any role may ask; nobody without one."""
    problem(log.get(path), 401, "no-token")
    for role in log.api.tokens:
        assert log.api.call("GET", path, role).status_code == 200


# --- signing while it serves, and waiting for it ----------------------------------------------------------------------


@pytest.fixture
def signing(server_url: str, template_database: Template, tmp_path: Path) -> Iterator[Api]:
    """An application that signs, every 0.3 s."""
    with ledger_copy(server_url, template_database) as url:
        place = SigningConfig(key_for(url), tmp_path / "last", every_s=0.3)
        with served(url, signing=place) as api:
            yield api


def metrics(api: Api) -> dict[str, float]:
    """The metrics without labels."""
    families = text_string_to_metric_families(api.get("/metrics", None).text)
    return {sample.name: sample.value for family in families for sample in family.samples if not sample.labels}


def asking(api: Api, prefer: str) -> httpx.Response:
    """A write with a preference."""
    body = {"client_id": "c", "risk_profile": "balanced", "amount_usd": "1.00"}
    return api.call("POST", "/portfolio/recommendations", "advisor", json=body, headers={"Prefer": prefer})


def test_a_write_that_waits_is_answered_once_a_checkpoint_covers_it(signing: Api) -> None:
    """The answer comes once a checkpoint covers it, says so, and its proof is there at once."""
    before = signing.head()[0]
    for _ in range(3):
        response = asking(signing, "wait")
        assert response.status_code == 202
        position = int(response.headers["ledger-position"])
        assert response.headers["preference-applied"] == "wait"
        assert int(response.headers["ledger-checkpoint-size"]) >= position
        assert signing.get(f"/proofs/inclusion/{position}").status_code == 200
    assert eventually("leading", lambda: signing.get("/readyz", None).json()["checkpoint"]["signer"] == "leads")
    found = metrics(signing)
    assert found["advice_ledger_checkpoint_size"] == before + 4  # the client comes first
    assert found["advice_ledger_checkpoint_events_not_covered"] == 0
    assert found["advice_ledger_checkpoint_age_seconds"] < 60
    assert found["advice_ledger_signing_refused"] == 0


def test_many_wait_together(signing: Api) -> None:
    """Forty writes that wait at once are all covered, by few checkpoints."""
    responses: list[httpx.Response] = []
    threads = [threading.Thread(target=lambda: responses.append(asking(signing, "wait=30"))) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [response.headers.get("preference-applied") for response in responses] == ["wait"] * 40
    for response in responses:
        assert int(response.headers["ledger-checkpoint-size"]) >= int(response.headers["ledger-position"])
    assert len({response.headers["ledger-checkpoint-size"] for response in responses}) < 20


def test_a_wait_ends_when_its_time_is_over(fresh_api: Api) -> None:
    """Where nobody signs, the answer is the ordinary one, when the time is over and not later."""
    before = fresh_api.head()[0]
    fresh_api.client.timeout = httpx.Timeout(10)  # less than the longest wait
    since = monotonic()
    response = asking(fresh_api, "wait=1")
    assert monotonic() - since > 0.9
    assert response.status_code == 202
    assert not {"preference-applied", "ledger-checkpoint-size"} & set(response.headers)
    assert fresh_api.head()[0] == before + 2
    assert asking(fresh_api, "wait=0").status_code == asking(fresh_api, "respond-async").status_code == 202
    body = {"client_id": "", "risk_profile": "balanced", "amount_usd": "1.00"}
    refused = fresh_api.call("POST", "/portfolio/recommendations", "advisor", json=body, headers={"Prefer": "wait=30"})
    problem(refused, 422, "invalid")


@pytest.mark.parametrize(
    ("lines", "seconds"),
    [
        ([], None), ([""], None), (["wait"], 10), (["WAIT=3"], 3), (["wait=600"], 60), (["wait = 7"], 7),
        (['wait="5"'], 5), (["respond-async, wait=4"], 4), (["respond-async", "wait=4; x=1"], 4),
        (["wait=2, wait=9"], 2),
        (["wait=-1"], None), (["wait=1.5"], None), (["wait=\u0663"], None), (["waits"], None),
        (["wait=" + "9" * 40], None),
        (["x=wait"], None),
    ],
)  # fmt: skip
def test_the_wait_preference_is_read_as_rfc_7240_says(lines: list[str], seconds: int | None) -> None:
    """`wait` is understood as RFC 7240 has it, alone or among others; the first one counts, and 60 is the most."""
    headers = [(b"prefer", line.encode("utf-8")) for line in lines]
    assert preferred({"type": "http", "headers": headers}) == seconds


@pytest.mark.timeout(120)
@pytest.mark.parametrize("blanks", [" ", "\t "])
def test_preferences_take_no_time(blanks: str) -> None:
    """Whatever a header has between its words, it is read in one go: a million blanks are not tried in every split."""
    for text in ("wait" + blanks * 500_000 + "x", blanks * 500_000 + "x", "wait=" + blanks * 500_000 + ";" + "x" * 9):
        assert not preferred({"type": "http", "headers": [(b"prefer", text.encode())]})


def test_a_signer_that_refuses_is_shown_in_readyz_and_metrics(
    server_url: str, template_database: Template, tmp_path: Path
) -> None:
    """Without the file of what was signed the server takes no events and is not ready; it says why, also in metrics."""
    path = tmp_path / "last"
    with ledger_copy(server_url, template_database) as url:
        key = key_for(url)
        tokens = make_tokens(url)
        fill(url, 5)
        size = sign(url, key, path)
        path.unlink()
        with served(url, tokens=tokens, signing=SigningConfig(key, path, every_s=0.05)) as api:
            response = eventually("a refusal", lambda: (r := api.get("/readyz", None)).status_code == 503 and r)
            assert any("docs/operate/tlog.md" in reason for reason in response.json()["reasons"])
            state = response.json()["checkpoint"]
            assert (state["size"], state["signer"]) == (size, "refused")
            problem(api.ask(), 503, "log-refused")
            assert api.get("/checkpoint", None).status_code == 200
            assert metrics(api)["advice_ledger_signing_refused"] == 1


@pytest.mark.tampers
def test_the_progress_of_verification_is_shown_in_readyz(database_url: str) -> None:
    """How far the chain was checked, and how long ago; then what does not hold: 503, with its name and place."""
    fill(database_url, 5)
    with served(
        database_url, verification=VerificationConfig(rate=1_000_000, rest_s=0.05, rests=0, settle_s=3600)
    ) as api:

        def checked() -> dict[str, Any]:
            found: dict[str, Any] = api.get("/readyz", None).json()["verification"]
            return found

        eventually("a round", lambda: checked()["passed_age_s"] is not None)
        fill(database_url, 2)
        head = api.head()[0]
        found = eventually("what is new", lambda: (state := checked())["position"] == head and state)
        assert (found["state"], found["finding"], found["error"]) == ("leads", None, None)
        assert 0 <= found["age_s"] < 30
        told = metrics(api)
        assert (told["advice_ledger_verification_position"], told["advice_ledger_verification_failed"]) == (head, 0)
        assert 0 <= told["advice_ledger_verification_age_seconds"] < 30
        with connect(database_url) as conn:
            conn.execute("ALTER TABLE events DISABLE TRIGGER ALL")
            conn.execute("UPDATE events SET body = replace(body, 'no-answer', 'no-ANSWER') WHERE position = 3")
        answer = eventually("a finding", lambda: (r := api.get("/readyz", None)).status_code == 503 and r).json()
        assert (answer["verification"]["finding"], answer["verification"]["first_bad_position"]) == ("edited", 3)
        assert answer["verification"]["position"] < 3
        assert any("at position 3: edited" in reason for reason in answer["reasons"])
        assert metrics(api)["advice_ledger_verification_failed"] == 1


def test_what_is_not_known_is_no_number(fresh_api: Api) -> None:
    """Without a checkpoint, a witness or a verification there are no ages and sizes of any, rather than zeros."""
    told = metrics(fresh_api)
    for name in ("checkpoint_age_seconds", "checkpoint_witnessed_size", "verification_position"):
        assert isnan(told[f"advice_ledger_{name}"]), name
    found = fresh_api.get("/readyz", None).json()
    assert (found["checkpoint"]["witnessed"], found["checkpoint"]["timestamps"]) == (None, [])
    assert (found["verification"]["state"], found["verification"]["age_s"]) == ("none", None)


@pytest.mark.tampers
def test_a_damaged_log_is_not_served(database_url: str, tmp_path: Path) -> None:
    """If a stored tile is not the one that was signed, no proof is made from it: a 503 that names it, each time."""
    fill(database_url, 300)
    sign(database_url, key_for(database_url), tmp_path / "last")
    with connect(database_url) as conn:
        conn.execute("ALTER TABLE tiles DISABLE TRIGGER ALL")
        conn.execute("UPDATE tiles SET hashes = set_byte(hashes, 40, 1 + get_byte(hashes, 40) % 200)")
    with served(database_url) as api:
        for path in ("1", "1.tlog-proof", "1", "256"):
            problem(api.call("GET", f"/proofs/inclusion/{path}", "auditor"), 503, "transparency-log-damaged")
        assert api.call("GET", "/proofs/inclusion/300", "auditor").status_code == 200
        assert api.call("GET", "/checkpoint", None).status_code == 200


@pytest.mark.tampers
def test_tiles_that_were_read_come_from_memory_until_the_log_is_rolled_back(database_url: str, tmp_path: Path) -> None:
    """A tile is read from the database once; if the database is an older copy, no tile of the newer one is served."""
    key, paths = key_for(database_url), ["/tile/0/001", "/tile/entries/001"]
    for _ in range(2):
        fill(database_url, 300)
        sign(database_url, key, tmp_path / "last")
    with served(database_url) as api, connect(database_url) as conn:
        assert api.call("GET", "/checkpoint", None).status_code == 200
        contents = [api.call("GET", path, None).content for path in paths]
        conn.execute("ALTER TABLE tiles DISABLE TRIGGER ALL")
        conn.execute("UPDATE tiles SET hashes = set_byte(hashes, 40, 1 + get_byte(hashes, 40) % 200)")
        assert [api.call("GET", path, None).content for path in paths] == contents
        assert not contents[0].startswith(api.call("GET", "/tile/0/001.p/9", None).content)
        conn.execute("ALTER TABLE checkpoints DISABLE TRIGGER ALL")
        conn.execute("DELETE FROM checkpoints WHERE size > 300")
        assert api.call("GET", "/checkpoint", None).status_code == 200
        assert [api.call("GET", path, None).status_code for path in paths] == [404, 404]
