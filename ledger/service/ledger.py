"""What the application does, whoever asks: HTTP routes, the worker and the command line call the same methods."""

from __future__ import annotations

from ledger.service.decisions import Deciding
from ledger.service.requests import Answering


class Ledger(Answering, Deciding):
    """One ledger, open: `app.state.ledger`."""
