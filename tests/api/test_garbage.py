"""Garbage that grew old is collected while a server runs, and free memory goes back, so that its memory is flat."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.api.program import environment
from tests.paths import ROOT

# Cycles that live for a while, as those of requests do: many survive a collection of young objects and die later.
PROGRAM = """
import gc
from collections import deque
from api import app
import api.cli.serve

app._tune_garbage_collection()
before = gc.get_stats()[2]["collections"]
living = deque(maxlen=2_000)
for _ in range(1_000_000):
    cycle = []
    cycle.append(cycle)
    living.append(cycle)
print(gc.get_stats()[2]["collections"] - before)
"""

# Bodies of 4 MB, each freed while something that came after it stays. One of 16 MB came before.
LARGE = """
import ctypes
import sys
from api import malloc

class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in
        ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")]

libc = ctypes.CDLL(None)
if not hasattr(libc, "mallinfo2"):
    sys.exit("no glibc")
libc.mallinfo2.restype = Info
malloc.configure_malloc()
before = libc.mallinfo2().fordblks
bytearray(16 << 20)
kept = []
for _ in range(8):
    bodies = [bytearray(4 << 20) for _ in range(2)]
    kept.append(bytearray(64 << 10))
    del bodies
print(libc.mallinfo2().fordblks - before)
"""


def test_large_blocks_go_back_at_once() -> None:
    """What large requests and answers took is not kept as free memory, whatever was allocated after them."""
    ran = subprocess.run(
        [sys.executable, "-c", LARGE], capture_output=True, text=True, check=False, cwd=ROOT, env=environment()
    )
    if ran.stderr.strip() == "no glibc":
        pytest.skip("mallopt and mallinfo2 are glibc's")
    assert int(ran.stdout) < 1 << 20


def test_old_garbage_is_collected_often() -> None:
    """With a million cycles, of which few live at a time, all generations are collected again and again."""
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, cwd=ROOT, env=environment()
    )
    assert int(ran.stdout) >= 3
