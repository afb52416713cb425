"""Define the parts of a document for people. The writers of HTML and PDF know only these parts, and no events."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

# Characters that are not seen, that turn the direction of what follows, or that have no meaning of their own (private
# use). Newline and tab are layout.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\uf8ff"
    "\ufdd0-\ufdef\ufffe\uffff\U000e0000-\U000e0fff\U000f0000-\U0010ffff]"
)


@dataclass(frozen=True)
class Heading:
    """A heading of level 1 to 3. `anchor` is the target of links; `new_page`: it begins a page when printed."""

    level: int
    text: str
    anchor: str = ""
    new_page: bool = False


@dataclass(frozen=True)
class Paragraph:
    """A paragraph. A `note` stands out."""

    text: str
    note: bool = False


@dataclass(frozen=True)
class Facts:
    """Names and values, a row each."""

    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Table:
    """A table. The first cell of a row links to its entry in `anchors`, if that is not empty."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    anchors: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verbatim:
    """A text in the letters of a typewriter, line by line."""

    text: str


Block = Heading | Paragraph | Facts | Table | Verbatim
# Parts are made one after the other, as a document may be long.
Blocks = Iterator[Block]


def visible(text: str) -> str:
    """Write each character that is not seen, or that turns the direction of a text, as its code point: [U+202E]."""
    return _UNSEEN.sub(lambda match: f"[U+{ord(match[0]):04X}]", text)
