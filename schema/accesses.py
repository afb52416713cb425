"""The event about reading: who was shown data of clients, who exported it, and who was refused."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from schema.event_base import Event
from schema.fields import Code, Count, Name, Position

# The most rows of a page, so that an event can name everything that a list showed.
MOST_SHOWN = 200
Numbers = Annotated[list[Position], Field(min_length=1, max_length=MOST_SHOWN)]


class AccessRecorded(Event):
    """A person reads data of clients, exports it, or is refused. In a stream `access-YYYY-MM-DD-PART`, on UTC days.

    Recorded before the answer. It names numbers and shapes, never what a filter said or a row showed.
    """

    type = "access.recorded"
    schema_version = 1

    subject: Name
    role: Code
    # The number of the credential within its subject, if the subject has several.
    credential: Count | None = None
    action: Literal["read", "export", "refused"]
    # Method and route template, such as "GET /decisions/{decision_id}"; or the command.
    resource: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    # The names of the filters and options in use.
    parameters: Annotated[list[Annotated[str, StringConstraints(max_length=100)]], Field(max_length=50)] | None = None
    # The requests whose data is shown. Those that this subject was shown in the same way in the same minute stand in
    # an earlier event.
    requests: Numbers | None = None
    # The clients, by number, whose data is shown that belongs to no request: of the register, portfolios, holds.
    clients: Numbers | None = None
    # The number of rows of the answer; for an export, of the requests or positions it is about.
    rows: Count | None = None
    # For a refusal: the last part of the problem's type.
    reason: Code | None = None
