"""Read the events of a history from its file: lines of NDJSON, or an evidence bundle."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ledger.imports.history import BadLine, HistoryEvent
from ledger.imports.lines import MOST_LINE_BYTES, read_line
from ledger.proof.bundle import manifest
from ledger.proof.bundle.zip import members

# A line that is not an event: its file, its number, and its fault.
NoEvent = tuple[str, int, BadLine]
ZIP = b"PK\x03\x04"
# Names of sources and files. They are in clear in each event, for good.
SOURCE_NAME = re.compile(r"[a-z0-9][a-z0-9._@:/-]{0,99}")
FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+@ -]{0,199}")


def read(path: Path) -> Iterator[HistoryEvent | NoEvent]:
    """Yield the event of each line, or the fault of the line. Raises OSError, BundleError."""
    with path.open("rb") as file:
        is_bundle = file.read(len(ZIP)) == ZIP
        file.seek(0)
        lines = members(file, manifest.ALLOWED)[manifest.EVENTS].lines(MOST_LINE_BYTES) if is_bundle else lines_of(file)
        for number, line in enumerate(lines, 1):
            try:
                yield read_line(line, path.name, number)
            except BadLine as error:
                yield path.name, number, error


def lines_of(file: BinaryIO) -> Iterator[bytes]:
    """Yield the lines. A line that is too long is cut off, so it is invalid JSON and the last one."""
    for line in iter(lambda: file.readline(MOST_LINE_BYTES), b""):
        yield line.rstrip(b"\r\n")
        if len(line) == MOST_LINE_BYTES:
            return
