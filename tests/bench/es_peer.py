"""The peer of single appends and rebuilds: the `eventsourcing` package on the same server, used as its docs show."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from time import perf_counter
from typing import Any
from uuid import UUID, uuid4

import psycopg
from eventsourcing.application import Application
from eventsourcing.dispatch import singledispatchmethod
from eventsourcing.domain import Aggregate, event
from eventsourcing.persistence import StoredEvent, Tracking
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore, PostgresTrackingRecorder
from eventsourcing.projection import Projection, ProjectionRunner
from eventsourcing.utils import get_topic
from psycopg.sql import SQL, Identifier
from psycopg.types.json import Jsonb

from tests.bench import workload

WAIT_S = 1800.0
# insert_events() of 9.5.6 did not come back from a batch of 2,000 events of this size.
BATCH = 100


def environment(url: str) -> dict[str, str]:
    """The package's settings for a database."""
    with psycopg.connect(url) as conn:
        found = conn.info
        return {
            "PERSISTENCE_MODULE": "eventsourcing.postgres",
            "POSTGRES_DBNAME": found.dbname,
            "POSTGRES_HOST": found.host,
            "POSTGRES_PORT": str(found.port),
            "POSTGRES_USER": found.user,
            "POSTGRES_PASSWORD": found.password,
        }


@contextmanager
def recorder(url: str, name: str, *, in_function: bool) -> Iterator[PostgresApplicationRecorder]:
    """A recorder with tables of its own. `in_function`: with its option to insert by a function in the database."""
    settings = environment(url)
    datastore = PostgresDatastore(
        settings["POSTGRES_DBNAME"],
        settings["POSTGRES_HOST"],
        settings["POSTGRES_PORT"],
        settings["POSTGRES_USER"],
        settings["POSTGRES_PASSWORD"],
        enable_db_functions=in_function,
    )
    try:
        found = PostgresApplicationRecorder(datastore, events_table_name=name)
        found.create_table()
        yield found
    finally:
        datastore.close()


def stored(body: bytes) -> StoredEvent:
    """An event that opens a stream of its own, with these bytes as its state."""
    return StoredEvent(originator_id=uuid4(), originator_version=1, topic="portfolio.requested", state=body)


class PortfolioRequest(Aggregate):
    """A request and its answer: the facts that our two events carry."""

    class Requested(Aggregate.Created):
        """Request a portfolio; the peer of portfolio.requested."""

        client_id: str
        risk_profile: str
        amount_usd: Decimal
        horizon_years: int

    class Recommended(Aggregate.Event):
        """Record an answer; the peer of recommendation.recorded."""

        recommendation: dict[str, Any]
        model_name: str
        model_version: str

    @event(Requested)
    def __init__(self, client_id: str, risk_profile: str, amount_usd: Decimal, horizon_years: int) -> None:
        self.client_id = client_id
        self.risk_profile = risk_profile
        self.amount_usd = amount_usd
        self.horizon_years = horizon_years
        self.status = "queued"

    @event(Recommended)
    def recommend(self, recommendation: dict[str, Any], model_name: str, model_version: str) -> None:
        self.recommendation = recommendation
        self.model_name = model_name
        self.model_version = model_version
        self.status = "recommended"


class Desk(Application[UUID]):
    """The application whose events are projected."""


class ReadModels(PostgresTrackingRecorder):
    """Two tables, a row changed and the position tracked in one transaction an event."""

    def __init__(self, datastore: PostgresDatastore, **kwargs: Any) -> None:
        super().__init__(datastore, **kwargs)
        schema = Identifier(self.datastore.schema)
        self.sql_create_statements += [
            SQL(
                "CREATE TABLE IF NOT EXISTS {}.peer_requests (id uuid PRIMARY KEY, client_id text, risk_profile text,"
                " amount_usd numeric(14, 2), horizon_years integer, status text, created_at timestamptz)"
            ).format(schema),
            SQL("CREATE INDEX IF NOT EXISTS peer_requests_client ON {}.peer_requests (client_id)").format(schema),
            SQL(
                "CREATE TABLE IF NOT EXISTS {}.peer_recommendations (request_id uuid PRIMARY KEY, recommendation jsonb,"
                " model_name text, model_version text, created_at timestamptz)"
            ).format(schema),
        ]

    def add_request(self, found: Any, tracking: Tracking) -> None:
        with self.datastore.transaction(commit=True) as cursor:
            self._insert_tracking(cursor, tracking)
            cursor.execute(
                "INSERT INTO peer_requests VALUES (%s, %s, %s, %s, %s, 'queued', %s)",
                [
                    found.originator_id,
                    found.client_id,
                    found.risk_profile,
                    found.amount_usd,
                    found.horizon_years,
                    found.timestamp,
                ],
                prepare=True,
            )

    def add_recommendation(self, found: Any, tracking: Tracking) -> None:
        with self.datastore.transaction(commit=True) as cursor:
            self._insert_tracking(cursor, tracking)
            cursor.execute(
                "INSERT INTO peer_recommendations VALUES (%s, %s, %s, %s, %s)",
                [
                    found.originator_id,
                    Jsonb(found.recommendation),
                    found.model_name,
                    found.model_version,
                    found.timestamp,
                ],
                prepare=True,
            )
            cursor.execute(
                "UPDATE peer_requests SET status = 'recommended' WHERE id = %s", [found.originator_id], prepare=True
            )


class Desktop(Projection[ReadModels]):
    """Routes each event to the tables."""

    name = "desktop"
    topics = (get_topic(PortfolioRequest.Requested), get_topic(PortfolioRequest.Recommended))

    @singledispatchmethod
    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        raise AssertionError(f"an event of another type at {tracking}: {domain_event}")

    @process_event.register
    def _(self, domain_event: PortfolioRequest.Requested, tracking: Tracking) -> None:
        self.view.add_request(domain_event, tracking)

    @process_event.register
    def _(self, domain_event: PortfolioRequest.Recommended, tracking: Tracking) -> None:
        self.view.add_recommendation(domain_event, tracking)


def projection_rate(url: str, events: int) -> float:
    """Write `events` events into the package's tables in `url`; return the speed of its projection in events/s."""
    settings = environment(url)
    last = _fill(settings, events)
    started = perf_counter()
    with ProjectionRunner(
        application_class=Desk, projection_class=Desktop, view_class=ReadModels, env=settings
    ) as runner:
        runner.wait(last, timeout=WAIT_S)
        took = perf_counter() - started
    return events / took


def _fill(settings: dict[str, str], events: int) -> int:
    """Record requests and their answers in turn, in batches; return the last notification id."""
    desk = Desk(settings)
    last = 0
    try:
        for start in range(0, events, BATCH):
            batch = []
            for _ in range(start, min(events, start + BATCH), 2):
                found = PortfolioRequest(workload.client_name(start), "balanced", workload.AMOUNT, 12)
                found.recommend(workload.ANSWER, "builtin-model-portfolios", "1.0.0")
                batch += [desk.mapper.to_stored_event(each) for each in found.collect_events()]
            ids = desk.recorder.insert_events(batch)
            assert ids
            last = ids[-1]
    finally:
        desk.close()
    return last
