"""List the reasons for which `status` exits with 1 and which `/readyz` shares. api/http/readiness.py decides."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf

from api.cli.status_tlog import LogState
from api.cli.status_writer import PATIENCE_S
from api.http import readiness
from ledger.background import WorkerStatus
from ledger.tlog.serve.newest_checkpoint import NotCovered
from projections.health import CallCount, ReadModelLag

# Reasons about which /readyz of the signing process knows more.
NOT_SIGNING = WorkerStatus("none", "no server with the key runs, or its /readyz says more")


def reasons(
    lags: Sequence[ReadModelLag], calls: Sequence[CallCount], log: LogState | None, sign_every_s: float
) -> Iterator[str]:
    """Yield the read models that do not follow, a missing signer, and the agents whose calls all fail."""
    yield from readiness.reading(lags, PATIENCE_S)
    if log is not None and (log.size is not None or log.signed_last is not None):
        yield from readiness.signing(NOT_SIGNING, NotCovered(log.not_covered, log.waiting_s), sign_every_s, inf)
    yield from readiness.answering_calls(calls)


def warnings(log: LogState | None) -> Iterator[str]:
    """Yield warnings that a person should look at."""
    if log is not None and log.size is not None:
        yield from readiness.recording_heads(log.heads_waiting_s, None)
