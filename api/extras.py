"""Handle optional dependencies: fail with the `pip install` command when one is absent."""

from contextlib import AbstractContextManager
from types import TracebackType


class MissingExtra(Exception):
    """An optional dependency is not installed; the message has the command that installs it."""


class needs_extra(AbstractContextManager["needs_extra"]):  # noqa: N801 - reads as a function
    """Turn a failed import in the block into MissingExtra. `requirement` is the argument for `pip install`."""

    def __init__(self, requirement: str) -> None:
        self._requirement = requirement

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, ModuleNotFoundError):
            raise MissingExtra(f"{error.name} is not installed: pip install '{self._requirement}'") from error
