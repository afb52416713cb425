"""Forget the alerts about which runs have nothing left to do, so that a run costs the same however many there were."""

from __future__ import annotations

from dataclasses import replace

from ledger.domain.monitoring.portfolio import Portfolio, Watched


def for_runs(state: Portfolio) -> Portfolio:
    """Return the state of a portfolio without alerts that no later run looks at.

    A settled alert is one of them once the next one of its rule and subject is settled too.
    """
    last = {key: state.alerts[number] for key, number in state.newest.items()}
    left = {
        number: one
        for number, one in state.alerts.items()
        if one is last[one.key] or not (is_settled(one) and is_settled(last[one.key]))
    }
    return replace(state, alerts=left)


def is_settled(watched: Watched) -> bool:
    """Return True for a closed alert whose close nobody is still to be told of."""
    return not watched.alert.is_open and (watched.close_decided or not (watched.told or watched.waited))
