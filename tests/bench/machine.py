"""Where figures come from: processor, memory, disk, server and versions. A figure without these says nothing."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import statistics
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

import psutil
import psycopg

SETTINGS = (
    "fsync",
    "full_page_writes",
    "synchronous_commit",
    "shared_buffers",
    "max_wal_size",
    "wal_compression",
    "jit",
)
PACKAGES = ("eventsourcing", "fastapi", "psycopg", "pydantic", "uvicorn", "uvloop")
SYNCS = 50


def describe(url: str) -> dict[str, Any]:
    """The machine, its load now, the server and the versions that matter."""
    return {
        "machine": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
            "system": f"{platform.system()} {platform.release()} {platform.machine()}",
            "load_average_at_start": os.getloadavg()[0],
            "fdatasync_8kb_ms": round(_fdatasync_ms(), 3),
        },
        "server": _server(url),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _fdatasync_ms() -> float:
    """Median time to write 8 kB over and make it durable, where temporary files are: the floor under a commit."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(bytes(8192 * SYNCS))
        file.flush()
        os.fsync(file.fileno())
        took = []
        for index in range(SYNCS):
            started = perf_counter()
            os.pwrite(file.fileno(), b"x" * 8192, index * 8192)
            os.fsync(file.fileno()) if platform.system() == "Darwin" else os.fdatasync(file.fileno())
            took.append(perf_counter() - started)
    return statistics.median(took) * 1000


def _server(url: str) -> dict[str, str]:
    with psycopg.connect(url) as conn:
        found = {"version": conn.execute("SHOW server_version").fetchone()}
        for name in SETTINGS:
            found[name] = conn.execute("SELECT current_setting(%s)", [name]).fetchone()
    return {name: str(row[0]) for name, row in found.items() if row is not None}


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
