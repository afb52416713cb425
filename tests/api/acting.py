"""The commands of people and agents over HTTP, with digests read from the server."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import httpx

from ledger.domain.subject import ROLES
from tests.api.served import ANSWER, Api
from tests.subjects import subjects

WEIGHTS = {"weights": {"cash": "0.6000", "bonds": "0.4000"}}
EDIT: dict[str, Any] = {"outcome": "edit", "reason_code": "house-view", "rationale": "safer", "replacement": WEIGHTS}
REJECT: dict[str, Any] = {"outcome": "reject", "reason_code": "house-view", "rationale": "no"}
# A rejection that needs a confirmation by the packaged policy.
SENSITIVE: dict[str, Any] = {**REJECT, "reason_code": "other"}
RESPOND: dict[str, Any] = {"outcome": "respond", "response": "more bonds, please"}
CALL = {"provider_name": "local", "request_model": "model-a"}
LARGE = "1000000.00"


def second_tokens(api: Api) -> None:
    """Make a second token for each role, under the role's name and "2"."""
    api.tokens.update(subjects(api.url, {f"{role}2": role for role in ROLES}))


class Acting:
    """Commands of people and agents; each returns the response."""

    def __init__(self, api: Api) -> None:
        self.api = api

    def post(self, path: str, role: str | None, body: Any, key: str | None = None) -> httpx.Response:
        """Post a command."""
        headers = {} if key is None else {"Idempotency-Key": key}
        return self.api.call("POST", path, role, json=body, headers=headers)

    def proposed(self, **asked: Any) -> int:
        """Return the id of a new recommendation for a new request."""
        return self.api.answered(self.api.asked(**asked))

    def row(self, recommendation_id: int) -> dict[str, Any]:
        """Read a recommendation."""
        found: dict[str, Any] = self.api.get(f"/recommendations/{recommendation_id}").json()
        return found

    def digest(self, recommendation_id: int) -> str:
        """Read the digest of the current content."""
        return str(self.row(recommendation_id)["digest"])

    def open(self, at: int, role: str | None = "advisor", key: str | None = None, **how: Any) -> httpx.Response:
        """Open a recommendation."""
        return self.post(f"/recommendations/{at}/openings", role, {"digest": self.digest(at), **how}, key)

    def decide(self, at: int, role: str | None = "advisor", key: str | None = None, **how: Any) -> httpx.Response:
        """Approve a recommendation, or take the decision in `how`."""
        body = {"digest": self.digest(at), "outcome": "approve", **how}
        return self.post(f"/recommendations/{at}/decisions", role, body, key)

    def decided(self, at: int, role: str = "advisor", **how: Any) -> dict[str, Any]:
        """Take a decision that is accepted; return the response."""
        response = self.decide(at, role, **how)
        assert response.status_code == 201, response.text
        found: dict[str, Any] = response.json()
        return found

    def confirm(
        self, decided: dict[str, Any], role: str | None = "advisor2", key: str | None = None, **how: Any
    ) -> httpx.Response:
        """Confirm a decision with approval, or with the members in `how`."""
        body = {"digest": decided["digest"], "outcome": "approve", **how}
        return self.post(f"/decisions/{decided['decision_id']}/confirmations", role, body, key)

    def tell(self, at: int, role: str | None = "advisor", key: str | None = None, **how: Any) -> httpx.Response:
        """Record that the client was told."""
        body = {"digest": self.digest(at), "channel": "letter", **how}
        return self.post(f"/recommendations/{at}/communications", role, body, key)

    def start(self, request_id: int, role: str | None = "agent", key: str | None = None, **how: Any) -> httpx.Response:
        """Start a model call."""
        return self.post(f"/portfolio/requests/{request_id}/model-calls", role, {**CALL, **how}, key)

    def started(self, request_id: int, role: str = "agent", **how: Any) -> int:
        """Start a model call; return its id."""
        response = self.start(request_id, role, **how)
        assert response.status_code == 201, response.text
        return int(response.json()["model_call_id"])

    def claim(self, request_id: int, role: str = "agent", **how: Any) -> httpx.Response:
        """Claim a request for an agent."""
        return self.post(f"/assignments/{request_id}/claim", role, how)

    def fail(self, request_id: int, role: str = "agent", key: str | None = None, **how: Any) -> httpx.Response:
        """Claim a request and fail it."""
        self.claim(request_id, role)
        return self.post(f"/portfolio/requests/{request_id}/failures", role, {"reason": "no-answer", **how}, key)

    def end(
        self, call: int, how: str = "completion", role: str | None = "agent", key: str | None = None, **body: Any
    ) -> httpx.Response:
        """End a model call with a completion or a failure."""
        needed = {"error_type": "timeout"} if how == "failure" else {}
        return self.post(f"/model-calls/{call}/{how}", role, {**needed, **body}, key)

    def command(
        self, name: str, what: str, role: str | None = "admin", key: str | None = None, **how: Any
    ) -> httpx.Response:
        """Register, suspend or resume an agent."""
        body = {"answer_schema": "allocations/v1"} if what == "registrations" else {"reason": "because"}
        return self.post(f"/agents/{name}/{what}", role, {**body, **how}, key)

    @contextlib.contextmanager
    def records(self, count: int) -> Iterator[None]:
        """Assert that the block adds exactly `count` events, but for those about who reads or is refused."""
        before = self.api.commands()
        yield
        assert self.api.commands() == before + count


def answer_of(weight: str, amount: str = "250000.50") -> dict[str, Any]:
    """Make an answer whose single allocation has this weight."""
    return {**ANSWER, "recommendation": {"allocations": [{"asset": "cash", "weight": weight, "amount_usd": amount}]}}
