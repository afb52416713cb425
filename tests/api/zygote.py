"""A process that has imported the program, and forks for each start of it: an import costs more than most commands do.

The test process sends a start over a socket: arguments, environment, folder and source as JSON, and four descriptors:
stdin, stdout, stderr and a socket for replies. The reply is the number of the new process, and later its exit status.
The new process differs from a fresh interpreter in one thing: its modules are imported before its environment is set.
"""

from __future__ import annotations

import gc
import importlib
import io
import json
import os
import pkgutil
import select
import socket
import sys
import time
from collections.abc import Container
from typing import Any, NoReturn

# What `serve` imports late, besides our own modules.
LATE = (
    "uvicorn",
    "uvicorn.lifespan.on",
    "uvicorn.loops.uvloop",
    "uvicorn.protocols.http.httptools_impl",
    "psycopg_pool",
)
PACKAGES = ("schema", "ledger", "projections", "api")
# These need packages that are not always there, or start threads when they are imported.
LEFT_OUT = ("api.demo", "api.cli.demo", "api.agents.optimiser", "api.otlp.instrumentors")
MOST_BYTES = 200_000


def next_program(control: socket.socket) -> str:
    """Import the program; then fork for each start. Return the source to run, in a new process alone.

    Ends when the test process has closed the control socket, as it does by ending.
    """
    _import_all()
    running: dict[int, tuple[int, socket.socket]] = {}
    while True:
        ready, _, _ = select.select([control.fileno(), *running], [], [])
        for ended in running.keys() & ready:
            number, replies = running.pop(ended)
            os.close(ended)
            _, status = os.waitpid(number, 0)
            _reply(replies, os.waitstatus_to_exitcode(status))
        if control.fileno() not in ready:
            continue
        message, descriptors, _, _ = socket.recv_fds(control, MOST_BYTES, 4)
        if not message:
            _end()
        number = os.fork()
        if number == 0:
            control.close()
            for descriptor, (_, other) in running.items():
                os.close(descriptor)
                other.close()
            return _become(json.loads(message), descriptors)
        for descriptor in descriptors[:3]:
            os.close(descriptor)
        replies = socket.socket(fileno=descriptors[3])
        running[os.pidfd_open(number)] = (number, replies)
        replies.send(str(number).encode())


def _reply(replies: socket.socket, code: int) -> None:
    with replies:
        try:
            replies.send(str(code).encode())
        except OSError:  # nobody waits for it any more
            return


def _become(start: Any, descriptors: list[int]) -> str:
    for target, descriptor in enumerate(descriptors[:3]):
        os.dup2(descriptor, target)
    for descriptor in (*descriptors, *start["closed"]):
        os.close(descriptor)
    _open_streams(start["closed"])
    os.environ.clear()
    os.environ.update(start["env"])
    time.tzset()
    os.chdir(start["folder"])
    sys.argv = ["-c", *start["arguments"]]
    return str(start["source"])


def _open_streams(closed: Container[int]) -> None:
    """Open the standard streams as Python does when it starts: an open stream knows what its descriptor was.

    It has no stream for a descriptor that is closed.
    """
    for descriptor, name, mode, errors in (
        (0, "stdin", "r", "strict"),
        (1, "stdout", "w", "strict"),
        (2, "stderr", "w", "backslashreplace"),
    ):
        if descriptor in closed:
            setattr(sys, name, None)
            setattr(sys, f"__{name}__", None)
            continue
        interactive = os.isatty(descriptor) or name == "stderr"
        binary = open(descriptor, f"{mode}b", closefd=False)  # noqa: SIM115 - a descriptor, for good
        newline = "\n" if mode == "w" else None
        stream = io.TextIOWrapper(binary, "utf-8", errors, newline, line_buffering=interactive)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _import_all() -> None:
    for name in (*PACKAGES, *LATE):
        _import(name)
    for name in PACKAGES:
        for found in pkgutil.walk_packages(sys.modules[name].__path__, f"{name}."):
            _import(found.name)
    gc.collect()
    gc.freeze()  # so that collections in a new process do not copy the memory that it shares with this one


def _import(name: str) -> None:
    if not name.startswith(LEFT_OUT) and not name.endswith("__main__"):
        importlib.import_module(name)


def _end() -> NoReturn:
    os._exit(0)
