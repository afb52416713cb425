"""Policies that decisions are made under: versioned JSON, recorded whole before the first decision they bear on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from ledger.commands.past import Past
from ledger.proof.canonical import canonical
from schema.events import PolicyAdopted

HOME = Path(__file__).parent / "policies"
CATEGORY = "policy-"
MAX_BYTES = 256 * 1024


class BadPolicy(Exception):
    """A policy file that cannot be used; the message says which, and what is wrong with it."""


@dataclass(frozen=True)
class Policy:
    """`name` is the end of its stream's name; `sha256` is over the canonical JSON of the whole text."""

    name: str
    version: str
    text: dict[str, Any]

    @property
    def stream(self) -> str:
        """Where its adoptions are recorded."""
        return f"{CATEGORY}{self.name}"

    @property
    def sha256(self) -> str:
        """Of the canonical JSON."""
        return hashlib.sha256(canonical(self.text)).hexdigest()

    def adoption(self, history: Iterable[Past]) -> PolicyAdopted | None:
        """What is to be recorded before a decision, given the policy's stream; None where this text is in force."""
        last = None
        for past in history:
            last = past.data["sha256"]
        if last == self.sha256:
            return None
        return PolicyAdopted(version=self.version, sha256=self.sha256, policy=self.text)

    def items(self, member: str, shape: Mapping[str, type]) -> list[dict[str, Any]]:
        """A list of objects, each with the members of `shape` (those it has, of that type). Raises BadPolicy."""
        found = self.text.get(member)
        if not isinstance(found, list):
            raise BadPolicy(f"policy {self.name}: {member} is not a list")
        for number, item in enumerate(found):
            if not isinstance(item, dict):
                raise BadPolicy(f"policy {self.name}: {member}[{number}] is not an object")
            for name, kind in shape.items():
                if not isinstance(item.get(name), kind):
                    raise BadPolicy(f"policy {self.name}: {member}[{number}].{name} is not a {kind.__name__}")
        return found


def load(name: str, path: Path | None = None) -> Policy:
    """The policy in a file, or the packaged one of this name. Raises BadPolicy."""
    where = path or HOME / f"{name}.json"
    try:
        text = orjson.loads(where.read_bytes()[: MAX_BYTES + 1])
    except OSError as error:
        raise BadPolicy(f"policy {name}: {where}: {error.strerror}") from error
    except orjson.JSONDecodeError as error:
        raise BadPolicy(f"policy {name}: {where} is not JSON of at most {MAX_BYTES} bytes: {error}") from error
    if not isinstance(text, dict) or text.get("name") != name or not isinstance(text.get("version"), str):
        raise BadPolicy(f'policy {name}: {where} needs the members "name": "{name}" and "version"')
    return Policy(name, text["version"], text)
