"""One open ledger: the commands that HTTP routes, the worker and the command line share."""

from __future__ import annotations

from ledger.service.agents import AgentCommands
from ledger.service.content import ContentCommands
from ledger.service.decisions import DecisionCommands
from ledger.service.execute import Executor
from ledger.service.policies import Policies
from ledger.service.requests import RequestCommands
from ledger.store.readers import Readers
from ledger.store.writer import Writer


class Ledger:
    """An open ledger. The caller opens and closes `writer` and `readers`.

    `patience_s` bounds how long a read waits for its read model.
    """

    def __init__(
        self, writer: Writer, readers: Readers, patience_s: float = 3.0, policies: Policies | None = None
    ) -> None:
        executor = Executor(writer, readers)
        self.writer = writer
        self.readers = readers
        self.patience_s = patience_s
        self.requests = RequestCommands(executor)
        self.content = ContentCommands(executor)
        self.decisions = DecisionCommands(executor, policies or Policies.packaged())
        self.agents = AgentCommands(executor)
