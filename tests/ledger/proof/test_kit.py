"""The auditor's kit stands alone, and only verifies."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator

from tests.paths import ROOT

KIT = sorted((ROOT / "ledger/proof").rglob("*.py"))
ALLOWED = {"cryptography", "orjson", "rfc8785"} | sys.stdlib_module_names


def imported(tree: ast.AST) -> Iterator[str]:
    """The names of the modules that a module imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def test_it_imports_itself_and_three_libraries() -> None:
    """An auditor installs three libraries and reads one folder."""
    for path in KIT:
        modules = set(imported(ast.parse(path.read_text("utf-8"))))
        foreign = {name for name in modules if name.partition(".")[0] not in ALLOWED}
        assert {name for name in foreign if not name.startswith("ledger.proof")} == set(), path


def test_proof_code_has_no_private_keys() -> None:
    """Private keys are in ledger/tlog: a program that verifies has none."""
    assert [path.name for path in KIT if "PrivateKey" in path.read_text("utf-8")] == []


def test_it_is_small_enough_to_read() -> None:
    """Fewer than 8,100 lines. Windows of the time of acts were the last 100."""
    assert sum(len(path.read_text("utf-8").splitlines()) for path in KIT) < 8100
