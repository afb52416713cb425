"""What a running application is made with; api/cli fills it in from options and the environment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from api.agents.builtin.agent import BuiltinAgent
from api.agents.protocol import Agent
from api.witness.witness import Witness
from ledger.service.policies import Policies
from ledger.tlog.endorse.endorsers import Asked
from ledger.tlog.sign.signer_thread import Signing
from ledger.verify.continuous import Watching


@dataclass(frozen=True)
class AppSettings:
    """Explicit arguments of create_app(). `database_url`: a migrated ledger, by a login that may act in its roles."""

    database_url: str
    schema_name: str = "ledger"
    run_worker: bool = True
    # Makes the agent that the worker asks.
    make_agent: Callable[[], Agent] = BuiltinAgent
    policies: Policies = field(default_factory=Policies.packaged)
    # A model call that is open for so long is an orphan.
    orphan_after_s: float = 300.0
    # What this process signs the log with; None where another does, or nobody.
    signing: Signing | None = None
    # By whom a checkpoint is vouched for, in a process that does not sign; one that does asks those of `signing`.
    asked: Asked = field(default_factory=Asked)
    # For the logs of others; None where this process is no witness.
    witness: Witness | None = None
    # How this process checks the chain in the background; None where it does not.
    watching: Watching | None = None
    # Connections for reads.
    readers: int = 8
    # How long a read waits for its projection, and a write for the database.
    patience_s: float = 3.0

    @property
    def vouching(self) -> Asked:
        """Whom the process that signs asks about its checkpoints, and how many have to have answered."""
        return self.asked if self.signing is None else self.signing.asked
