"""What `/metrics` says beside counts of responses, looked up when somebody asks; what is not known is no number."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan

from prometheus_client import CollectorRegistry, Gauge

from ledger.errors import Unavailable
from ledger.service.ledger import Ledger
from ledger.tlog import status
from ledger.tlog.endorse.endorsers import Asked
from ledger.tlog.sign.signer_thread import SignerThread
from ledger.verify.continuous import Watch, Watched

ORPHANS = """
    SELECT count(*) FILTER (WHERE created_at <= clock_timestamp() - %s * interval '1 second'),
           count(*),
           coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)
    FROM model_calls WHERE state = 'open'
"""


class Orphans:
    """Model calls that were started and not ended, counted when somebody asks for the metrics."""

    def __init__(self, registry: CollectorRegistry, after_s: float) -> None:
        self._after_s = after_s
        what = "Model calls that were started and have not ended"
        self._orphans = Gauge("advice_ledger_model_calls_orphaned", f"{what} for {after_s:g} s", registry=registry)
        self._open = Gauge("advice_ledger_model_calls_open", what, registry=registry)
        self._oldest = Gauge(
            "advice_ledger_model_call_oldest_open_seconds", "Age of the oldest of them", registry=registry
        )

    async def look(self, ledger: Ledger) -> None:
        """Counts; what cannot be counted, because the database does not answer, is not a number."""
        await _set(ledger, (self._orphans, self._open, self._oldest), ORPHANS, self._after_s)


CHECKPOINT = """
    SELECT coalesce(c.size, 0), extract(epoch FROM clock_timestamp() - c.created_at), h.position - coalesce(c.size, 0)
    FROM head h LEFT JOIN (SELECT size, created_at FROM checkpoints ORDER BY size DESC LIMIT 1) c ON true
"""


class Checkpoints:
    """What is signed, looked up when somebody asks for the metrics."""

    def __init__(self, registry: CollectorRegistry) -> None:
        name = "advice_ledger_checkpoint"
        self._size = Gauge(f"{name}_size", "Events that the newest checkpoint covers", registry=registry)
        self._age = Gauge(f"{name}_age_seconds", "Age of the newest checkpoint", registry=registry)
        self._waiting = Gauge(f"{name}_events_not_covered", "Events that no checkpoint covers", registry=registry)
        self._refused = Gauge(
            "advice_ledger_signing_refused", "1 once this process refused to sign; /readyz says why", registry=registry
        )

    async def look(self, ledger: Ledger, signer: SignerThread | None) -> None:
        """As Orphans.look()."""
        await _set(ledger, (self._size, self._age, self._waiting), CHECKPOINT)
        self._refused.set(signer is not None and signer.status.state == "refused")


class Verification:
    """How far the chain is checked in the background, looked up when somebody asks for the metrics."""

    def __init__(self, registry: CollectorRegistry) -> None:
        name = "advice_ledger_verification"
        self._position = Gauge(f"{name}_position", "All events up to here were checked", registry=registry)
        self._age = Gauge(f"{name}_age_seconds", "Since when nothing newer was checked", registry=registry)
        self._passed = Gauge(f"{name}_passed_age_seconds", "Since the whole chain was last through", registry=registry)
        self._failed = Gauge(f"{name}_failed", "1 while something does not hold; /readyz says what", registry=registry)

    def look(self, watch: Watch | None) -> None:
        """Not a number where this process does not check, or another one does."""
        found = Watched("none") if watch is None else watch.status
        self._position.set(nan if found.age_s is None else found.position)
        self._age.set(_number(found.age_s))
        self._passed.set(_number(found.passed_age_s))
        self._failed.set(found.finding is not None)


class Vouchers:
    """Witnesses and timestamp authorities, by the name that the configuration gives them."""

    def __init__(self, registry: CollectorRegistry, asked: Asked) -> None:
        self._asked = asked
        one, other = ["witness"], ["authority"]
        witnessed = "advice_ledger_checkpoint_witnessed"
        quorum = "the newest checkpoint that enough witnesses cosigned"
        self._size = Gauge(f"{witnessed}_size", f"Events covered by {quorum}", registry=registry)
        self._age = Gauge(f"{witnessed}_age_seconds", f"Age of {quorum}", registry=registry)
        name = "advice_ledger_witness"
        self._cosigned = Gauge(f"{name}_size", "Events covered by its last cosignature", one, registry=registry)
        self._silent = Gauge(f"{name}_troubled", "1 while it does not cosign", one, registry=registry)
        name = "advice_ledger_timestamp"
        self._stamped = Gauge(f"{name}_age_seconds", "Age of its last timestamp", other, registry=registry)
        self._refused = Gauge(f"{name}_troubled", "1 while it gives none", other, registry=registry)

    async def look(self, ledger: Ledger, signer: SignerThread | None) -> None:
        """As Orphans.look(). Troubles are known where this process leads the signing."""
        asked = self._asked
        if not asked.policy.witnesses and not asked.authorities:
            self._size.set(nan)
            self._age.set(nan)
            return
        try:
            found = await ledger.readers.run(lambda conn: status.look(conn, asked, signer), within_s=ledger.patience_s)
        except Unavailable:
            found = status.Vouched()
        leads = signer is not None and signer.status.state == "leads"
        witnessed = found.witnessed
        self._size.set(_number(None if witnessed is None else witnessed.size))
        self._age.set(_number(None if witnessed is None else witnessed.age_s))
        for witness in witnessed.witnesses if witnessed else ():
            self._cosigned.labels(witness.name).set(_number(witness.size))
            self._silent.labels(witness.name).set(witness.trouble is not None if leads else nan)
        for one in found.timestamps:
            self._stamped.labels(one.authority).set(_number(one.age_s))
            self._refused.labels(one.authority).set(one.trouble is not None if leads else nan)


async def _set(ledger: Ledger, gauges: Sequence[Gauge], query: str, *parameters: object) -> None:
    """To the columns of the query's row; none of them is a number where the database does not answer."""
    try:
        row = await ledger.readers.fetch_one(query, parameters)
    except Unavailable:
        row = None
    for gauge, value in zip(gauges, row or (None,) * len(gauges), strict=True):
        gauge.set(_number(value))


def _number(value: float | None) -> float:
    return nan if value is None else value
