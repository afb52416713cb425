"""Callers that send one command after the other, each until it is acknowledged, also while the server fails."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import httpx

from tests.api.served import check_ledger
from tests.support import connect, eventually

PAUSE_S = 0.02


@dataclass
class Callers:
    """`base` is the address of the server, which may change. `acknowledged`: ids of requests by Idempotency-Key."""

    base: str
    token: str
    acknowledged: dict[str, int] = field(default_factory=dict)
    statuses: set[int] = field(default_factory=set)
    broken: int = 0
    refused: int = 0
    _pause: threading.Event = field(default_factory=threading.Event)  # never set: a pause between attempts

    @contextlib.contextmanager
    def calling(self, threads: int = 6) -> Iterator[None]:
        """Send commands while the block runs, then until each caller's last command is acknowledged."""
        done = threading.Event()
        running = [threading.Thread(target=self._call, args=(f"caller-{n}", done)) for n in range(threads)]
        for thread in running:
            thread.start()
        try:
            yield
        finally:
            done.set()
            for thread in running:
                thread.join(120)
                assert not thread.is_alive()

    def _call(self, name: str, done: threading.Event) -> None:
        number = 0
        with httpx.Client(timeout=60) as client:
            while not done.is_set():
                number += 1
                self._command(client, f"{name}-{number}")

    def _command(self, client: httpx.Client, key: str) -> None:
        headers = {"Authorization": f"Bearer {self.token}", "Idempotency-Key": key}
        body = {"client_id": key, "risk_profile": "balanced", "amount_usd": 1, "notes": "under load"}
        while key not in self.acknowledged:
            try:
                response = client.post(f"{self.base}/portfolio/recommendations", json=body, headers=headers)
            except httpx.TransportError:
                self.broken += 1
                self._pause.wait(PAUSE_S)
                continue
            self.statuses.add(response.status_code)
            if response.status_code == 202:
                self.acknowledged[key] = response.json()["request_id"]
            else:
                self.refused += 1

    def go_on(self, count: int = 20) -> None:
        """Wait until `count` more commands are acknowledged."""
        before = len(self.acknowledged)
        eventually("more commands are acknowledged", lambda: len(self.acknowledged) >= before + count)

    def are_refused(self, count: int = 3) -> None:
        """Wait until `count` more commands are answered by something else than 202."""
        before = self.refused
        eventually("more commands are refused", lambda: self.refused >= before + count)

    def check(self, url: str, at_least: int = 20) -> None:
        """Assert that each command is in the ledger once, whole, under the id in its answer, and nothing else is."""
        assert len(self.acknowledged) >= at_least
        events = [event for event in check_ledger(url) if event.type == "portfolio.requested"]
        with connect(url) as conn:
            clients = dict(conn.execute("SELECT stream, client_id FROM stream_clients").fetchall())
            rows = dict(conn.execute("SELECT client_id, id FROM portfolio_requests").fetchall())
        found = {clients[event.stream]: int(event.stream.removeprefix("request-")) for event in events}
        assert found == self.acknowledged == rows
        assert len(events) == len(found)
        assert all(event.fields["notes"] == "under load" for event in events)
