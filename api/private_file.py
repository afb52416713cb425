"""Create new files that only their owner can read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def private_file(path: Path) -> Iterator[BinaryIO]:
    """Open a new file that only its owner can read; remove it if the block fails.

    Raises OSError, FileExistsError among them, and ValueError for an invalid name.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    complete = False
    try:
        with os.fdopen(handle, "w+b") as file:
            yield file
        complete = True
    finally:
        if not complete:
            path.unlink(missing_ok=True)
