"""Report the items of an export that were not recorded: in `partialSuccess` to the sender, and in metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ledger.errors import IdConflict, InvalidEvent, LedgerError, Refused

# The message to a sender names this many at most, in at most so many characters.
MAX_NAMED, MAX_CHARS = 10, 2_000
LOOKALIKE = "unknown-kind"


@dataclass(frozen=True)
class NotRecorded:
    """One span or log record that is not recorded.

    `reason` is a label of a metric, of a fixed set. `message` repeats no value that a sender chose, except ids in hex.
    """

    dialect: str
    reason: str
    message: str


def by_ledger(item: str, dialect: str, error: LedgerError) -> NotRecorded:
    """Describe an item, such as `span eee19b7ec3c1b174`, that the ledger refused."""
    match error:
        case Refused():
            return NotRecorded(dialect, error.code, f"{item}: {error.code}: {error}")
        case InvalidEvent():
            # The path below the member may have names that stand in the content.
            member = error.field.partition(".")[0].partition("[")[0]
            return NotRecorded(dialect, "invalid", f"{item}: {member}: {error.reason}")
        case IdConflict():
            return NotRecorded(dialect, "id-conflict", f"{item}: these ids are recorded with other content")
    return NotRecorded(dialect, "other", f"{item}: {error}")


def lookalike(item: str, dialect: str) -> NotRecorded:
    """Describe a span or log record that looks like a model's, but has no attribute that says that it is a call."""
    message = f"{item} that looks like a call of a model ({dialect}), but does not say that it is one"
    return NotRecorded(dialect, LOOKALIKE, message)


def summary(refused: Sequence[NotRecorded]) -> str:
    """Return the message for `partialSuccess`: each reason once, with how often it occurs."""
    reasons = Counter(item.message for item in refused)
    named = [message if times == 1 else f"{times} times: {message}" for message, times in reasons.most_common()]
    more = [f"and {len(named) - MAX_NAMED} more"] if len(named) > MAX_NAMED else []
    return "; ".join(named[:MAX_NAMED] + more)[:MAX_CHARS]
