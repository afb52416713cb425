"""AsyncLedgerClient: the ledger's operations, awaited.

client.py is generated from this file by `python client/generate_sync.py`, so that the two cannot differ.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, Unpack, cast

from advice_ledger_client.errors import ClientError, NotCompleted, NotYet, RequestFailed
from advice_ledger_client.model_call import CallStart, ModelCall
from advice_ledger_client.results import (
    Confirmed,
    Context,
    Decided,
    Ended,
    Outcome,
    Queued,
    RecommendationAfter,
    Recommended,
    Row,
    WithdrawalReason,
    written,
)
from advice_ledger_client.shown import checked
from advice_ledger_client.wire import Answer, Connection, read, write, write_lines

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal
    from os import PathLike

    import httpx

    from advice_ledger_client.sender import AsyncSender
    from advice_ledger_client.signing import SigningKey

PAGE_ROWS = 200
FIRST_POLL_S = 0.02
LONGEST_POLL_S = 1.0
# The pause of a follower after its connection ended.
COME_BACK_S = 0.5


class AsyncLedgerClient:
    """A ledger over HTTP, for one event loop. Use it in an `async with` statement, or close it.

    `timeout_s` bounds each operation with all its `retries`. `http` is an httpx client of your own, which stays open;
    without it the client makes one. With a `signing_key`, the client signs answers, ends of model calls, decisions,
    confirmations and communications. `role` is the one that the subject acts in, if it has several.
    """

    def __init__(
        self,
        base_url: str,
        token: str,
        *,
        http: httpx.AsyncClient | None = None,
        timeout_s: float = 30.0,
        retries: int = 8,
        signing_key: SigningKey | None = None,
        role: str | None = None,
    ) -> None:
        from advice_ledger_client.sender import AsyncSender  # noqa: PLC0415 (loads httpx, which is large)

        self._sender = AsyncSender(Connection(base_url, token, timeout_s, retries, role), http)
        self._signing_key = signing_key

    def __repr__(self) -> str:
        """Show the address without a password, and not the token."""
        return f"{type(self).__name__}({self._sender.url!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections, unless they belong to your own httpx client."""
        await self._sender.aclose()

    async def get(self, path: str, **params: object) -> Any:
        """Read any path of the API and return its JSON. Parameters that are None are left out."""
        answer = await self._sender.send(read(path, **params))
        return answer.content

    async def post(self, path: str, content: Mapping[str, Any], *, idempotency_key: str | None = None) -> Any:
        """Send any command of the API and return the JSON of its answer."""
        answer = await self._write(path, content, idempotency_key)
        return answer.content

    async def put(self, path: str, content: Mapping[str, Any], *, idempotency_key: str | None = None) -> Any:
        """Put any definition of the API on record and return the JSON of the answer."""
        answer = await self._write(path, content, idempotency_key, "PUT")
        return answer.content

    async def request_recommendation(
        self,
        *,
        client_id: str,
        risk_profile: Literal["conservative", "balanced", "aggressive"],
        amount_usd: Decimal | int | str,
        horizon_years: int | None = None,
        objectives: Sequence[str] | None = None,
        constraints: Mapping[str, Any] | None = None,
        notes: str | None = None,
        idempotency_key: str | None = None,
    ) -> Queued:
        """Ask for a recommendation for a client's money. Role: advisor."""
        command = {
            "client_id": client_id,
            "risk_profile": risk_profile,
            # A decimal string, because a float is not exact.
            "amount_usd": str(amount_usd),
            "horizon_years": horizon_years,
            "objectives": objectives,
            "constraints": constraints,
            "notes": notes,
        }
        return written(Queued, await self._write("/portfolio/recommendations", command, idempotency_key))

    async def assignments(self, *, at_most: int = 100) -> list[Row]:
        """List the requests that wait for an answer and that no other agent has claimed, the oldest first. Role: agent.

        Rows have `request_id`, `created_at`, and `claimed` with `claim_expires_at` if this agent has claimed it.
        """
        return await self._rows("/assignments", at_most)

    async def claim(self, request_id: int, *, lease_s: int = 60) -> Row:
        """Claim a request for `lease_s` seconds, or renew the claim; `claim_expires_at` says when it ends. Role: agent.

        Raises LedgerProblem `claimed-by-another` if another agent has it: take another request.
        """
        return cast("Row", await self.post(f"/assignments/{request_id}/claim", {"lease_s": lease_s}))

    async def context(self, request_id: int, as_of: int | None = None) -> Context:
        """Read the request and the client's history as an agent may see them. Any role."""
        context = await self.get(f"/portfolio/requests/{request_id}/context", as_of=as_of)
        return Context(context["as_of"], context["request"], context["earlier"])

    def model_call(self, request_id: int, *, fail_closed: bool = True, **start: Unpack[CallStart]) -> AsyncModelCall:
        """Return a context manager that records a model call before and after its block. Role: agent.

        `start` has the members of CallStart; provider_name, request_model and input_messages are required. Entering
        and leaving the block can raise NotRecorded. With `fail_closed=False` the block also runs if the ledger cannot
        be reached.
        """
        return AsyncModelCall(self._sender, request_id, start, fail_closed=fail_closed, signing_key=self._signing_key)

    async def record_recommendation(
        self,
        request_id: int,
        *,
        recommendation: Mapping[str, Any],
        model_name: str,
        model_version: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        prompt: str | None = None,
        model_call_id: int | None = None,
        supersedes: int | None = None,
        idempotency_key: str | None = None,
    ) -> Recommended:
        """Record an agent's recommendation; `model_call_id` is the completed call that it came from. Role: agent."""
        command = {
            "recommendation": recommendation,
            "model_name": model_name,
            "model_version": model_version,
            "parameters": parameters,
            "prompt": prompt,
            "model_call_id": model_call_id,
            "supersedes": supersedes,
        }
        path = f"/portfolio/requests/{request_id}/recommendations"
        return written(Recommended, await self._write(path, command, idempotency_key))

    async def fail_request(
        self, request_id: int, *, reason: str, detail: str | None = None, idempotency_key: str | None = None
    ) -> Ended:
        """Record that a request gets no recommendation; `reason` is a code such as `not-suitable`. Role: agent.

        It is final, so the agent has to claim the request first.
        """
        path = f"/portfolio/requests/{request_id}/failures"
        return written(Ended, await self._write(path, {"reason": reason, "detail": detail}, idempotency_key))

    async def open(
        self, recommendation_id: int, digest: str, *, idempotency_key: str | None = None
    ) -> RecommendationAfter:
        """Record that the caller has opened this recommendation. Roles: advisor, compliance."""
        path = f"/recommendations/{recommendation_id}/openings"
        return written(RecommendationAfter, await self._write(path, {"digest": digest}, idempotency_key))

    async def decide(
        self,
        recommendation_id: int,
        *,
        digest: str,
        outcome: Outcome,
        reason_code: str | None = None,
        rationale: str | None = None,
        replacement: Mapping[str, Any] | None = None,
        response: str | None = None,
        idempotency_key: str | None = None,
    ) -> Decided:
        """Approve, edit, reject or respond to exactly the recommendation with this digest. Role: advisor."""
        command = {
            "digest": digest,
            "outcome": outcome,
            "reason_code": reason_code,
            "rationale": rationale,
            "replacement": replacement,
            "response": response,
        }
        path = f"/recommendations/{recommendation_id}/decisions"
        return written(Decided, await self._write(path, command, idempotency_key))

    async def confirm(
        self,
        decision_id: int,
        *,
        digest: str,
        outcome: Literal["approve", "decline"],
        rationale: str | None = None,
        idempotency_key: str | None = None,
    ) -> Confirmed:
        """Approve or decline another person's decision that waits for a confirmation.

        Roles: advisor or compliance, if the four-eyes policy allows it.
        """
        command = {"digest": digest, "outcome": outcome, "rationale": rationale}
        path = f"/decisions/{decision_id}/confirmations"
        return written(Confirmed, await self._write(path, command, idempotency_key))

    async def withdraw_request(
        self,
        request_id: int,
        *,
        reason_code: WithdrawalReason,
        rationale: str | None = None,
        replaced_by: int | None = None,
        idempotency_key: str | None = None,
    ) -> Ended:
        """Withdraw a request; `replaced_by` is the number of the one that was made in its place.

        Roles: advisor, compliance.
        """
        command = {"reason_code": reason_code, "rationale": rationale, "replaced_by": replaced_by}
        path = f"/portfolio/requests/{request_id}/withdrawals"
        return written(Ended, await self._write(path, command, idempotency_key))

    async def withdraw_decision(
        self,
        decision_id: int,
        *,
        reason_code: WithdrawalReason,
        rationale: str | None = None,
        idempotency_key: str | None = None,
    ) -> Confirmed:
        """Take back the caller's own decision while it waits for a confirmation. Role: advisor."""
        path = f"/decisions/{decision_id}/withdrawals"
        command = {"reason_code": reason_code, "rationale": rationale}
        return written(Confirmed, await self._write(path, command, idempotency_key))

    async def revoke_decision(
        self, decision_id: int, *, reason_code: WithdrawalReason, rationale: str, idempotency_key: str | None = None
    ) -> Confirmed:
        """Revoke a decision in force before the client is told. Roles: advisor, compliance."""
        path = f"/decisions/{decision_id}/revocations"
        command = {"reason_code": reason_code, "rationale": rationale}
        return written(Confirmed, await self._write(path, command, idempotency_key))

    async def communicate(
        self,
        recommendation_id: int,
        *,
        digest: str,
        channel: Literal["meeting", "phone", "video", "letter", "email", "portal", "other"],
        message: str | None = None,
        idempotency_key: str | None = None,
    ) -> RecommendationAfter:
        """Record that the client was told the content with this digest. Role: advisor."""
        command = {"digest": digest, "channel": channel, "message": message}
        path = f"/recommendations/{recommendation_id}/communications"
        return written(RecommendationAfter, await self._write(path, command, idempotency_key))

    async def get_request(self, request_id: int, *, as_of: int | datetime | None = None) -> Row:
        """Read one request, now or as of a position or time."""
        return cast("Row", await self.get(f"/portfolio/requests/{request_id}", as_of=as_of))

    async def recommendation(self, recommendation_id: int, *, as_of: int | datetime | None = None) -> Row:
        """Read one recommendation. Raises ContentMismatch if it is not what its digest commits to."""
        return checked(await self.get(f"/recommendations/{recommendation_id}", as_of=as_of))

    async def recommendations(
        self,
        *,
        client_id: str | None = None,
        request_id: int | None = None,
        model_name: str | None = None,
        state: str | None = None,
        as_of: int | datetime | None = None,
        at_most: int = 1000,
    ) -> list[Row]:
        """List recommendations, the newest first, from all pages. Raises ContentMismatch as `recommendation()`."""
        filters = {"client_id": client_id, "request_id": request_id, "model_name": model_name, "state": state}
        return list(map(checked, await self._rows("/recommendations", at_most, **filters, as_of=as_of)))

    async def wait_for_recommendation(self, request_id: int, within_s: float = 30.0) -> Row:
        """Wait for the recommendation of a request.

        Raises RequestFailed, also if the request is withdrawn, or NotYet after `within_s` seconds.
        """
        deadline = monotonic() + within_s
        pause_s = FIRST_POLL_S
        while True:
            request = await self.get_request(request_id)
            if request["status"] == "failed":
                raise RequestFailed(request_id, request["failure_reason"], request["failure_detail"])
            if request["status"] == "withdrawn":
                raise RequestFailed(request_id, request["withdrawal_reason"], request["withdrawal_rationale"])
            if request["status"] == "recommended":
                return await self.recommendation(request["recommendation_id"])
            left_s = deadline - monotonic()
            if left_s <= 0:
                raise NotYet(f"no recommendation for request {request_id} within {within_s} s")
            await self._sender.sleep(min(pause_s, left_s))
            pause_s = min(LONGEST_POLL_S, pause_s * 2)

    async def follow(
        self, *, after: int | None = None, until_caught_up: bool = False, **filters: object
    ) -> AsyncIterator[Row]:
        """Yield the events that match, then each new one, without a gap and without an end. Roles: auditor, compliance.

        `filters` are those of GET /events, and `format`. The first event is the one `after` this position. After an
        outage the client goes on where it was. It ends at a `position_to` or `as_of`, or with `until_caught_up` once
        all events are there that were recorded. Raises LedgerProblem, and Unreachable as other operations do.
        """
        from advice_ledger_client.following import Following  # noqa: PLC0415 (most clients do not follow)

        following = Following(after, filters)
        while not following.has_ended:
            async with self._sender.open(following.request) as lines:
                async for line in lines:
                    row = following.take(line)
                    if row is not None:
                        yield row
                    if until_caught_up and following.is_caught_up:
                        return
            if not following.has_ended:
                await self._sender.sleep(COME_BACK_S)

    async def register_signing_key(self, key: SigningKey) -> SigningKey:
        """Register a key of the caller; return it with its number. Save the returned key. Any role."""
        answer = await self.post("/me/signing-keys", key.registration())
        return key.registered(answer["credential"])

    async def register_identity(
        self,
        subject: str,
        identity: str,
        *,
        issuer: str | None = None,
        expires_at: str | None = None,
        idempotency_key: str | None = None,
    ) -> Row:
        """Let a subject sign in at an OpenID Connect provider, where it is `identity`, the value of `sub`. Role: admin.

        Without an `issuer` it is the provider of the ledger. Returns `credential`, its number among the credentials of
        the subject, or `change_id` if changes take two administrators.
        """
        command = {"identity": identity, "issuer": issuer, "expires_at": expires_at}
        return cast("Row", await self.post(f"/subjects/{subject}/identities", command, idempotency_key=idempotency_key))

    async def revoke_credential(
        self, subject: str, credential: int, *, reason: str | None = None, idempotency_key: str | None = None
    ) -> Row:
        """End a token, an identity or a signing key of a subject, by its number. Role: admin."""
        command = {"credential": credential, "reason": reason}
        path = f"/subjects/{subject}/revocations"
        return cast("Row", await self.post(path, command, idempotency_key=idempotency_key))

    async def subject_changes(self, *, state: str | None = None, at_most: int = 200) -> list[Row]:
        """List the changes of subjects that take two administrators, the newest first, 200 at most. Role: admin."""
        found = await self.get("/subject-changes", state=state, limit=min(at_most, PAGE_ROWS))
        return cast("list[Row]", found["items"])

    async def confirm_subject_change(
        self, change_id: int, *, rationale: str | None = None, idempotency_key: str | None = None
    ) -> Row:
        """Confirm a change that another administrator proposed. `token` is the one that it issues, if any. Role: admin.

        Raises LedgerProblem `same-person` if the caller proposed it.
        """
        path = f"/subject-changes/{change_id}/confirmations"
        return cast("Row", await self.post(path, {"rationale": rationale}, idempotency_key=idempotency_key))

    async def decline_subject_change(
        self, change_id: int, *, rationale: str, idempotency_key: str | None = None
    ) -> Row:
        """Decline a change that was proposed, or withdraw one's own. Role: admin."""
        path = f"/subject-changes/{change_id}/declines"
        return cast("Row", await self.post(path, {"rationale": rationale}, idempotency_key=idempotency_key))

    async def define_endpoint(
        self,
        name: str,
        *,
        receivers: Sequence[Literal["advisor", "client"]],
        url: str | None = None,
        channel: Literal["webhook", "mail"] | None = None,
        messages_per_hour: int | None = None,
        enabled: bool | None = None,
        idempotency_key: str | None = None,
    ) -> Row:
        """Define where messages of monitoring go; with `enabled=False` they go there no longer. Role: admin.

        Returns `endpoint`, `event`, and `changed`: False if it was defined so already.
        """
        definition = {
            "channel": channel,
            "url": url,
            "receivers": receivers,
            "messages_per_hour": messages_per_hour,
            "enabled": enabled,
        }
        return cast("Row", await self.put(f"/endpoints/{name}", definition, idempotency_key=idempotency_key))

    async def endpoints(self) -> list[Row]:
        """List where messages of monitoring go. Roles: admin, auditor, compliance."""
        found = await self.get("/endpoints")
        return cast("list[Row]", found["items"])

    async def deliveries(
        self, *, run: int | None = None, endpoint: str | None = None, state: str | None = None, at_most: int = 1000
    ) -> list[Row]:
        """List messages to endpoints, the newest first; `state="failed"` lists the dead letters.

        Roles: admin, auditor, compliance.
        """
        return await self._rows("/deliveries", at_most, run=run, endpoint=endpoint, state=state)

    async def resend_delivery(self, delivery_id: int, *, reason: str, idempotency_key: str | None = None) -> Row:
        """Have a message sent again that has failed, under the same id. Roles: admin, compliance."""
        path = f"/deliveries/{delivery_id}/resends"
        return cast("Row", await self.post(path, {"reason": reason}, idempotency_key=idempotency_key))

    async def record_corporate_actions(self, actions: Sequence[Mapping[str, Any]]) -> Row:
        """Record splits, new identifiers and delistings, all or none; what is on record, not again. Role: admin.

        Each has the members of a line of POST /corporate-actions. Returns `lines` and `recorded`.
        """
        return await self._write_lines("/corporate-actions", actions)

    async def record_holdings(self, holdings: Sequence[Mapping[str, Any]]) -> Row:
        """Record what portfolios hold, all or none; what is on record already, not again. Role: advisor.

        Each has the members of a line of POST /holdings. Returns `lines` and `recorded`.
        """
        return await self._write_lines("/holdings", holdings)

    async def record_flows(self, flows: Sequence[Mapping[str, Any]]) -> Row:
        """Record what came into portfolios and went out, all or none; what is on record, not again. Role: advisor.

        Each has the members of a line of POST /flows. Returns `lines` and `recorded`.
        """
        return await self._write_lines("/flows", flows)

    async def record_valuations(self, valuations: Sequence[Mapping[str, Any]]) -> Row:
        """Record portfolios as a custodian has valued them, all or none; what is on record, not again. Role: advisor.

        Each has the members of a line of POST /valuations. Returns `lines` and `recorded`.
        """
        return await self._write_lines("/valuations", valuations)

    async def corporate_actions(
        self, *, asset: str | None = None, action: str | None = None, date: str | None = None, at_most: int = 1000
    ) -> list[Row]:
        """List corporate actions as recorded, the newest first. Roles: admin, advisor, auditor, compliance."""
        return await self._rows("/corporate-actions", at_most, asset=asset, action=action, date=date)

    async def flows(
        self,
        *,
        portfolio: str | None = None,
        client_id: str | None = None,
        kind: str | None = None,
        date: str | None = None,
        at_most: int = 1000,
    ) -> list[Row]:
        """List flows of portfolios as they were recorded, the newest first. Roles: advisor, compliance, examiner."""
        return await self._rows("/flows", at_most, portfolio=portfolio, client_id=client_id, kind=kind, date=date)

    async def valuations(
        self,
        *,
        portfolio: str | None = None,
        client_id: str | None = None,
        source: str | None = None,
        valued_on: str | None = None,
        at_most: int = 1000,
    ) -> list[Row]:
        """List valuations by custodians as recorded, the newest first. Roles: advisor, compliance, examiner."""
        return await self._rows(
            "/valuations", at_most, portfolio=portfolio, client_id=client_id, source=source, valued_on=valued_on
        )

    async def would_be(self, run: int) -> Row:
        """Judge a run of monitoring by what is on record now, corrections included.

        Roles: admin, advisor, auditor, compliance.
        """
        return cast("Row", await self.get(f"/monitoring/runs/{run}/would-be"))

    async def request_export(
        self, *, purpose: str, recipient: str, idempotency_key: str | None = None, **selection: object
    ) -> Row:
        """Ask for an evidence bundle. Returns `export`, its number, and `job`. Role: compliance.

        `selection` is that of POST /exports: `client`, `request`, `search`, positions or times, and `disclose`,
        `withhold` and `zone`.
        """
        command = {"purpose": purpose, "recipient": recipient, **selection}
        return cast("Row", await self.post("/exports", command, idempotency_key=idempotency_key))

    async def exports(self, *, client: int | None = None, state: str | None = None, at_most: int = 1000) -> list[Row]:
        """List exports, the newest first: what was produced, for whom. Roles: auditor, compliance."""
        return await self._rows("/exports", at_most, client=client, state=state)

    async def wait_for_export(self, export: int, within_s: float = 60.0) -> Row:
        """Wait until an export is completed or has failed, as `state` says. Raises NotYet after `within_s` seconds."""
        deadline = monotonic() + within_s
        pause_s = FIRST_POLL_S
        while True:
            row = cast("Row", await self.get(f"/exports/{export}"))
            if row["state"] != "requested":
                return row
            left_s = deadline - monotonic()
            if left_s <= 0:
                raise NotYet(f"export {export} is not made within {within_s} s")
            await self._sender.sleep(min(pause_s, left_s))
            pause_s = min(LONGEST_POLL_S, pause_s * 2)

    async def download_export(self, export: int, path: str | PathLike[str]) -> None:
        """Write the bundle of an export to a new file. Roles: auditor, compliance.

        Raises LedgerProblem, FileExistsError, and httpx.HTTPError if the connection ends; there is no file then.
        """
        from advice_ledger_client.new_file import new_file  # noqa: PLC0415 (most clients download nothing)

        with new_file(path) as file:
            await self._sender.save(read(f"/exports/{export}/file"), file)

    async def review_case(
        self,
        request_id: int,
        *,
        upto: int,
        disposition: str,
        note: str | None = None,
        idempotency_key: str | None = None,
    ) -> Row:
        """Record that you have looked at a case as of the position `upto`. Role: compliance."""
        content = {"upto": upto, "disposition": disposition, "note": note}
        return cast("Row", await self.post(f"/cases/{request_id}/reviews", content, idempotency_key=idempotency_key))

    async def review_range(self, *, disposition: str, idempotency_key: str | None = None, **choice: object) -> Row:
        """Record that you have looked at all cases of a period, or of a client; `choice` is that of POST /reviews.

        Returns `cases` and `left_out`, the numbers of requests. Role: compliance.
        """
        content = {"disposition": disposition, **choice}
        return cast("Row", await self.post("/reviews", content, idempotency_key=idempotency_key))

    async def draw_sample(
        self, *, size: int, reviewers: Sequence[str], idempotency_key: str | None = None, **choice: object
    ) -> Row:
        """Draw a sample of decisions to review; `choice` is that of POST /samples. Role: compliance.

        Returns `sample`, its number, `seed`, `population` and `chosen`, ids of decisions.
        """
        content = {"size": size, "reviewers": list(reviewers), **choice}
        return cast("Row", await self.post("/samples", content, idempotency_key=idempotency_key))

    async def samples(self, *, at_most: int = 200) -> list[Row]:
        """List samples, the newest first. Roles: auditor, compliance."""
        return await self._rows("/samples", at_most)

    async def review_queue(
        self, *, assignee: str | None = None, sample: int | None = None, state: str | None = None, at_most: int = 1000
    ) -> list[Row]:
        """List what is to be reviewed; your own items unless `assignee` or `sample` is given.

        Roles: auditor, compliance.
        """
        return await self._rows("/reviews/queue", at_most, assignee=assignee, sample=sample, state=state)

    async def reassign_review(
        self, item: int, *, assignee: str, due_at: str | None = None, idempotency_key: str | None = None
    ) -> Row:
        """Give an item of a sample to another reviewer. Role: compliance."""
        content = {"assignee": assignee, "due_at": due_at}
        return cast(
            "Row", await self.post(f"/review-items/{item}/reassignments", content, idempotency_key=idempotency_key)
        )

    async def open_finding(
        self,
        *,
        severity: str,
        text: str,
        request_id: int | None = None,
        client: int | None = None,
        decision_id: int | None = None,
        idempotency_key: str | None = None,
    ) -> Row:
        """Open a finding about a case, or about a client by its number. Returns `finding`, its id. Role: compliance."""
        if (request_id is None) == (client is None):
            raise ValueError("say either request_id or client")
        path = f"/clients/{client}/findings" if request_id is None else f"/cases/{request_id}/findings"
        content = {"severity": severity, "text": text, "decision_id": decision_id}
        return cast("Row", await self.post(path, content, idempotency_key=idempotency_key))

    async def assign_finding(self, finding: int, *, assignee: str, idempotency_key: str | None = None) -> Row:
        """Say who sees to a finding. Role: compliance."""
        path = f"/findings/{finding}/assignments"
        return cast("Row", await self.post(path, {"assignee": assignee}, idempotency_key=idempotency_key))

    async def close_finding(
        self, finding: int, *, resolution: str, reason: str, idempotency_key: str | None = None
    ) -> Row:
        """Close a finding, for good. Role: compliance."""
        content = {"resolution": resolution, "reason": reason}
        return cast("Row", await self.post(f"/findings/{finding}/closings", content, idempotency_key=idempotency_key))

    async def findings(
        self,
        *,
        state: str | None = None,
        request_id: int | None = None,
        assignee: str | None = None,
        at_most: int = 1000,
    ) -> list[Row]:
        """List findings, the newest first. Roles: advisor, compliance, examiner."""
        return await self._rows("/findings", at_most, state=state, request_id=request_id, assignee=assignee)

    async def timeline(self, client: int, **query: object) -> Row:
        """Read what happened with a client, by case; `query` is that of GET /clients/{client}/timeline."""
        return cast("Row", await self.get(f"/clients/{client}/timeline", **query))

    async def case(self, request_id: int, *, as_of: int | datetime | None = None) -> Row:
        """Read one case composed: recommended beside decided, with all steps."""
        return cast("Row", await self.get(f"/cases/{request_id}", as_of=as_of))

    async def knowledge(self, request_id: int, *, as_of: int | datetime | None = None) -> Row:
        """Read what was known about a case then, beside what is known now."""
        return cast("Row", await self.get(f"/cases/{request_id}/knowledge", as_of=as_of))

    async def case_diff(self, request_id: int, *, since: int | datetime, as_of: int | datetime | None = None) -> Row:
        """Read the changes of a case after `since`, field by field."""
        return cast("Row", await self.get(f"/cases/{request_id}/diff", since=since, as_of=as_of))

    async def _rows(self, path: str, at_most: int, **filters: object) -> list[Row]:
        """Read the rows of all pages of a list, no more than `at_most`."""
        rows: list[Row] = []
        cursor = None
        while len(rows) < at_most:
            page = await self.get(path, **filters, limit=min(PAGE_ROWS, at_most - len(rows)), cursor=cursor)
            rows += page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        return rows

    async def _write_lines(self, path: str, lines: Sequence[Mapping[str, Any]]) -> Row:
        """Send a batch, which the ledger records once even if it arrives several times."""
        answer = await self._sender.send(write_lines(path, lines))
        return cast("Row", answer.content)

    async def _write(
        self, path: str, content: Mapping[str, Any], key: str | None, method: Literal["POST", "PUT"] = "POST"
    ) -> Answer:
        request = write(path, content, key, method)
        return await self._sender.send(request if self._signing_key is None else self._signing_key.signed(request))


class AsyncModelCall(ModelCall):
    """A model call in an `async with` block."""

    def __init__(
        self,
        sender: AsyncSender,
        request_id: int,
        start: CallStart,
        *,
        fail_closed: bool,
        signing_key: SigningKey | None = None,
    ) -> None:
        super().__init__(request_id, start, fail_closed=fail_closed, log=sender.log, signing_key=signing_key)
        self._sender = sender

    async def __aenter__(self) -> Self:
        self._enter()
        try:
            self._started(await self._sender.send(self._start_request()))
        except ClientError as error:
            self._not_started(error)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        settled = self._settle(error)
        if self.receipt is not None:
            try:
                # A cancelled call has an end, too.
                with self._sender.shield():
                    end = self._end_request(self.receipt.model_call_id)
                    self._ended(self.receipt, await self._sender.send(end))
            except ClientError as fault:
                self._not_ended(fault, error)
        if not settled:
            raise NotCompleted("the block ended without complete() or fail(): recorded as the failure no-result")
