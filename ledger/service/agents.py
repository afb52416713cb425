"""Commands about agents: register an answer schema, suspend, resume."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from ledger.domain import agent as agents
from ledger.domain import subject
from ledger.domain.agent import RESERVED, Agent
from ledger.errors import NotFound
from ledger.service.command import Command
from ledger.service.execute import Executor
from ledger.service.subjects import SubjectCommands
from ledger.store.envelope import Actor, NewEvent
from ledger.store.events import Receipt
from schema.events import AgentRegistered, SubjectResumed, SubjectSuspended


@dataclass(frozen=True)
class AgentCommands:
    """Commands about agents, and whether an agent is suspended."""

    executor: Executor

    async def register(self, actor: Actor, name: str, event: AgentRegistered, event_id: UUID | None = None) -> Receipt:
        """Register an agent's answer schema. Raises NotFound `agent-unknown`, Refused or InvalidEvent."""

        def decide(agent: Agent, new_id: UUID) -> list[NewEvent]:
            agents.check_register(event)
            return [NewEvent(new_id, stream, event, actor, agent.version)]

        await self.check_exists(name)
        stream = agents.stream_of(name)
        command = Command.of_event(actor, stream, event, event_id)
        return await self.executor.execute(command, lambda: self._agent(name), decide)

    async def suspend_or_resume(
        self, actor: Actor, name: str, event: SubjectSuspended | SubjectResumed, event_id: UUID | None = None
    ) -> Receipt:
        """Suspend or resume an agent, as any subject. Raises NotFound `agent-unknown`, or as for subjects."""
        await self.check_exists(name)
        return await SubjectCommands(self.executor).change(actor, name, event, event_id)

    async def is_suspended(self, name: str) -> bool:
        """Return True if the agent is suspended now."""
        return (await self._agent(name)).suspended

    async def check_running(self, name: str) -> None:
        """Raise Refused `agent-suspended` if the agent is suspended now."""
        agents.check_running(await self._agent(name))

    async def _agent(self, name: str) -> Agent:
        return agents.fold(*await self.executor.readers.streams(agents.stream_of(name), subject.stream_of(name)))

    async def check_exists(self, name: str) -> None:
        """Raise NotFound `agent-unknown` if no agent has this name."""
        if name not in RESERVED and (await self.executor.authority.state(name)).kind != subject.AGENT:
            raise NotFound("agent-unknown", "there is no agent of this name: no subject of this name is an agent")
