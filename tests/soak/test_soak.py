"""The judgement of a soak: growth, a loss, a command there twice, and a person who was needed are failures."""

from __future__ import annotations

import re

import pytest

from tests.soak.__main__ import show_kills, show_memory
from tests.soak.kills import Kills
from tests.soak.memory import Memory


def growing(per_minute_mb: float) -> Memory:
    """An hour of memory that rises at first, as caches fill, and then by this much a minute."""
    return Memory([(s, 90 + min(s, 600) / 60 + per_minute_mb * s / 60) for s in range(0, 3600, 5)], answers=9)


@pytest.mark.parametrize(("per_minute_mb", "flat"), [(0, True), (0.02, True), (0.5, False), (1.2, False)])
def test_memory_that_grows_fails(per_minute_mb: float, flat: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """What is used once counts as settling; what grows after that does not."""
    assert show_memory(growing(per_minute_mb)) is flat
    assert "MB after settling" in capsys.readouterr().out


def test_requests_that_fail_are_failures(capsys: pytest.CaptureFixture[str]) -> None:
    """Under mixed load each caller that waits for an answer gets one."""
    memory = growing(0)
    memory.errors = ["_report: ReadTimeout"]
    assert not show_memory(memory)
    assert "failed: _report" in capsys.readouterr().out


@pytest.mark.parametrize("wrong", [{}, {"lost": 1}, {"doubled": 1}, {"unrecovered": ["round 1"]}, {"errors": ["500"]}])
def test_a_round_is_good_if_nothing_is_lost(wrong: dict[str, object], capsys: pytest.CaptureFixture[str]) -> None:
    """The table has each fault with its recoveries, and the totals."""
    kills = Kills({"kill -9 of serve": [1.0, 2.0]}, [0.5, 0.75], acknowledged=40, **wrong)  # type: ignore[arg-type]
    assert show_kills(kills) is not bool(wrong)
    table = capsys.readouterr().out
    assert "kill -9 of serve" in table
    assert re.search(r"the start alone of a killed serve +2 +0\.5 +0\.6 +0\.8", table)
