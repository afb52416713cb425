"""Routes that judge a recorded run again: by what was on record then, and by what is on record now.

Both judge all portfolios. They name those that the reader may read, as the lists of portfolios do, and it is on record
then who read about which clients. Of the others they have counts.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict

from fastapi import APIRouter
from fastapi.responses import Response

from api.http.auth.permissions import MayReadMonitoring, Reader
from api.http.json_route import JsonRoute
from api.http.monitoring_shapes import RunReplayed, RunWouldBe
from api.http.parameters import NoQuery, PathId, ReadOne, as_json
from api.http.problems import documented
from api.http.reading import record_all
from api.services import InjectedServices, Services
from ledger.domain.monitoring.portfolio import stream_of
from ledger.service.accesses import ClientNumber
from ledger.service.monitoring.owners import clients_of
from projections.client_scope import streams_in_scope

router = APIRouter(tags=["monitoring"], route_class=JsonRoute)


@router.get(
    "/monitoring/runs/{run}/replay", response_model=RunReplayed, responses=documented(401, 403, 404, 409, 422, 503)
)
async def replay_run(services: InjectedServices, caller: MayReadMonitoring, run: PathId, _query: NoQuery) -> Response:
    """Compute a run again and compare it with what was recorded. Roles: admin, advisor, auditor, compliance.

    Portfolios that are not the reader's to read are judged and counted, and not named.
    """
    replayed = await services.ledger.monitoring.replay(run)
    named = await _named(services, caller, [*replayed.given, *replayed.different])
    content = {
        **asdict(replayed),
        "agrees": replayed.agrees,
        "given": [name for name in replayed.given if name in named],
        "given_count": len(replayed.given),
        "different": [name for name in replayed.different if name in named],
        "different_count": len(replayed.different),
    }
    return as_json(content)


@router.get(
    "/monitoring/runs/{run}/would-be", response_model=RunWouldBe, responses=documented(401, 403, 404, 409, 422, 503)
)
async def would_be_run(services: InjectedServices, caller: MayReadMonitoring, run: PathId, _query: NoQuery) -> Response:
    """Judge a run by what is on record now, corrections included. Roles: admin, advisor, auditor, compliance.

    Portfolios that are not the reader's to read are judged and counted, and not named.
    """
    would = await services.ledger.monitoring.would_be(run)
    named = await _named(services, caller, would.different)
    content = {
        **asdict(would),
        "different": [name for name in would.different if name in named],
        "different_count": len(would.different),
        "changes": [asdict(one) for one in would.changes if one.portfolio in named],
    }
    return as_json(content)


async def _named(services: Services, reader: Reader, names: Sequence[str]) -> Collection[str]:
    """Return those of the portfolios that the reader may read, once it is on record that it does. Raises Unavailable.

    Runs are read by roles that read no portfolio, and by some that read those of their own clients only.
    """
    reach = services.access_policy.permissions["read portfolios"].get(reader.actor.role)
    shown = set(names) if reach is not None else set()
    if reach == "assigned" and (scope := reader.assigned) is not None:
        streams, patience_s = [stream_of(name) for name in names], services.ledger.patience_s
        found = await services.ledger.readers.run(lambda conn: streams_in_scope(conn, scope, streams, patience_s))
        shown = {name for name in names if stream_of(name) in found}
    if shown:
        clients = await clients_of(services.ledger.readers, sorted(shown))
        await record_all(services, reader, ReadOne(), [ClientNumber(number) for number in clients], len(shown))
    return shown
