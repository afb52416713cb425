"""The optimiser: exact sums, constraints kept, refusals by name, and the same bytes with any number of threads."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.agents.house_policy import load_policy
from api.agents.limits import MAX_AMOUNT_USD
from api.agents.optimiser import agent as optimiser
from api.agents.optimiser import prices
from api.agents.optimiser.agent import OBJECTIVES, OptimiserAgent
from api.agents.protocol import Agent, AgentAnswer, AgentRefused, AgentRequest
from api.extras import MissingExtra
from ledger.domain import answer_schemas
from tests.api.agents.asking import ask, earlier
from tests.paths import ROOT

UNTIL = date(2015, 12, 31)
CLASSES = [each.name for each in load_policy().classes]

shares = st.one_of(st.decimals(0, 1, places=4), st.decimals(0, 1, places=60), st.sampled_from(["0", "1"])).map(str)
requests = st.builds(
    AgentRequest,
    request_id=st.integers(1, 2**53 - 1),
    risk_profile=st.sampled_from(list(OBJECTIVES)),
    amount_usd=st.decimals(Decimal("0.01"), MAX_AMOUNT_USD, places=2),
    horizon_years=st.none() | st.integers(1, 60),
    constraints=st.fixed_dictionaries(
        {},
        optional={
            "exclude_asset_classes": st.lists(st.sampled_from(CLASSES), max_size=3),
            "max_equity": shares,
            "min_cash": shares,
        },
    ),
)


@pytest.fixture(scope="session")
def agent() -> Agent:
    """One agent for all tests, because loading the libraries takes seconds."""
    return OptimiserAgent(UNTIL)


def weights_of(answer: AgentAnswer) -> dict[str, Decimal]:
    """Return every weight, by asset."""
    rows: Any = answer.recommendation["allocations"]
    return {row["asset"]: Decimal(row["weight"]) for row in rows}


def outcome(agent: Agent, request: AgentRequest) -> AgentAnswer | AgentRefused:
    """Ask, and return a refusal as a result."""
    try:
        return ask(agent, request)
    except AgentRefused as refused:
        return refused


@given(request_=requests)
def test_answers_are_exact_and_keep_every_constraint(agent: Agent, request_: AgentRequest) -> None:
    """Any request gets exact sums within its constraints, or a refusal because of its exclusions."""
    asked: Mapping[str, Any] = request_.constraints
    excluded = set(asked.get("exclude_asset_classes", ()))
    answer = outcome(agent, request_)
    if isinstance(answer, AgentRefused):
        assert answer.reason in {"stocks-excluded", "cash-excluded"}
        assert excluded & {"us_equity", "cash"}
        return
    assert not excluded & {"us_equity", "cash"}
    recommendation: Any = answer.recommendation
    answer_schemas.check("allocations/v1", recommendation, request_.amount_usd)
    weights = weights_of(answer)
    stocks = 1 - weights["cash"]
    assert all(weight >= 0 and weight == weight.quantize(Decimal("0.0001")) for weight in weights.values())
    assert stocks <= OBJECTIVES[request_.risk_profile].stocks
    assert stocks <= Decimal(asked.get("max_equity", "1"))
    assert weights["cash"] >= Decimal(asked.get("min_cash", "0"))
    assert all(row["amount_usd"] == "0.00" for row in recommendation["allocations"] if not Decimal(row["weight"]))


@pytest.mark.parametrize("profile", ["conservative", "aggressive"])
@pytest.mark.parametrize("assets", [2, 3, 10, 20])
def test_no_stock_is_above_its_cap(profile: str, assets: int) -> None:
    """One stock has at most a fifth of the stocks, or twice the average of fewer than ten, apart from rounding."""
    cap = {2: Decimal(1), 3: Decimal("0.6666"), 10: Decimal("0.2"), 20: Decimal("0.2")}[assets]
    answer = ask(OptimiserAgent(UNTIL, assets=assets), AgentRequest(1, profile, Decimal(1000)))
    weights = weights_of(answer)
    assert len(weights) == assets + 1
    assert max(weights[name] for name in weights if name != "cash") <= cap * OBJECTIVES[profile].stocks + Decimal(
        "0.0001"
    )
    assert answer.parameters["max_weight"] == f"{cap:.4f}"


def test_objectives_do_what_they_say(agent: Agent) -> None:
    """Minimum variance has the least variance, and risk parity equal contributions to it."""
    import numpy as np

    returns = prices.window(UNTIL, 20).prices.pct_change().dropna()
    covariance = returns.cov().to_numpy()

    def share(profile: str) -> Any:
        weights = weights_of(ask(agent, AgentRequest(1, profile, Decimal(1000))))
        found = np.array([float(weights[name]) for name in returns.columns])
        return found / found.sum()

    variance = {profile: float(share(profile) @ covariance @ share(profile)) for profile in OBJECTIVES}
    assert variance["conservative"] < variance["balanced"] < variance["aggressive"]
    parity = share("balanced")
    contributions = parity * (covariance @ parity) / variance["balanced"]
    assert np.abs(contributions - 1 / 20).max() < 0.001


SCRIPT = """
import json
from datetime import date
from decimal import Decimal
from api.agents.optimiser.agent import OptimiserAgent
from api.agents.protocol import AgentRequest
agent = OptimiserAgent(date(2015, 12, 31))
found = []
for profile in ("conservative", "balanced", "aggressive"):
    request = AgentRequest(1, profile, Decimal("1234567.89"), constraints={"max_equity": "0.55"})
    answer = agent.answer(request, agent.prepare(request))
    found.append([answer.recommendation, answer.parameters, answer.model_version])
print(json.dumps(found))
"""


@pytest.mark.slow
def test_same_bytes_in_every_process(agent: Agent) -> None:
    """Neither hash randomisation nor the threads of the linear algebra change the answer."""

    def start(threads: str) -> subprocess.Popen[bytes]:
        counts = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), threads)
        environment = {**os.environ, **counts, "PYTHONHASHSEED": threads, "PYTHONPATH": str(ROOT)}
        return subprocess.Popen([sys.executable, "-c", SCRIPT], env=environment, stdout=subprocess.PIPE)

    outputs = [process.communicate()[0] for process in [start("1"), start("4")]]
    assert outputs[0]
    assert outputs[0] == outputs[1]
    assert agent.version == f"{json.loads(outputs[0])[0][2]}.until.{UNTIL.isoformat()}"


def test_many_threads_may_ask_at_once(agent: Agent) -> None:
    """Each thread gets the answer that it would get alone, also before anything is fitted."""
    asked = [AgentRequest(number, profile, Decimal(1000)) for number in range(4) for profile in OBJECTIVES]
    alone = [ask(agent, request) for request in asked]
    optimiser.fit.cache_clear()
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(lambda request: ask(agent, request), asked)) == alone


def test_the_optimiser_answers_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """The prices come from the installed package: the agent answers without a network."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a connection was about to be opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    for cache in (prices.load_table, prices.table_sha256, prices.window, optimiser.fit):
        cache.cache_clear()
    assert ask(OptimiserAgent(UNTIL), AgentRequest(1, "balanced", Decimal(10))).recommendation["allocations"]


def test_the_window_ends_at_the_given_day() -> None:
    """Prices after `until` have no effect; a holiday counts as the day before."""
    for until in (date(2008, 9, 15), date(1992, 1, 4)):
        window = prices.window(until, 20)
        assert window.last <= until
        assert len(window.prices) == prices.WINDOW + 1
    assert prices.window(date(2016, 1, 3), 20).sha256 == prices.window(UNTIL, 20).sha256
    assert prices.window(date(2016, 1, 4), 20).sha256 != prices.window(UNTIL, 20).sha256


def test_the_call_names_prices_objective_and_libraries(agent: Agent) -> None:
    """The parameters have all that is needed to compute the answer again, and `shown` has the prices."""
    call = agent.prepare(AgentRequest(1, "conservative", Decimal(10)))
    window = prices.window(UNTIL, 20)
    (shown,) = call.shown
    assert (shown.kind, shown.id, shown.sha256) == ("price-table", "sp500/2013-12-31/2015-12-31", window.sha256)
    parameters: Any = call.request_parameters
    assert parameters["objective"] == "minimum-variance"
    assert parameters["prices"] == {
        "first": "2013-12-31", "last": "2015-12-31", "returns": 504, "sha256": window.sha256,
    }  # fmt: skip
    assert set(parameters["libraries"]) == {"skfolio", "cvxpy-base", "clarabel", "numpy", "scipy"}
    assert ask(agent, AgentRequest(1, "conservative", Decimal(10))).parameters == parameters
    assert agent.version == f"1.0.0+sp500.{prices.table_sha256()[:8]}.assets.20.until.2015-12-31"


def test_a_later_day_is_no_other_model(agent: Agent) -> None:
    """The model version is the same for every day, so that reports group it; the day is a parameter."""
    later = OptimiserAgent(date(2016, 3, 31))
    request = AgentRequest(1, "conservative", Decimal(10))
    first, second = (ask(one, request) for one in (agent, later))
    assert first.model_version == second.model_version == f"1.0.0+sp500.{prices.table_sha256()[:8]}.assets.20"
    assert [answer.parameters["until"] for answer in (first, second)] == ["2015-12-31", "2016-03-31"]
    assert agent.version != later.version


def test_history_is_reported_and_changes_no_figure(agent: Agent) -> None:
    """The report lists the changes against the portfolio that stands, by asset."""
    plain = ask(agent, AgentRequest(1, "balanced", Decimal(1000)))
    before: Any = {"allocations": [{"asset": "cash", "weight": "0.4000"}, {"asset": "XOM", "weight": "0.6000"}]}
    history = (earlier(recommendation=before), earlier(request_id=1, state="returned", response="no oil"))
    answer = ask(agent, AgentRequest(1, "balanced", Decimal(1000), earlier=history))
    assert answer.recommendation["allocations"] == plain.recommendation["allocations"]
    report: Any = answer.recommendation["earlier"]
    assert report["standing"] == {"recommendation_id": 7, "state": "approved"}
    assert "cash" not in {change["name"] for change in report["changes"]}
    assert [change["from"] for change in report["changes"] if change["name"] == "XOM"] == ["0.6000"]
    assert "An advisor responded" in json.dumps(answer.recommendation["limitations"])


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"risk_profile": "reckless"}, "unknown-risk-profile"),
        ({"amount_usd": Decimal("0.001")}, "invalid-amount"),
        ({"horizon_years": 0}, "invalid-horizon"),
        ({"constraints": {"exclude_asset_classes": ["us_equity"]}}, "stocks-excluded"),
        ({"constraints": {"exclude_asset_classes": ["cash"]}}, "cash-excluded"),
        ({"constraints": {"exclude_asset_classes": ["gold"]}}, "unknown-asset-class"),
        ({"constraints": {"max_equity": "x"}}, "invalid-constraint"),
        ({"constraints": {"min_bonds": "0.1"}}, "unknown-constraint"),
    ],
)
def test_refuses_by_name(agent: Agent, members: dict[str, Any], reason: str) -> None:
    """Refusals come from answer(), so that they are recorded with a call."""
    given_: dict[str, Any] = {"request_id": 1, "risk_profile": "balanced", "amount_usd": Decimal(10)} | members
    request = AgentRequest(**given_)
    call = agent.prepare(request)
    with pytest.raises(AgentRefused) as caught:
        agent.answer(request, call)
    assert caught.value.reason == reason


def test_refuses_dates_and_numbers_without_data() -> None:
    """Two years of prices and at most twenty stocks are required."""
    with pytest.raises(ValueError, match="the first date with 504 returns is 1991-12-30"):
        OptimiserAgent(date(1991, 12, 29))
    for assets in (0, 1, 21):
        with pytest.raises(ValueError, match="not between 2 and 20"):
            OptimiserAgent(UNTIL, assets=assets)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra, the message has the command that installs it."""
    monkeypatch.setitem(sys.modules, "skfolio", None)
    monkeypatch.setitem(sys.modules, "skfolio.datasets", None)
    prices.load_table.cache_clear()
    with pytest.raises(MissingExtra, match=r"pip install 'advice-ledger\[optimise\]'"):
        prices.load_table()
