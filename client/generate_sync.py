"""Write client.py from async_client.py: `python client/generate_sync.py`, then format. `make format` does both."""

from __future__ import annotations

import re
from pathlib import Path

PACKAGE = Path(__file__).parent / "advice_ledger_client"
SOURCE = PACKAGE / "async_client.py"
TARGET = PACKAGE / "client.py"
MODULE_DOCSTRING = '''"""LedgerClient: the ledger's operations, blocking.

Generated from async_client.py by `python client/generate_sync.py`: do not edit.
"""
'''
REPLACED = (
    (r'\A""".*?"""\n', MODULE_DOCSTRING),
    (r", for one event loop\.", ". Several threads may share it."),
    (r"Use it in an `async with` statement", "Use it in a `with` statement"),
    (r"in an `async with` block", "in a `with` block"),
    (r"\bAsyncLedgerClient\b", "LedgerClient"),
    (r"\bAsyncModelCall\b", "SyncModelCall"),
    (r"\bAsyncSender\b", "Sender"),
    (r"\bhttpx\.AsyncClient\b", "httpx.Client"),
    (r"\b__a(enter|exit)__\b", r"__\1__"),
    (r"\baclose\b", "close"),
    (r"\bAsyncIterator\b", "Iterator"),
    (r"\basync (def|with|for)\b", r"\1"),
    (r"\bawait ", ""),
)


def blocking(source: str) -> str:
    """Return the blocking form of the awaited code."""
    for pattern, replacement in REPLACED:
        source = re.sub(pattern, replacement, source, flags=re.DOTALL)
    return source


if __name__ == "__main__":
    TARGET.write_text(blocking(SOURCE.read_text("utf-8")), "utf-8")
