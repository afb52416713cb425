"""The catalogue: which types there are, what of them is sealed, and how they look as JSON."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Annotated, Any, get_args

import pytest
from pydantic import TypeAdapter, ValidationError

from schema.events import CATALOGUE, Event, PortfolioRequested
from schema.fields import Constraints, Money, Sealed, Share

# The members of a choice of decisions, and those that it must have.
DECISIONS_IN = (
    *("decided_from", "decided_to", "agent", "decided_by", "outcome"),
    *("overridden", "amount_from", "amount_to", "unreviewed"),
)
PERIOD = {"decided_from": "2026-01-01T00:00:00Z", "decided_to": "2026-04-01T00:00:00Z"}
# Each field of each type is in one of these, by decision and not by default. What may hold personal data, or words
# that somebody chose, is sealed.
SEALED = {
    "portfolio.requested": {"client_id", "objectives", "notes"},
    "model-call.started": {"system_instructions", "input_messages", "conversation_id"},
    "model-call.completed": {"output_messages", "raw_span"},
    "model-call.failed": {"detail", "raw_span"},
    "model-call.content-recorded": {"system_instructions", "input_messages", "output_messages", "raw_log"},
    "model-call.content-joined": {"client_id"},
    "recommendation.recorded": {"recommendation", "prompt"},
    "request.failed": {"detail"},
    "recommendation.opened": set(),
    "recommendation.decided": {"rationale", "replacement", "response"},
    "recommendation.confirmed": {"rationale"},
    "recommendation.communicated": {"message"},
    "recommendation.replayed": set(),
    "request.withdrawn": {"rationale"},
    "decision.withdrawn": {"rationale"},
    "decision.revoked": {"rationale"},
    "decision.expired": set(),
    "case.reviewed": {"note"},
    "range.reviewed": {"note"},
    "sample.drawn": set(),
    "review.assigned": set(),
    "review.reassigned": set(),
    "finding.opened": {"text"},
    "finding.assigned": set(),
    "finding.closed": {"reason"},
    "client.registered": {"client_id"},
    "client.aliased": {"client_id"},
    "client.merged": set(),
    "client.assigned": set(),
    "client.unassigned": set(),
    "legal-hold.placed": {"reason"},
    "legal-hold.released": {"reason"},
    "erasure.requested": {"note"},
    "erasure.declined": {"rationale"},
    "erasure.refused": set(),
    "client.erased": set(),
    "values.erased": set(),
    "erasures.scrubbed": set(),
    "agent.registered": set(),
    "agent.suspended": {"reason"},
    "agent.resumed": {"reason"},
    "policy.adopted": set(),
    "log-key.rotated": set(),
    "log-checkpoint.adopted": {"reason"},
    "verification.recorded": set(),
    "stream-heads.recorded": {"blinding"},
    "recording-key.registered": set(),
    "subject.registered": {"display_name"},
    "subject.role-granted": set(),
    "subject.role-revoked": {"reason"},
    "subject.suspended": {"reason"},
    "subject.resumed": {"reason"},
    "subject.group-joined": set(),
    "subject.group-left": set(),
    "credential.issued": {"identity"},
    "credential.revoked": {"reason"},
    "subject.change-proposed": {"display_name", "reason", "identity"},
    "subject.change-confirmed": {"rationale"},
    "subject.change-declined": {"rationale"},
    "signing-key.registered": set(),
    "access.recorded": set(),
    "portfolio.defined": {"client_id", "targets", "rest"},
    "holdings.recorded": {"client_id", "positions"},
    "prices.recorded": set(),
    "corporate-action.recorded": set(),
    "valuation.recorded": {"client_id", "values"},
    "valuations.received": set(),
    "flow.recorded": {"client_id", "reference", "amount"},
    "monitoring.run-started": set(),
    "monitoring.run-completed": set(),
    "alert.raised": set(),
    "alert.acknowledged": {"rationale"},
    "alert.silenced": {"reason"},
    "alert.closed": {"rationale"},
    "notification.decided": set(),
    "rebalancing.decided": {"reason"},
    "alert.escalated": set(),
    "export.requested": {"purpose", "recipient", "client_id", "text"},
    "export.completed": set(),
    "export.failed": set(),
    "disposal.requested": set(),
    "disposal.completed": set(),
    "history.imported": set(),
    "endpoint.defined": set(),
    "delivery.planned": set(),
    "delivery.attempted": set(),
    "delivery.ended": set(),
    "delivery.resent": {"reason"},
}
CLEAR = {
    "portfolio.requested": {"risk_profile", "amount_usd", "horizon_years", "constraints", "client", "portfolio"},
    "model-call.started": {
        "operation_name",
        "provider_name",
        "request_model",
        "request_parameters",
        "agent_version",
        "prompt_name",
        "prompt_version",
        "prompt_sha256",
        "tool_definitions_sha256",
        "shown",
        "as_of",
        "capture",
        "mapper_version",
        "trace_id",
        "span_id",
        "claimed_start",
    },
    "model-call.completed": {
        "response_id",
        "response_model",
        "response_finish_reasons",
        "usage_input_tokens",
        "usage_output_tokens",
        "usage_cache_read_input_tokens",
        "usage_cache_write_input_tokens",
        "usage_reasoning_output_tokens",
        "time_to_first_chunk_ms",
        "latency_ms",
    },
    "model-call.failed": {"error_type", "latency_ms"},
    "model-call.content-recorded": {"event_name", "mapper_version", "trace_id", "span_id", "claimed_time"},
    "model-call.content-joined": set(),
    "recommendation.recorded": {"model_name", "model_version", "parameters", "model_call_id", "supersedes"},
    "request.failed": {"reason"},
    "recommendation.opened": {"recommendation_id", "digest"},
    "recommendation.decided": {
        "recommendation_id",
        "digest",
        "outcome",
        "reason_code",
        "reason_group",
        "reason_codes_version",
        "needs_second",
        "second_rules",
        "four_eyes_version",
        "confirm_within_hours",
    },
    "recommendation.confirmed": {"recommendation_id", "decision_id", "digest", "outcome", "four_eyes_version"},
    "recommendation.communicated": {"recommendation_id", "digest", "channel"},
    "recommendation.replayed": {"recommendation_id", "as_of", "agent_version", "outcome"},
    "request.withdrawn": {"reason_code", "replaced_by"},
    "decision.withdrawn": {"recommendation_id", "decision_id", "reason_code"},
    "decision.revoked": {"recommendation_id", "decision_id", "reason_code"},
    "decision.expired": {"recommendation_id", "decision_id"},
    "case.reviewed": {"upto", "disposition"},
    "range.reviewed": {*DECISIONS_IN, "client", "disposition", "leave_out_own", "upto", "cases", "left_out"},
    "sample.drawn": {
        *DECISIONS_IN,
        *("size", "weights", "seed", "reviewers", "due_at"),
        *("method", "seed_from", "upto", "population", "population_digest", "chosen"),
    },
    "review.assigned": {"sample", "decision_id", "assignee", "due_at"},
    "review.reassigned": {"item_id", "assignee", "due_at"},
    "finding.opened": {"severity", "decision_id"},
    "finding.assigned": {"finding_id", "assignee"},
    "finding.closed": {"finding_id", "resolution"},
    "client.registered": {"subject"},
    "client.aliased": {"of"},
    "client.merged": {"into"},
    "client.assigned": {"subject", "group", "since", "until"},
    "client.unassigned": {"subject", "group"},
    "legal-hold.placed": {"request_id"},
    "legal-hold.released": {"hold_id"},
    "erasure.requested": {
        *("reason", "reference", "clients", "streams", "events", "values", "forbidden", "expires_at", "reapplies")
    },
    "erasure.declined": {"erasure_id"},
    "erasure.refused": {"erasure_id", "forbidden"},
    "client.erased": {
        *("erasure_id", "requested_by", "reason", "reference", "clients", "streams", "events", "values", "reapplies")
    },
    "values.erased": {"erasure_id"},
    "erasures.scrubbed": {"after", "upto", "erasures", "tables", "bytes"},
    "agent.registered": {"answer_schema"},
    "agent.suspended": set(),
    "agent.resumed": set(),
    "policy.adopted": {"version", "sha256", "policy"},
    "log-key.rotated": {"old", "new", "statement", "old_signature", "new_signature"},
    "log-checkpoint.adopted": {"size", "root", "given_up_size", "given_up_root"},
    "verification.recorded": {
        "first_position",
        "last_position",
        "checkpoint_size",
        "result",
        "finding",
        "first_bad_position",
        "duration_s",
        "events_per_s",
    },
    "stream-heads.recorded": {"as_of", "root"},
    "recording-key.registered": {"key", "replaces"},
    "subject.registered": {"kind"},
    "subject.role-granted": {"role", "until", "clients"},
    "subject.role-revoked": {"role"},
    "subject.suspended": set(),
    "subject.resumed": set(),
    "subject.group-joined": {"group"},
    "subject.group-left": {"group"},
    "credential.issued": {
        "credential",
        "kind",
        "sha256",
        "issuer",
        "expires_at",
        "replaces",
        "replaced_until",
    },
    "credential.revoked": {"credential"},
    "subject.change-proposed": {"change", "members", "expires_at"},
    "subject.change-confirmed": {"change_id"},
    "subject.change-declined": {"change_id"},
    "access.recorded": {
        "subject",
        "role",
        "credential",
        "action",
        "resource",
        "parameters",
        "requests",
        "clients",
        "rows",
        "reason",
    },
    "signing-key.registered": {
        "credential",
        "scheme",
        "purpose",
        "public_key",
        "alg",
        "rp_id",
        "origins",
        "credential_id",
        "backup_eligible",
        "transports",
        "aaguid",
        "expires_at",
        "proof",
    },
    "portfolio.defined": {"base", "policy", "risk_profile", "recommendation_id", "source", "assessed_on", "client"},
    "holdings.recorded": {"as_of", "source", "client"},
    "prices.recorded": {"source", "date", "as_of", "file_sha256", "prices", "rates"},
    "valuation.recorded": {"as_of", "source", "currency", "client"},
    "valuations.received": {"source", "date"},
    "flow.recorded": {"date", "kind", "currency", "withdrawn", "source", "client"},
    "corporate-action.recorded": {
        "asset",
        "date",
        "action",
        "ratio",
        "to",
        "price",
        "currency",
        "withdrawn",
        "source",
    },
    "monitoring.run-started": {"as_of", "position", "zone_data", "historical"},
    "monitoring.run-completed": {
        "portfolios",
        "conditions",
        "raised",
        "closed",
        "decisions",
        "policies",
        "root",
        "leaves",
    },
    "alert.raised": {"alert", "rule", "subject", "cause", "policy", "run", "as_of"},
    "alert.acknowledged": {"alert"},
    "alert.silenced": {"alert", "until"},
    "alert.closed": {"alert", "reason", "run", "as_of"},
    "notification.decided": {"alert", "about", "receivers", "reason", "until", "run", "as_of", "historical"},
    "alert.escalated": {"alert", "level", "after_hours"},
    "rebalancing.decided": {"outcome", "alert", "request", "cause", "run", "amount_usd", "horizon_years"},
    "export.requested": {
        "client",
        "request",
        "position_from",
        "position_to",
        "recorded_from",
        "recorded_to",
        "occurred_from",
        "occurred_to",
        "search",
        "disclose",
        "withhold",
        "zone",
        "upto",
    },
    "export.completed": {
        "events",
        "first_position",
        "last_position",
        "excluded",
        "checkpoint_size",
        "bytes",
        "sha256",
        "fields",
        "expires_at",
    },
    "export.failed": {"reason"},
    "disposal.requested": {"step"},
    "disposal.completed": {*("requested", "as_of", "policy", "looked_at", "done", "values", "forbidden", "waiting")},
    "history.imported": {"source", "files", "events", "imported", "signatures_dropped"},
    "endpoint.defined": {"channel", "url", "receivers", "messages_per_hour", "enabled"},
    "delivery.planned": {"run", "endpoint", "decisions"},
    "delivery.attempted": {"attempt", "decisions", "keys"},
    "delivery.ended": {"attempt", "outcome", "reason", "status", "final"},
    "delivery.resent": set(),
}
DIGEST = "0" * 64
EXAMPLES: dict[str, dict[str, Any]] = {
    "portfolio.requested": {"client_id": "c", "risk_profile": "balanced", "amount_usd": "1.50"},
    "model-call.started": {
        "provider_name": "p",
        "request_model": "m",
        "shown": [{"kind": "recommendation", "id": "4"}],
        "input_messages": [{"role": "user", "parts": [{"type": "text", "content": None}]}],
    },
    "model-call.completed": {"output_messages": "x", "response_finish_reasons": ["stop"]},
    "model-call.failed": {"error_type": "timeout"},
    "model-call.content-recorded": {
        "event_name": "gen_ai.choice",
        "mapper_version": "otlp-3",
        "trace_id": "0" * 32,
        "span_id": "0" * 16,
    },
    "model-call.content-joined": {"client_id": "c"},
    "recommendation.recorded": {"recommendation": {"a": None}, "model_name": "m"},
    "request.failed": {"reason": "no-answer"},
    "recommendation.opened": {"recommendation_id": 2, "digest": DIGEST},
    "recommendation.decided": {
        "recommendation_id": 2,
        "digest": DIGEST,
        "outcome": "approve",
        "needs_second": False,
        "second_rules": [],
        "four_eyes_version": "1",
    },
    "recommendation.confirmed": {"recommendation_id": 2, "decision_id": 3, "digest": DIGEST, "outcome": "approve"},
    "recommendation.communicated": {"recommendation_id": 2, "digest": DIGEST, "channel": "phone"},
    "recommendation.replayed": {"recommendation_id": 2, "agent_version": "1", "outcome": "identical"},
    "request.withdrawn": {"reason_code": "duplicate", "replaced_by": 2},
    "decision.withdrawn": {"recommendation_id": 2, "decision_id": 3, "reason_code": "duplicate"},
    "decision.revoked": {"recommendation_id": 2, "decision_id": 3, "reason_code": "other", "rationale": "r"},
    "decision.expired": {"recommendation_id": 2, "decision_id": 3},
    "case.reviewed": {"upto": 3, "disposition": "no-concern"},
    "range.reviewed": {**PERIOD, "disposition": "no-concern", "upto": 9, "cases": [1, 2], "left_out": []},
    "sample.drawn": {
        **PERIOD,
        "size": 1,
        "weights": [{"points": 3, "amount_usd_at_least": "1000000.00"}],
        "seed": "0" * 64,
        "reviewers": ["ann"],
        "method": "lowest-tickets/v1",
        "seed_from": "server",
        "upto": 9,
        "population": 2,
        "population_digest": "1" * 64,
        "chosen": [7],
    },
    "review.assigned": {"sample": 1, "decision_id": 7, "assignee": "ann"},
    "review.reassigned": {"item_id": 8, "assignee": "bob"},
    "finding.opened": {"severity": "high", "text": "t"},
    "finding.assigned": {"finding_id": 9, "assignee": "ann"},
    "finding.closed": {"finding_id": 9, "resolution": "remedied", "reason": "r"},
    "client.registered": {"client_id": "c", "subject": "ann"},
    "client.aliased": {"client_id": "c", "of": 1},
    "client.merged": {"into": 1},
    "client.assigned": {"group": "zurich", "since": "2026-01-01T00:00:00Z", "until": "2027-01-01T00:00:00Z"},
    "client.unassigned": {"subject": "ann"},
    "legal-hold.placed": {"reason": "r", "request_id": 1},
    "legal-hold.released": {"reason": "r", "hold_id": 1},
    "erasure.requested": {
        "reason": "client-request",
        "reference": "DSR-1",
        "note": "n",
        "clients": [1],
        "streams": 2,
        "events": 3,
        "values": 4,
        "expires_at": "2026-04-01T00:00:00Z",
    },
    "erasure.declined": {"erasure_id": 1, "rationale": "r"},
    "erasure.refused": {
        "erasure_id": 1,
        "forbidden": {"holds": [1], "kept_until": "2033-03-01", "possible_from": "2033-03-02T00:00:00Z"},
    },
    "client.erased": {
        "erasure_id": 1,
        "requested_by": "ann",
        "reason": "client-request",
        "clients": [1],
        "streams": 2,
        "events": 3,
        "values": 4,
    },
    "values.erased": {"erasure_id": 1},
    "erasures.scrubbed": {
        "after": 0,
        "upto": 9,
        "erasures": 1,
        "tables": ["sealed_fields_0", "stream_clients"],
        "bytes": 4096,
    },
    "agent.registered": {"answer_schema": "allocations/v1"},
    "agent.suspended": {"reason": "r"},
    "agent.resumed": {"reason": "r"},
    "policy.adopted": {"version": "1", "sha256": DIGEST, "policy": {"rules": []}},
    "verification.recorded": {
        "first_position": 1,
        "last_position": 700,
        "checkpoint_size": 690,
        "result": "good",
        "duration_s": 1,
        "events_per_s": 700,
    },
    "stream-heads.recorded": {"as_of": 700, "root": DIGEST, "blinding": DIGEST},
    "recording-key.registered": {
        "key": f"a.example/recording+00000001+{'A' * 44}",
        "replaces": f"a.example/recording+00000000+{'A' * 44}",
    },
    "log-key.rotated": {
        "old": f"a.example+00000000+{'A' * 44}",
        "new": f"a.example+00000001+{'A' * 44}",
        "statement": "s\n",
        "old_signature": f"{'A' * 91}=",
        "new_signature": f"{'A' * 91}=",
    },
    "log-checkpoint.adopted": {"size": 10, "root": DIGEST, "reason": "r"},
    "subject.registered": {"kind": "human"},
    "subject.role-granted": {"role": "examiner", "until": "2030-01-01T00:00:00Z", "clients": [1]},
    "subject.role-revoked": {"role": "advisor"},
    "subject.suspended": {"reason": "r"},
    "subject.resumed": {"reason": "r"},
    "subject.group-joined": {"group": "zurich"},
    "subject.group-left": {"group": "zurich"},
    "credential.issued": {"credential": 1, "kind": "token", "sha256": DIGEST},
    "credential.revoked": {"credential": 1},
    "subject.change-proposed": {
        "change": "subject.group-joined",
        "members": {"group": "zurich"},
        "expires_at": "2030-01-01T00:00:00Z",
    },
    "subject.change-confirmed": {"change_id": 1},
    "subject.change-declined": {"change_id": 1, "rationale": "r"},
    "portfolio.defined": {
        "client_id": "c",
        "base": "USD",
        "targets": {"EQ": "0.6"},
        "rest": "BD",
        "policy": "drift",
        "source": "house",
        "client": 1,
    },
    "holdings.recorded": {"client_id": "c", "client": 1, "as_of": "2026-03-02", "positions": {"EQ": "-1.5"}},
    "prices.recorded": {
        "source": "ny",
        "date": "2026-03-02",
        "file_sha256": DIGEST,
        "prices": {"EQ": {"price": "1.50", "currency": "GBp"}},
        "rates": {"USD/CHF": "0.8"},
    },
    "valuation.recorded": {
        "client_id": "c",
        "client": 1,
        "as_of": "2026-03-02",
        "source": "bank",
        "currency": "USD",
        "values": {"EQ": "-1.5"},
    },
    "valuations.received": {"source": "bank", "date": "2026-03-02"},
    "flow.recorded": {
        "client_id": "c",
        "client": 1,
        "reference": "7",
        "date": "2026-03-02",
        "kind": "cash-in",
        "amount": "20000",
        "currency": "USD",
    },
    "corporate-action.recorded": {"asset": "EQ", "date": "2026-03-02", "action": "split", "ratio": "2:1"},
    "monitoring.run-started": {
        "as_of": "2026-03-02T18:00:00Z",
        "position": 7,
        "zone_data": "2026.6",
        "historical": False,
    },
    "monitoring.run-completed": {
        "portfolios": 1,
        "conditions": {"ok": 1, "watch": 0, "breached": 0, "unknown": 0},
        "raised": 0,
        "closed": 0,
        "decisions": 0,
        "policies": {"drift": DIGEST},
        "root": DIGEST,
        "leaves": f"{'A' * 43}=",
    },
    "export.requested": {
        "client": 1,
        "disclose": ["all"],
        "withhold": ["notes"],
        "purpose": "p",
        "recipient": "r",
        "client_id": "c",
        "upto": 1,
    },
    "export.completed": {
        "events": 1,
        "first_position": 1,
        "last_position": 1,
        "excluded": 0,
        "checkpoint_size": 1,
        "bytes": 1,
        "sha256": DIGEST,
        "fields": {"portfolio.requested.notes": {"disclosed": 1, "withheld": 0, "erased": 0}},
        "expires_at": "2026-03-02T18:00:00Z",
    },
    "export.failed": {"reason": "no-folder"},
    "disposal.requested": {"step": "propose"},
    "disposal.completed": {
        "requested": 1,
        "as_of": "2026-01-01T00:00:00Z",
        "policy": "1",
        **dict.fromkeys(("looked_at", "done", "values", "forbidden", "waiting"), 1),
    },
    "history.imported": {
        "source": "old",
        "files": [{"name": "history.ndjson", "sha256": "0" * 64, "bytes": 1}],
        **dict.fromkeys(("events", "imported", "signatures_dropped"), 1),
    },
    "endpoint.defined": {"url": "https://alerts.example/ledger", "receivers": ["advisor"]},
    "delivery.planned": {"run": 1, "endpoint": "desk", "decisions": [1]},
    "delivery.attempted": {"attempt": 1, "decisions": [1], "keys": ["0" * 16]},
    "delivery.ended": {"outcome": "withheld", "reason": "acknowledged", "final": True},
    "delivery.resent": {"reason": "r"},
    "alert.raised": {"alert": 1, "rule": "drift", "policy": DIGEST, "run": 1, "as_of": "2026-03-02T18:00:00Z"},
    "alert.acknowledged": {"alert": 1, "rationale": "r"},
    "alert.silenced": {"alert": 1, "until": "2026-03-02T18:00:00Z", "reason": "r"},
    "alert.closed": {"alert": 1, "reason": "inside", "run": 1, "as_of": "2026-03-02T18:00:00Z"},
    "notification.decided": {
        "alert": 1,
        "about": "opened",
        "receivers": ["advisor"],
        "reason": "opened",
        "run": 1,
        "as_of": "2026-03-02T18:00:00Z",
        "historical": True,
    },
    "alert.escalated": {"alert": 1, "level": 1, "after_hours": 4},
    "rebalancing.decided": {"outcome": "joined", "alert": 1, "request": 1, "reason": "r"},
    "access.recorded": {"subject": "ann", "role": "advisor", "action": "read", "resource": "GET /decisions"},
    "signing-key.registered": {
        "credential": 2,
        "scheme": "ed25519",
        "purpose": "sign",
        "public_key": "A" * 43,
        "proof": {"prepared_at": "2030-01-01T00:00:00Z", "signature": "A" * 86},
    },
}


@pytest.fixture(params=sorted(CATALOGUE))
def kind(request: pytest.FixtureRequest) -> type[Event]:
    """Each type of event."""
    return CATALOGUE[request.param]


def test_catalogue_is_complete() -> None:
    """The tables of this module speak of every type in the catalogue, and of no other."""
    assert CATALOGUE.keys() == SEALED.keys() == CLEAR.keys() == EXAMPLES.keys()


def test_types_are_named_as_facts(kind: type[Event]) -> None:
    """A type is noun.verb-past, has a version, and is in the catalogue under its name."""
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*\.[a-z]+(-[a-z]+)*", kind.type)
    assert kind.schema_version >= 1
    assert CATALOGUE[kind.type] is kind
    assert (kind.__doc__ or "").strip()


def test_every_field_is_sealed_or_clear_on_purpose(kind: type[Event]) -> None:
    """Each type seals exactly the fields that hold personal data or free text."""
    assert kind.sealed == SEALED[kind.type]
    assert kind.model_fields.keys() - kind.sealed == CLEAR[kind.type]


def test_no_marker_is_lost_inside_a_type(kind: type[Event]) -> None:
    """A Sealed within a union or a list, where it would mean nothing, is an error in the catalogue."""
    for name, field in kind.model_fields.items():
        assert not has_marker(field.annotation), name


def test_a_lost_marker_would_be_found() -> None:
    """The check above does find a marker that stands too deep to be seen by the model."""

    class Careless(Event):
        """Not in the catalogue."""

        type = "marker.lost"
        schema_version = 1

        notes: Annotated[str, Sealed()] | None = None

    assert Careless.sealed == frozenset()
    assert has_marker(Careless.model_fields["notes"].annotation)


def has_marker(annotation: Any) -> bool:
    """Return True if the type contains a Sealed mark at any depth."""
    return isinstance(annotation, Sealed) or any(has_marker(part) for part in get_args(annotation))


def test_sealed_names_need_no_escaping(kind: type[Event]) -> None:
    """Names of sealed fields go into commitments between quotes as they are."""
    for name in kind.sealed:
        assert re.fullmatch(r"[a-z][a-z_]*", name)


@pytest.mark.parametrize("mode", ["validation", "serialization"])
def test_each_type_has_a_schema_that_admits_no_other_fields(kind: type[Event], mode: Any) -> None:
    """Each type has a JSON Schema of its own fields that admits no others, and it is plain JSON."""
    found = kind.model_json_schema(mode=mode)
    assert json.loads(json.dumps(found)) == found
    assert found["properties"].keys() == kind.model_fields.keys()
    assert found["additionalProperties"] is False


def test_json_schema_of_money_is_text() -> None:
    """An amount is recorded as a string; a caller may send a number or a string."""
    recorded = PortfolioRequested.model_json_schema(mode="serialization")["properties"]["amount_usd"]
    sent = PortfolioRequested.model_json_schema(mode="validation")["properties"]["amount_usd"]
    assert recorded["type"] == "string"
    assert {kind["type"] for kind in sent["anyOf"]} == {"number", "string"}


def test_events_do_not_change(kind: type[Event]) -> None:
    """An event is frozen, and takes no field that its type does not have."""
    event = kind.model_validate(EXAMPLES[kind.type])
    with pytest.raises(ValidationError, match="frozen_instance"):
        setattr(event, next(iter(kind.model_fields)), "changed")
    with pytest.raises(ValidationError, match="extra_forbidden"):
        kind.model_validate({**EXAMPLES[kind.type], "surplus": 1})


def test_events_dump_to_plain_json(kind: type[Event]) -> None:
    """The dump that is recorded holds nothing but JSON types, and validates to the same event again."""
    event = kind.model_validate(EXAMPLES[kind.type])
    content = event.model_dump(exclude_none=True)
    assert json.loads(json.dumps(content)) == content
    assert kind.model_validate(content) == event


@pytest.mark.parametrize(
    ("sent", "recorded"),
    [
        ("250000", "250000.00"),
        (250000, "250000.00"),
        (0.1, "0.10"),
        ("0.01", "0.01"),
        (1e3, "1000.00"),
        ("1e3", "1000.00"),
        (Decimal("7.5"), "7.50"),
        ("007", "7.00"),
        ("999999999999.99", "999999999999.99"),
        (999999999999.99, "999999999999.99"),
    ],
    ids=repr,
)
def test_money_is_recorded_with_two_decimals(sent: Any, recorded: str) -> None:
    """Any way to write an amount is recorded as one: a decimal string with two decimals."""
    money: TypeAdapter[Decimal] = TypeAdapter(Money)
    assert money.dump_python(money.validate_python(sent)) == recorded
    assert money.validate_python(recorded) == money.validate_python(sent)


@pytest.mark.parametrize(
    "sent",
    [
        0,
        "0",
        "0.00",
        -1,
        "0.001",
        0.005,
        "1000000000000.00",
        1e12,
        "NaN",
        "Infinity",
        float("inf"),
        True,
        None,
        "",
        "ten",
    ],
    ids=repr,
)
def test_what_is_no_amount_is_refused(sent: Any) -> None:
    """Zero, less, a third decimal, more than 14 digits and what is no number are refused, never rounded."""
    with pytest.raises(ValidationError):
        TypeAdapter(Money).validate_python(sent)


@pytest.mark.parametrize(
    ("sent", "recorded"),
    [
        ("0.40", "0.4"),
        (0.4, "0.4"),
        (0.3, "0.3"),
        (1, "1"),
        ("1.000", "1"),
        ("1e-4", "0.0001"),
        (0, "0"),
        ("0.00", "0"),
    ],
    ids=repr,
)
def test_shares_are_recorded_in_one_form(sent: Any, recorded: str) -> None:
    """A share of the whole is a plain decimal string, without exponent and without zeros at its end."""
    assert Constraints(max_equity=sent).model_dump()["max_equity"] == recorded


@pytest.mark.parametrize("sent", ["-0.1", "1.0001", 2, "0.00001", "NaN", "-0.00", -0.0], ids=repr)
def test_what_is_no_share_is_refused(sent: Any) -> None:
    """A share is from 0 to 1, with four decimals at most."""
    with pytest.raises(ValidationError):
        TypeAdapter(Share).validate_python(sent)
