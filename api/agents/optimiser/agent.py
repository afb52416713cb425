"""Optimise a portfolio with skfolio on real prices: an example of an auditable numeric model.

The optimiser divides the part in stocks. The size of that part follows from the risk profile and the constraints, in
exact decimals. Needs the extra `optimise`. See docs/use/agents.md.

The texts in an answer are part of the agent's version: a changed text needs a new RULES_VERSION.
"""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal, localcontext
from functools import lru_cache
from importlib.metadata import version as installed
from threading import Lock
from typing import Any

from api.agents.history import UNREAD_RESPONSE, earlier_report, was_returned
from api.agents.house_policy import CASH, EXACT, ONE, Weights, load_policy
from api.agents.limits import CENT, WEIGHT_UNIT, Limits, apportion, check_request, read_limits
from api.agents.optimiser import prices
from api.agents.prompt import as_shown, canonical_text, user_message
from api.agents.protocol import JSON, AgentAnswer, AgentRefused, AgentRequest
from api.extras import needs_extra
from ledger.domain.answer_schemas import ALLOCATIONS
from schema.events import CallStart, Shown

NAME = "skfolio-optimiser"
RULES_VERSION = "1.0.0"
ASSETS = 20
STOCKS = "us_equity"  # the asset class of all its holdings except cash
MILLION = 1_000_000
SOLVER = "CLARABEL"
FITTING = Lock()  # cvxpy is not documented to be thread-safe
LIBRARIES = ("skfolio", "cvxpy-base", "clarabel", "numpy", "scipy")


@dataclass(frozen=True)
class Objective:
    """The objective of a risk profile: its name, its description, and the part of the money in stocks."""

    name: str
    words: str
    stocks: Decimal


OBJECTIVES = {
    "conservative": Objective(
        "minimum-variance",
        "The least variance of daily returns, with no stock above {cap} of the stocks",
        Decimal("0.3000"),
    ),
    "balanced": Objective("risk-parity", "Each stock contributes the same share of the variance", Decimal("0.6000")),
    "aggressive": Objective(
        "mean-variance-utility",
        "The greatest mean minus twice the variance of daily returns, the means shrunk towards each other "
        "(James-Stein), with no stock above {cap} of the stocks",
        Decimal("0.9000"),
    ),
}

LIMITATIONS = (
    "This comes from an optimiser. It is not a language model and it does not reason about the client.",
    "It is not investment advice: a person has to judge it and answer for it.",
    "The prices are an old sample of stocks chosen because they survived: results look better than they were.",
    "Two years of past returns say little about future ones. Fees, taxes and trading costs are not considered.",
    "Horizon, objectives and notes are not read.",
    "Earlier recommendations change no figure: what would change against the last one that stands is only reported.",
)


class OptimiserAgent:
    """Divides money between stocks and cash on the prices known at `until`. Safe in threads.

    `until` is by default the last day of the data. `assets` is the number of stocks to use, by symbol. Fits are cached,
    so a second request with the same objective is fast.
    """

    name: str = NAME
    answer_schema: str = ALLOCATIONS
    deterministic: bool = True
    timeout_s: float = 30.0

    def __init__(self, until: date | None = None, *, assets: int = ASSETS) -> None:
        """Read the prices. Raises ValueError if there are none for these arguments, MissingExtra without the extra."""
        self.until = until or prices.last_date()
        self.assets = assets
        self._window = prices.window(self.until, assets)
        self._policy = load_policy()
        self._libraries: dict[str, JSON] = {name: installed(name) for name in LIBRARIES}
        digest = prices.table_sha256()[:8]
        # The model is the same for every day. To give an answer again, the agent also needs the day.
        self.model_version = f"{RULES_VERSION}+sp500.{digest}.assets.{assets}"
        self.version: str = f"{self.model_version}.until.{self.until.isoformat()}"

    def prepare(self, request: AgentRequest) -> CallStart:
        """Return the request, and the prices by digest, as a call. Raises AgentRefused if these are not JSON."""
        window = self._window
        return CallStart(
            provider_name="skfolio",
            operation_name="invoke_agent",
            request_model=NAME,
            request_parameters=self._parameters(request),
            input_messages=user_message(canonical_text(as_shown(request))),
            shown=[Shown(kind="price-table", id=f"sp500/{window.first}/{window.last}", sha256=window.sha256)],
        )

    def answer(self, request: AgentRequest, call: CallStart) -> AgentAnswer:  # noqa: ARG002 - the request is enough
        """Return weights that sum to exactly 1 and amounts that sum to the requested one. Raises AgentRefused."""
        with localcontext(EXACT):
            check_request(request)
            objective = OBJECTIVES[request.risk_profile]
            stocks, rules = _in_stocks(objective, read_limits(self._policy, request.constraints))
            weights = self._weights(objective, stocks)
            amounts = apportion(request.amount_usd, weights, CENT)
            report = earlier_report(request, weights)
        allocations: list[JSON] = [
            {"asset": name, "weight": f"{weights[name]:.4f}", "amount_usd": f"{amounts[name]:.2f}"} for name in weights
        ]
        recommendation: dict[str, JSON] = {
            "kind": "optimised-portfolio",
            "objective": objective.name,
            "summary": self._summary(objective, stocks),
            "allocations": allocations,
            "rules": [objective.words.format(cap=_cap(self.assets)) + ".", *rules],
            "prices": self._prices(),
            "earlier": report,
            "limitations": [*LIMITATIONS, *([UNREAD_RESPONSE] if was_returned(request) else [])],
        }
        return AgentAnswer(
            recommendation=recommendation,
            model_name=NAME,
            model_version=self.model_version,
            parameters=self._parameters(request),
        )

    def _weights(self, objective: Objective, stocks: Decimal) -> Weights:
        shares = dict(fit(objective.name, self.until, self.assets))
        split = apportion(stocks, {name: Decimal(share) for name, share in shares.items()}, WEIGHT_UNIT)
        return {**split, CASH: ONE - stocks}

    def _parameters(self, request: AgentRequest) -> dict[str, JSON]:
        objective = OBJECTIVES.get(request.risk_profile)
        return {
            "objective": objective.name if objective else None,
            "max_weight": str(_cap(self.assets)) if objective and "{cap}" in objective.words else None,
            "assets": self.assets,
            "until": self.until.isoformat(),
            "prices": self._prices(),
            "solver": SOLVER,
            "libraries": dict(self._libraries),
        }

    def _prices(self) -> dict[str, JSON]:
        window = self._window
        return {
            "first": window.first.isoformat(),
            "last": window.last.isoformat(),
            "returns": prices.WINDOW,
            "sha256": window.sha256,
        }

    def _summary(self, objective: Objective, stocks: Decimal) -> str:
        return (
            f"{objective.name} over {self.assets} stocks on prices up to {self._window.last}: stocks {stocks:.4f}, "
            f"cash {ONE - stocks:.4f}. Made by an optimiser: not advice."
        )


def _in_stocks(objective: Objective, limits: Limits) -> tuple[Decimal, list[str]]:
    """Return the part in stocks and the rules behind it. Raises AgentRefused for constraints it cannot keep."""
    if STOCKS in limits.excluded:
        raise AgentRefused("stocks-excluded", f"{STOCKS} is excluded, and this agent holds only that and cash")
    if CASH in limits.excluded:
        raise AgentRefused("cash-excluded", "cash is excluded, and no profile of this agent is all in stocks")
    stocks = objective.stocks
    rules = [f"The risk profile puts {stocks:.4f} into stocks and the rest into cash."]
    for name, most in (
        ("max_equity", limits.max_equity),
        ("min_cash", None if limits.min_cash is None else ONE - limits.min_cash),
    ):
        if most is not None:
            lowered = min(stocks, most)
            changed = f"stocks lowered from {stocks:.4f} to {lowered:.4f}" if lowered < stocks else "nothing to change"
            rules.append(f"{name}: stocks may be at most {most:.4f}; {changed}.")
            stocks = lowered
    return stocks, rules


def _cap(assets: int) -> Decimal:
    """Return the largest share of one stock: a fifth, or twice the average with fewer than ten stocks."""
    return max(Decimal("0.2000"), Decimal(20_000 // assets) * WEIGHT_UNIT)


@lru_cache(maxsize=256)
def fit(objective: str, until: date, assets: int) -> tuple[tuple[str, int], ...]:
    """Return each stock's share in millionths; finer digits are the solver's noise."""
    with needs_extra("advice-ledger[optimise]"):
        from skfolio.preprocessing import prices_to_returns  # type: ignore[import-untyped]  # noqa: PLC0415 - an extra, and slow to import
    table = prices.window(until, assets).prices
    model = _model(objective, float(_cap(assets)))
    with FITTING:
        model.fit(prices_to_returns(table))
    shares = [max(0, round(float(weight) * MILLION)) for weight in model.weights_]
    return tuple(zip((str(name) for name in table.columns), shares, strict=True))


def _model(objective: str, cap: float) -> Any:
    with needs_extra("advice-ledger[optimise]"):
        from skfolio import RiskMeasure  # type: ignore[import-untyped]  # noqa: PLC0415
        from skfolio.moments import ShrunkMu  # type: ignore[import-untyped]  # noqa: PLC0415
        from skfolio.optimization import MeanRisk, ObjectiveFunction, RiskBudgeting  # type: ignore[import-untyped]  # noqa: PLC0415
        from skfolio.prior import EmpiricalPrior  # type: ignore[import-untyped]  # noqa: PLC0415
    variance = RiskMeasure.VARIANCE
    if objective == "risk-parity":
        return RiskBudgeting(risk_measure=variance, solver=SOLVER)
    if objective == "minimum-variance":
        return MeanRisk(risk_measure=variance, max_weights=cap, solver=SOLVER)
    return MeanRisk(
        objective_function=ObjectiveFunction.MAXIMIZE_UTILITY,
        risk_measure=variance,
        risk_aversion=2.0,
        max_weights=cap,
        prior_estimator=EmpiricalPrior(mu_estimator=ShrunkMu()),
        solver=SOLVER,
    )
