"""Commands about signing keys: a subject registers a key of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from ledger.domain import subject as subjects
from ledger.domain.signed_acts import registered_before
from ledger.errors import IdConflict, Refused
from ledger.service.command import Command
from ledger.service.execute import Executor
from ledger.service.signatures import key_id
from ledger.store.envelope import Actor, NewEvent
from ledger.store.events import Receipt
from schema.events import SigningKeyRegistered
from schema.signing_keys import RegisterKey

# The most keys of a subject, so that neither a stream nor the memory of a verifier grows without bound.
MOST_KEYS = 1000


@dataclass(frozen=True)
class SigningKeyCommands:
    """Commands about signing keys."""

    executor: Executor

    async def register(self, actor: Actor, name: str, body: RegisterKey) -> tuple[Receipt, int]:
        """Verify the proof of a key of the subject `name` and register the key; return the receipt and its number.

        The id of the event follows from the public key: so a key is registered once in the life of the ledger, and a
        retry gets its first receipt. Raises Refused `signature-…`, `signing-key-registered`, `subject-unknown`.
        """
        members = body.model_dump(exclude_none=True)
        key = await self.executor.signatures.check_registration(name, {**members, "credential": 1})
        stream = subjects.stream_of(name)

        async def look() -> subjects.SubjectState:
            [history] = await self.executor.readers.streams(stream)
            return subjects.fold(history)

        def decide(state: subjects.SubjectState, new_id: UUID) -> list[NewEvent]:
            if state.kind is None:
                raise Refused("signature-key", "there is no subject of this name, so it can have no key")
            if state.next_credential > MOST_KEYS:
                raise Refused("too-many-credentials", f"a subject has at most {MOST_KEYS} credentials in its life")
            event = SigningKeyRegistered(**dict(body), credential=state.next_credential)
            return [NewEvent(new_id, stream, event, actor, state.version)]

        command = Command(actor, stream, SigningKeyRegistered, members, key_id(key), frozenset({"credential"}))
        try:
            receipt = await self.executor.execute(command, look, decide)
        except IdConflict as error:
            raise registered_before() from error
        return receipt, await self._number(receipt)

    async def _number(self, receipt: Receipt) -> int:
        found: Any = await self.executor.find(receipt.id)
        return int(found[1].data["credential"])
