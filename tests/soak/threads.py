"""No thread of the load ends unseen."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def ends_noted(errors: list[str]) -> Iterator[None]:
    """Add each exception that ends a thread of this process to `errors`, and print it, while the block runs."""
    before = threading.excepthook

    def note(ended: threading.ExceptHookArgs) -> None:
        name = ended.thread.name if ended.thread else "a thread"
        errors.append(f"{name} ended: {ended.exc_type.__name__}: {ended.exc_value}")
        threading.__excepthook__(ended)

    threading.excepthook = note
    try:
        yield
    finally:
        threading.excepthook = before
