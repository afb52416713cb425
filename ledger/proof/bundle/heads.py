"""Check the ledger's own record of where streams ended: docs/formats/bundle.md, section 11.

An event commits to the root of a tree with a leaf for each stream and for each client. The key of a leaf is the path
to it, bit by bit, so the tree has exactly one place for a stream or a client. The leaf of a client therefore shows all
streams that the ledger said the client had.
"""

from __future__ import annotations

from binascii import unhexlify
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import orjson

from ledger.proof.bundle.events import parse_line
from ledger.proof.bundle.selection import Selection
from ledger.proof.bundle.shown_end import StreamEnds
from ledger.proof.bundle.zip import BundleError, BundleFlaw
from ledger.proof.errors import malformation
from ledger.proof.findings import Findings, Kind
from ledger.proof.format.canonical import canonical, parse_object
from ledger.proof.format.events import EventLine
from ledger.proof.format.hashes import HASH_BYTES, event_hash
from ledger.proof.tlog.merkle import ProofError, check_inclusion, leaf_hash, node_hash

KEY_PREFIX = b"advice-ledger/heads/v1\n"
TYPE = "stream-heads.recorded"
BITS = 8 * HASH_BYTES


def stream_key(name: str) -> bytes:
    """Return the key of a stream's leaf, 32 bytes."""
    return sha256(KEY_PREFIX + b"stream\n" + name.encode()).digest()


def client_key(client: str) -> bytes:
    """Return the key of a client's leaf, 32 bytes."""
    return sha256(KEY_PREFIX + b"client\n" + client.encode()).digest()


def key_of(selection: Selection) -> bytes | None:
    """Return the key of the leaf for a client or a request; None if the selection has no leaf that can be shown."""
    if selection.kind == "request":
        return stream_key(f"request-{selection.request}")
    return None if selection.client is None or not selection.has_leaf else client_key(selection.client)


def other_keys_of(selection: Selection) -> list[bytes]:
    """Return the keys of the leaves of the client's other identifiers, in order."""
    return list(map(client_key, selection.also)) if selection.has_leaf else []


def leaf(key: bytes, salt: bytes, value: bytes) -> bytes:
    """Return SHA-256(0x00 || key || salt || value): of one key, with a salt that nobody can guess."""
    return sha256(b"\x00" + key + salt + value).digest()


def root_over(key: bytes, digest: bytes, path: Sequence[bytes]) -> bytes:
    """Return the root of a tree that has the leaf `digest` at `key`. `path`: its siblings from leaf to root."""
    bits = int.from_bytes(key, "big")
    for depth, sibling in zip(range(len(path) - 1, -1, -1), path, strict=True):
        goes_right = bits >> (BITS - 1 - depth) & 1
        digest = node_hash(sibling, digest) if goes_right else node_hash(digest, sibling)
    return digest


@dataclass(frozen=True)
class Leaf:
    """A leaf of the tree with its path: streams with their last versions, in order of the names' bytes."""

    streams: tuple[tuple[str, int], ...]
    salt: bytes
    path: tuple[bytes, ...]

    def members(self) -> dict[str, Any]:
        """Return the leaf as JSON."""
        return {
            "path": [each.hex() for each in self.path],
            "salt": self.salt.hex(),
            "streams": [list(head) for head in self.streams],
        }

    def root(self, key: bytes) -> bytes:
        """Return the root of a tree with this leaf at `key`. Its value is canonical JSON of [[name, version], …]."""
        return root_over(key, leaf(key, self.salt, canonical([list(head) for head in self.streams])), self.path)


@dataclass(frozen=True)
class Heads:
    """The member `heads`: an event of the log with its proof of inclusion, and leaves of the tree with their paths.

    `also` has the leaves of the client's other identifiers.
    """

    event: EventLine
    inclusion: tuple[bytes, ...]
    own: Leaf
    also: tuple[Leaf, ...] = ()

    def encode(self) -> bytes:
        """Return the member that `parse_heads` reads."""
        members: dict[str, Any] = {
            "event": self.event.members(),
            "inclusion": [each.hex() for each in self.inclusion],
            **self.own.members(),
            **({"also": [each.members() for each in self.also]} if self.also else {}),
        }
        return orjson.dumps(members, option=orjson.OPT_SORT_KEYS)


def parse_heads(data: bytes) -> Heads:
    """Parse the member `heads`. Raises BundleError if it is malformed."""
    try:
        members = parse_object(data)
        heads = Heads(
            parse_line(orjson.dumps(members["event"], option=orjson.OPT_SORT_KEYS), 0),
            tuple(map(_hash, members["inclusion"])),
            _leaf(members),
            tuple(map(_leaf, members.get("also", ()))),
        )
        _expect_form(heads, data)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise BundleError(BundleFlaw.HEADS, malformation(error)) from None
    return heads


def _expect_form(heads: Heads, data: bytes) -> None:
    """Raise ValueError unless these members are in their only valid form."""
    for each in (heads.own, *heads.also):
        names = [name.encode() for name, _ in each.streams]
        if len(each.path) > BITS or sorted(set(names)) != names:
            raise ValueError("not in canonical form")
    if heads.encode() != data or heads.event.fields:
        raise ValueError("not in canonical form")


def _leaf(members: Any) -> Leaf:
    return Leaf(
        tuple((_name(name), _number(version)) for name, version in members["streams"]),
        _hash(members["salt"]),
        tuple(map(_hash, members["path"])),
    )


def check_heads(heads: Heads, keys: Sequence[bytes], size: int, root: bytes, findings: Findings) -> StreamEnds | None:
    """Return where the streams of the leaves at `keys` ended; None, and a finding, if the event does not say so.

    The first key is that of its own leaf, the others are of `also`. `size` and `root` are those of the checkpoint.
    """
    event = heads.event
    flaw = _event_flaw(heads, size, root)
    recorded = recorded_tree(event)
    if flaw is None and recorded is None:
        flaw = f"the event is no {TYPE} that can be read"
    if flaw is None and recorded is not None:
        as_of, tree = recorded
        leaves = [heads.own, *heads.also]
        if len(leaves) == len(keys) and all(each.root(key) == tree for each, key in zip(leaves, keys, strict=True)):
            streams = {name: version for each in leaves for name, version in each.streams}
            return StreamEnds(as_of, streams, event.position, event.recorded_at_us)
        flaw = "these are not the streams, or not the versions, that the event commits to"
    findings.add(Kind.HEADS_MISMATCH, event.position, flaw or "")
    return None


def _event_flaw(heads: Heads, size: int, root: bytes) -> str | None:
    event = heads.event
    if event_hash(event.prev_hash, event.position, event.version, event.recorded_at_us, event.body) != event.hash:
        return "the event that records where streams ended was changed"
    try:
        check_inclusion(leaf_hash(event.hash), event.position - 1, size, heads.inclusion, root)
    except ProofError as error:
        return f"the log is not shown to have the event that records where streams ended: {error}"
    return None


def recorded_tree(event: EventLine) -> tuple[int, bytes] | None:
    """Return the position of which the event states the tree, and the root; None for another event."""
    try:
        body = parse_object(event.body)
        as_of, tree = _number(body["data"]["as_of"]), _hash(body["data"]["root"])
        sound = (body["type"], body["schema"]) == (TYPE, 1) and 0 < as_of < event.position
    except (ValueError, LookupError, TypeError):
        return None
    return (as_of, tree) if sound else None


def _number(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise TypeError
    return value


def _name(value: Any) -> str:
    if type(value) is not str:
        raise TypeError
    return value


def _hash(value: Any) -> bytes:
    digest = unhexlify(value)
    if digest.hex() != value or len(digest) != HASH_BYTES:
        raise ValueError("malformed hash")
    return digest
