"""Claims of agents outside of this program. The worker claims for its own agents, with the same rows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ledger.domain import agent as agents
from ledger.domain import claim, subject
from ledger.domain.case import CATEGORY, Case, fold_case, stream_of
from ledger.errors import Unavailable
from ledger.store.envelope import Actor
from ledger.store.readers import Readers
from schema.states import RequestState

CLAIM = "SELECT claim_request(%s, %s * interval '1 second', %s, %s)"
HOLDER = (
    "SELECT worker FROM request_claims WHERE request_id = %s AND after_recommendation >= %s"
    " AND expires_at > clock_timestamp() AND renewed_at <= clock_timestamp() + %s * interval '1 second'"
)


@dataclass(frozen=True)
class Claims:
    """Make and look up claims. `claiming` connects in the role writer; None in a process that makes no claims.

    A claim that is repeated after a lost answer is renewed, which does no harm.
    """

    readers: Readers
    claiming: Readers | None

    async def claim(self, actor: Actor, request_id: int, lease_s: int) -> datetime:
        """Claim a request for an agent, or renew its claim; return when it ends, by the database's clock.

        A renewal never shortens a claim. Raises as `claim.check_claim` does, Refused `claimed-by-another`, Unavailable.
        """
        if self.claiming is None:
            raise Unavailable("this process makes no claims")
        case, own, of_subject = await self.readers.streams(
            stream_of(request_id), agents.stream_of(actor.id), subject.stream_of(actor.id)
        )
        state = fold_case(case)
        claim.check_claim(state, agents.fold(own, of_subject))
        row = await self.claiming.fetch_one(CLAIM, [actor.id, lease_s, request_id, claim.after(state)])
        if row is None or row[0] is None:
            raise claim.of_another()
        ends: datetime = row[0]
        return ends

    async def holder(self, actor: Actor, case: Case) -> str | None:
        """Return the name of the agent that has the claim on a request, if `actor` must respect it.

        An agent of this program acts without a credential, and only on requests that its worker has claimed.
        """
        if actor.credential is None:
            return actor.id
        if case.request is None or case.state is not RequestState.QUEUED:
            return None
        number = int(case.request.stream.removeprefix(CATEGORY))
        row = await self.readers.fetch_one(HOLDER, [number, claim.after(case), claim.LONGEST_LEASE_S])
        return None if row is None else str(row[0])
