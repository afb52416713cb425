"""Parse the paths under which a log serves its tiles: C2SP tlog-tiles; docs/formats/tlog.md section 3."""

from __future__ import annotations

import re

from ledger.proof.tlog.merkle import MAX_SIZE
from ledger.proof.tlog.tiles import HEIGHT, WIDTH, EntryBundle, Tile, TileError, TileFlaw

MAX_PATH_CHARS = 64

_PATH = re.compile(r"tile/(entries|[0-9]{1,2})/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([0-9]{1,3}))?")


def parse_path(path: str) -> Tile | EntryBundle:
    """Read `tile/...`, without a leading slash. Only the one spelling that `path` writes is accepted."""
    match = _PATH.fullmatch(path) if len(path) <= MAX_PATH_CHARS else None
    if match is None:
        raise TileError(TileFlaw.PATH, ascii(path[:MAX_PATH_CHARS]))
    kind, number, partial = match.groups()
    index = int(re.sub("[x/]", "", number))
    width = WIDTH if partial is None else int(partial)
    found = EntryBundle(index, width) if kind == "entries" else Tile(int(kind), index, width)
    if found.path != path or not width:
        raise TileError(TileFlaw.PATH, ascii(path))
    level = found.level if isinstance(found, Tile) else 0
    if (index * WIDTH + width) << (HEIGHT * level) > MAX_SIZE:
        raise TileError(TileFlaw.RANGE, path)
    return found
