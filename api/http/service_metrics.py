"""Metrics that have a figure for each reason of `/readyz`: appends, read models, the queue, signing, agents."""

from __future__ import annotations

import asyncio

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

from api.http.gauges import gauge, gauge_by, read
from api.jobs.queue import JobCount, count_jobs
from api.services import Services
from ledger.database import AsyncConnection
from ledger.store.head import read_clocks_async
from ledger.store.standby import Standby, read_standby
from ledger.tlog.serve.newest_checkpoint import not_covered_async
from projections.health import (
    QUEUE,
    READ_MODELS_LAG,
    RECENT_CALLS,
    SET_ASIDE_COUNTS,
    CallCount,
    Queue,
    ReadModelLag,
    failing_agents,
)


async def service_metrics(services: Services) -> list[Metric]:
    """Read the figures. The writer's figures need no database."""
    waiting, lags, queue, calls, clocks, standby = await asyncio.gather(
        read(services, not_covered_async),
        read(services, _lags),
        read(services, _queued),
        read(services, _calls),
        read(services, read_clocks_async),
        read(services, read_standby),
    )
    return [
        *_appends(services),
        *_read_models(lags),
        *_queue(queue),
        _worker(services),
        *_jobs(services, await read(services, count_jobs)),
        gauge("checkpoint_waiting_seconds", "How long nothing was signed while events wait", waiting and waiting[1]),
        _heads(services),
        *_standby(standby),
        gauge("event_streams", "Streams of events that are open", services.event_feed.followers),
        gauge("head_ahead_seconds", "How far the last event is ahead of the clock", clocks and (clocks.ahead_s or 0)),
        *_agents(calls),
        _otlp(services),
    ]


def _appends(services: Services) -> list[Metric]:
    writer = services.ledger.writer
    status, appends = writer.status(), writer.health.appends
    seconds = HistogramMetricFamily("advice_ledger_append_seconds", "Time from an append to its receipt")
    seconds.add_metric([], appends.buckets(), appends.sum_s)
    return [
        gauge("append_failing_seconds", "Since when no append has succeeded although one was tried", status.failing_s),
        gauge("append_waiting", "Callers that wait for a receipt", status.queued),
        gauge("append_waiting_oldest_seconds", "How long the first of them has waited", status.oldest_s),
        gauge("append_refused", "1 while the database is not the one that was signed last", float(status.refused)),
        gauge("writer_ended", "1 once this process records nothing any more", float(status.ended is not None)),
        seconds,
    ]


def _read_models(found: tuple[list[ReadModelLag], dict[str, int]] | None) -> list[Metric]:
    lags, aside = found or ([], {})
    lag = gauge_by("projection_lag_events", "Events not folded yet", "read_model")
    stalled = gauge_by("projection_stalled_seconds", "How long it has not moved while events wait", "read_model")
    stopped = gauge_by("projection_stopped", "1 while an error stops it", "read_model")
    streams = gauge_by("streams_set_aside", "Streams that its fold cannot take", "read_model")
    for state in lags:
        lag.add_metric([state.name], state.lag)
        stalled.add_metric([state.name], state.stalled_s)
        stopped.add_metric([state.name], float(state.error is not None))
        streams.add_metric([state.name], aside.get(state.name, 0))
    return [lag, stalled, stopped, streams]


def _queue(queue: Queue | None) -> list[Metric]:
    return [
        gauge("requests_queued", "Requests that wait for an answer", queue and queue.requests),
        gauge("requests_queued_oldest_seconds", "How long the oldest has waited", queue and queue.oldest_s),
    ]


def _worker(services: Services) -> Metric:
    failing = services.worker is not None and services.worker.health.status.error is not None
    return gauge("worker_failing", "1 while the worker of this process fails, or once it has ended", float(failing))


def _jobs(services: Services, counts: list[JobCount] | None) -> list[Metric]:
    runner = services.job_runner
    failing = runner is not None and runner.status.error is not None
    queued = gauge_by("jobs_queued", "Jobs that wait", "kind")
    running = gauge_by("jobs_running", "Jobs that run", "kind")
    failed = gauge_by("jobs_failed", "Jobs that have failed and are not forgotten yet", "kind")
    oldest = gauge_by("jobs_queued_oldest_seconds", "How long the first that could begin has waited", "kind")
    for count in counts or ():
        queued.add_metric([count.kind], count.queued)
        running.add_metric([count.kind], count.running)
        failed.add_metric([count.kind], count.failed)
        oldest.add_metric([count.kind], count.oldest_s)
    return [
        gauge("jobs_failing", "1 while this process cannot run jobs", float(failing)),
        queued,
        running,
        failed,
        oldest,
    ]


def _heads(services: Services) -> Metric:
    recorder = None if services.signer is None else services.signer.heads_recorder
    failing = recorder is not None and recorder.status.error is not None
    return gauge("stream_heads_failing", "1 while this process cannot record where streams end", float(failing))


def _standby(standby: Standby | None) -> list[Metric]:
    return [
        gauge("standby_receives", "1 if the standby receives from its primary", standby and float(standby.receives)),
        gauge("standby_behind_bytes", "Bytes that the standby has still to replay", standby and standby.behind_bytes),
    ]


def _agents(calls: list[CallCount] | None) -> list[Metric]:
    recent = gauge_by("agent_calls_recent", "Of the newest 1,000 ended calls", "agent", "outcome", "error_type")
    failing = gauge_by("agent_failing", "1 while its last five calls have all failed", "agent")
    only_fail = failing_agents(calls or ())
    for call in calls or ():
        recent.add_metric([call.agent, call.state, call.error_type], call.calls)
    for agent in dict.fromkeys(call.agent for call in calls or ()):
        failing.add_metric([agent], float(agent in only_fail))
    return [recent, failing]


def _otlp(services: Services) -> Metric:
    items = CounterMetricFamily(
        "advice_ledger_otlp_items", "Model calls and their content over OTLP", labels=("signal", "dialect", "outcome")
    )
    for labels, count in services.otlp_items.items():
        items.add_metric(labels, count)
    return items


async def _lags(conn: AsyncConnection) -> tuple[list[ReadModelLag], dict[str, int]]:
    lags = await (await conn.execute(READ_MODELS_LAG, prepare=True)).fetchall()
    aside = await (await conn.execute(SET_ASIDE_COUNTS, prepare=True)).fetchall()
    return [ReadModelLag(*row) for row in lags], dict(aside)


async def _queued(conn: AsyncConnection) -> Queue:
    return Queue(*(await (await conn.execute(QUEUE, prepare=True)).fetchall())[0])


async def _calls(conn: AsyncConnection) -> list[CallCount]:
    return [CallCount(*row) for row in await (await conn.execute(RECENT_CALLS, prepare=True)).fetchall()]
