"""Load versioned policies from JSON files. The whole text is recorded before the first decision under it."""

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
from ledger.proof.format.text import decoded
from schema.events import PolicyAdopted
from schema.fields import Name

HOME = Path(__file__).parent / "policies"
CATEGORY = "policy-"
MAX_BYTES = 256 * 1024
# The number of faults of a file that an error names.
MOST_FAULTS = 20


class BadPolicy(Exception):
    """A policy file cannot be used. The message names the file and what is wrong with it."""


class Text(BaseModel):
    """The members that every policy has. Each policy adds its own; unknown members are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: Name
    version: Name


T = TypeVar("T", bound=Text)


@dataclass(frozen=True)
class Policy:
    """A policy. `name` ends the name of its stream; `sha256` is that of the canonical JSON of the whole text."""

    name: str
    version: str
    sha256: str
    text: dict[str, Any]

    @property
    def stream(self) -> str:
        """The stream that records its adoptions."""
        return f"{CATEGORY}{self.name}"

    def adoption(self, history: Iterable[RecordedEvent]) -> PolicyAdopted | None:
        """Return the event to record before a decision; None if this text is already in force.

        `history` are the events of the policy's stream.
        """
        last = None
        for event in history:
            last = event.data.get("sha256")
        if last == self.sha256:
            return None
        return PolicyAdopted(version=self.version, sha256=self.sha256, policy=self.text)


def load(name: str, kind: type[T], path: Path | None = None) -> tuple[Policy, T]:
    """Return the policy of a file, or the packaged one of this name, with its checked text. Raises BadPolicy."""
    where = path or HOME / f"{name}.json"
    try:
        with where.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise BadPolicy(f"policy {name}: {where}: {error.strerror}") from error
    if len(raw) > MAX_BYTES:
        raise BadPolicy(f"policy {name}: {where} has more than {MAX_BYTES} bytes")
    try:
        raw = decoded(raw).encode()
        text = orjson.loads(raw)
        digest = hashlib.sha256(canonical(text)).hexdigest()
        # From the JSON text: strict mode accepts its lists for sets.
        checked = kind.model_validate_json(raw)
    except UnicodeDecodeError as error:
        raise BadPolicy(f"policy {name}: {where} is not a text file in UTF-8 or UTF-16") from error
    except orjson.JSONDecodeError as error:
        raise BadPolicy(f"policy {name}: {where} is not JSON: {error}") from error
    except NotCanonical as error:
        raise BadPolicy(f"policy {name}: {where}: {error}") from error
    except ValidationError as error:
        raise BadPolicy(f"policy {name}: {where}: {_faults(error)}") from error
    if checked.name != name:
        raise BadPolicy(f'policy {name}: {where}: name: must be "{name}"')
    return Policy(name, checked.version, digest, text), checked


def _faults(error: ValidationError) -> str:
    """Return what is wrong in a policy, each with its place."""
    faults = error.errors()
    places = [".".join(map(str, fault["loc"])) or "the whole file" for fault in faults[:MOST_FAULTS]]
    named = [f"{place}: {fault['msg']}" for place, fault in zip(places, faults, strict=False)]
    return "; ".join(named + [f"and {len(faults) - MOST_FAULTS} more"] * (len(faults) > MOST_FAULTS))
