"""Commands about agents: register an answer schema, suspend, resume."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from ledger.domain import agent as agents
from ledger.domain.agent import RESERVED, Agent
from ledger.errors import NotFound
from ledger.service.command import Command
from ledger.service.execute import Executor
from ledger.store.envelope import Actor, NewEvent
from ledger.store.events import Receipt
from schema.events import AgentRegistered, AgentResumed, AgentSuspended

AGENT_EXISTS = "SELECT agent_exists(%s)"


@dataclass(frozen=True)
class AgentCommands:
    """Commands about agents, and whether an agent is suspended."""

    executor: Executor

    async def command(
        self,
        actor: Actor,
        name: str,
        event: AgentRegistered | AgentSuspended | AgentResumed,
        event_id: UUID | None = None,
    ) -> Receipt:
        """Register, suspend or resume an agent. Raises NotFound `agent-unknown`, Refused or InvalidEvent."""

        def decide(agent: Agent, new_id: UUID) -> list[NewEvent]:
            match event:
                case AgentRegistered():
                    agents.check_register(event)
                case AgentSuspended():
                    agents.check_suspend(agent)
                case AgentResumed():
                    agents.check_resume(agent)
            return [NewEvent(new_id, stream, event, actor, agent.version)]

        await self._check_exists(name)
        stream = agents.stream_of(name)
        command = Command.of_event(actor, stream, event, event_id)
        return await self.executor.execute(command, lambda: self._agent(name), decide)

    async def is_suspended(self, name: str) -> bool:
        """Return True if the ledger takes nothing from this agent now."""
        return (await self._agent(name)).suspended

    async def _agent(self, name: str) -> Agent:
        [history] = await self.executor.readers.streams(agents.stream_of(name))
        return agents.fold(history)

    async def _check_exists(self, name: str) -> None:
        if name in RESERVED or await self.executor.readers.fetch_one(AGENT_EXISTS, [name]) == (True,):
            return
        raise NotFound("agent-unknown", "there is no agent of this name: no token of this name has the role agent")
