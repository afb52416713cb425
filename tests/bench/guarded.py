"""Row 14: what it costs that reads of clients' data are on record, and that signatures of checkpoints are verified."""

from __future__ import annotations

import http.client
from hashlib import sha256
from time import perf_counter, process_time

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ledger.proof.findings import BUNDLE, Findings
from ledger.proof.tlog.checkpoint import Checkpoint
from ledger.proof.tlog.trust import Trust, judge
from ledger.tlog.signing_keys import SigningKey, sign_checkpoint
from projections.rebuild import rebuild_outdated
from tests.bench import workload
from tests.bench.bench import Bench, connect
from tests.bench.figures import Figure, Target, beside, quantile
from tests.bench.servers import HOST, running
from tests.subjects import subjects

EVENTS = 2000
MOST_READS = 500
MORE = Target("at most", 5, of="figure")
CHECKPOINTS = 200
ACCESSES = "SELECT count(*) FROM events WHERE type = 'access.recorded'"


def measure(bench: Bench) -> list[Figure]:
    """Reads of one request that are recorded, beside those that the first one's record covers; and notes, in memory."""
    bench.say("row 14: reads on record")
    with bench.ledger() as url:
        workload.fill(bench, url, EVENTS)
        rebuild_outdated(url)
        recorded, covered = _reads(url, min(MOST_READS, max(20, bench.options.events // 100)))
    more = quantile(recorded, 0.99) - quantile(covered, 0.99)
    detail = {
        "reads": len(recorded),
        "recorded_ms": {share: quantile(recorded, share) for share in (0.5, 0.99)},
        "covered_ms": {share: quantile(covered, share) for share in (0.5, 0.99)},
    }
    bench.say("row 14: signatures of checkpoints")
    return [
        # Other work on the machine may make the covered ones the slower ones.
        Figure(14, "a detail read that is recorded, p99: more", max(more, 0.0), "ms", target=MORE, detail=detail),
        _signatures(bench.options.rounds),
    ]


def _reads(url: str, count: int) -> tuple[list[float], list[float]]:
    """Milliseconds of each read that is recorded, and of each that is not, as the same caller just read the same."""
    tokens = subjects(url, {"warm": "compliance", "reader": "compliance"})
    took: dict[str, list[float]] = {"warm": [], "recorded": [], "covered": []}
    with running("ledger", url) as (port, _):
        client = http.client.HTTPConnection(HOST, port, timeout=30)
        for request_id in range(1, count + 1):
            for kind, caller in (("warm", "warm"), ("recorded", "reader"), ("covered", "reader")):
                started = perf_counter()
                client.request(
                    "GET", f"/portfolio/requests/{request_id}", headers={"Authorization": f"Bearer {tokens[caller]}"}
                )
                response = client.getresponse()
                body = response.read()
                took[kind].append((perf_counter() - started) * 1000)
                assert response.status == 200, body
        client.close()
    with connect(url) as conn:
        [(accesses,)] = conn.execute(ACCESSES).fetchall()
    # Once a minute, the second read begins a new minute and is recorded too.
    assert accesses >= 2 * count, "each first read of a subject is on record"
    return took["recorded"], took["covered"]


def _signatures(rounds: int) -> Figure:
    """Microseconds of processor time for a stored checkpoint whose signature is verified, beside Ed25519 alone."""
    key = SigningKey.generate("bench.example/ledger")
    roots = [sha256(number.to_bytes(8)).digest() for number in range(CHECKPOINTS)]
    checkpoints = [Checkpoint(key.verifier.name, size, root) for size, root in enumerate(roots, 1)]
    notes = [sign_checkpoint(checkpoint, key) for checkpoint in checkpoints]
    texts = [(note.text.encode(), note.signatures[0].blob) for note in notes]
    encoded = [note.encode() for note in notes]
    trusted, public = Trust((key.verifier,)), Ed25519PublicKey.from_public_bytes(key.verifier.public)
    ours, theirs = [], []
    for _ in range(rounds):
        began_s = process_time()
        for note in encoded:
            findings = Findings(BUNDLE)
            signed = judge(note, trusted, (), findings)
            assert signed is not None
            assert signed.signer is not None
        between_s = process_time()
        for text, signature in texts:
            public.verify(signature, text)
        ended_s = process_time()
        ours.append((between_s - began_s) / CHECKPOINTS * 1e6)
        theirs.append((ended_s - between_s) / CHECKPOINTS * 1e6)
    return beside(14, "signature of a stored checkpoint, in verify", "µs of cpu", ours, "Ed25519 alone", theirs)
