"""Find the subject that a bearer token belongs to, and its rights.

The read model `credentials` is an index from the token's SHA-256 to a subject. It is not trusted: the subject's own
stream is folded, and a token that is not in the chain, or not valid there, lets nobody in.

A token of the identity provider states an identity there. That identity is a credential of a subject: its event has
the commitment to it, and the value that opens it.

States of subjects are cached. A follower checks several times a second which subjects have changed and drops their
states. A cached state is used only if the follower has checked within the last second. So a revocation holds after at
most a second in each process, also if the follower fails: then each request reads the stream. Writes do not depend on
this: they are refused unless the subject's stream is as it was judged.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from time import monotonic

from api.oidc.provider import Identity, Provider
from ledger.database import AsyncConnection
from ledger.domain import agent as agents
from ledger.domain import subject, subject_commands
from ledger.domain.history import RecordedEvent
from ledger.domain.subject import APPLY, Credential, SubjectState
from ledger.domain.subject_changes import CHANGES
from ledger.errors import LedgerError, Unavailable
from ledger.service.authority import Authority, utc_now
from ledger.service.credential_uses import CredentialUses
from ledger.store.readers import Readers
from ledger.store.recorded import read_events
from projections.credentials.model import CREDENTIALS
from projections.reads import wait_until_caught_up
from schema.events import CredentialIssued

log = logging.getLogger(__name__)

# A cached state is used for at most this long after the follower's last check.
CACHE_S = 1.0
# The pause between two checks.
LOOK_S = 0.25
MOST_CACHED = 10_000

HERE = Path(__file__).parent
CHANGED, HOLDERS, OWNER = (
    (HERE / f"{name}.sql").read_text("utf-8") for name in ("changed_subjects", "identity_holders", "token_owner")
)
# A proposed change changes no rights, but it changes the version at which rights are judged.
TYPES = [*APPLY, *CHANGES]


@dataclass(frozen=True)
class Caller:
    """A subject that signed in with a credential. `state` is its stream's state when it was read."""

    name: str
    credential: int
    state: SubjectState


@dataclass(frozen=True)
class Former:
    """The former holder of a token that is no longer valid: it was revoked or replaced, or has expired."""

    name: str
    credential: int
    state: SubjectState


class Callers:
    """Find callers by token. A cached caller costs no query."""

    def __init__(
        self,
        readers: Readers,
        *,
        patience_s: float = 3.0,
        clock: Callable[[], datetime] = utc_now,
        provider: Provider | None = None,
        uses: CredentialUses | None = None,
    ) -> None:
        self._readers = readers
        self.uses = uses or CredentialUses(None)
        self._provider = provider
        self._patience_s = patience_s
        self._clock = clock
        self._authority = Authority(readers)
        self._owners: dict[str, tuple[str, int]] = {}
        self._states: dict[str, SubjectState] = {}
        # The position up to which the follower has checked; None before its first check.
        self._position: int | None = None
        self._fresh_until_s = 0.0
        # Counts how often states were dropped. A state that was read before a drop is not stored after it.
        self._dropped = 0
        self._task: asyncio.Task[None] | None = None
        self._catching_up = asyncio.Lock()

    def start(self) -> None:
        """Start the follower. A database that is down now is not an error."""
        self._task = asyncio.create_task(self._follow(), name="callers-follower")

    async def close(self) -> None:
        """Stop the follower."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            await self.uses.store()

    async def check(self) -> None:
        """Look up a token that nobody can have. Raises Unavailable if the look-up fails, as find() would."""
        await self._readers.fetch_one(OWNER, [""])

    def now(self) -> datetime:
        """Return the time at which credentials and roles are judged."""
        return self._clock()

    async def find(self, token: str) -> Caller | Former | None:
        """Return the holder of this token, its former holder if it is invalid now, or None if the chain never had it.

        If the ledger has an identity provider, a token in three parts counts as the provider's. Raises Unavailable if
        the look-up fails, and StreamUnreadable if the holder's stream is malformed.
        """
        if self._provider is not None and token.count(".") == 2:
            identity = await self._provider.identity(token)
            return None if identity is None else await self.find_identity(identity)
        digest = sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
        owner = self._owners.get(digest) or await self._owner(digest)
        if owner is None:
            return None
        caller = self._noted(await self._caller(*owner, lambda credential: credential.sha256 == digest))
        if caller is not None:
            self._remember(digest, owner)
        return caller

    async def find_identity(self, identity: Identity) -> Caller | Former | None:
        """Return the present or former subject of an identity at the provider; None if there never was one.

        Raises errors as find() does.
        """
        return self._noted(await self._holder(identity))

    async def check_free(self, issuer: str, identity: str) -> None:
        """Raise Refused `identity-registered` if this identity is a valid credential of a subject, which is named."""
        holder = await self._holder(Identity(issuer, identity))
        if isinstance(holder, Caller):
            raise subject_commands.identity_registered(holder.name, holder.credential)

    async def _holder(self, identity: Identity) -> Caller | Former | None:
        """Return the subject that an identity at the provider belongs or belonged to; None if there never was one.

        Raises errors as find() does.
        """
        issuer, key = identity.issuer, "\n".join(identity)

        def is_good(credential: Credential) -> bool:
            return credential.kind == "oidc" and credential.issuer == issuer

        known = self._owners.get(key)
        caller = None if known is None else await self._caller(*known, is_good)
        if isinstance(caller, Caller):
            return caller
        for attempt in range(2):
            if attempt:  # the read model may be behind
                await self._catch_up()
            for owner in await self._holders(identity):
                caller = await self._caller(*owner, is_good)
                if isinstance(caller, Caller):
                    self._remember(key, owner)
                    return caller
        return caller

    async def _holders(self, identity: Identity) -> list[tuple[str, int]]:
        """Return subjects and numbers of credentials for an identity, by the chain and not by the read model."""

        async def work(conn: AsyncConnection) -> list[tuple[str, int]]:
            rows = await (await conn.execute(HOLDERS, list(identity), prepare=True)).fetchall()
            events = await read_events(conn, [position for _, _, position in rows])
            return [
                (name, number)
                for name, number, position in rows
                if position in events and _issues(events[position], name, number, identity)
            ]

        return await self._readers.run_short(work)

    async def _caller(self, name: str, number: int, is_good: Callable[[Credential], bool]) -> Caller | Former | None:
        """Return a subject with one of its credentials; None if the chain does not have the credential."""
        state = self._states.get(name) if monotonic() < self._fresh_until_s else None
        # A credential, and the end of a suspension, may be newer than what is cached.
        if state is None or state.suspended or number not in state.credentials:
            state = await self._read(name)
        credential = state.credentials.get(number)
        if state.kind is None or credential is None or not is_good(credential):
            return None
        now = self._clock()
        if not credential.is_valid(now):
            return Former(name, number, state)
        return Caller(name, number, state)

    def _noted(self, caller: Caller | Former | None) -> Caller | Former | None:
        """Note that a credential was used to sign in, if it is valid."""
        if isinstance(caller, Caller):
            self.uses.note(caller.name, caller.credential, self._clock())
        return caller

    def _remember(self, key: str, owner: tuple[str, int]) -> None:
        if len(self._owners) >= MOST_CACHED:
            self._owners.clear()
        self._owners[key] = owner

    async def _owner(self, digest: str) -> tuple[str, int] | None:
        """Return the subject and the number of a token, by the read model. Wait for the read model if it is behind."""
        row = await self._readers.fetch_one(OWNER, [digest])
        if row is None:
            await self._catch_up()
            row = await self._readers.fetch_one(OWNER, [digest])
        return None if row is None else (str(row[0]), int(row[1]))

    async def _catch_up(self) -> None:
        """Wait for the read model, one caller at a time, so that unknown tokens cannot take all connections."""
        try:
            async with asyncio.timeout(self._patience_s), self._catching_up:
                await self._readers.run(self._caught_up, within_s=self._patience_s)
        except TimeoutError:
            raise Unavailable("the read model credentials is behind, so this token cannot be looked up") from None

    async def _caught_up(self, conn: AsyncConnection) -> None:
        await wait_until_caught_up(conn, CREDENTIALS, patience_s=self._patience_s)

    async def _read(self, name: str) -> SubjectState:
        dropped = self._dropped
        state = await self._authority.state(name)
        if dropped == self._dropped and self._position is not None:
            if len(self._states) >= MOST_CACHED:
                self._states.clear()
            self._states[name] = state
        return state

    async def _follow(self) -> None:
        while True:
            try:
                await self._look()
                await self.uses.store_due()
            except LedgerError:
                # Cached states soon become unusable. Then each request reads the stream, and reports the error.
                pass
            except Exception:
                log.exception("the follower of subjects failed, and goes on")
            await asyncio.sleep(LOOK_S)

    async def _look(self) -> None:
        """Drop the states of subjects that have changed since the last check."""
        began_s = monotonic()
        row = await self._readers.fetch_one(CHANGED, [self._position, TYPES])
        position, streams = (0, []) if row is None else row
        if self._position is None or position < self._position:
            self._drop(list(self._states))
        elif streams:
            self._drop([name for stream in streams for name in _names(stream)])
        self._position = position
        self._fresh_until_s = began_s + CACHE_S

    def _drop(self, names: list[str]) -> None:
        self._dropped += 1
        for name in names:
            self._states.pop(name, None)


def _issues(event: RecordedEvent, name: str, number: int, identity: Identity) -> bool:
    """Return True if this event, unaltered, gives the subject this identity."""
    data = event.data
    return (
        event.altered is None
        and (event.stream, event.type) == (subject.stream_of(name), CredentialIssued.type)
        and (data.get("credential"), data.get("issuer")) == (number, identity.issuer)
        and event.fields.get("identity") == identity.sub
    )


def _names(stream: str) -> list[str]:
    return [stream.removeprefix(each) for each in (subject.CATEGORY, agents.CATEGORY) if stream.startswith(each)]
