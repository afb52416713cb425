"""Words of texts in any script: what the database makes of them is what plain Python makes, and a search finds them."""

from __future__ import annotations

import itertools
import json
import unicodedata
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.database import Connection
from tests.projections.naive_texts import CASED, as_tsvector, is_word, words
from tests.support import connect, fresh_ledger

# Letters of several scripts, what stands between words, and letters that change with their form.
SCRIPTS = "abZ9ÄößÉñŁΣςЖяԱ日本株価カタabcก็ำລາမြ한글العربהדנ१२ﬁＡ①"
BETWEEN = " \u2013-.,'\"\\/()[]*:&|!<>“”。、・€🙂\t\n"
TEXTS = st.text(st.sampled_from(SCRIPTS + BETWEEN), max_size=40)
QUERY = "SELECT search_words(%s::jsonb) @@ search_query(%s)"


@pytest.fixture(scope="module")
def conn(server_url: str) -> Iterator[Connection]:
    """A connection in the role that reads."""
    with fresh_ledger(server_url) as url, connect(url, "reader") as conn:
        yield conn


def found(conn: Connection, text: str, asked: str) -> bool:
    """Say whether a search finds a text."""
    row = conn.execute(QUERY, [to_json(text), asked]).fetchone()
    assert row is not None
    return bool(row[0])


def to_json(text: str) -> str:
    """Return JSON with the text in it."""
    return json.dumps({"notes": text})


def test_words_are_those_of_plain_python(conn: Connection) -> None:
    """For texts of any letters, marks and symbols, also deep in lists and objects."""

    @settings(max_examples=150, deadline=None)
    @given(st.recursive(TEXTS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3)))
    def check(value: object) -> None:
        row = conn.execute("SELECT search_words(%s::jsonb)", [json.dumps({"a": value})]).fetchone()
        assert row == (as_tsvector(words({"a": value})),)

    check()


def test_words_of_letters_and_digits_stay_whole(conn: Connection) -> None:
    """Whatever a parser takes for a number with an exponent: every text of these letters; and 256 places of a word."""
    texts = ["".join(each) for size in range(6) for each in itertools.product("ae0 ", repeat=size)]
    texts += ["b " * 256, "it's \\ 'so' \t1e5x", "ab-1.5e3/x_9@c.de:80?q=&lt;"]
    query = "SELECT search_words(to_jsonb(text)) FROM unnest(%s::text[]) WITH ORDINALITY given(text, n) ORDER BY n"
    assert [row[0] for row in conn.execute(query, [texts])] == [as_tsvector(words(text)) for text in texts]


def test_a_text_is_found_by_each_part_of_it(conn: Connection) -> None:
    """By any run of words or letters in it, in upper or lower case; not by a word that it does not have."""

    @settings(max_examples=100, deadline=None)
    @given(data=st.data())
    def check(data: st.DataObject) -> None:
        parts = data.draw(st.lists(st.sampled_from(PARTS), min_size=1, max_size=6))
        text = " ".join(parts)
        part = data.draw(st.sampled_from(parts))
        assert found(conn, text, part)
        assert found(conn, text, part.upper() if len(part.upper()) == len(part) else part)
        assert found(conn, text, " ".join(reversed(parts)))
        assert not found(conn, text, f"{part} missing")

    check()


PARTS = (
    "bonds",
    "risk-averse",
    "Zürich",
    "Größe",
    "ΣΟΦΟΣ",
    "Москва",
    "資産配分",
    "ポートフォリオ",
    "ความเสี่ยง",
    "한국어",
    "سندات",
    "60/40",
)


@pytest.mark.parametrize(
    ("text", "asked", "is_found"),
    [
        ("diversification matters", "diversif*", True),
        ("diversification matters", "diversif", False),
        ("risk is averse", "risk-averse", False),
        ("our risk-averse client", "risk-averse", True),
        ("資産の配分", "資産配分", False),
        ("国際資産配分表", "配分", True),
        ("国際資産配分表", "表", True),
        ("国際資産配分表", "資", True),
        ("国際資産配分表", "分配", False),
        ("it's 'quoted' \\ and & (odd) | !", "quoted odd", True),
        ("\uff26\uff55\uff4c\uff4c width", "full WIDTH", True),
        ("STRASSE", "Straße", True),
        ("x", "'; DROP TABLE events; --", False),
        ("x", "x' | 'y", False),
    ],
)
def test_a_search_means_what_it_says(conn: Connection, text: str, asked: str, is_found: bool) -> None:
    """Words anywhere, what is written together together, and nothing of a query is an operator."""
    assert found(conn, text, asked) == is_found


def test_letters_are_those_of_unicode(conn: Connection) -> None:
    """Each letter of the scripts with two cases is found in the other case; no symbol is a word."""
    for first, last in CASED:
        for letter in map(chr, range(first, last + 1)):
            plain = unicodedata.normalize("NFKC", letter)
            if len(plain) == 1 and unicodedata.category(letter) == "Lu" and len(letter.lower()) == 1:
                assert found(conn, letter, letter.lower()), f"U+{ord(letter):04X}"
    usual = (
        *range(0x21, 0x100),
        *range(0x2010, 0x2070),
        *range(0x20A0, 0x20D0),
        *range(0x2190, 0x2C00),
        0x3001,
        0x3002,
    )
    symbols = [chr(point) for point in usual if unicodedata.category(chr(point))[0] in "PS"]
    plain_symbols = [each for each in symbols if not any(map(is_word, unicodedata.normalize("NFKC", each)))]
    row = conn.execute("SELECT search_words(%s::jsonb)", [json.dumps({"a": "".join(plain_symbols)})]).fetchone()
    assert row is not None
    assert row[0] == "", row[0]


@pytest.mark.parametrize("letter", ["資", "a ", "é", "𠀀", "1"])
def test_a_long_text_fits(conn: Connection, letter: str) -> None:
    """A value of millions of characters, of one word or of many different ones, never fails a fold."""
    for text in (letter * 1_000_000, " ".join(f"{letter}{number}" for number in range(200_000))):
        row = conn.execute("SELECT length(search_words(%s::jsonb))", [to_json(text)]).fetchone()
        assert row is not None
        assert row[0] > 0
    different = "".join(map(chr, range(0x4E00, 0x9FFF))) * 4
    assert conn.execute("SELECT length(search_words(%s::jsonb))", [to_json(different)]).fetchone() is not None
