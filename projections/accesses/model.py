"""Accesses to clients' data: one row for each record of a read, an export or a refusal."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Literal

from psycopg import sql
from pydantic import BaseModel

from projections.read_model import Filter, ReadModel, fixed

# A client's accesses are those to the client's requests and numbers, which are unknown once the client is erased.
OF_CLIENT = sql.SQL(
    "(model.requests && ARRAY(SELECT stream_number(c.stream, 'request-') FROM stream_clients c"
    " WHERE c.client_id = ANY (%(of_client)s))"
    " OR model.clients && ARRAY(SELECT stream_number(c.stream, 'client-') FROM stream_clients c"
    " WHERE c.client_id = ANY (%(of_client)s)))"
)

OF_REQUEST = sql.SQL("model.requests && ARRAY[%(request_id)s::bigint]")


class Access(BaseModel):
    """A record of accesses. It stands for all accesses to the same things, by the same subject, within a minute."""

    id: int
    subject: str
    role: str
    credential: int | None
    action: Literal["read", "export", "refused"]
    resource: str
    parameters: list[str] | None
    requests: list[int] | None
    clients: list[int] | None
    rows: int | None
    reason: str | None
    created_at: datetime


ACCESSES = ReadModel(
    Path(__file__).parent,
    Access,
    {**fixed("subject", "action"), "of_client": Filter(OF_CLIENT), "request_id": Filter(OF_REQUEST)},
)
