"""What a run finds about a portfolio: as it is shown, and as the salted leaf that the root of the run is made of.

The text of a leaf never changes: recorded runs are computed again by it, bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Any

import orjson

from ledger.domain.monitoring.drift import Judgement, Shipped
from ledger.domain.monitoring.run import Run

LEAF = b"advice-ledger/monitoring-leaf/v1\n"
SALT = b"advice-ledger/monitoring-salt/v1\n"


def shown(name: str, judgement: Judgement) -> dict[str, Any]:
    """Return what a run found about a portfolio."""
    return {
        "portfolio": name,
        "condition": judgement.condition,
        "unknown": [{"reason": one.reason, "asset": one.asset} for one in judgement.unknown],
        "assets": judgement.rows(),
        "turnover": turnover_of(judgement),
        "beyond": list(judgement.beyond),
    }


def turnover_of(judgement: Judgement) -> str | None:
    """Return the one-way turnover to the targets; None if the condition is unknown."""
    return None if judgement.valuation is None else judgement.turnover_one_way()


def leaf(salt: bytes, run: Run, name: str, judgement: Judgement, rows: Sequence[Shipped] | None = None) -> bytes:
    """Return the leaf of a portfolio, 32 bytes. `rows` are those that the judgement ships, if they are at hand.

    `salt` is the one that its first event sealed the client with.
    """
    mixed = sha256(SALT + salt + run.number.to_bytes(8)).digest()
    return sha256(LEAF + mixed + written(name, judgement, judgement.shipped() if rows is None else rows)).digest()


def written(name: str, judgement: Judgement, rows: Sequence[Shipped]) -> bytes:
    """Return the canonical JSON (RFC 8785) of what is shown. Written by hand, it takes a third of the time."""
    assets = [
        f'{{"asset":{_quoted(asset)},"condition":"{condition}","drift":"{drift}",'
        f'"half_width":"{half_width}","target":{_quoted(target)},"weight":"{weight}"}}'
        for asset, condition, drift, half_width, target, weight in rows
    ]
    unknown = [f'{{"asset":{_quoted(one.asset)},"reason":"{one.reason}"}}' for one in judgement.unknown]
    return (
        f'{{"assets":[{",".join(assets)}],"beyond":[{",".join(map(_quoted, judgement.beyond))}],'
        f'"condition":"{judgement.condition}","portfolio":{_quoted(name)},'
        f'"turnover":{_quoted(turnover_of(judgement))},"unknown":[{",".join(unknown)}]}}'
    ).encode()


@lru_cache(maxsize=65_536)
def _quoted(text: str | None) -> str:
    """Return a text as JSON. It may be one that no client can send."""
    return orjson.dumps(text).decode()
