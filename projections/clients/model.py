"""Clients: one row for each identifier that was registered, aliases included."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path

from psycopg import sql
from pydantic import BaseModel

from projections.read_model import Filter, ReadModel, changing, of_client


class AssignmentTimes(BaseModel):
    """An assignment to a subject or a group, from `since` on and before `until`; null means without that bound."""

    subject: str | None
    group: str | None
    since: datetime | None
    until: datetime | None
    position: int


class ClientRow(BaseModel):
    """An identifier of a client. It is null once it is erased. `merged_into` is the number of another row."""

    id: int
    client_id: str | None
    alias: bool
    merged_into: int | None
    merged_position: int | None
    merged_at: datetime | None
    merged_by: str | None
    assignments: list[AssignmentTimes]
    subjects: list[str]
    groups: list[str]
    registered_by: str
    created_at: datetime
    updated_at: datetime


def prefix_range(prefix: str) -> dict[str, object]:
    """Return the filters for what begins with this text: from it on, and before the next text of the same length."""
    bounds: dict[str, object] = {"prefix_from": prefix}
    for at in reversed(range(len(prefix))):
        following = ord(prefix[at]) + 1
        if following <= sys.maxunicode:
            # After the last code point before the surrogates, which are no text, comes the first one after them.
            bounds["prefix_to"] = prefix[:at] + chr(0xE000 if following == 0xD800 else following)
            break
    return bounds


CLIENTS = ReadModel(
    Path(__file__).parent,
    ClientRow,
    {
        **of_client(),
        "numbers_in_scope": Filter(sql.SQL("model.id = ANY (%(numbers_in_scope)s)")),
        # A prefix is a range in the order of code points, which the index has.
        "prefix_from": Filter(sql.SQL('model.client_id COLLATE "C" >= %(prefix_from)s')),
        "prefix_to": Filter(sql.SQL('model.client_id COLLATE "C" < %(prefix_to)s')),
        **changing("merged_into"),
        "subject": Filter(sql.SQL("model.subjects @> ARRAY[%(subject)s::text]"), changing=True),
        "group": Filter(sql.SQL("model.groups @> ARRAY[%(group)s::text]"), changing=True),
    },
    client_column="id",
)
