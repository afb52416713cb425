"""Row 11: append and verify beside other tamper-evident logs on PostgreSQL, `ledgerchain` and `firm-audit`.

They are measured if they are installed, which the project itself never needs: docs/explain/benchmarks.md says how.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from time import perf_counter
from typing import Any

import psycopg

from ledger.database import Connection
from ledger.store.events import append_now
from ledger.verify.database import verify_chain
from tests.bench.bench import Bench, connect
from tests.bench.figures import Figure, beside
from tests.bench.workload import AMOUNT, CLASSES, client_name, requested

MOST_EVENTS = 1000
OURS = "advice-ledger"


@dataclass
class Side:
    """One log: how to append an event of this number and commit it, and how to verify all events."""

    append: Callable[[int], object]
    verify: Callable[[], object]
    appended_per_s: list[float] = field(default_factory=list)
    verified_per_s: list[float] = field(default_factory=list)
    append_cpu_us: float = 0
    verify_cpu_us: float = 0


def measure(bench: Bench) -> list[Figure]:
    """Append single events and verify them, each side in turn, on databases of their own."""
    bench.say("row 11: append and verify beside other logs")
    each = max(10, min(MOST_EVENTS, bench.options.events // bench.options.rounds))
    with ExitStack() as stack:
        sides = {OURS: stack.enter_context(_ours(bench))}
        for name, (module, peer) in PEERS.items():
            if find_spec(module):
                sides[name] = stack.enter_context(peer(bench))
            else:
                bench.say(f"{name} is not installed")
        for number in range(bench.options.rounds):
            for side in sides.values():
                _append(bench, side, number * each, each)
        for side in sides.values():
            _verify(bench, side, bench.options.rounds * each)
    return [figure for name in PEERS for figure in _figures(sides[OURS], name, sides.get(name))]


def _append(bench: Bench, side: Side, first: int, count: int) -> None:
    with bench.meter() as meter:
        started = perf_counter()
        for number in range(first, first + count):
            side.append(number)
        side.appended_per_s.append(count / (perf_counter() - started))
    side.append_cpu_us += meter.us(count) / bench.options.rounds


def _verify(bench: Bench, side: Side, count: int) -> None:
    with bench.meter() as meter:
        for _ in range(bench.options.rounds):
            started = perf_counter()
            side.verify()
            side.verified_per_s.append(count / (perf_counter() - started))
    side.verify_cpu_us = meter.us(count * bench.options.rounds)


def _figures(ours: Side, name: str, peer: Side | None) -> list[Figure]:
    whats = ("append and commit of one event", "verify of these events")
    if peer is None:
        rates = (ours.appended_per_s, ours.verified_per_s)
        missing = f"{name} (not installed)"
        return [Figure(11, what, max(rate), "events/s", missing) for what, rate in zip(whats, rates, strict=True)]
    append_cpu, verify_cpu = (ours.append_cpu_us, peer.append_cpu_us), (ours.verify_cpu_us, peer.verify_cpu_us)
    append, verify = whats
    return [
        beside(11, append, "events/s", ours.appended_per_s, name, peer.appended_per_s, cpu_us=append_cpu),
        beside(11, verify, "events/s", ours.verified_per_s, name, peer.verified_per_s, cpu_us=verify_cpu),
    ]


@contextmanager
def _ours(bench: Bench) -> Iterator[Side]:
    with bench.ledger() as url, connect(url, "writer") as writer, connect(url, "verifier") as verifier:
        yield Side(
            lambda number: append_now(writer, requested(client_name(number % 100)), None),
            lambda: _assert(verify_chain(verifier).ok),
        )


@contextmanager
def _ledgerchain(bench: Bench) -> Iterator[Side]:
    ledgerchain, orm = import_module("ledgerchain"), import_module("sqlalchemy.orm")
    with _engine(bench) as engine:
        ledgerchain.create_all(engine)
        session = orm.sessionmaker(bind=engine)

        def append(number: int) -> None:
            with session() as open_session:
                ledgerchain.LedgerWriter.append(
                    open_session,
                    event_type="portfolio.requested",
                    payload=_payload(number),
                    actor={"kind": "human", "sub": "advisor-17", "roles": ["advisor"]},
                    tenant_id="bench",
                    subject_uri=f"/requests/{number}",
                )
                open_session.commit()

        def verify() -> None:
            with session() as open_session:
                _assert(ledgerchain.verify_chain(open_session).valid)

        yield Side(append, verify)


@contextmanager
def _firm(bench: Bench) -> Iterator[Side]:
    firm = import_module("firm.audit")
    with _engine(bench) as engine, firm.AuditLog(engine=engine, mac_key=secrets.token_hex(32)) as audit:

        def append(number: int) -> None:
            actor, subject = ("User", "advisor-17"), ("Request", number)
            audit.record("portfolio.requested", subject=subject, actor=actor, data=_payload(number))

        def verify() -> None:
            report = audit.verify(full=True)
            _assert(report.ok_count and not report.tampered_count)

        yield Side(append, verify)


# By the name of the distribution: its module, and the side.
PEERS = {"ledgerchain": ("ledgerchain", _ledgerchain), "firm-audit": ("firm", _firm)}


@contextmanager
def _engine(bench: Bench) -> Iterator[Any]:
    """An engine of SQLAlchemy on a database of its own, with one connection that stays open."""
    with bench.database() as url:

        def connected() -> Connection:
            return psycopg.connect(url)

        engine = import_module("sqlalchemy").create_engine("postgresql+psycopg://", creator=connected)
        try:
            yield engine
        finally:
            engine.dispose()


def _payload(number: int) -> dict[str, Any]:
    """The members of a request, as our event has them."""
    return {
        "client_id": client_name(number % 100),
        "risk_profile": "balanced",
        "amount_usd": str(AMOUNT),
        "horizon_years": 12,
        "constraints": {"exclude_asset_classes": CLASSES},
    }


def _assert(held: object) -> None:
    assert held
