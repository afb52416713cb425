"""Bundles that differ from the selection that their manifest names; for tests/bundle_vectors.py.

Each event is in the transparency log. The bundle is of another client, of no client or of fewer events than its
manifest says, or the log signed what no log should sign.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace

from ledger.proof.bundle import manifest
from ledger.proof.bundle.selection import Selection
from ledger.proof.findings import Kind
from ledger.proof.format.events import EventRow
from ledger.tlog.signing_keys import SigningKey
from tests.bundle_vectors_names import name_vectors
from tests.ledger.proof.bundle.bundles import Case, make_bundle
from tests.ledger.proof.chains import START_US, body_of, chain_of, rehashed

SIZE = 3
# In the chain of tests/ledger/proof/chains.py, client-N has one stream, request-N.
AGENT = 9
LEAP_AT, LEAP_US = "2020-02-29T23:59:59.999999Z", 1_583_020_799_999_999
SECOND, NOBODY = Selection("client", client="client-2"), Selection("client")

Chosen = Callable[[EventRow], bool]
# Name, bundle, and kind and position of the first finding.
Made = tuple[str, bytes, Kind | None, int]


def selection_vectors(key: SigningKey) -> Iterator[Made]:
    """Those that docs/vectors has, signed with this key."""
    yield from _clients(key)
    yield from name_vectors(key)
    yield from _searches(key)
    yield from _ranges(key)
    yield from _signed(key)


def further(key: SigningKey) -> Iterator[Made]:
    """Variations of these, for our tests alone."""
    one, mismatch = Selection("request", request=1), Kind.CLIENT_MISMATCH
    both = make_bundle(SIZE, SECOND, key, of(2, 3), events=erased(3))
    yield "a client and another one, whose id is erased", both, mismatch, 3
    yield "a request and another one", make_bundle(SIZE, one, key, of(1, 2)), mismatch, 2
    yield "a request without events", make_bundle(SIZE, one, key, nothing), Kind.DELETED, 0
    covered = left_out(make_bundle(SIZE, SECOND, key, of(2)), 5, 3)
    yield "a client, and left out what the checkpoint covers", covered, Kind.SUMMARY_MISMATCH, 0
    whole = make_bundle(SIZE, Selection("positions", first_position=1, last_position=SIZE), key)
    yield "a range that begins before the first position", _unread(whole, 0, SIZE), Kind.DAMAGED, 0


def of(*numbers: int) -> Chosen:
    """The streams of these clients."""
    return lambda event: event.stream in {f"{'agent' if number == AGENT else 'request'}-{number}" for number in numbers}


def hidden(name: str) -> bool:
    """The id is withheld."""
    return name == "client_id"


def nothing(_: EventRow) -> bool:
    """No event at all."""
    return False


def erased(*numbers: int) -> list[EventRow]:
    """The chain without the sealed values of these clients."""
    among = of(*numbers)
    return [event._replace(salts=None, fields=None) if among(event) else event for event in chain_of(SIZE)]


def _clients(key: SigningKey) -> Iterator[Made]:
    mismatch = Kind.CLIENT_MISMATCH
    yield "a client", make_bundle(SIZE, SECOND, key, of(2)), None, 0
    yield "a client, its id withheld", make_bundle(SIZE, NOBODY, key, of(2), hidden), None, 0
    yield "a client, the id of another one withheld", make_bundle(SIZE, SECOND, key, of(3), hidden), mismatch, 3
    yield "a client and another one", make_bundle(SIZE, SECOND, key, of(2, 3)), mismatch, 3
    yield "a client that is not named, and another one", make_bundle(SIZE, NOBODY, key, of(2, 3)), mismatch, 3
    yield from _windows(key)
    yield "a client without events", make_bundle(SIZE, SECOND, key, nothing), Kind.DELETED, 0


def _windows(key: SigningKey) -> Iterator[Made]:
    """Bundles of client-2, whose one event was recorded 1,000 µs after the first, within a window of time."""

    def made(chosen: Chosen, start: int, end: int, client: str | None = "client-2") -> bytes:
        window = Selection("client", client=client, from_us=START_US + start, until_us=START_US + end)
        return make_bundle(SIZE, window, key, chosen, events=_with_agent())

    yield "a client within a window, and an agent", made(of(2, AGENT), 1000, 1001), None, 0
    yield "a client within a window, which is not named", made(of(2), 1000, 1001, None), None, 0
    yield "a client within a window in which nothing was recorded", made(of(2), 1001, 9000), Kind.DELETED, 0
    yield "a client within a window, and only an agent in it", made(of(AGENT), 0, 9000), Kind.DELETED, 0
    yield "a client until before the time of an event", made(of(2), 0, 1000), Kind.INSERTED, 2
    yield "a client within a window, and another one", made(of(1, 2), 0, 9000), Kind.CLIENT_MISMATCH, 1
    yield from _imported_windows(key)
    yield "a window that ends as it begins", _rewritten(made(of(2), 0, 2000), until_us=START_US), Kind.DAMAGED, 0


def _imported_windows(key: SigningKey) -> Iterator[Made]:
    """Bundles of client-2, whose one event was imported, and took place in the last microsecond of a leap day."""

    def made(start: int, end: int) -> bytes:
        window = Selection("client", client="client-2", from_us=start, until_us=end)
        return make_bundle(SIZE, window, key, of(2), events=_with_imported())

    sound = made(LEAP_US, LEAP_US + 1)
    yield "a client within a window in which an imported event took place", sound, None, 0
    yield "a client before whose window an imported event took place", made(LEAP_US + 1, LEAP_US + 2), Kind.DELETED, 0
    yield "a client until before an imported event took place", made(LEAP_US - 1, LEAP_US), Kind.INSERTED, 2
    recorded = made(START_US, START_US + 9000)
    yield "a client within a window in which an imported event was recorded", recorded, Kind.DELETED, 0
    case = Case.read(sound)
    case.files[manifest.MANIFEST] = replace(case.manifest, within=replace(case.manifest.within, count=2)).encode()
    counted = case.write(careful=False)
    yield "a client within a window, and more events counted in it", counted, Kind.SUMMARY_MISMATCH, 0


def _with_imported() -> list[EventRow]:
    """The chain, whose second event was imported."""
    first, second, third = chain_of(SIZE)
    backfill = {
        "actor": {"id": "zoe", "kind": "human", "role": "advisor"},
        "occurred_at": LEAP_AT,
        "source": {"file": "old.ndjson", "id": "1", "line": 1, "name": "old"},
    }
    sealed = json.loads(second.body)["sealed"]
    second = rehashed(second._replace(body=body_of(2, second.stream, sealed=sealed, backfill=backfill)))
    return [first, second, rehashed(third._replace(prev_hash=second.hash))]


def _with_agent() -> list[EventRow]:
    """The chain, whose last event is of an agent and so of no client."""
    *first, last = chain_of(SIZE)
    stream = f"agent-{AGENT}"
    body = body_of(SIZE, stream, type="agent.registered")
    return [*first, rehashed(last._replace(stream=stream, version=1, body=body, salts=None, fields=None))]


def _searches(key: SigningKey) -> Iterator[Made]:
    """Bundles of what a search found, up to position 2."""
    search = Selection("search", last_position=2, filters=(("model", "m"), ("type", "model-call.started")))

    def made(chosen: Chosen) -> bytes:
        return make_bundle(SIZE, search, key, chosen, hidden)

    yield "streams that a search found, of two clients", made(of(1, 2)), None, 0
    yield "streams that a search found, and one after its end", made(of(2, 3)), Kind.INSERTED, 3
    yield "a search that found nothing", made(nothing), Kind.DELETED, 0
    for name, filters in ("without a filter", ()), ("by another member", (("client_id", "client-1"),)):
        yield f"a search {name}", _rewritten(made(of(1)), filters=filters), Kind.DAMAGED, 0


def _ranges(key: SigningKey) -> Iterator[Made]:
    def made(first: int, last: int, excluded: int, excluded_from: int) -> bytes:
        selection = Selection("positions", first_position=first, last_position=last)
        data = make_bundle(SIZE, selection, key, lambda event: first <= event.position <= last)
        return left_out(data, excluded, excluded_from)

    yield "a range that the checkpoint covers in part", made(3, 9, 6, 4), None, 0
    yield "a range beyond the checkpoint, nothing left out", made(3, 1000, 0, 0), Kind.TRUNCATED, 4
    yield "a range of which the checkpoint covers nothing", made(4, 30, 27, 4), Kind.TRUNCATED, 4
    yield "a range, and left out what the checkpoint covers", made(3, SIZE, 1, 3), Kind.SUMMARY_MISMATCH, 0
    yield "a range that ends before it begins", _unread(made(3, SIZE, 0, 0), 3, 1), Kind.DAMAGED, 0


def left_out(data: bytes, excluded: int, excluded_from: int) -> bytes:
    """The same bundle, whose manifest excludes events from a position on."""
    case = Case.read(data)
    case.files[manifest.MANIFEST] = replace(case.manifest, excluded=excluded, excluded_from=excluded_from).encode()
    return case.write()


def _unread(data: bytes, first: int, last: int) -> bytes:
    """The same, of a range that no reader takes."""
    return _rewritten(data, first_position=first, last_position=last)


def _rewritten(data: bytes, **members: int | tuple[tuple[str, str], ...]) -> bytes:
    """The same bundle with other members in its selection."""
    case = Case.read(data)
    manifest_ = case.manifest
    selection = replace(manifest_.selection, **members)  # type: ignore[arg-type]
    case.files[manifest.MANIFEST] = replace(manifest_, selection=selection).encode()
    return case.write(careful=False)


def _signed(key: SigningKey) -> Iterator[Made]:
    """A log that recorded one event otherwise than it must."""
    everything = Selection("positions", first_position=1, last_position=2)
    for name, at, change, wrong in SIGNED:
        events: list[EventRow] = []
        for event in chain_of(2):
            here = event._replace(prev_hash=events[-1].hash if events else event.prev_hash)
            events.append(rehashed(change(here) if event.position == at else here))
        yield f"signed by the log: {name}", make_bundle(2, everything, key, events=events), wrong, at


SIGNED: list[tuple[str, int, Callable[[EventRow], EventRow], Kind]] = [
    ("another beginning", 1, lambda event: event._replace(prev_hash=bytes(32)), Kind.GENESIS_MISMATCH),
    ("an event that names another one", 2, lambda event: event._replace(prev_hash=bytes(32)), Kind.UNLINKED),
    ("an event from before", 2, lambda event: event._replace(recorded_at_us=5), Kind.TIME_DECREASING),
    ("a body with white space", 2, lambda event: event._replace(body=event.body + b" "), Kind.MALFORMED),
]
