"""`/metrics`: count responses as they leave, and read gauges from the services when Prometheus asks.

Labels are routes, methods, statuses and configured names: never an id, a client's name or anything a caller sent. A
gauge whose value is not known is NaN.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from functools import cache, partial
from itertools import chain
from math import nan
from time import perf_counter

from fastapi import APIRouter, FastAPI
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.gauges import gauge, gauge_by, number, read
from api.http.parameters import NoQuery
from api.http.problems import documented
from api.http.service_metrics import service_metrics
from api.services import InjectedServices, Services
from ledger.database import AsyncConnection
from ledger.errors import Unavailable
from ledger.store.head import Head, read_head_async
from ledger.tlog import status
from ledger.tlog.serve.newest_checkpoint import NewestCheckpoint
from ledger.tlog.sign.signed_checkpoints import SignedCheckpoints
from ledger.verify.continuous import VerificationStatus
from projections.model_calls.orphans import count_open_calls_async

# Callers may invent any number of other methods, which are all counted as "other".
METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})


class CountResponses:
    """ASGI middleware. Counts each response by method, route and status, and its time by method and route."""

    def __init__(self, app: ASGIApp, counter: Counter, seconds: Histogram) -> None:
        self._app = app
        # By their labels: the library takes longer to find these than to count.
        self._counters = cache(counter.labels)
        self._seconds = cache(seconds.labels)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and count the start of its response."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began_s = perf_counter()

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", "none")
                method = scope["method"] if scope["method"] in METHODS else "other"
                self._counters(method, route, message["status"]).inc()
                self._seconds(method, route).observe(perf_counter() - began_s)
            await send(message)

        await self._app(scope, receive, counted)


class Collected(Collector):
    """Gauges that were read already, in the form that `generate_latest()` takes."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = list(metrics)

    def collect(self) -> Iterator[Metric]:
        """Return the gauges."""
        yield from self._metrics


def install(app: FastAPI) -> None:
    """Count responses, and add the route `/metrics`. Call it last: the counter must be the outermost middleware."""
    registry = CollectorRegistry()
    counter = Counter(
        "advice_ledger_http_responses", "HTTP responses.", ("method", "route", "status"), registry=registry
    )
    seconds = Histogram(
        "advice_ledger_http_request_seconds",
        "Time from a request to the start of its response.",
        ("method", "route"),
        buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
        registry=registry,
    )
    app.add_middleware(CountResponses, counter=counter, seconds=seconds)
    router = APIRouter(tags=["operation"])

    @router.get(
        "/metrics",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **documented(422)},
    )
    async def metrics(services: InjectedServices, _query: NoQuery) -> Response:
        """Counters and gauges in the Prometheus text format. They hold no personal data."""
        gauges = CollectorRegistry()
        gauges.register(Collected(await services.one_at_once.run("metrics", partial(collect, services))))
        return Response(generate_latest(registry) + generate_latest(gauges), media_type=CONTENT_TYPE_LATEST)

    app.include_router(router)


async def collect(services: Services) -> list[Metric]:
    """Read all gauges at the same time, so that a database that hangs costs the patience once."""
    found = await asyncio.gather(
        service_metrics(services), _model_calls(services), _checkpoint(services), _endorsements(services)
    )
    return [*chain.from_iterable(found), *_verification(services)]


async def _model_calls(services: Services) -> list[Metric]:
    calls = await read(services, lambda conn: count_open_calls_async(conn, services.orphan_after_s))
    orphaned, opened, oldest_s = calls or (None, None, None)
    unended = "Model calls that were started and have not ended"
    return [
        gauge("model_calls_orphaned", f"{unended} for {services.orphan_after_s:g} s", orphaned),
        gauge("model_calls_open", unended, opened),
        gauge("model_call_oldest_open_seconds", "Age of the oldest of them", oldest_s),
    ]


async def _checkpoint(services: Services) -> list[Metric]:
    # Read the head after the checkpoint, so that it is not before it.
    found = await read(services, partial(_checkpoint_and_head, services.checkpoints))
    checkpoint, head = found or (None, None)
    size = None if found is None else 0 if checkpoint is None else checkpoint.size
    age_s = None if checkpoint is None else checkpoint.age_s
    not_covered = None if head is None else head.position - (size or 0)
    unsigned = len(services.checkpoints.unsigned)
    refused = services.signer is not None and services.signer.status.state == "refused"
    return [
        gauge("checkpoint_size", "Events that the newest checkpoint covers", size),
        gauge("checkpoint_age_seconds", "Age of the newest checkpoint", age_s),
        gauge("checkpoint_events_not_covered", "Events that no checkpoint covers", not_covered),
        gauge("checkpoints_unsigned", "Checkpoints that the key did not sign, which this process has seen", unsigned),
        gauge("signing_refused", "1 once this process refused to sign; /readyz says why", float(refused)),
    ]


async def _endorsements(services: Services) -> list[Metric]:
    """Read the results of witnesses and timestamp authorities.

    Only the process that leads the signing knows their errors.
    """
    endorsed = await _endorsed(services)
    leads = services.signer is not None and services.signer.status.state == "leads"
    witnessed = endorsed.witnessed
    quorum = "the newest checkpoint that enough witnesses cosigned"
    cosigned = gauge_by("witness_size", "Events covered by its last cosignature", "witness")
    silent = gauge_by("witness_failing", "1 while it does not cosign", "witness")
    for witness in witnessed.witnesses if witnessed else ():
        cosigned.add_metric([witness.name], number(witness.size))
        silent.add_metric([witness.name], float(witness.error is not None) if leads else nan)
    stamped = gauge_by("timestamp_age_seconds", "Age of its last timestamp", "authority")
    refused = gauge_by("timestamp_failing", "1 while it gives none", "authority")
    for timestamp in endorsed.timestamps:
        stamped.add_metric([timestamp.authority], number(timestamp.age_s))
        refused.add_metric([timestamp.authority], float(timestamp.error is not None) if leads else nan)
    return [
        gauge(
            "checkpoint_witnessed_size", f"Events covered by {quorum}", None if witnessed is None else witnessed.size
        ),
        gauge("checkpoint_witnessed_age_seconds", f"Age of {quorum}", None if witnessed is None else witnessed.age_s),
        *(cosigned, silent, stamped, refused),
    ]


async def _endorsed(services: Services) -> status.EndorsementStatus:
    ledger, endorsers = services.ledger, services.endorsers
    if not endorsers.policy.witnesses and not endorsers.authorities:
        return status.EndorsementStatus()
    try:
        return await ledger.readers.run(
            lambda conn: status.endorsement_status(conn, endorsers, services.signer), within_s=ledger.patience_s
        )
    except Unavailable:
        return status.EndorsementStatus()


def _verification(services: Services) -> list[Metric]:
    """Read how far this process has verified the chain; NaN if it does not verify, or if another process does."""
    verification = services.continuous_verification
    state = VerificationStatus("none") if verification is None else verification.status
    position = None if state.age_s is None else state.position
    return [
        gauge("verification_position", "All events up to here were checked", position),
        gauge("verification_age_seconds", "Since when nothing newer was checked", state.age_s),
        gauge("verification_passed_age_seconds", "Since the whole chain was last through", state.passed_age_s),
        gauge("verification_failed", "1 while something does not hold; /readyz says what", float(bool(state.finding))),
    ]


async def _checkpoint_and_head(
    checkpoints: SignedCheckpoints, conn: AsyncConnection
) -> tuple[NewestCheckpoint | None, Head | None]:
    return await checkpoints.newest(conn), await read_head_async(conn)
