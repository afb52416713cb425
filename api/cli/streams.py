"""Wrap the standard streams of the program. Output that cannot be written is one error with one line, in every
command.

Python leaves `sys.stdout` None if the descriptor is closed, raises OSError in any place if the disk is full, and ends
with exit code 120 if the rest cannot be flushed at the end. Libraries print too, such as the help of a command. So the
streams themselves report the error, always in the same way.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator

from api.cli.shared import CannotRun, hold_notes, note


class OutputFailed(CannotRun):
    """The result cannot be written. The command may have done its work."""


@contextlib.contextmanager
def naming(what: str) -> Iterator[None]:
    """Add the name of the finished work, which stays, to the message of a failed output."""
    try:
        yield
    except OutputFailed as error:
        raise CannotRun(f"{error}; {what}") from error


@contextlib.contextmanager
def notes_after(*, result: bool = True) -> Iterator[None]:
    """Print messages after the result, so that a result that cannot be shown leaves one line.

    Without `result`, print them at once.
    """
    waiting: list[str] = []
    hold_notes(waiting if result else None)
    try:
        yield
    except CannotRun as error:
        if isinstance(error, OutputFailed) or isinstance(error.__cause__, OutputFailed):
            waiting.clear()
        raise
    finally:
        hold_notes(None)
        for text in waiting:
            note(text)


class ResultStream(io.TextIOWrapper):
    """stdout. A failed write raises OutputFailed once; later output is dropped."""

    def write(self, text: str) -> int:
        """Write. Raises OutputFailed."""
        with self._checked():
            return super().write(text)

    def flush(self) -> None:
        """Flush. Raises OutputFailed."""
        with self._checked():
            super().flush()

    @contextlib.contextmanager
    def _checked(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            _drop(self.fileno())
            raise OutputFailed(_reason(error)) from error


class MessageStream(io.TextIOWrapper):
    """stderr. Messages that cannot be written are dropped, because they change no result."""

    def write(self, text: str) -> int:
        """Write, if possible."""
        with self._dropping():
            super().write(text)
        return len(text)

    def flush(self) -> None:
        """Flush, if possible."""
        with self._dropping():
            super().flush()

    @contextlib.contextmanager
    def _dropping(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            _drop(self.fileno())


def install() -> None:
    """Install these streams. Call this before any file is opened: a file must not get the number of a closed stream."""
    # In ascending order, because the system gives the lowest free descriptor. A write to stdout then fails, as it
    # should.
    for descriptor, mode in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, mode), True)
    sys.stdout = _wrapped(ResultStream, sys.stdout, 1)
    sys.stderr = _wrapped(MessageStream, sys.stderr, 2)


def _wrapped(kind: type[io.TextIOWrapper], stream: object, descriptor: int) -> io.TextIOWrapper:
    if isinstance(stream, io.TextIOWrapper):
        buffer, encoding, errors = stream.buffer, stream.encoding, stream.errors
    else:
        buffer = io.BufferedWriter(io.FileIO(descriptor, "w", closefd=False))
        encoding, errors = "utf-8", "backslashreplace"
    return kind(buffer, encoding, errors, line_buffering=True)


def _drop(descriptor: int) -> None:
    """Discard the rest, including buffered output that is flushed at the end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _reason(error: OSError) -> str:
    if error.errno == errno.EPIPE:
        return "the output was closed before the result was complete"
    if error.errno == errno.EBADF:
        return "the output is closed, so the result cannot be shown"
    return f"the output cannot be written: {error.strerror}"
