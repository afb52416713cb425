"""Chains of signed acts, made of values."""

from __future__ import annotations

from typing import Any

from ledger.proof.format.canonical import canonical
from ledger.proof.format.events import EventRow
from ledger.proof.format.hashes import commitment, genesis_hash
from tests.ledger.proof.acts.signing import LEDGER, PREPARED_US, decision
from tests.ledger.proof.chains import rehashed

SECOND = 1_000_000
SALT = "11" * 32
RATIONALE = commitment("rationale", bytes.fromhex(SALT), b'"why"')


def rows(*bodies: dict[str, Any], times_us: list[int] | None = None) -> list[EventRow]:
    """Return a chain of these bodies, one second after another; each decision is in a stream of its own."""
    link, made, versions = genesis_hash(LEDGER), [], dict[str, int]()
    for position, body in enumerate(bodies, 1):
        stream = body["stream"]
        versions[stream] = versions.get(stream, 0) + 1
        sealed = {"rationale": "why"} if "sealed" in body else {}
        row = EventRow(
            position=position,
            id=body["id"],
            stream=stream,
            version=versions[stream],
            type=body["type"],
            recorded_at_us=times_us[position - 1] if times_us else PREPARED_US + position * SECOND,
            prev_hash=link,
            hash=b"",
            body=canonical(body),
            salts=canonical(dict.fromkeys(sealed, SALT)) if sealed else None,
            fields=canonical(dict(sealed)) if sealed else None,
        )
        made.append(rehashed(row))
        link = made[-1].hash
    return made


def act(number: int, **changes: Any) -> dict[str, Any]:
    """Return an unsigned decision with an id and a stream of its own, and a rationale that opens."""
    base = decision(**changes)
    return base | {
        "id": f"0197f3c2-8a00-7000-8000-{number:012}",
        "stream": f"request-{number}",
        "sealed": {"rationale": RATIONALE},
    }
