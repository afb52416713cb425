"""Write an agent's input as one canonical JSON text, the same for the record, the model and a replay."""

import hashlib
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from api.agents.protocol import JSON, AgentRefused, AgentRequest, Earlier
from ledger.proof.format.canonical import NotCanonical, canonical

MAX_SHOWN_BYTES = 65_536
"""A longer earlier answer is replaced by its size and digest: twenty must fit into one recorded field."""

REQUEST_MEMBERS = (
    "request_id", "risk_profile", "amount_usd", "horizon_years", "objectives", "constraints", "notes",
)  # fmt: skip
EARLIER_MEMBERS = (
    "id", "request_id", "model_name", "model_version", "state", "decision_id", "outcome", "reason_code", "rationale",
    "response",
)  # fmt: skip


def as_shown(request: AgentRequest) -> dict[str, Any]:
    """Return the request and the client's earlier recommendations, the newest first, without members that are None.

    Decimals become strings. `as_of` is left out: the same content is the same question at any position.
    """
    return {
        "request": _members(request, REQUEST_MEMBERS),
        "earlier": [_earlier(each) for each in request.earlier],
    }


def canonical_text(value: Mapping[str, Any]) -> str:
    """Write canonical JSON (RFC 8785). Raises AgentRefused if the value has no canonical form."""
    try:
        return canonical(dict(value)).decode()
    except NotCanonical as error:
        raise AgentRefused("unreadable-request", f"the request cannot be written as canonical JSON: {error}") from error


def user_message(text: str) -> list[JSON]:
    """Return one user message in the format of OpenTelemetry's gen_ai.input.messages."""
    return [{"role": "user", "parts": [{"type": "text", "content": text}]}]


def shown_answer(answer: dict[str, object] | None) -> dict[str, Any] | None:
    """Return an earlier answer as an agent sees it: whole, or its size and digest if it is too long."""
    if answer is None:
        return None
    plain: dict[str, Any] = _plain(answer)
    written = canonical_text(plain).encode()
    if len(written) <= MAX_SHOWN_BYTES:
        return plain
    return {"omitted": "longer than is shown", "bytes": len(written), "sha256": hashlib.sha256(written).hexdigest()}


def _earlier(earlier: Earlier) -> dict[str, Any]:
    shown = _members(earlier, EARLIER_MEMBERS)
    answers = {"recommendation": earlier.recommendation, "replacement": earlier.replacement}
    return shown | {name: shown_answer(answer) for name, answer in answers.items() if answer is not None}


def _members(owner: object, names: tuple[str, ...]) -> dict[str, Any]:
    values = {name: getattr(owner, name) for name in names}
    return {name: _plain(value) for name, value in values.items() if value is not None}


def _plain(value: Any) -> Any:
    """Convert to JSON: decimals to strings, tuples to lists. canonical() refuses any other type."""
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
