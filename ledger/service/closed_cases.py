"""Check whether the case of a request still accepts model calls that arrive later, as exports of OpenTelemetry do."""

from __future__ import annotations

from ledger.domain import request
from ledger.domain.case import APPLY, CATEGORY, fold_case
from ledger.errors import LedgerError, NotFound, Refused
from ledger.service.execute import Executor

# The events that decide whether a case is closed. A request may have many calls, so these are not read.
DECIDING = [name for name in APPLY if not name.startswith("model-call.")]


async def takes_calls(executor: Executor, stream: str) -> int | LedgerError | None:
    """Return the version at which a request's stream accepts a call, or the reason for which it accepts none.

    Return None for a trace's stream.
    """
    if not stream.startswith(CATEGORY):
        return None
    case = fold_case(await executor.deciding(stream, DECIDING))
    try:
        request.check_not_closed(case)
    except (NotFound, Refused) as error:
        return error
    return case.version
