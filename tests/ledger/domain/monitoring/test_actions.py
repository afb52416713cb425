"""Corporate actions: prices as traded and holdings as of a day have the value that they had, and a twin agrees."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import uuid4

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.history import RecordedEvent
from ledger.domain.monitoring.actions import Actions, Become, fault
from ledger.domain.monitoring.arithmetic import parts
from ledger.domain.monitoring.drift import Judgement
from ledger.domain.monitoring.policy import MonitoringText
from ledger.domain.monitoring.prices import Market, read_file
from ledger.domain.monitoring.run import Conditions, judged
from schema.events import CorporateActionRecorded, Event, PricesRecorded, RecordAction
from tests.ledger.domain.monitoring.portfolios import policy

FIRST = date(2026, 3, 2)


def day(number: int) -> str:
    """Return a day; 0 is the first one."""
    return (FIRST + timedelta(days=number)).isoformat()


def recorded(*events: Event) -> list[RecordedEvent]:
    """Return events as they are read back."""
    bodies = [orjson.dumps({"data": event.model_dump(mode="json", exclude_none=True)}).decode() for event in events]
    return [
        RecordedEvent(number, uuid4(), "s", number, event.type, body)
        for number, (event, body) in enumerate(zip(events, bodies, strict=True), 1)
    ]


def action(kind: str, asset: str, number: int, **members: Any) -> CorporateActionRecorded:
    """Return an action of a day."""
    return CorporateActionRecorded.model_validate({"asset": asset, "date": day(number), "action": kind, **members})


def quoted(number: int, source: str = "ny", **amounts: str) -> PricesRecorded:
    """Return the prices of a day."""
    found = {asset: {"price": amount, "currency": "USD"} for asset, amount in amounts.items()}
    body = {"source": source, "date": day(number), "file_sha256": "0" * 64, "prices": found}
    return PricesRecorded.model_validate(body)


def market_of(*prices: PricesRecorded) -> Market:
    """Return the market of these files."""
    return Market.of(file for event in recorded(*prices) if (file := read_file(event)) is not None)


def judge_on(
    number: int,
    held: dict[str, str],
    weights: dict[str, str],
    prices: list[PricesRecorded],
    *actions: CorporateActionRecorded,
    held_on: int = 0,
    **members: Any,
) -> Judgement:
    """Judge holdings as of a day by prices and actions."""
    today = FIRST + timedelta(days=number)
    known = Actions.of(recorded(*actions), today)
    text: MonitoringText = policy(**members)
    market = market_of(*(one for one in prices if one.date <= today.isoformat()))
    conditions = Conditions(
        known.policy(text), "0" * 64, market.prices(text, today, known), market.rates_of(text, today), known
    )
    quantities: dict[str, int | None] = {asset: parts(quantity) for asset, quantity in held.items()}
    return judged(weights, quantities, "USD", conditions, day(held_on))


def value_of(judgement: Judgement) -> Fraction:
    """Return the value of a portfolio."""
    assert judgement.valuation is not None, judgement.unknown
    return Fraction(judgement.valuation.total, judgement.valuation.scale)


HALF = {"EQ": "0.5", "BD": "0.5"}
HUNDRED = {"EQ": "100", "BD": "100"}
SPLIT = action("split", "EQ", 1, ratio="2:1")


def test_the_day_of_a_split_has_the_value_of_the_day_before() -> None:
    """D17: 100 at 100 are 200 at 50, whether the price of the day is there or not yet."""
    prices = [quoted(0, EQ="100", BD="100"), quoted(1, EQ="50", BD="100")]
    after = judge_on(1, HUNDRED, HALF, prices, SPLIT)
    before_price = judge_on(1, HUNDRED, HALF, prices[:1], SPLIT)
    assert after.condition == before_price.condition == "ok"
    assert value_of(after) == value_of(before_price) == 20_000
    assert after.rows()[1]["weight"] == "0.500000000000"


def test_a_jump_is_doubtful_without_its_action_and_a_price_that_did_not_split_is_with_it() -> None:
    """D18: the price is kept, and the condition is unknown until the action, or a correction, is on record."""
    prices = [quoted(0, EQ="100", BD="100"), quoted(1, EQ="50", BD="100")]
    without = judge_on(1, HUNDRED, HALF, prices)
    assert [(one.reason, one.asset) for one in without.unknown] == [("doubtful-price", "EQ")]
    same = judge_on(1, HUNDRED, HALF, [prices[0], quoted(1, EQ="100", BD="100")], SPLIT)
    assert [(one.reason, one.asset) for one in same.unknown] == [("doubtful-price", "EQ")]
    crash = judge_on(1, HUNDRED, HALF, [prices[0], quoted(1, EQ="24", BD="100")], SPLIT)
    assert [one.reason for one in crash.unknown] == ["doubtful-price"]


def test_holdings_as_of_the_day_of_a_split_are_after_it_and_corrections_count() -> None:
    """Holdings of that evening are not split again; an action that was taken back, or has another ratio, is not it."""
    prices = [quoted(0, EQ="100", BD="100"), quoted(1, EQ="50", BD="100")]
    evening = judge_on(1, {"EQ": "200", "BD": "100"}, HALF, prices, SPLIT, held_on=1)
    assert value_of(evening) == 20_000
    back = action("split", "EQ", 1, ratio="2:1", withdrawn=True)
    assert [one.reason for one in judge_on(1, HUNDRED, HALF, prices, SPLIT, back).unknown] == ["doubtful-price"]
    other = action("split", "EQ", 1, ratio="4:1")
    assert value_of(judge_on(1, HUNDRED, HALF, [quoted(1, EQ="25", BD="100")], SPLIT, other)) == 20_000


@pytest.mark.parametrize(
    ("held", "ratio", "before", "after", "expected"),
    [
        ("100", "1:50", "2", "100", 200),  # a reverse split: the old day is 200, and never 10,000
        ("25", "5:1", "1000", "200", 25_000),  # not 5,000
        ("10", "1:3", "1", "3", 10),  # a third of a unit is exact
    ],
)
def test_what_other_tools_got_wrong(held: str, ratio: str, before: str, after: str, expected: int) -> None:
    """The value is the same before the day of the split, on it, and after it."""
    prices = [quoted(0, A=before), quoted(2, A=after)]
    split = action("split", "A", 2, ratio=ratio)
    for number in (0, 1, 2, 3):
        seen = judge_on(number, {"A": held}, {"A": "1"}, prices, split, stale_after_days=1)
        assert value_of(seen) == expected


def test_a_renamed_asset_keeps_price_target_and_rules() -> None:
    """Holdings, targets, prices and the policy name the old identifier, the feed the new one from that day on."""
    renamed = action("renamed", "OLD", 1, to="NEW")
    prices = [quoted(0, OLD="10", BD="10"), quoted(1, NEW="10.5", BD="10")]
    found = judge_on(
        1, {"OLD": "1", "NEW": "1", "BD": "2"}, {"OLD": "0.25", "NEW": "0.25", "BD": "0.5"}, prices, renamed,
        restricted=["OLD"], overrides={"OLD": {"absolute": "0.01"}},
    )  # fmt: skip
    assert [(row["asset"], row["target"], row["half_width"]) for row in found.rows()] == [
        ("BD", "0.5", "0.05"),
        ("NEW", "0.500000000000", "0.01"),
    ]
    assert value_of(found) == 41
    jumped = judge_on(1, {"NEW": "1"}, {"NEW": "1"}, [prices[0], quoted(1, NEW="100")], renamed)
    assert [one.reason for one in jumped.unknown] == ["doubtful-price"]
    assert Actions.of(recorded(renamed), FIRST).policy(policy(restricted=["OLD"])).restricted == ("OLD",)
    assert Actions.of(recorded(renamed), date.fromisoformat(day(1))).policy(policy(restricted=["OLD"])).restricted == (
        "NEW",
    )


def test_a_delisted_asset_is_unknown_unless_a_final_price_is_known() -> None:
    """Its last price does not become 0, and no later one counts; what is paid for it is a price, also 0."""
    prices = [quoted(0, EQ="100", BD="100"), quoted(1, EQ="90", BD="100")]
    assert value_of(judge_on(0, HUNDRED, HALF, prices, action("delisted", "EQ", 1))) == 20_000
    gone = judge_on(1, HUNDRED, HALF, prices, action("delisted", "EQ", 1))
    assert [(one.reason, one.asset) for one in gone.unknown] == [("delisted", "EQ")]
    for paid, expected in (("80", 18_000), ("0", 10_000)):
        final = action("delisted", "EQ", 1, price=paid, currency="USD")
        assert value_of(judge_on(9, HUNDRED, HALF, [*prices, quoted(9, BD="100")], final)) == expected


@pytest.mark.parametrize(
    ("actions", "units"),
    [
        ([("renamed", "OLD", {"to": "NEW"}), ("delisted", "OLD", {})], 1),  # the former identifier ends, not the asset
        ([("delisted", "OLD", {}), ("renamed", "OLD", {"to": "NEW"})], 1),
        ([("renamed", "OLD", {"to": "NEW"}), ("delisted", "NEW", {})], None),
        ([("renamed", "OLD", {"to": "NEW"}), ("split", "OLD", {"ratio": "2:1"})], 2),
        ([("renamed", "OLD", {"to": "NEW"}), ("split", "NEW", {"ratio": "2:1"})], 2),
        ([("renamed", "OLD", {"to": "NEW"}), ("split", "NEW", {"ratio": "3:1"}), ("delisted", "OLD", {})], 3),
        ([("renamed", "OLD", {"to": "NEW"}), ("split", "OLD", {"ratio": "2:1"}), ("delisted", "NEW", {})], None),
        ([("renamed", "OLD", {"to": "NEW", "withdrawn": True}), ("delisted", "OLD", {})], None),
    ],
)
def test_actions_of_one_day_take_place_in_order(
    actions: list[tuple[str, str, dict[str, Any]]], units: int | None
) -> None:
    """In whatever order they are recorded: a split of either identifier counts, and only the asset itself ends."""
    events = [action(kind, asset, 1, **members) for kind, asset, members in actions]
    for sent in (events, events[::-1]):
        known = Actions.of(recorded(*sent), FIRST + timedelta(days=1))
        if units is None:
            assert set(known.delisted) == {known.name("OLD")}
        else:
            assert not known.delisted
            assert known.become("OLD", day(0)) == Become("NEW", Fraction(units))
            assert known.become("OLD", day(1)) == Become("NEW")


def test_a_later_delisting_may_name_the_former_identifier() -> None:
    """It means the asset, by whatever identifier, unless it is of the day on which the identifier ended."""
    renamed, gone = action("renamed", "OLD", 1, to="NEW"), action("delisted", "OLD", 2)
    assert set(Actions.of(recorded(renamed, gone), FIRST + timedelta(days=2)).delisted) == {"NEW"}


@pytest.mark.parametrize(
    ("body", "member"),
    [
        ({"action": "split"}, "ratio"),
        ({"action": "split", "ratio": "2:1", "to": "B"}, "to"),
        ({"action": "renamed"}, "to"),
        ({"action": "renamed", "to": "A"}, "to"),
        ({"action": "delisted", "price": "1"}, "currency"),
        ({"action": "delisted", "ratio": "2:1"}, "ratio"),
    ],
)
def test_members_have_to_fit_the_kind_of_action(body: dict[str, str], member: str) -> None:
    """The member that is missing or too many is named."""
    wrong = fault(RecordAction.model_validate({"asset": "A", "date": day(0), **body}))
    assert wrong is not None
    assert wrong[0] == member


RATIOS = st.sampled_from(["2:1", "1:2", "3:2", "1:3", "7:5"])
STEPS = st.one_of(
    st.builds(lambda asset, ratio: ("split", asset, ratio), st.sampled_from("ABC"), RATIOS),
    st.builds(lambda asset, to: ("renamed", asset, to), st.sampled_from("ABC"), st.sampled_from("DE")),
)


@given(
    steps=st.lists(st.tuples(st.integers(1, 6), STEPS), max_size=5, unique_by=lambda one: (one[0], one[1][:2])),
    held=st.dictionaries(st.sampled_from("ABCDE"), st.integers(-5, 50), min_size=1),
    held_on=st.integers(0, 6),
    today=st.integers(0, 6),
)
def test_a_twin_that_walks_day_by_day_agrees(
    steps: list[tuple[int, tuple[str, str, str]]], held: dict[str, int], held_on: int, today: int
) -> None:
    """For any actions: the quantities of today are those of a book that is kept from day to day, with fractions."""
    kinds = {"split": "ratio", "renamed": "to"}
    events = [action(kind, asset, number, **{kinds[kind]: what}) for number, (kind, asset, what) in steps]
    days = FIRST + timedelta(days=today)
    quantities: dict[str, int | None] = {asset: quantity * 10**12 for asset, quantity in held.items()}
    found, times = Actions.of(recorded(*events), days).held(quantities, day(held_on))

    book = {asset: Fraction(quantity) for asset, quantity in held.items()}
    for number in range(1, today + 1):
        of_day = [step for at, step in steps if at == number]
        for kind, asset, what in sorted(of_day, key=lambda step: (step[0] == "renamed", step[1])):
            if asset not in book:
                continue
            if kind == "renamed":
                book[what] = book.get(what, Fraction(0)) + book.pop(asset)
            elif number > held_on:
                new, old = what.split(":")
                book[asset] *= Fraction(int(new), int(old))
    assert {asset: Fraction(amount or 0, times * 10**12) for asset, amount in found.items()} == book


@given(
    price=st.decimals("0.01", "1000", places=2), ratio=RATIOS, held_on=st.integers(0, 3), quoted_on=st.integers(0, 3)
)
def test_a_split_that_everybody_follows_changes_no_value(
    price: Decimal, ratio: str, held_on: int, quoted_on: int
) -> None:
    """Whether holdings and prices are of before or after it: the value is quantity times price before the split."""
    new, old = map(int, ratio.split(":"))
    held = Decimal(old * 7) if held_on < 2 else Decimal(new * 7)
    amount = price * new if quoted_on < 2 else price * old  # in units in which both are exact
    text = policy(stale_after_days=5)
    known = Actions.of(recorded(action("split", "A", 2, ratio=ratio)), FIRST + timedelta(days=3))
    market = market_of(quoted(quoted_on, A=f"{amount:f}"))
    found = market.prices(text, FIRST + timedelta(days=3), known)
    conditions = Conditions(text, "", found, market.rates_of(text, FIRST), known)
    seen = judged({"A": "1"}, {"A": parts(f"{held:f}")}, "USD", conditions, day(held_on))
    assert value_of(seen) == Fraction(price) * new * old * 7


FEW = st.integers(1, 9)
QUOTES = st.dictionaries(st.tuples(st.integers(0, 6), st.sampled_from("AB")), FEW, max_size=14)


@given(
    quotes=QUOTES,
    corrected=QUOTES,
    splits=st.dictionaries(st.tuples(st.integers(1, 6), st.sampled_from("AB")), st.tuples(RATIOS, st.booleans())),
    renamed=st.none() | st.integers(1, 6),
    today=st.integers(0, 6),
)
def test_a_twin_that_restates_the_last_price_each_day_agrees(
    quotes: dict[tuple[int, str], int],
    corrected: dict[tuple[int, str], int],
    splits: dict[tuple[int, str], tuple[str, bool]],
    renamed: int | None,
    today: int,
) -> None:
    """For any prices, corrections, splits, some of them taken back, and a new identifier: price and doubt."""
    final = {place: Fraction(price) for place, price in (quotes | corrected).items() if place[0] <= today}
    events = [action("split", asset, at, ratio=ratio) for (at, asset), (ratio, _) in splits.items()]
    events += [
        action("split", asset, at, ratio=ratio, withdrawn=True)
        for (at, asset), (ratio, withdrawn) in splits.items()
        if withdrawn
    ]
    if renamed is not None:
        events.append(action("renamed", "B", renamed, to="C"))
    text = policy(stale_after_days=9)
    known = Actions.of(recorded(*events), FIRST + timedelta(days=today))
    sent = [*quotes.items(), *corrected.items()]
    files = [quoted(at, **{_name(asset, at, renamed): str(price)}) for (at, asset), price in sent if at <= today]
    found = market_of(*files).prices(text, FIRST + timedelta(days=today), known)

    trusted: dict[str, Fraction] = {}
    last: dict[str, tuple[Fraction, bool]] = {}
    for at in range(today + 1):
        for asset in "AB":
            ratio, withdrawn = splits.get((at, asset), ("1:1", False))
            # From the day of the new identifier on, a split of the former one is none.
            if asset in last and not withdrawn and not (asset == "B" and renamed is not None and at > renamed):
                new, old = map(int, ratio.split(":"))
                factor = Fraction(old, new)
                trusted[asset] *= factor
                last[asset] = (last[asset][0] * factor, last[asset][1])
            if (price := final.get((at, asset))) is not None:
                before = trusted.get(asset, price)
                doubtful = before != price and max(before, price) >= 2 * min(before, price)
                last[asset] = (price, doubtful)
                trusted[asset] = before if doubtful else price
    assert {asset: (Fraction(one.amount) / one.units, one.doubtful) for asset, one in found.items()} == {
        _name(asset, today, renamed): one for asset, one in last.items()
    }


def _name(asset: str, at: int, renamed: int | None) -> str:
    return "C" if asset == "B" and renamed is not None and at >= renamed else asset
