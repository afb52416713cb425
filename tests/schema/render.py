"""A ledger's schema as text, the same for the same schema on every version of PostgreSQL."""

from __future__ import annotations

from ledger.database import Connection
from ledger.verify.objects import present_objects


def render(conn: Connection) -> str:
    """A line for each thing in the schema on the search_path, in the order of the alphabet."""
    return "".join(sorted("\t".join(each) + "\n" for each in present_objects(conn)))
