"""Write the result of a command to a new file that only its owner can read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from api.cli.shared import CannotRun
from api.private_file import private_file


@contextmanager
def new_file(output: Path) -> Iterator[BinaryIO]:
    """Open the file for the block to write; remove it if the block fails. Raises CannotRun if it cannot be written."""
    try:
        with ExitStack() as stack:
            yield _opened(stack, output)
    except OSError as error:
        raise CannotRun(f"{output}: {error.strerror}") from error


def exists_already(output: Path) -> CannotRun:
    """Return the refusal to overwrite a file."""
    return CannotRun(f"{output} exists already, and is not overwritten")


def _opened(stack: ExitStack, output: Path) -> BinaryIO:
    try:
        return stack.enter_context(private_file(output))
    except FileExistsError as error:
        raise exists_already(output) from error
    except ValueError as error:
        raise CannotRun(f"{output}: invalid file name") from error
