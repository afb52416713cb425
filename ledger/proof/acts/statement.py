"""The statements that subjects sign: docs/formats/signed-acts.md, sections 2 and 3."""

from __future__ import annotations

from typing import Any

from ledger.proof.format.canonical import canonical

# The prefix of a statement under Ed25519, so that such a signature fits nothing else.
ACT_PREFIX = b"advice-ledger/act/v1\n"
REGISTRATION = "signing-key.registered"

# The members that a signature covers, by type and version: members of `data`. If no member of `data` names the subject
# of the act, also `stream` or `causation` of the body. All sealed values are covered, by their commitments.
COVERS: dict[tuple[str, int], tuple[str, ...]] = {
    ("recommendation.recorded", 1): ("model_call_id", "model_name", "model_version", "parameters", "stream"),
    ("request.failed", 1): ("reason", "stream"),
    ("model-call.completed", 1): (
        "causation",
        "latency_ms",
        "response_finish_reasons",
        "response_id",
        "response_model",
        "time_to_first_chunk_ms",
        "usage_cache_read_input_tokens",
        "usage_cache_write_input_tokens",
        "usage_input_tokens",
        "usage_output_tokens",
        "usage_reasoning_output_tokens",
    ),
    ("model-call.failed", 1): ("causation", "error_type", "latency_ms"),
    ("recommendation.decided", 1): ("digest", "outcome", "reason_code", "recommendation_id"),
    ("recommendation.confirmed", 1): ("decision_id", "digest", "outcome"),
    ("recommendation.communicated", 1): ("channel", "digest", "recommendation_id"),
}
OF_BODY = frozenset({"causation", "stream"})
# The members of a registration that are not in its statement: the ledger gives the number, the proof is the signature.
NOT_STATED = frozenset({"credential", "proof"})


def act_statement(ledger: str, prepared_at: str, body: dict[str, Any], covers: tuple[str, ...]) -> bytes:
    """Return the statement of an act. `body` is the body of its event, with actor, data, id, schema and type.

    Raises ValueError, LookupError or TypeError if the body has not the members of an event.
    """
    data, sealed = body["data"], body.get("sealed", {})
    statement: dict[str, Any] = {
        "actor": body["actor"]["id"],
        "data": {name: data[name] for name in covers if name not in OF_BODY and name in data},
        "id": body["id"],
        "ledger": ledger,
        "prepared_at": prepared_at,
        "schema": body["schema"],
        "sealed": sealed,
        "type": body["type"],
    }
    statement |= {name: body[name] for name in covers if name in OF_BODY}
    return canonical(statement)


def registration_statement(ledger: str, subject: str, prepared_at: str, data: dict[str, Any]) -> bytes:
    """Return the statement that shows that a new key belongs to this subject. `data` is the event's."""
    return canonical(
        {
            "data": {name: value for name, value in data.items() if name not in NOT_STATED},
            "ledger": ledger,
            "prepared_at": prepared_at,
            "schema": 1,
            "subject": subject,
            "type": REGISTRATION,
        }
    )
