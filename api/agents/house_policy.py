"""The house policy: a file with asset classes, horizons and model portfolios, checked when it is read."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Context, Decimal, DivisionByZero, FloatOperation, Inexact, InvalidOperation, Overflow, localcontext
from importlib.resources import files

Weights = dict[str, Decimal]  # asset class -> share of the whole, in multiples of 0.0001, in the policy's order

ZERO, ONE = Decimal(0), Decimal(1)
EXACT = Context(prec=40, traps=[Inexact, InvalidOperation, DivisionByZero, Overflow, FloatOperation])
"""Decimal context for all arithmetic: an operation that would round raises instead."""

RISK_PROFILES = ("conservative", "balanced", "aggressive")
CASH = "cash"  # the class of the constraint min_cash


class InvalidPolicyError(Exception):
    """The policy file is invalid; the message has the place and the reason."""


@dataclass(frozen=True)
class AssetClass:
    """An asset class: its name in JSON, its label for people, and True for `equity` if max_equity counts it."""

    name: str
    label: str
    equity: bool


@dataclass(frozen=True)
class Horizon:
    """A range of horizons up to and including `max_years`; the last range has no end."""

    name: str
    max_years: int | None


@dataclass(frozen=True)
class Policy:
    """A validated policy file. `sha256` is the hex digest of the file's bytes."""

    version: str
    sha256: str
    classes: tuple[AssetClass, ...]
    horizons: tuple[Horizon, ...]
    default_horizon: str
    models: Mapping[str, Mapping[str, Weights]]  # risk profile -> horizon -> weights

    def horizon(self, years: int | None) -> str:
        """Return the name of the range for a horizon in years; the default without one."""
        if years is None:
            return self.default_horizon
        return next(each.name for each in self.horizons if each.max_years is None or years <= each.max_years)

    def is_equity(self, name: str) -> bool:
        """Return True if max_equity counts this class."""
        return any(each.equity for each in self.classes if each.name == name)

    def equity_share(self, weights: Weights) -> Decimal:
        """Sum the weights of the classes that max_equity counts."""
        return sum((weights[each.name] for each in self.classes if each.equity), ZERO)

    def labels(self, names: Iterable[str]) -> str:
        """Join the labels of these classes, in the policy's order."""
        chosen = set(names)
        return ", ".join(each.label for each in self.classes if each.name in chosen)


def load_policy(raw: bytes | None = None) -> Policy:
    """Read and validate a policy file, the packaged one by default. Raises InvalidPolicyError."""
    if raw is None:
        raw = files("api.agents").joinpath("house_policy.json").read_bytes()
    try:
        document = _object(json.loads(raw, object_pairs_hook=_no_duplicates), "policy")
    except (ValueError, RecursionError) as error:
        raise InvalidPolicyError(f"policy: not a JSON document: {error}") from error
    version = _text(document, "version", "policy")
    classes = _classes(document)
    horizons = _horizons(document)
    default = _text(document, "default_horizon", "policy")
    _need(default in {each.name for each in horizons}, "policy.default_horizon", f"unknown horizon {default!r}")
    models = _models(_object(document.get("models"), "models"), classes, horizons)
    return Policy(version, hashlib.sha256(raw).hexdigest(), classes, horizons, default, models)


def _classes(document: dict[str, object]) -> tuple[AssetClass, ...]:
    classes = tuple(_class(item, at) for item, at in _items(document, "asset_classes"))
    by_name = {each.name: each for each in classes}
    _need(len(by_name) == len(classes), "asset_classes", "a name appears twice")
    _need(CASH in by_name and not by_name[CASH].equity, "asset_classes", f"needs {CASH!r}, not flagged as equity")
    return classes


def _class(item: dict[str, object], at: str) -> AssetClass:
    equity = item.get("equity")
    if not isinstance(equity, bool):
        raise InvalidPolicyError(f"{at}.equity: expected true or false")
    return AssetClass(_text(item, "name", at), _text(item, "label", at), equity)


def _horizons(document: dict[str, object]) -> tuple[Horizon, ...]:
    horizons = tuple(_horizon(item, at) for item, at in _items(document, "horizons"))
    *ends, last = [each.max_years for each in horizons]
    bounded = [end for end in ends if end is not None]
    _need(len({each.name for each in horizons}) == len(horizons), "horizons", "a name appears twice")
    _need(last is None and len(bounded) == len(ends), "horizons", "the last, and only it, has max_years null")
    _need(bounded == sorted(set(bounded)) and min(bounded, default=1) >= 1, "horizons", "max_years must rise from 1")
    return horizons


def _horizon(item: dict[str, object], at: str) -> Horizon:
    years = item.get("max_years")
    if years is not None and (not isinstance(years, int) or isinstance(years, bool)):
        raise InvalidPolicyError(f"{at}.max_years: expected an integer or null")
    return Horizon(_text(item, "name", at), years)


def _models(
    document: dict[str, object], classes: tuple[AssetClass, ...], horizons: tuple[Horizon, ...]
) -> dict[str, dict[str, Weights]]:
    names, buckets = [each.name for each in classes], [each.name for each in horizons]
    _same("models", document, RISK_PROFILES)
    models: dict[str, dict[str, Weights]] = {}
    for profile in RISK_PROFILES:
        row = _object(document[profile], f"models.{profile}")
        _same(f"models.{profile}", row, buckets)
        models[profile] = {name: _weights(row[name], names, f"models.{profile}.{name}") for name in buckets}
    return models


def _weights(value: object, names: list[str], at: str) -> Weights:
    model = _object(value, at)
    _same(at, model, names)
    weights: Weights = {}
    for name in names:
        text = _text(model, name, at)
        _need(re.fullmatch(r"[01]\.[0-9]{4}", text) is not None, f"{at}.{name}", f"{text!r} is not like '0.2500'")
        weights[name] = Decimal(text)
    with localcontext(EXACT):
        total = sum(weights.values(), ZERO)
    _need(total == ONE, at, f"weights sum to {total}, not 1")
    return weights


def _need(condition: bool, at: str, problem: str) -> None:
    if not condition:
        raise InvalidPolicyError(f"{at}: {problem}")


def _same(at: str, names: Iterable[str], expected: Iterable[str]) -> None:
    unknown, missing = sorted(set(names) - set(expected)), sorted(set(expected) - set(names))
    _need(not unknown, at, f"unknown {', '.join(unknown)}")
    _need(not missing, at, f"missing {', '.join(missing)}")


def _no_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Refuse repeated members, of which a JSON reader would silently take the last."""
    names = [name for name, _ in pairs]
    repeated = sorted({name for name in names if names.count(name) > 1})
    _need(not repeated, "policy", f"repeated {', '.join(repeated)}")
    return dict(pairs)


def _object(value: object, at: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise InvalidPolicyError(f"{at}: expected an object")
    return value


def _items(document: dict[str, object], member: str) -> list[tuple[dict[str, object], str]]:
    value = document.get(member)
    if not isinstance(value, list) or not value:
        raise InvalidPolicyError(f"{member}: expected a non-empty array")
    return [(_object(item, f"{member}[{i}]"), f"{member}[{i}]") for i, item in enumerate(value)]


def _text(owner: dict[str, object], member: str, at: str) -> str:
    value = owner.get(member)
    if not isinstance(value, str) or not value.strip():
        raise InvalidPolicyError(f"{at}.{member}: expected a non-empty string")
    return value
