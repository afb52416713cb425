"""Mixed load on a running server: people, reports, readers of the transparency log, and callers that go away."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

WEIGHTS = {"weights": {"cash": "0.6000", "bonds": "0.4000"}}
DECISIONS: tuple[dict[str, Any], ...] = (
    {"outcome": "approve"},
    {"outcome": "edit", "reason_code": "house-view", "rationale": "safer", "replacement": WEIGHTS},
    {"outcome": "reject", "reason_code": "house-view", "rationale": "no"},
    {"outcome": "respond", "response": "more bonds, please"},
)
REPORTS = ("override-rates", "override-reasons", "decision-times", "rubber-stamps")
LISTS = ("/portfolio/requests", "/recommendations", "/decisions", "/model-calls")
# Seconds between two acts of each kind of caller.
PAUSE_S = 0.04
TIMEOUT_S = 60.0


@dataclass
class MixedLoad:
    """`act` runs until the block of `running()` ends. `answers` counts the statuses by kind of caller."""

    base: str
    tokens: Mapping[str, str]
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    _done: threading.Event = field(default_factory=threading.Event)
    _draw: random.Random = field(default_factory=lambda: random.Random(9))

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Let all kinds of callers act while the block runs."""
        people = (self._ask, self._decide, self._report, self._list, self._as_of)
        kinds = (*people, self._prove, self._operate, self._leave)
        threads = [threading.Thread(target=self._again, args=(kind,), daemon=True) for kind in kinds]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._done.set()
            for thread in threads:
                thread.join(TIMEOUT_S)

    def _again(self, kind: Callable[[httpx.Client], None]) -> None:
        with httpx.Client(base_url=self.base, timeout=TIMEOUT_S) as client:
            while not self._done.wait(PAUSE_S):
                try:
                    kind(client)
                except httpx.TransportError as error:
                    self.errors.append(f"{kind.__name__}: {type(error).__name__}")

    def _call(self, client: httpx.Client, method: str, path: str, role: str, **how: Any) -> Any:
        response = client.request(method, path, headers={"Authorization": f"Bearer {self.tokens[role]}"}, **how)
        self.answers[path.split("/")[1], response.status_code] += 1
        return response.json() if response.is_success and "json" in response.headers.get("content-type", "") else None

    def _ask(self, client: httpx.Client) -> None:
        client_id = f"client-{self._draw.randrange(1000)}"
        body = {"client_id": client_id, "risk_profile": "balanced", "amount_usd": "250000.00", "notes": "n" * 500}
        self._call(client, "POST", "/portfolio/recommendations", "advisor", json=body)

    def _decide(self, client: httpx.Client) -> None:
        listed = self._call(client, "GET", "/recommendations", "advisor", params={"state": "open", "limit": 5})
        for row in (listed or {}).get("items", ()):
            about = f"/recommendations/{row['id']}"
            self._call(client, "POST", f"{about}/openings", "advisor", json={"digest": row["digest"]})
            decision = {"digest": row["digest"], **self._draw.choice(DECISIONS)}
            made = self._call(client, "POST", f"{about}/decisions", "advisor", json=decision)
            if made is not None and made.get("state") == "waiting":
                confirmation = {"digest": made["digest"], "outcome": "approve"}
                path = f"/decisions/{made['decision_id']}/confirmations"
                self._call(client, "POST", path, "compliance", json=confirmation)

    def _report(self, client: httpx.Client) -> None:
        self._call(client, "GET", f"/reports/{self._draw.choice(REPORTS)}", "compliance")

    def _list(self, client: httpx.Client) -> None:
        page = self._call(client, "GET", self._draw.choice(LISTS), "compliance", params={"limit": 50})
        for row in (page or {}).get("items", ())[:1]:
            self._call(client, "GET", f"/portfolio/requests/{row.get('request_id') or row['id']}/context", "agent")

    def _as_of(self, client: httpx.Client) -> None:
        head = self._call(client, "GET", "/readyz", "auditor")
        if head is not None:
            query = {"client_id": f"client-{self._draw.randrange(1000)}", "as_of": max(1, head["position"] // 2)}
            self._call(client, "GET", "/recommendations", "compliance", params=query)

    def _prove(self, client: httpx.Client) -> None:
        note = client.get("/checkpoint")
        self.answers["checkpoint", note.status_code] += 1
        if note.is_success:
            position = self._draw.randint(1, int(note.text.split("\n")[1]))
            self._call(client, "GET", f"/proofs/inclusion/{position}", "auditor")

    def _operate(self, client: httpx.Client) -> None:
        for path in ("/metrics", "/healthz"):
            self._call(client, "GET", path, "auditor")

    def _leave(self, _client: httpx.Client) -> None:
        """Send half a request, or do not wait for the answer."""
        host, port = self.base.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=TIMEOUT_S) as sock:
            token = self.tokens["compliance"]
            request = f"GET /decisions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
            sock.sendall(request[: self._draw.choice((20, len(request)))])
