"""Bundles for tests: made of values without a database, taken apart, changed, and put together again by an attacker."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import orjson

from ledger.proof.bundle import manifest as bundle
from ledger.proof.bundle.manifest import Manifest, decode_manifest
from ledger.proof.bundle.page import page
from ledger.proof.bundle.selection import Selection
from ledger.proof.bundle.tiles import INDEX, edge_widths
from ledger.proof.bundle.window import Within
from ledger.proof.casefile.collected import Collected
from ledger.proof.format.act_time import act_us_of
from ledger.proof.format.canonical import canonical
from ledger.proof.format.events import EventLine, EventRow
from ledger.proof.format.hashes import event_hash
from ledger.proof.tlog.checkpoint import Checkpoint
from ledger.proof.tlog.merkle import leaf_hashes, parents, root_of
from ledger.tlog.signing_keys import SigningKey, sign_checkpoint
from tests.ledger.proof.chains import ORIGIN, chain_of
from tests.paths import ROOT

PROGRAM = """
import sys
from ledger.proof.auditor.__main__ import main
try:
    main()
finally:
    heavy = {"psycopg", "psycopg_pool", "pydantic", "fastapi", "starlette", "typer", "httpx", "api"} & set(sys.modules)
    assert not heavy, heavy
"""


@dataclass(frozen=True)
class Ran:
    """A run of the auditor's program."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its output, parsed."""
        return json.loads(self.out)

    @property
    def found(self) -> list[tuple[str, int]]:
        """Kind and position of each finding, as its JSON has them."""
        return [(one["kind"], one["position"]) for one in self.json["findings"]]


def program(*arguments: object) -> Ran:
    """Runs the auditor's program to its end, in a process that has loaded no database driver and no framework."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ADVICE_LEDGER_")}
    command = [sys.executable, "-c", PROGRAM, *map(str, arguments)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**environment, "PYTHONPATH": str(ROOT)},
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Ran(done.returncode, done.stdout, done.stderr)


@dataclass
class Case:
    """A bundle taken apart: what an attacker works on."""

    files: dict[str, bytes] = field(default_factory=dict)

    @classmethod
    def read(cls, data: bytes) -> Case:
        """The members of a bundle."""
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return cls({name: archive.read(name) for name in archive.namelist()})

    @property
    def manifest(self) -> Manifest:
        """The manifest of the present members."""
        return decode_manifest(self.files[bundle.MANIFEST])

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The events."""
        return [json.loads(line) for line in self.files[bundle.EVENTS].splitlines()]

    @lines.setter
    def lines(self, lines: Iterable[dict[str, Any]]) -> None:
        self.files[bundle.EVENTS] = b"".join(
            orjson.dumps(line, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE) for line in lines
        )

    def write(self, *, careful: bool = True) -> bytes:
        """The bundle again. A careful attacker makes counts, page and digests of the manifest fit."""
        if careful:
            self._fit()
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            for name, data in self.files.items():
                archive.writestr(name, data)
        return out.getvalue()

    def _fit(self) -> None:
        manifest, lines = self.manifest, self.lines
        manifest.count = len(lines)
        manifest.first_position = lines[0]["position"] if lines else 0
        manifest.last_position = lines[-1]["position"] if lines else 0
        manifest.within = Within()
        shown, sizes = Collected(), map(len, self.files[bundle.EVENTS].split(b"\n"))
        for line, size in zip(lines, sizes, strict=False):
            # A line that no reader accepts is not shown.
            with contextlib.suppress(KeyError):
                shown.add(event_line(line), size)
                body, recorded_us = line["body"].encode(), line["recorded_at_us"]
                if manifest.selection.until_us:
                    stream = json.loads(body)["stream"]
                    manifest.within.add(manifest.selection, stream, act_us_of(body, recorded_us), recorded_us)
        self.files[bundle.PAGE] = b"".join(page(manifest, self.files[bundle.CHECKPOINT], shown))
        manifest.files = {
            name: (len(data), sha256(data).hexdigest()) for name, data in self.files.items() if name != bundle.MANIFEST
        }
        self.files[bundle.MANIFEST] = manifest.encode()


def event_line(line: dict[str, Any]) -> EventLine:
    """The line as the reader of bundles parses it, also a line that the reader refuses."""
    return EventLine(
        line["position"],
        line["version"],
        line["recorded_at_us"],
        bytes.fromhex(line["prev_hash"]),
        bytes.fromhex(line["hash"]),
        line["body"].encode(),
        line.get("fields", "").encode(),
        line.get("salts", "").encode(),
        tuple(line.get("withheld", ())),
    )


def rehashed(line: dict[str, Any]) -> dict[str, Any]:
    """The line with the hash that its members have."""
    digest = event_hash(
        bytes.fromhex(line["prev_hash"]),
        line["position"],
        line["version"],
        line["recorded_at_us"],
        line["body"].encode(),
    )
    return {**line, "hash": digest.hex()}


def line_of(event: EventRow, withhold: Callable[[str], bool] = lambda _: False) -> dict[str, Any]:
    """An event as a bundle has it."""
    line: dict[str, Any] = {
        "position": event.position,
        "version": event.version,
        "recorded_at_us": event.recorded_at_us,
        "prev_hash": event.prev_hash.hex(),
        "hash": event.hash.hex(),
        "body": event.body.decode(),
    }
    values, salts = orjson.loads(event.fields or b"{}"), orjson.loads(event.salts or b"{}")
    shown = [name for name in values if not withhold(name)]
    if shown:
        line["fields"] = canonical({name: values[name] for name in shown}).decode()
        line["salts"] = canonical({name: salts[name] for name in shown}).decode()
    if withheld := sorted(values.keys() - set(shown)):
        line["withheld"] = withheld
    return line


def make_bundle(
    size: int,
    selection: Selection,
    key: SigningKey,
    chosen: Callable[[EventRow], bool] = lambda _: True,
    withhold: Callable[[str], bool] = lambda _: False,
    events: Sequence[EventRow] | None = None,
    more: int = 0,
) -> bytes:
    """The bundle of some events of the chain of tests/ledger/proof/chains.py, by code of its own.

    `more`: how many entries the tree has after this chain, which are no hashes of events.
    """
    chain = list(chain_of(size)) if events is None else list(events)
    size += more
    others = (sha256(b"event %d" % number).digest() for number in range(1, more + 1))
    leaves = leaf_hashes([*(event.hash for event in chain), *others])
    lines = [line_of(event, withhold) for event in chain if chosen(event)]
    case = Case()
    manifest = Manifest(ORIGIN, 1_700_000_000_000_000, size, selection)
    for line in lines:
        sealed = json.loads(line["body"]).get("sealed", {})
        shown = json.loads(line.get("fields", "{}"))
        for name in sealed:
            state = "disclosed" if name in shown else "withheld" if name in line.get("withheld", ()) else "erased"
            bundle.count_field(manifest.fields, f"{json.loads(line['body'])['type']}.{name}", state)
    checkpoint = Checkpoint(ORIGIN, size, root_of(leaves))
    case.files = {
        bundle.CHECKPOINT: sign_checkpoint(checkpoint, key).encode(),
        bundle.KEYS: f"{key.verifier.text}\n".encode(),
        **_tiles(leaves, {line["position"] - 1 for line in lines}),
        bundle.MANIFEST: manifest.encode(),
    }
    case.lines = lines
    return case.write()


def _tiles(leaves: list[bytes], indices: set[int]) -> dict[str, bytes]:
    """Edge and full tiles, in the plainest way."""
    edge, files, row_, level = b"", {}, leaves, 0
    wanted = indices
    while row_:
        full = len(row_) // 256
        edge += b"".join(row_[full * 256 :])
        wanted = {index // 256 for index in wanted}
        tiles = [n for n in sorted(wanted) if n < full]
        if tiles:
            files[bundle.tiles_name(level)] = b"".join(
                INDEX.pack(n) + b"".join(row_[n * 256 : n * 256 + 256]) for n in tiles
            )
        wanted = set(tiles)
        for _ in range(8):
            row_ = parents(row_)
        level += 1
    assert sum(edge_widths(len(leaves))) * 32 == len(edge)
    return {bundle.EDGE: edge, **files}
