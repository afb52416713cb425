"""The programs start only on advice-ledger's own packages, and otherwise say in one line what is in their place."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from advice_ledger_start import PACKAGES
from tests.api.program import environment
from tests.paths import ROOT


def start(folder: Path, *arguments: str, module: str = "advice_ledger_start") -> subprocess.CompletedProcess[str]:
    """Run the program in another folder, which comes first on the import path, as in a user's own project."""
    env = environment() | {"PYTHONPATH": f"{folder}:{ROOT}"}
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=env, check=False, timeout=60)


def shadow(folder: Path, name: str, *, package: bool) -> Path:
    """Make a module or a package of this name that would fail loudly if it were imported."""
    path = folder / name / "__init__.py" if package else folder / f"{name}.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text("raise AssertionError('imported')\n")
    return path.parent if package else path


@pytest.mark.parametrize("package", [False, True])
@pytest.mark.parametrize("name", PACKAGES)
def test_another_module_of_that_name_is_named(name: str, package: bool, tmp_path: Path) -> None:
    """Exit 2 and one line with its place, before anything of it or of ours is imported."""
    path = shadow(tmp_path, name, package=package)
    ran = start(tmp_path, "--version")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith(f"error: Python finds another {name} at {path} before")
    assert ran.stderr.count("\n") == 1


def test_a_plain_folder_of_that_name_does_no_harm(tmp_path: Path) -> None:
    """Python prefers a package to a folder without __init__.py, and so does the check."""
    (tmp_path / "schema").mkdir()
    ran = start(tmp_path, "--version")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("advice-ledger ")


def test_the_auditors_program_needs_its_own_package_alone(tmp_path: Path) -> None:
    """A schema.py of the auditor's own does no harm; a ledger.py is named."""
    script = tmp_path / "run_verify.py"
    script.write_text("import advice_ledger_start\nadvice_ledger_start.verify()\n")
    shadow(tmp_path, "schema", package=False)
    assert start(tmp_path, "--help", module="run_verify").returncode == 0
    path = shadow(tmp_path, "ledger", package=False)
    ran = start(tmp_path, "--help", module="run_verify")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert str(path) in ran.stderr


def test_the_start_script_imports_the_standard_library_alone(tmp_path: Path) -> None:
    """Otherwise the check itself could be shadowed, or come after an import of what it checks."""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); before = set(sys.modules); import advice_ledger_start"
    code += "; print(*{name.partition('.')[0] for name in set(sys.modules) - before})"
    ran = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    assert set(ran.stdout.split()) - {"advice_ledger_start"} <= sys.stdlib_module_names
