"""What an agent needs and is not installed, said so that the reader knows what to type."""

from contextlib import AbstractContextManager
from types import TracebackType


class MissingExtra(Exception):
    """This agent needs an optional part of advice-ledger; the message says how to install it."""


class needs_extra(AbstractContextManager["needs_extra"]):  # noqa: N801 - used as a function is
    """Imports inside raise MissingExtra, naming the extra, where a package is not there."""

    def __init__(self, extra: str) -> None:
        self._extra = extra

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if isinstance(error, ModuleNotFoundError):
            raise MissingExtra(f"{error.name} is not installed: pip install 'advice-ledger[{self._extra}]'") from error
