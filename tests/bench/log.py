"""Row 9: the log over a whole ledger: tree, proofs over HTTP, a bundle checked. Row 10: appends while it is sealed."""

from __future__ import annotations

import gc
import http.client
import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from time import monotonic, perf_counter, sleep

import psycopg
import uvloop

from api import tokens
from ledger import store
from ledger.database import conninfo
from ledger.envelope import encode
from ledger.export import Disclosure, export
from ledger.log.sealer import Sealer, edge_after
from ledger.log.state import StateFile
from ledger.log.thread import SealerThread, Signing
from ledger.proof.audit import audit_bundle
from ledger.proof.bundle import Selection
from ledger.proof.merkle import leaf_hashes
from ledger.proof.note import SigningKey
from ledger.proof.program import GC_THRESHOLD
from ledger.proof.tiles import grow
from ledger.proof.trust import Trust
from tests.bench.bench import Bench, connect, in_child
from tests.bench.figures import Figure, Target, beside, quantile
from tests.bench.servers import HOST, running
from tests.bench.workload import BATCH, noted

TREE = Target("at least", 200_000, of="figure")
PROOF = Target("at most", 5, of="figure")
BUNDLE = Target("at least", 100_000, of="figure")
SEALED = Target("at least", 0.95)

STEP = 65_536
PROOFS = 2_000
MOST_APPENDED = 100_000
CATCH_UP_S = 60.0


def measure(bench: Bench, url: str) -> list[Figure]:
    """The ledger at `url`, which was not sealed before."""
    bench.say("row 9: tree")
    with connect(url) as conn:
        row = conn.execute("SELECT origin, position FROM head").fetchone()
    assert row is not None
    origin, events = str(row[0]), int(row[1])
    with tempfile.TemporaryDirectory(prefix="advice-ledger-bench-") as folder:
        key = SigningKey.generate(origin)
        built = in_child(build, events)
        sealed = in_child(seal, url, key.reveal(), Path(folder) / "last")
        bench.say("row 9: inclusion proofs over HTTP")
        latencies = proofs(url, min(PROOFS, max(20, events // 10)), events)
        bench.say("row 9: a bundle of all events")
        path = Path(folder) / "case.zip"
        with path.open("wb") as file, connect(url, "verifier") as conn:
            whole = Selection("positions", "all", first_position=1, last_position=events)
            export(conn, whole, Disclosure(everything=True), file, keys=[key.verifier.text])
        checked = in_child(check, path, key.verifier.text)
        size = path.stat().st_size
    p50, p99 = quantile(latencies, 0.5), quantile(latencies, 0.99)
    detail = {"events": events, "requests": len(latencies), "p50_ms": p50, "bundle_bytes": size}
    return [
        Figure(9, "tree and tiles of event hashes, in memory", built, "events/s", target=TREE, detail=detail),
        Figure(9, "sealing a chain that never was, to its checkpoints", sealed, "events/s", target=TREE, detail=detail),
        Figure(9, "inclusion proof of a random event over HTTP, p99", p99, "ms", target=PROOF, detail=detail),
        Figure(9, "advice-ledger-verify of all events in a bundle", checked, "events/s", target=BUNDLE, detail=detail),
    ]


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


def seal(url: str, key: str, path: Path) -> float:
    """Events a second through the sealer: read, hashed, stored as tiles, signed."""
    signing = SigningKey.parse(key)
    file = StateFile(path, signing.verifier.name, [signing.verifier])
    size = 0
    with connect(url, "sealer") as conn, file.held():
        sealer = Sealer(conn, signing, file)
        started = perf_counter()
        while (signed := sealer.step(STEP)) is not None:
            size = signed.size
        return size / (perf_counter() - started)


def proofs(url: str, count: int, events: int) -> list[float]:
    """Milliseconds of each request, one after the other on one connection; the first are not counted."""
    with connect(url, "owner") as conn:
        token = tokens.create(conn, "bench", "auditor")
    drawn = random.Random(8)
    took = []
    with running("ledger", url) as (port, _):
        client = http.client.HTTPConnection(HOST, port, timeout=30)
        for _ in range(count + count // 10):
            started = perf_counter()
            path = f"/proofs/inclusion/{drawn.randint(1, events)}"
            client.request("GET", path, headers={"Authorization": f"Bearer {token}"})
            response = client.getresponse()
            body = response.read()
            took.append((perf_counter() - started) * 1000)
            assert response.status == 200, body
        client.close()
    return took[count // 10 :]


def check(path: Path, key: str) -> float:
    """Events a second of the auditor's program, as it sets itself up, in a process of its own."""
    from ledger.proof.note import VerifierKey

    gc.set_threshold(GC_THRESHOLD)
    trusted = Trust(log=(VerifierKey.parse(key),))
    with path.open("rb") as file:
        started = perf_counter()
        audit = audit_bundle(file, trusted)
        took = perf_counter() - started
    assert audit.ok, audit.findings
    return audit.seen.count / took


def measure_appends(bench: Bench) -> list[Figure]:
    """The same appends in turn, with a sealer at work in the same process and without."""
    bench.say("row 10: appends while the log is sealed")
    return [uvloop.run(_appends(bench))]


async def _appends(bench: Bench) -> Figure:
    options = bench.options
    each = max(1, min(options.events, MOST_APPENDED) // (2 * options.rounds))
    sealed: list[float] = []
    plain: list[float] = []
    done = 0
    with bench.ledger() as url, tempfile.TemporaryDirectory(prefix="advice-ledger-bench-") as folder:
        with connect(url) as conn:
            row = conn.execute("SELECT origin FROM head").fetchone()
        assert row is not None
        signing = Signing(SigningKey.generate(row[0]), Path(folder) / "last")
        async with await psycopg.AsyncConnection.connect(conninfo(url, "writer"), autocommit=True) as writer:
            for number in range(-1, options.rounds):
                # Each goes first in turn.
                for with_sealer in (True, False) if number % 2 else (False, True):
                    if with_sealer:
                        with sealing(url, signing):
                            rate = await _append(writer, done, each)
                    else:
                        rate = await _append(writer, done, each)
                    done += each
                    if number >= 0:
                        (sealed if with_sealer else plain).append(rate)
    return beside(
        10, "bulk append while sealed each second", "events/s", sealed, "the same without a sealer", plain, SEALED
    )


async def _append(writer: store.AsyncConnection, first: int, count: int) -> float:
    lines = [encode(noted(number)) for number in range(first, first + count)]
    started = perf_counter()
    for at in range(0, count, BATCH):
        await store.append(writer, lines[at : at + BATCH])
    return count / (perf_counter() - started)


@contextmanager
def sealing(url: str, signing: Signing) -> Iterator[None]:
    """A sealer that has caught up and goes on sealing."""
    thread = SealerThread(url, signing)
    thread.start()
    try:
        deadline = monotonic() + CATCH_UP_S
        with connect(url) as conn:
            query = "SELECT position - coalesce((SELECT max(size) FROM checkpoints), 0) FROM head"
            while thread.status.state != "leads" or conn.execute(query).fetchone() != (0,):
                assert monotonic() < deadline, thread.status
                sleep(0.01)
        yield
    finally:
        thread.stop()
