"""Workers for test_worker.py: agents that misbehave, and a worker alone, in a thread or a process.

As a process: `python -m tests.faults.workers URL AGENT LEASE_S BATCH` works until killed, and prints "asked N" when its
agent is asked about request N.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator

from api.agents.builtin.agent import BuiltinAgent
from api.agents.protocol import Agent, AgentAnswer, AgentRefused, AgentRequest
from api.agents.run.worker import Worker
from ledger.database import AsyncConnection, conninfo
from ledger.service.ledger import Ledger
from ledger.store.readers import Readers
from ledger.store.writer import Writer
from schema.events import CallStart
from tests.paths import ROOT
from tests.support import eventually

# Instead of half a minute to an hour.
OUTAGE_S = (0.1, 0.2)


class Does:
    """An agent that calls a function of the test, and remembers its requests."""

    name = "does-as-told"
    version = "1"
    answer_schema = "any/v1"
    deterministic = True

    def __init__(self, does: Callable[[AgentRequest, int], AgentAnswer], timeout_s: float = 60.0) -> None:
        self._does = does
        self.timeout_s = timeout_s
        self.asked: list[int] = []

    def prepare(self, request: AgentRequest) -> CallStart:  # noqa: ARG002 - as the protocol has it
        """Prepare a call without messages."""
        return CallStart(provider_name="tests", request_model=self.name, input_messages=[])

    def answer(self, request: AgentRequest, call: CallStart) -> AgentAnswer:  # noqa: ARG002 - as the protocol has it
        """Call `does` with the number of earlier calls for this request."""
        before = self.asked.count(request.request_id)
        self.asked.append(request.request_id)
        return self._does(request, before)


def fine(request: AgentRequest, before: int = 0) -> AgentAnswer:
    """Answer."""
    return AgentAnswer({"for": request.request_id}, "does-as-told", "1", {})


def refuses(request: AgentRequest, before: int = 0) -> AgentAnswer:
    """Refuse, with a reason."""
    raise AgentRefused("not-suitable", f"nothing suits {request.amount_usd}")


def sleeps(request: AgentRequest, before: int = 0) -> AgentAnswer:
    """Print the id of the request, and never answer."""
    print(f"asked {request.request_id}", flush=True)  # noqa: T201 - read by the test
    threading.Event().wait()
    return fine(request)


class SleepsPreparing(Does):
    """An agent that never ends to prepare its call."""

    def prepare(self, request: AgentRequest) -> CallStart:
        """Print the id of the request, and never return."""
        sleeps(request)
        return super().prepare(request)


AGENTS: dict[str, Callable[[], Agent]] = {
    "builtin": BuiltinAgent,
    "sleeps-preparing": lambda: SleepsPreparing(fine),
    "sleeps-answering": lambda: Does(sleeps),
}


@contextlib.asynccontextmanager
async def opened(url: str) -> AsyncIterator[Ledger]:
    """Open the ledger as the application does, without projector and worker."""
    readers = Readers(conninfo(url, "reader"), most=4, patience_s=1)
    writer = Writer(conninfo(url, "writer"), patience_s=1)
    await readers.open()
    await writer.start()
    try:
        yield Ledger(writer, readers)
    finally:
        await writer.close()
        await readers.close()


class Rounds:
    """The progress of a worker: how often it looked for requests, and whether it is stopping."""

    def __init__(self) -> None:
        self.count = 0
        self.stopping = threading.Event()

    def pass_by(self, count: int = 2) -> None:
        """Wait until `count` more rounds were begun and ended."""
        before = self.count
        eventually("the worker looks for requests", lambda: self.count > before + count)


class CountingWorker(Worker):
    """A worker that reports its rounds."""

    rounds: Rounds

    async def _work(self, conn: AsyncConnection) -> None:
        self.rounds.count += 1
        await super()._work(conn)

    async def stop(self) -> None:
        """Report that it is stopping, and stop."""
        self._stopping.set()
        self.rounds.stopping.set()
        await super().stop()


async def work(url: str, agent: Agent, stop: asyncio.Event, lease_s: float, batch: int, rounds: Rounds) -> None:
    """Work until `stop` is set."""
    async with opened(url) as ledger:
        worker = CountingWorker(
            ledger, agent, conninfo(url, "writer"), lease_s=lease_s, batch=batch, idle_s=0.02, outage_s=OUTAGE_S
        )
        worker.rounds = rounds
        worker.start()
        await stop.wait()
        await worker.stop()


@contextlib.contextmanager
def working(url: str, agent: Agent, *, lease_s: float = 30.0, batch: int = 50) -> Iterator[Rounds]:
    """Run a worker in a thread while the block runs."""
    loop, stop, rounds = asyncio.new_event_loop(), asyncio.Event(), Rounds()
    thread = threading.Thread(target=loop.run_until_complete, args=(work(url, agent, stop, lease_s, batch, rounds),))
    thread.start()
    try:
        yield rounds
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(30)
        assert not thread.is_alive()
        loop.close()


@contextlib.contextmanager
def process(url: str, agent: str, *, lease_s: float = 30.0, batch: int = 50) -> Iterator[subprocess.Popen[str]]:
    """Run a worker in a process, and kill it when the block ends."""
    command = [sys.executable, "-m", "tests.faults.workers", url, agent, str(lease_s), str(batch)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as found:
        try:
            yield found
        finally:
            found.kill()


if __name__ == "__main__":
    database_url, name, lease, most = sys.argv[1:]
    asyncio.run(work(database_url, AGENTS[name](), asyncio.Event(), float(lease), int(most), Rounds()))
