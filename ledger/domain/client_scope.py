"""Decide which clients an actor may read and act on. Only this module decides it; for lists, SQL applies the same
rule.

An actor without a scope may read and act on all clients. A scope comes from the access policy ("assigned"), from the
grant of the role (a list of clients), or from both; then it is the intersection.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ledger.domain.client import Client, is_assigned


@dataclass(frozen=True)
class ClientScope:
    """A subject and its groups at a moment; whether only assigned clients count; the list of its grant, if it has one.

    A number of the list, like an assignment, counts for the client and for all that were merged into it.
    """

    subject: str
    groups: frozenset[str]
    assigned: bool
    listed: frozenset[int] | None
    at: datetime

    def includes(self, lineage: Sequence[Client]) -> bool:
        """Return True if a client is in scope.

        `lineage` is the client and all clients that it was merged into, in order.
        """
        if self.listed is not None and not any(client.number in self.listed for client in lineage):
            return False
        return not self.assigned or is_assigned(lineage, self.subject, self.groups, self.at)
