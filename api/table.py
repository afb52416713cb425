"""Tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def lines_of(header: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    """Yield a header and rows as lines with aligned columns. Lines are not cut to the width of the terminal."""
    cells = [list(header), *([str(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
