"""Keep the memory of a server flat. Both functions do nothing where the C library is not glibc.

What is in use stays the same under load, but the free memory in between grows for hours: each thread gets an arena of
its own, whose free memory is of no use to others, and glibc keeps what is free below something that is not.
"""

from __future__ import annotations

import contextlib
import ctypes

# The number of this parameter in glibc's malloc.h.
M_ARENA_MAX = -8


def share_arena() -> None:
    """Let all threads allocate from one arena. Call it before the first thread starts."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)


def give_back() -> None:
    """Return free pages to the system. It takes some milliseconds."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
