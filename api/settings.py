"""What a running application is made with; api/cli fills it in from options and the environment."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class AppSettings:
    """Explicit arguments of create_app(). `database_url`: a migrated ledger, by a login that may act in its roles."""

    database_url: str
    schema_name: str = "ledger"
    run_worker: bool = True
    # Connections for reads.
    readers: int = 8
    # How long a read waits for its projection, and a write for the database.
    patience_s: float = 3.0
