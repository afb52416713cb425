"""The record of what the confirmer had opened, and of what the client was told."""

from __future__ import annotations

from typing import Any

import pytest
from psycopg.rows import dict_row

from ledger.database import Connection
from ledger.store.envelope import Actor, NewEvent, uuid7
from schema.events import Event, RecommendationCommunicated, RecommendationConfirmed, RecommendationOpened
from tests.projections.scenes import DIGEST, ask, assert_true_to_the_chain, catch_up, decided, recommended
from tests.support import CLERK, append, connect, new

SECOND = Actor(id="second", kind="human", role="compliance")
THIRD = Actor(id="third", kind="human", role="compliance")
ELSEWHERE = "6" * 64


class Told:
    """A request with an answer, to which people then react, one event after the other."""

    def __init__(self, conn: Connection) -> None:
        (number,) = ask(conn)
        self.conn, self.stream = conn, f"request-{number}"
        (found,) = append(conn, new(self.stream, recommended()))
        self.about = int(found.position)

    def by(self, actor: Actor, event: Event) -> Any:
        """Append an event; return its row of append()."""
        (found,) = append(self.conn, NewEvent(uuid7(), self.stream, event, actor))
        return found

    def opened(self, actor: Actor, digest: str = DIGEST) -> Any:
        """Append an opening by this person."""
        return self.by(actor, RecommendationOpened(recommendation_id=self.about, digest=digest))

    def decided(self, outcome: str = "approve") -> Any:
        """Append a decision that waits for a confirmation."""
        return self.by(CLERK, decided(self.about, outcome, needs_second=True, second_rules=["amount"]))

    def confirmed(self, decision_id: int, outcome: str = "approve") -> Any:
        """Append the confirmation of a decision."""
        said = {"recommendation_id": self.about, "decision_id": decision_id, "digest": DIGEST, "outcome": outcome}
        return self.by(SECOND, RecommendationConfirmed.model_validate(said))


def rows(conn: Connection, query: str) -> list[dict[str, Any]]:
    """Return the rows of a query without parameters."""
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query.encode()).fetchall()


def seconds(since: Any, until: Any) -> float:
    """Return the seconds between two rows of append()."""
    return float((until.recorded_at - since.recorded_at).total_seconds())


@pytest.mark.parametrize("outcome", ["approve", "decline"])
def test_the_confirmers_last_opening_counts(database_url: str, outcome: str) -> None:
    """The confirmer's openings between decision and confirmation count, with any digest; no others do."""
    with connect(database_url) as conn:
        told = Told(conn)
        told.opened(SECOND)
        decision = told.decided("edit")
        told.opened(SECOND)
        last = told.opened(SECOND, ELSEWHERE)
        told.opened(THIRD)
        catch_up(conn)
        waiting = "SELECT second_opened_at, seconds_to_confirm, state FROM decisions"
        (row,) = rows(conn, waiting)
        assert row == {"second_opened_at": None, "seconds_to_confirm": None, "state": "waiting"}
        answer = told.confirmed(decision.position, outcome)
        told.opened(SECOND)
        catch_up(conn)
        (row,) = rows(conn, waiting)
    assert row["second_opened_at"] == last.recorded_at
    assert float(row["seconds_to_confirm"]) == seconds(last, answer)
    assert_true_to_the_chain(database_url)


def test_without_an_opening_the_decision_counts(database_url: str) -> None:
    """An opening before the decision does not count: the decided content did not exist yet."""
    with connect(database_url) as conn:
        told = Told(conn)
        told.opened(SECOND)
        decision = told.decided()
        answer = told.confirmed(decision.position)
        catch_up(conn)
        (row,) = rows(conn, "SELECT second_opened_at, seconds_to_confirm FROM decisions")
    assert row["second_opened_at"] is None
    assert float(row["seconds_to_confirm"]) == seconds(decision, answer)


def test_both_persons_are_looked_at(database_url: str) -> None:
    """Each person has a row by part: a declined decision counts for the confirmer alone, and ends their streak."""
    with connect(database_url) as conn:
        for outcome in ("approve", "approve", "decline", "approve"):
            told = Told(conn)
            decision = told.decided()
            if outcome == "decline":
                told.opened(SECOND)
            told.confirmed(decision.position, outcome)
        catch_up(conn)
        found = [[*row.values()] for row in rows(conn, "SELECT * FROM rubber_stamps")]
    assert found == [["clerk", "first", 3, 3, 3, 1, 3, 3, 3], ["second", "second", 4, 3, 3, 1, 3, 2, 1]]


def test_what_the_client_was_told_can_be_read(database_url: str) -> None:
    """The words, and the digest of the content that they were about, come from the first communication."""
    with connect(database_url) as conn:
        told = Told(conn)
        told.by(CLERK, decided(told.about))
        for digest, message in ((ELSEWHERE, "dear client"), (DIGEST, None)):
            members = {"recommendation_id": told.about, "digest": digest, "channel": "letter", "message": message}
            told.by(CLERK, RecommendationCommunicated.model_validate(members))
        catch_up(conn)
        (row,) = rows(conn, "SELECT message, communicated_digest FROM ai_recommendations")
    assert row == {"message": "dear client", "communicated_digest": ELSEWHERE}
    assert_true_to_the_chain(database_url)
