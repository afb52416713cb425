"""Keep the memory of a server flat. Both functions do nothing where the C library is not glibc.

What is in use stays the same under load, but the free memory in between grows for hours: each thread gets an arena of
its own, whose free memory is of no use to others, and glibc keeps what is free below something that is not. It takes
large blocks from the system only until the first of their size is freed, and from then on from the same arena.
"""

from __future__ import annotations

import contextlib
import ctypes

# The numbers of these parameters in glibc's malloc.h.
M_MMAP_THRESHOLD = -3
M_ARENA_MAX = -8
# Blocks from this size on, such as bodies of requests and answers of the database, go back to the system when freed.
LARGE_BYTES = 128 * 1024


def configure_malloc() -> None:
    """Let all threads allocate from one arena, and large blocks from the system. Call it before a thread starts."""
    with contextlib.suppress(AttributeError, OSError):
        libc = ctypes.CDLL(None)
        libc.mallopt(M_ARENA_MAX, 1)
        libc.mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)


def give_back() -> None:
    """Return free pages to the system. It takes some milliseconds."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
