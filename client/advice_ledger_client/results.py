"""The results of the clients' operations."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal, TypeVar

from advice_ledger_client.receipts import Receipt
from advice_ledger_client.wire import Answer

Row = dict[str, Any]
"""A row of a read model, as docs/use/http.md describes it."""
Outcome = Literal["approve", "edit", "reject", "respond"]
WithdrawalReason = Literal["data-entry-error", "client-changed-mind", "duplicate", "circumstances-changed", "other"]


@dataclass(frozen=True)
class Written:
    """A recorded write. Subclasses add what the server answers."""

    receipt: Receipt


@dataclass(frozen=True)
class Queued(Written):
    """A request for a recommendation."""

    request_id: int


@dataclass(frozen=True)
class Recommended(Written):
    """An agent's recommendation."""

    recommendation_id: int
    request_id: int


@dataclass(frozen=True)
class Ended(Written):
    """A request that has failed or was withdrawn."""

    request_id: int
    status: str


@dataclass(frozen=True)
class RecommendationAfter(Written):
    """A recommendation after a command: its state, and the digest that the next command has to name."""

    recommendation_id: int
    state: str
    digest: str


@dataclass(frozen=True)
class Decided(RecommendationAfter):
    """A decision. If `needs_second`, another person has to confirm exactly this `digest`."""

    decision_id: int
    needs_second: bool
    second_rules: list[str]


@dataclass(frozen=True)
class Confirmed(RecommendationAfter):
    """An act on a decision: it was confirmed, declined, withdrawn or revoked."""

    decision_id: int


@dataclass(frozen=True)
class Context:
    """The data that an agent may read for a request: the request, and the client's earlier recommendations.

    `as_of` is the ledger position up to which it was read.
    """

    as_of: int
    request: Row
    earlier: list[Row]

    @property
    def shown(self) -> list[Row]:
        """References to the request, the recommendations and the decisions, for the member `shown` of a model call."""
        references = [("request", self.request["request_id"])]
        for row in self.earlier:
            references.append(("recommendation", row["id"]))
            if row["decision_id"] is not None:
                references.append(("decision", row["decision_id"]))
        return [{"kind": kind, "id": str(number)} for kind, number in references]


Kind = TypeVar("Kind", bound=Written)


def receipt_of(answer: Answer) -> Receipt:
    """Read the receipt from the headers of an answer to a write."""
    headers = answer.headers
    return Receipt(int(headers["ledger-position"]), headers["ledger-hash"], headers["location"])


def written(kind: type[Kind], answer: Answer) -> Kind:
    """Build a `kind` from an answer to a write. Members that `kind` does not know are ignored."""
    names = {field.name for field in fields(kind)} - {"receipt"}
    return kind(receipt=receipt_of(answer), **{name: answer.content[name] for name in names})
