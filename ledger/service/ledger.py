"""Hold one open ledger: the commands that HTTP routes, the worker and the command line share."""

from __future__ import annotations

from ledger.domain.client import Registration
from ledger.service.accesses import Accesses
from ledger.service.agents import AgentCommands
from ledger.service.authority import Authority
from ledger.service.bulk_assignments import BulkAssignments
from ledger.service.claims import Claims
from ledger.service.clients import ClientCommands
from ledger.service.content import ContentCommands
from ledger.service.decisions import DecisionCommands
from ledger.service.disposals import DisposalCommands
from ledger.service.erasures import ErasureCommands
from ledger.service.execute import Executor
from ledger.service.exports import ExportCommands
from ledger.service.findings import FindingCommands
from ledger.service.legal_holds import LegalHoldCommands
from ledger.service.mistakes import MistakeCommands
from ledger.service.monitoring.bulk_holdings import BulkHoldings
from ledger.service.monitoring.bulk_valuations import BulkValuations
from ledger.service.monitoring.corporate_actions import CorporateActions
from ledger.service.monitoring.deliveries import Deliveries
from ledger.service.monitoring.escalations import Escalations
from ledger.service.monitoring.flows import Flows
from ledger.service.monitoring.portfolios import PortfolioCommands
from ledger.service.monitoring.rebalancing import RebalancingCommands
from ledger.service.monitoring.runs import MonitoringRuns
from ledger.service.policies import Policies
from ledger.service.requests import RequestCommands
from ledger.service.reviews import ReviewCommands
from ledger.service.samples import SampleCommands
from ledger.service.signatures import Signatures
from ledger.service.signing_keys import SigningKeyCommands
from ledger.service.subject_changes import SubjectChanges
from ledger.service.subjects import SubjectCommands
from ledger.store.readers import Readers
from ledger.store.writer import Writer


class Ledger:
    """An open ledger. The caller opens and closes `writer` and `readers`.

    `patience_s` limits how long a read waits for its read model. `claiming` connects in the role writer, for claims of
    agents outside of this program; without it, they can make no claims.
    """

    def __init__(
        self,
        writer: Writer,
        readers: Readers,
        patience_s: float = 3.0,
        policies: Policies | None = None,
        registration: Registration | None = None,
        claiming: Readers | None = None,
    ) -> None:
        self.authority = Authority(readers)
        executor = Executor(writer, readers, Signatures(readers), self.authority)
        self.writer = writer
        self.readers = readers
        self.patience_s = patience_s
        in_force = policies or Policies.packaged()
        self.clients = ClientCommands(executor, registration or Registration())
        self.assignments = BulkAssignments(executor, self.clients)
        self.claims = Claims(readers, claiming)
        self.requests = RequestCommands(executor, in_force, self.clients, self.claims)
        self.content = ContentCommands(executor)
        self.decisions = DecisionCommands(executor, in_force)
        self.mistakes = MistakeCommands(executor)
        self.reviews = ReviewCommands(executor)
        self.samples = SampleCommands(executor, in_force)
        self.findings = FindingCommands(executor)
        self.agents = AgentCommands(executor)
        self.accesses = Accesses(writer)
        self.signing_keys = SigningKeyCommands(executor)
        self.subjects = SubjectCommands(executor)
        self.subject_changes = SubjectChanges(executor, in_force)
        self.portfolios = PortfolioCommands(executor, self.clients)
        self.monitoring = MonitoringRuns(executor)
        self.escalations = Escalations(executor)
        self.rebalancing = RebalancingCommands(executor, self.monitoring)
        self.holdings = BulkHoldings(executor)
        self.valuations = BulkValuations(executor)
        self.flows = Flows(executor)
        self.corporate_actions = CorporateActions(executor)
        self.deliveries = Deliveries(executor, claiming)
        self.exports = ExportCommands(executor)
        self.legal_holds = LegalHoldCommands(executor)
        self.erasures = ErasureCommands(executor, in_force, self.clients, self.patience_s)
        self.disposals = DisposalCommands(executor, self.erasures)
