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

from tests.soak.threads import ends_noted
from tests.support import eventually

SAFER = {
    "allocations": [
        {"asset_class": "cash", "weight": "0.6000", "amount_usd": "150000.00"},
        {"asset_class": "bonds", "weight": "0.4000", "amount_usd": "100000.00"},
    ]
}
DECISIONS: tuple[dict[str, Any], ...] = (
    {"outcome": "approve"},
    {"outcome": "edit", "reason_code": "house-view", "rationale": "safer", "replacement": SAFER},
    {"outcome": "reject", "reason_code": "house-view", "rationale": "no"},
    {"outcome": "respond", "response": "more bonds, please"},
)
REPORTS = ("override-rates", "override-reasons", "decision-times", "rubber-stamps")
LISTS = ("/portfolio/requests", "/recommendations", "/decisions", "/model-calls")
# Seconds between two acts of each kind of caller.
PAUSE_S = 0.04
TIMEOUT_S = 60.0
# The one status without success that is expected: another request of the client supersedes a recommendation.
CONFLICT = 409


@dataclass
class MixedLoad:
    """`answers` counts the statuses; `acts`, for each kind of caller, what it did with success.

    `errors`: answers that were not expected, callers that ended or hang, and kinds of callers that had no success.
    """

    base: str
    tokens: Mapping[str, str]
    answers: Counter[int] = field(default_factory=Counter)
    acts: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    # Those that a request was recorded for: a list about any other is 404.
    _clients: set[str] = field(default_factory=set)
    _done: threading.Event = field(default_factory=threading.Event)
    _draw: random.Random = field(default_factory=lambda: random.Random(9))

    def prepare(self) -> None:
        """Record the first command and wait until it is signed, so that each kind of caller finds something."""
        with httpx.Client(base_url=self.base, timeout=TIMEOUT_S) as client:
            self._ask(client)
            eventually("a checkpoint", lambda: client.get("/checkpoint").is_success)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Let all kinds of callers act while the block runs."""
        people = (self._ask, self._decide, self._report, self._list, self._as_of)
        kinds = {kind.__name__.strip("_"): kind for kind in (*people, self._prove, self._operate, self._leave)}
        threads = [threading.Thread(target=self._again, args=kind, name=kind[0], daemon=True) for kind in kinds.items()]
        with ends_noted(self.errors):
            for thread in threads:
                thread.start()
            try:
                yield
            finally:
                self._done.set()
                for thread in threads:
                    thread.join(TIMEOUT_S)
        self.errors += [f"{thread.name} hangs" for thread in threads if thread.is_alive()]
        self.errors += [f"{name} had no success" for name in kinds if not self.acts[name]]

    def _again(self, name: str, act: Callable[[httpx.Client], bool]) -> None:
        """Act again and again. An exception, such as a timeout, ends this thread and so the run."""
        with httpx.Client(base_url=self.base, timeout=TIMEOUT_S) as client:
            while not self._done.wait(PAUSE_S):
                self.acts[name] += act(client)

    def _call(self, client: httpx.Client, method: str, path: str, role: str, **how: Any) -> Any:
        """Return the answer as JSON or text, or None if the status is no success."""
        response = client.request(method, path, headers={"Authorization": f"Bearer {self.tokens[role]}"}, **how)
        self.answers[response.status_code] += 1
        if not response.is_success and response.status_code != CONFLICT:
            self.errors.append(f"{method} {path}: {response.status_code} {response.text[:200]}")
        if not response.is_success:
            return None
        return response.json() if "json" in response.headers.get("content-type", "") else response.text

    def _ask(self, client: httpx.Client) -> bool:
        client_id = f"client-{self._draw.randrange(1000)}"
        body = {"client_id": client_id, "risk_profile": "balanced", "amount_usd": "250000.00", "notes": "n" * 500}
        if self._call(client, "POST", "/portfolio/recommendations", "advisor", json=body) is None:
            return False
        self._clients.add(client_id)
        return True

    def _decide(self, client: httpx.Client) -> bool:
        decided = False
        listed = self._call(client, "GET", "/recommendations", "advisor", params={"state": "proposed", "limit": 5})
        for row in (listed or {}).get("items", ()):
            about = f"/recommendations/{row['id']}"
            self._call(client, "POST", f"{about}/openings", "advisor", json={"digest": row["digest"]})
            decision = {"digest": row["digest"], **self._draw.choice(DECISIONS)}
            made = self._call(client, "POST", f"{about}/decisions", "advisor", json=decision)
            decided = decided or made is not None
            if made is not None and made.get("state") == "waiting":
                confirmation = {"digest": made["digest"], "outcome": "approve"}
                path = f"/decisions/{made['decision_id']}/confirmations"
                self._call(client, "POST", path, "compliance", json=confirmation)
        return decided

    def _report(self, client: httpx.Client) -> bool:
        return self._call(client, "GET", f"/reports/{self._draw.choice(REPORTS)}", "compliance") is not None

    def _list(self, client: httpx.Client) -> bool:
        page = self._call(client, "GET", self._draw.choice(LISTS), "compliance", params={"limit": 50})
        for row in (page or {}).get("items", ())[:1]:
            self._call(client, "GET", f"/portfolio/requests/{row.get('request_id') or row['id']}/context", "agent")
        return page is not None

    def _as_of(self, client: httpx.Client) -> bool:
        head = self._call(client, "GET", "/readyz", "auditor")
        if head is None:
            return False
        query = {"client_id": self._draw.choice(sorted(self._clients)), "as_of": max(1, head["position"] // 2)}
        return self._call(client, "GET", "/recommendations", "compliance", params=query) is not None

    def _prove(self, client: httpx.Client) -> bool:
        note = self._call(client, "GET", "/checkpoint", "auditor")
        if note is None:
            return False
        position = self._draw.randint(1, int(note.split("\n")[1]))
        return self._call(client, "GET", f"/proofs/inclusion/{position}", "auditor") is not None

    def _operate(self, client: httpx.Client) -> bool:
        return all(self._call(client, "GET", path, "auditor") is not None for path in ("/metrics", "/healthz"))

    def _leave(self, _client: httpx.Client) -> bool:
        """Send half a request, or do not wait for the answer."""
        host, port = self.base.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=TIMEOUT_S) as sock:
            token = self.tokens["compliance"]
            request = f"GET /decisions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
            sock.sendall(request[: self._draw.choice((20, len(request)))])
        return True
