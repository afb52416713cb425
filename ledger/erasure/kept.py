"""Read and write the list of erasures that is kept outside the database: docs/use/erasure.md.

The file has a line for each erasure: its certificate, and the first event of each of the client's numbers, with its
proof. That event tells the client from another client that got the same number after a restore. Each complete line
ends with a newline: a crash while a line is written leaves it without one.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from ledger.errors import LedgerError
from ledger.proof.erasure.certificate import MALFORMED, CertifiedErasure, verify_certificate, verify_event
from ledger.proof.errors import EvidenceError
from ledger.proof.format.hashes import event_hash
from ledger.proof.tlog.note import VerifierKey

FORMAT = "advice-ledger/erasure-list/v1"
MAX_LINE_BYTES = 32 * 1024 * 1024
MAX_LINES = 1_000_000


class BadList(LedgerError):
    """The list cannot be used. The message names the file and the line."""


@dataclass(frozen=True)
class KeptErasure:
    """An erasure of the list, verified. `clients` has the hash of the first event of each number of the client."""

    certified: CertifiedErasure
    hash: str
    clients: Mapping[int, bytes]


def read_kept(path: Path, keys: Sequence[VerifierKey]) -> Iterator[KeptErasure | None]:
    """Yield the erasures of a list, verified with keys of the log; None for a last line that is cut off.

    Raises BadList, and OSError.
    """
    with path.open("rb") as file:
        for number, line in _lines(path, file):
            if line is None:
                yield None
                return
            try:
                yield _verified(line, keys)
            except (EvidenceError, *MALFORMED) as error:
                why = f"{error}" if isinstance(error, EvidenceError) else "malformed"
                raise BadList(f"{path}, line {number}: {why}") from None


@contextmanager
def appending(path: Path) -> Iterator[tuple[set[str], BinaryIO]]:
    """Open the list with a lock, to add lines; yield the hashes of the erasures that it has.

    A new list can be read by its owner only. A last line that is cut off is removed. Raises BadList, and OSError.
    """
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        known, end = set(), 0
        for number, line in _lines(path, file):
            if line is None:
                break
            try:
                known.add(erased_hash(orjson.loads(line)["certificate"]["events"]))
            except MALFORMED:
                raise BadList(f"{path}, line {number}: malformed") from None
            end += len(line)
        file.truncate(end)
        file.seek(end)
        yield known, file


def append_entry(file: BinaryIO, certificate: Mapping[str, Any], first_events: Sequence[Mapping[str, Any]]) -> None:
    """Write a line and make sure that it is on the disk."""
    file.write(
        orjson.dumps({"format": FORMAT, "certificate": certificate, "first_events": first_events}) + b"\n",
    )
    file.flush()
    os.fsync(file.fileno())


def erased_hash(events: Sequence[Mapping[str, Any]]) -> str:
    """Return the hash, in hex, of the erasure among the events of a certificate. Raises one of MALFORMED."""
    return _hash(events[1]).hex()


def _lines(path: Path, file: BinaryIO) -> Iterator[tuple[int, bytes | None]]:
    for number in range(1, MAX_LINES + 1):
        line = file.readline(MAX_LINE_BYTES + 1)
        if not line:
            return
        if len(line) > MAX_LINE_BYTES:
            raise BadList(f"{path}, line {number}: longer than {MAX_LINE_BYTES} bytes")
        yield number, line if line.endswith(b"\n") else None
    raise BadList(f"{path} has more than {MAX_LINES} lines")


def _verified(line: bytes, keys: Sequence[VerifierKey]) -> KeptErasure:
    entry = orjson.loads(line)
    if entry["format"] != FORMAT:
        raise ValueError
    certificate = entry["certificate"]
    certified = verify_certificate(orjson.dumps(certificate), keys)
    clients = {}
    for one in entry["first_events"]:
        first = verify_event(one, certified.origin, keys, ())
        clients[_number(first.body["stream"], one["version"])] = _hash(one)
    if set(clients) != set(certified.erased.body["data"]["clients"]):
        raise ValueError
    return KeptErasure(certified, erased_hash(certificate["events"]), clients)


def _number(stream: str, version: int) -> int:
    category, _, number = stream.rpartition("-")
    if category != "client" or version != 1:
        raise ValueError
    return int(number)


def _hash(event: Mapping[str, Any]) -> bytes:
    """Return the hash of an event of a certificate."""
    prev_hash, body = bytes.fromhex(event["prev_hash"]), event["body"].encode()
    return event_hash(prev_hash, event["position"], event["version"], event["recorded_at_us"], body)
