"""House rules of the tests: they wait for conditions, prove no property by the clock, and are fast to collect."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.paths import ROOT

TESTS = ROOT / "tests"
# The benchmarks measure time, and `eventually()` polls.
FILES = [path for path in sorted(TESTS.rglob("*.py")) if "bench" not in path.parts and path.name != "support.py"]
TIMERS = ("monotonic", "perf_counter", "process_time", "thread_time", "time")
CLOCKS = {*TIMERS, *(f"{timer}_ns" for timer in TIMERS)}
SLEEPS = {"sleep", "time.sleep", "asyncio.sleep", "anyio.sleep"}
UPPER, LOWER = (ast.Lt, ast.LtE), (ast.Gt, ast.GtE)
MIN_WORDS = 3


@cache
def tree(path: Path) -> ast.Module:
    """Parse a file."""
    return ast.parse(path.read_text("utf-8"))


def sleeps(module: ast.Module) -> Iterator[int]:
    """Yield the lines that sleep. `asyncio.sleep(0)` only lets other tasks run."""
    for node in ast.walk(module):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in SLEEPS and ast.unparse(node.args[0]) != "0":
            yield node.lineno


def reads_clock(node: ast.expr) -> bool:
    """Return True for an expression such as `monotonic() - began`."""
    calls = (part.func for part in ast.walk(node) if isinstance(part, ast.Call))
    return isinstance(node, ast.BinOp) and any(ast.unparse(call).rpartition(".")[2] in CLOCKS for call in calls)


def upper_bounds(module: ast.Module) -> Iterator[int]:
    """Yield the lines that assert that something took less than some time."""
    asserted = (node.test for node in ast.walk(module) if isinstance(node, ast.Assert))
    for node in (part for test in asserted for part in ast.walk(test) if isinstance(part, ast.Compare)):
        sides = [node.left, *node.comparators]
        for left, operator, right in zip(sides, node.ops, sides[1:], strict=False):
            if (isinstance(operator, UPPER) and reads_clock(left)) or (
                isinstance(operator, LOWER) and reads_clock(right)
            ):
                yield node.lineno


def places(path: Path, lines: Iterator[int]) -> list[str]:
    """Format lines of a file."""
    return [f"{path.relative_to(ROOT)}:{line}" for line in lines]


def test_no_test_sleeps() -> None:
    """A test waits for a condition with `eventually()`, and proves an absence by counting rounds."""
    assert [place for path in FILES for place in places(path, sleeps(tree(path)))] == []


def test_no_test_asserts_that_something_was_fast() -> None:
    """A busy machine makes anything slow: bounds are counted, or kept by a clock that the test moves."""
    assert [place for path in FILES for place in places(path, upper_bounds(tree(path)))] == []


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("from time import sleep\nsleep(1)", [2]),
        ("async def f():\n    await asyncio.sleep(0.1)\n    await asyncio.sleep(0)", [2]),
        ("clock.sleep(1)", []),
    ],
)
def test_a_sleep_is_found(code: str, found: list[int]) -> None:
    """The rule finds what it forbids."""
    assert list(sleeps(ast.parse(code))) == found


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("assert time.monotonic() - began < 5", [1]),
        ("assert 1 <= monotonic() - began < 3", [1]),
        ("assert 5 > monotonic() - began", [1]),
        ("assert time.process_time() - began_s < 5", [1]),
        ("assert monotonic() - began > 1", []),
        ("assert clock.now_s - began < 5", []),
    ],
)
def test_an_upper_bound_is_found(code: str, found: list[int]) -> None:
    """The rule finds what it forbids; a lower bound holds on a slow machine too."""
    assert list(upper_bounds(ast.parse(code))) == found


def test_applications_are_built_by_fixtures() -> None:
    """An application built at import would be built again by each process that collects."""
    built = [
        f"{path.relative_to(ROOT)}:{call.lineno}"
        for path in FILES
        for statement in tree(path).body
        if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        for call in ast.walk(statement)
        if isinstance(call, ast.Call) and ast.unparse(call.func).rpartition(".")[2] == "create_app"
    ]
    assert built == []


def test_names_of_tests_say_what_holds() -> None:
    """A name has at least three words after `test_`: a subject and what holds for it."""
    short = [
        f"{path.relative_to(ROOT)}: {node.name}"
        for path in FILES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and len(node.name.split("_")) - 1 < MIN_WORDS
    ]
    assert short == []
