"""Row 9: the log over a whole ledger: tree, proofs over HTTP, a bundle checked."""

from __future__ import annotations

import gc
import http.client
import random
import tempfile
from hashlib import sha256
from pathlib import Path
from time import perf_counter

from ledger.export.bundle import Disclosure, write_bundle
from ledger.proof.auditor.__main__ import GC_THRESHOLD
from ledger.proof.auditor.audit import audit_bundle
from ledger.proof.bundle.selection import Selection
from ledger.proof.tlog.merkle import leaf_hashes
from ledger.proof.tlog.tiles import WIDTH, Tile
from ledger.proof.tlog.trust import Trust
from ledger.tlog.sign.last_signed import LastSigned
from ledger.tlog.sign.signer import Signer
from ledger.tlog.sign.state_file import edge_after
from ledger.tlog.signing_keys import SigningKey
from ledger.tlog.tree import grow
from projections.rebuild import rebuild_outdated
from tests.bench.bench import Bench, connect, in_child
from tests.bench.figures import Figure, Target, quantile
from tests.bench.servers import HOST, running
from tests.subjects import subject

TREE = Target("at least", 200_000, of="figure")
PROOF = Target("at most", 1.3)
BUNDLE = Target("at least", 100_000, of="figure")

STEP = 65_536
PROOFS = 2_000
PATHS = ("/proofs/inclusion/{}", "/proofs/inclusion/{}.tlog-proof", "/checkpoint")
# A tile comes from memory, without the query that the checkpoint takes.
TILE = Target("at most", 1)


def measure(bench: Bench, url: str) -> list[Figure]:
    """The ledger at `url`, which was not signed before."""
    bench.say("row 9: tree")
    with connect(url) as conn:
        row = conn.execute("SELECT origin, position FROM head").fetchone()
    assert row is not None
    origin, events = str(row[0]), int(row[1])
    with tempfile.TemporaryDirectory(prefix="advice-ledger-bench-") as folder:
        key = SigningKey.generate(origin)
        built = in_child(build, events)
        signed = in_child(sign, url, key.reveal(), Path(folder) / "last")
        bench.say("row 9: inclusion proofs over HTTP")
        as_json, as_file, note, tile = proofs(url, min(PROOFS, max(20, events // 10)), events)
        bench.say("row 9: a bundle of all events")
        path = Path(folder) / "case.zip"
        with path.open("wb") as file, connect(url, "verifier") as conn:
            whole = Selection("positions", first_position=1, last_position=events)
            write_bundle(conn, whole, Disclosure(everything=True), file, keys=[key.verifier.text])
        checked = in_child(check, path, key.verifier.text)
        size = path.stat().st_size
    detail = {"events": events, "bundle_bytes": size}
    return [
        Figure(9, "tree and tiles of event hashes, in memory", built, "events/s", target=TREE, detail=detail),
        Figure(9, "signing a chain that never was, to its checkpoints", signed, "events/s", target=TREE, detail=detail),
        _latency("inclusion proof of a random event over HTTP, p99", as_json, note, PROOF),
        _latency("the same as a tlog-proof file, p99", as_file, note, PROOF),
        _latency("a tile that was read before, p99", tile, note, TILE),
        Figure(9, "advice-ledger-verify of all events in a bundle", checked, "events/s", target=BUNDLE, detail=detail),
    ]


def _latency(what: str, took: list[float], note: list[float], target: Target) -> Figure:
    """The slowest hundredth in milliseconds, beside that of the checkpoint, which takes one query."""
    detail = {"requests": len(took), "p50_ms": quantile(took, 0.5), "p90_ms": quantile(took, 0.9)}
    ours, theirs = quantile(took, 0.99), quantile(note, 0.99)
    return Figure(9, what, ours, "ms", "GET /checkpoint in the same run", theirs, ours / theirs, target, detail)


def build(events: int) -> float:
    """Events a second through leaf hashes, tree and tiles."""
    hashes = [sha256(number.to_bytes(8)).digest() for number in range(events)]
    edge: dict[int, bytes] = {}
    size = 0
    started = perf_counter()
    while size < events:
        grown = grow(size, edge, leaf_hashes(hashes[size : size + STEP]))
        size, edge = grown.size, edge_after(edge, grown)
    return events / (perf_counter() - started)


def sign(url: str, key: str, path: Path) -> float:
    """Events a second through the signer: read, hashed, stored as tiles, signed."""
    signing = SigningKey.parse(key)
    file = LastSigned(path, None, signing.verifier)
    size = 0
    with connect(url, "signer") as conn, file.held():
        signer = Signer(conn, signing, file)
        started = perf_counter()
        while (signed := signer.step(STEP)) is not None:
            size = signed.size
        return size / (perf_counter() - started)


def proofs(url: str, count: int, events: int) -> list[list[float]]:
    """Milliseconds of each request for PATHS and a tile, by turns on one connection; the first are not counted."""
    rebuild_outdated(url)  # the server looks callers up in a read model
    token = subject(url, "bench", "auditor")
    drawn = random.Random(8)
    paths = (*PATHS, "/" + Tile(0, 0, min(WIDTH, events)).path)
    took: list[list[float]] = [[] for _ in paths]
    with running("ledger", url) as (port, _):
        client = http.client.HTTPConnection(HOST, port, timeout=30)
        for _ in range(count + count // 10):
            for path, found in zip(paths, took, strict=True):
                started = perf_counter()
                client.request(
                    "GET", path.format(drawn.randint(1, events)), headers={"Authorization": f"Bearer {token}"}
                )
                response = client.getresponse()
                body = response.read()
                found.append((perf_counter() - started) * 1000)
                assert response.status == 200, body
        client.close()
    return [found[count // 10 :] for found in took]


def check(path: Path, key: str) -> float:
    """Events a second of the auditor's program, as it sets itself up, in a process of its own."""
    from ledger.proof.tlog.note import VerifierKey

    gc.set_threshold(GC_THRESHOLD)
    trusted = Trust(log=(VerifierKey.parse(key),))
    with path.open("rb") as file:
        started = perf_counter()
        audit = audit_bundle(file, trusted)
        took = perf_counter() - started
    assert audit.ok, audit.findings
    return audit.seen.count / took
