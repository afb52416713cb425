"""Read facts from Markdown pages: their tables, the names in code, the text below a heading."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

# A block of lines that begin with a vertical bar: header, ruler, rows.
TABLE = re.compile(r"^\|.*\n\|[-|: ]+\|?\n(?:\|.*\n?)*", re.MULTILINE)


@dataclass(frozen=True)
class Table:
    """A table of a page: the titles of its columns, and its rows, each by title."""

    titles: tuple[str, ...]
    rows: tuple[dict[str, str], ...]

    def cells(self) -> list[list[str]]:
        """Return the rows, each as a list of cells."""
        return [[row[title] for title in self.titles] for row in self.rows]


def tables(page: str) -> list[Table]:
    """Return all tables of a page, in order. Columns without a title are named by their number, from 0."""
    found = []
    for block in TABLE.findall(page):
        header, _, *rows = block.splitlines()
        titles = tuple(title or str(number) for number, title in enumerate(_cells(header)))
        found.append(Table(titles, tuple(dict(zip(titles, _cells(row), strict=True)) for row in rows)))
    return found


def table_with(page: str, *titles: str) -> Table:
    """Return the first table of a page that has columns with these titles. Raises AssertionError if none has."""
    for table in tables(page):
        if set(titles) <= set(table.titles):
            return table
    raise AssertionError(f"the page has no table with the columns {', '.join(titles)}")


def code(text: str) -> list[str]:
    """Return the texts between backticks, in order."""
    return re.findall(r"`([^`]+)`", text)


def is_named(name: str, text: str) -> bool:
    """Tell whether the text has this name between backticks or double quotes."""
    return f"`{name}`" in text or f'"{name}"' in text


def headed(page: str, *names: str) -> str:
    """Return the text below the one heading that has each of these names in code, up to the next heading of its level.

    Raises AssertionError if there is not exactly one such heading.
    """
    found = []
    for heading in re.finditer(r"^(#+) (.+)$", page, re.MULTILINE):
        if set(names) <= set(code(heading[2])):
            rest = page[heading.end() :]
            found.append(re.split(rf"^#{{1,{len(heading[1])}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0])
    assert len(found) == 1, f"{len(found)} headings have {names}"
    return found[0]


def words_of(text: str, words: Sequence[str]) -> set[str]:
    """Return those of the words, or phrases, that the text has; a longer one counts instead of a shorter one in it."""
    left, found = text, set()
    for word in sorted(words, key=len, reverse=True):
        pattern = rf"\b{re.escape(word)}\b"
        if re.search(pattern, left):
            found.add(word)
            left = re.sub(pattern, " ", left)
    return found


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().removeprefix("|").removesuffix("|").split("|")]
