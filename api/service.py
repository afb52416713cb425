"""What the application does, whoever asks: HTTP routes, the worker and the command line call the same methods."""

from __future__ import annotations

from api.commands.answering import Answering
from api.commands.deciding import Deciding


class Ledger(Answering, Deciding):
    """One ledger, open: `app.state.ledger`."""
