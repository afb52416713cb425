"""The words of sealed values made a second time, in plain Python."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any
from unicodedata import category, normalize

import orjson

from tests.projections.naive import Entry, Row

# Scripts whose words have no spaces between: Thai to Burmese, Khmer, Chinese and Japanese, Korean.
SPACELESS = (
    (0x0E00, 0x109F),
    (0x1780, 0x17FF),
    (0x3005, 0x31FF),
    (0x3400, 0x9FFF),
    (0xAC00, 0xD7AF),
    (0xF900, 0xFAFF),
    (0x20000, 0x3FFFF),
)

# The letters that a search finds in the other case: of the Latin, Greek, Cyrillic and Armenian scripts.
CASED = ((0x41, 0x24F), (0x370, 0x3FF), (0x400, 0x58F), (0x1E00, 0x1FFF))


def event_texts(history: Iterable[Entry]) -> list[Row]:
    """Return the rows, in the order of id."""
    return [_row(entry) for entry in history if entry.commitments]


def _row(entry: Entry) -> Row:
    sealed = {name: getattr(entry.event, name) for name in type(entry.event).sealed}
    return {
        "stream": entry.at.stream,
        "id": entry.at.position,
        "words": as_tsvector(words({name: value for name, value in sealed.items() if value is not None})),
        "created_at": entry.recorded_at,
    }


def words(value: Any) -> list[str]:
    """Return the words of all texts in a JSON value, in the order in which jsonb has them."""
    return list(_tokens(" ".join(_texts(orjson.loads(orjson.dumps(value, default=_dumped))))))


def _dumped(value: Any) -> Any:
    return value.model_dump(mode="json", exclude_none=True) if hasattr(value, "model_dump") else str(value)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)
    elif isinstance(value, dict):
        # jsonb sorts names by their length in bytes, then by these.
        for name in sorted(value, key=lambda text: (len(text.encode()), text.encode())):
            yield from _texts(value[name])


def letters(text: str) -> str:
    """Return the text with the letters of CASED in lower case."""
    lower = "".join(_lower(each) for each in normalize("NFKC", text))
    return lower.replace("ß", "ss").replace("\u03c2", "\u03c3")


def _lower(letter: str) -> str:
    lower = letter.lower()
    return lower if len(lower) == 1 and any(first <= ord(letter) <= last for first, last in CASED) else letter


def is_word(letter: str) -> bool:
    """Say whether a character is a part of words. Of those beyond U+FFFF all are, but for pictures."""
    return not "\U0001f000" <= letter <= "\U0001faff" if letter > "\uffff" else category(letter)[0] in "LMN"


def _tokens(text: str) -> Iterator[str]:
    for run in re.split(r"\s+", "".join(each if is_word(each) else " " for each in letters(text))):
        word = ""
        for place, letter in enumerate(run):
            if not _spaceless(letter):
                word += letter
                continue
            if word:
                yield word
                word = ""
            following = run[place + 1 : place + 2]
            yield letter + following if following and _spaceless(following) else letter
        if word:
            yield word


def _spaceless(letter: str) -> bool:
    return any(first <= ord(letter) <= last for first, last in SPACELESS)


def as_tsvector(found: list[str]) -> str:
    """Write words with their places as PostgreSQL does."""
    places: dict[str, list[int]] = {}
    for place, word in enumerate(found, 1):
        places.setdefault(word, []).append(place)
    return " ".join(f"'{word}':{','.join(map(str, places[word]))}" for word in sorted(places, key=str.encode))
