"""Words of messages that several rooms share."""

from __future__ import annotations


def counted(number: int, thing: str) -> str:
    """Write a number of things: `1 case`, `2 cases`."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
