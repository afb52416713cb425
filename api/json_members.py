"""Check the members of JSON: count them before it is parsed, and find a member that occurs twice in an object.

A parsed member takes far more memory than its bytes. RFC 8259 lets each reader choose between two members with one
name, so such an object is refused: otherwise the record could differ from the sender's own copy.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

# The longest name that an error repeats.
MOST_CHARS = 100
# A string, perhaps cut off, or a comma between members.
STRING_OR_COMMA = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|,', re.DOTALL)


def has_more_members(body: bytes, most: int) -> bool:
    """Return True if objects and lists have more than `most` members in total; stop reading as soon as this is known.

    Commas are counted. Those within strings are left out only if all commas would be too many. Objects and lists with
    one member have no comma; the parser limits how deep these nest.
    """
    if body.count(b",") < most:
        return False
    commas = 0
    for token in STRING_OR_COMMA.finditer(body):
        commas += token[0] == b","
        if commas >= most:
            return True
    return False


class Repeated(ValueError):
    """A member occurs twice in one object. The message is its name, cut off after MOST_CHARS characters."""


def check_members(body: bytes | str) -> None:
    """Check that no object of this JSON has two members of one name. Raises Repeated.

    The JSON must be well-formed. JSON that is nested too deep for this parser is refused elsewhere.
    """
    try:
        json.loads(body, object_pairs_hook=_no_value, parse_int=len, parse_float=len)
    except RecursionError:
        return


def _no_value(members: list[tuple[str, object]]) -> None:
    """Return nothing in place of an object, because its value is not needed."""
    if len(members) > 1:
        names = {name for name, _ in members}
        if len(names) < len(members):
            raise Repeated(_first_repeated(name for name, _ in members))


def _first_repeated(names: Iterable[str]) -> str:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name[:MOST_CHARS]
        seen.add(name)
    raise AssertionError("a caller has found that a name stands twice")
