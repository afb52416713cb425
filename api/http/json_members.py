"""Count the members of JSON before it is parsed. A parsed member takes far more memory than its bytes."""

from __future__ import annotations

import re

# A string, perhaps cut off, or a comma between members.
STRING_OR_COMMA = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|,', re.DOTALL)


def has_more_members(body: bytes, most: int) -> bool:
    """Return True if objects and lists have more than `most` members in all; stop to read as soon as this is known.

    Commas are counted, and those within strings left out only if all of them would be too many. Objects and lists with
    one member have no comma; the parser bounds how deep these nest.
    """
    if body.count(b",") < most:
        return False
    commas = 0
    for token in STRING_OR_COMMA.finditer(body):
        commas += token[0] == b","
        if commas >= most:
            return True
    return False
