"""Keep the memory of a server flat. Both functions do nothing if the C library is not glibc.

Under load, the used memory stays the same, but the free memory in between grows for hours. Each thread gets an arena
of its own, whose free memory other threads cannot use, and glibc keeps free memory that is below used memory. It takes
large blocks from the system only until the first block of their size is freed; later ones come from the arena.
"""

from __future__ import annotations

import contextlib
import ctypes

# The numbers of these parameters in glibc's malloc.h.
M_MMAP_THRESHOLD = -3
M_ARENA_MAX = -8
# Blocks from this size on, such as bodies of requests and answers of the database, return to the system when freed.
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
