"""The client's operations about endpoints and the messages to them."""

from __future__ import annotations

import pytest
from advice_ledger_client import LedgerClient, LedgerProblem

from schema.events import DeliveryAttempted, DeliveryEnded, DeliveryPlanned
from tests.api.served import Api
from tests.support import append, connect, new


def test_endpoints_and_dead_letters(fresh_api: Api) -> None:
    """An endpoint is defined, changed and disabled; a message that has failed is found and sent again, once."""
    api = fresh_api
    with LedgerClient(api.base, api.tokens["admin"]) as admin, LedgerClient(api.base, api.tokens["advisor"]) as advisor:
        made = admin.define_endpoint("desk", url="https://x.example/in", receivers=["advisor"])
        again = admin.define_endpoint("desk", url="https://x.example/in", receivers=["advisor"])
        assert [made["changed"], again["changed"], again["event"]] == [True, False, made["event"]]
        with pytest.raises(LedgerProblem, match="wrong-role"):
            advisor.define_endpoint("desk", url="https://x.example/in", receivers=["client"])
        admin.define_endpoint("desk", url="https://x.example/in", receivers=["client"], enabled=False)
        [shown] = admin.endpoints()
        assert (shown["endpoint"], shown["receivers"], shown["enabled"]) == ("desk", ["client"], False)
        with connect(api.url, "writer") as conn:
            for run in (1, 2):
                append(conn, new("delivery-", DeliveryPlanned(run=run, endpoint="desk", decisions=[1])))
            append(conn, new("delivery-1", DeliveryAttempted(attempt=1, decisions=[1], keys=[])))
            ended = DeliveryEnded(attempt=1, outcome="failed", reason="gone", status=410, final=True)
            append(conn, new("delivery-1", ended))
        assert [row["run"] for row in admin.deliveries(endpoint="desk")] == [2, 1]
        [letter] = admin.deliveries(state="failed")
        assert (letter["id"], letter["run"], letter["status"]) == (1, 1, 410)
        first = admin.resend_delivery(1, reason="It is back.", idempotency_key="back")
        assert admin.resend_delivery(1, reason="It is back.", idempotency_key="back") == first
        with pytest.raises(LedgerProblem, match="delivery-not-failed"):
            admin.resend_delivery(1, reason="Once more.")
