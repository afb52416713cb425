"""Policies that decisions are made under: versioned JSON, recorded whole before the first decision they bear on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from ledger.domain.history import RecordedEvent
from ledger.proof.format.canonical import NotCanonical, canonical
from schema.events import PolicyAdopted
from schema.fields import Name

HOME = Path(__file__).parent / "policies"
CATEGORY = "policy-"
MAX_BYTES = 256 * 1024


class BadPolicy(Exception):
    """A policy file that cannot be used; the message says which, and what is wrong with it."""


class Text(BaseModel):
    """What every policy has; each adds its own members, and takes no others."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: Name
    version: Name


T = TypeVar("T", bound=Text)


@dataclass(frozen=True)
class Policy:
    """`name` is the end of its stream's name; `sha256` is over the canonical JSON of the whole text."""

    name: str
    version: str
    sha256: str
    text: dict[str, Any]

    @property
    def stream(self) -> str:
        """Where its adoptions are recorded."""
        return f"{CATEGORY}{self.name}"

    def adoption(self, history: Iterable[RecordedEvent]) -> PolicyAdopted | None:
        """What is to be recorded before a decision, given the policy's stream; None where this text is in force."""
        last = None
        for event in history:
            last = event.data["sha256"]
        if last == self.sha256:
            return None
        return PolicyAdopted(version=self.version, sha256=self.sha256, policy=self.text)


def load(name: str, kind: type[T], path: Path | None = None) -> tuple[Policy, T]:
    """The policy in a file, or the packaged one of this name, as it is and checked. Raises BadPolicy."""
    where = path or HOME / f"{name}.json"
    try:
        raw = where.read_bytes()
    except OSError as error:
        raise BadPolicy(f"policy {name}: {where}: {error.strerror}") from error
    if len(raw) > MAX_BYTES:
        raise BadPolicy(f"policy {name}: {where} has {len(raw)} bytes; at most {MAX_BYTES} will do")
    try:
        text = orjson.loads(raw)
        digest = hashlib.sha256(canonical(text)).hexdigest()
        # From the JSON text, so that lists become tuples and sets where they are to be.
        found = kind.model_validate_json(raw)
    except orjson.JSONDecodeError as error:
        raise BadPolicy(f"policy {name}: {where} is not JSON: {error}") from error
    except NotCanonical as error:
        raise BadPolicy(f"policy {name}: {where}: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise BadPolicy(f"policy {name}: {where}: {place}: {first['msg']}") from error
    if found.name != name:
        raise BadPolicy(f'policy {name}: {where}: name: it has to be "{name}"')
    return Policy(name, found.version, digest, text), found
