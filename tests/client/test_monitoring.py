"""The client's operations about the inputs of monitoring."""

from __future__ import annotations

import pytest
from advice_ledger_client import LedgerClient, LedgerProblem

from tests.api.http.test_monitoring import POLICY, PORTFOLIO, run
from tests.api.served import Api


def test_inputs_are_sent_in_batches_and_recorded_once(fresh_api: Api) -> None:
    """Sent again they record nothing; a batch with a fault is refused whole, by line and field."""
    api = fresh_api
    with LedgerClient(api.base, api.tokens["admin"]) as admin, LedgerClient(api.base, api.tokens["advisor"]) as advisor:
        admin.put("/policies/monitoring/drift", POLICY)
        advisor.post("/clients", {"client_id": "Anna"})
        advisor.put("/portfolios/anna", {**PORTFOLIO, "client_id": "Anna"})
        held = {"portfolio": "anna", "as_of": "2026-03-01", "positions": {"EQ": "6", "BD": "4"}}
        assert advisor.record_holdings([held]) == {"lines": 1, "recorded": 1}
        assert advisor.record_holdings([held]) == {"lines": 1, "recorded": 0}
        with pytest.raises(LedgerProblem) as refused:
            advisor.record_holdings([{**held, "positions": {"EQ": "NaN"}}])
        assert [error["field"] for error in refused.value.errors] == ["line 1: positions.EQ"]
        split = {"asset": "EQ", "date": "2026-03-02", "action": "split", "ratio": "2:1", "source": None}
        assert admin.record_corporate_actions([split]) == {"lines": 1, "recorded": 1}
        valued = {
            "portfolio": "anna",
            "as_of": "2026-03-02",
            "source": "bank",
            "currency": "USD",
            "values": {"EQ": "1"},
        }
        assert advisor.record_valuations([valued]) == {"lines": 1, "recorded": 1}
        paid = {"reference": "7", "date": "2026-03-02", "kind": "cash-in", "amount": "5", "currency": "USD"}
        assert advisor.record_flows([{"portfolio": "anna", **paid}]) == {"lines": 1, "recorded": 1}
        [row] = advisor.flows(portfolio="anna", kind="cash-in", date="2026-03-02")
        assert (row["reference"], row["amount"], row["client_id"], row["replaced_by"]) == ("7", "5", "Anna", None)
        assert [one["amounts"] for one in advisor.valuations(client_id="Anna", source="bank")] == [{"EQ": "1"}]
        assert [one["ratio"] for one in admin.corporate_actions(asset="EQ")] == ["2:1"]
        assert advisor.flows(kind="cash-out") == advisor.valuations(valued_on="2026-03-01") == []
        run(api, "2026-03-02")
        assert advisor.would_be(1)["different"] == []
