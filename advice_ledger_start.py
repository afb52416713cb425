"""Start a program of advice-ledger, once it is certain that Python would import the packages of advice-ledger.

The packages `schema`, `ledger`, `projections` and `api` have common names. A module of such a name that comes earlier
on the import path, from PYTHONPATH or the working directory, would be imported in their place. So the check must come
before any import of ours. This module has a name of its own and imports only the standard library.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path

PACKAGES = ("schema", "ledger", "projections", "api")
# The packages are installed beside this file, as they are in a clone.
HOME = Path(__file__).resolve().parent


def main() -> None:
    """Run `advice-ledger`."""
    _run("api.cli", PACKAGES)


def verify() -> None:
    """Run `advice-ledger-verify`, which needs the package `ledger` alone."""
    _run("ledger.proof.auditor.__main__", ("ledger",))


def _run(module: str, packages: Iterable[str]) -> None:
    for name in packages:
        found = _place(name)
        if found != HOME / name:
            sys.stderr.write(
                f"error: Python finds another {name} at {found} before advice-ledger's own, {HOME / name}: start the"
                " program elsewhere, or with another PYTHONPATH\n"
            )
            raise SystemExit(2)
    importlib.import_module(module).main()


def _place(name: str) -> Path | None:
    """Return the folder of a package, or the file of a module, that `import name` would load. Nothing is imported."""
    spec = importlib.util.find_spec(name)
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations))).resolve()
    return Path(spec.origin or "").resolve()


if __name__ == "__main__":
    main()
