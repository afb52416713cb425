"""Define the witness policy of a log: its witnesses and how many must cosign. Find the size that has a quorum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ledger.database import Connection
from ledger.proof.tlog.checkpoint import WitnessKey
from ledger.proof.tlog.note import NoteError, VerifierKey
from ledger.tlog.endorser_url import check_url

# The number of newest cosignatures that the query reads. This takes some milliseconds.
MAX_COSIGNATURES = 50_000

HERE = Path(__file__).parent
QUORUM_STATE, LATEST_ENDORSEMENTS = (
    (HERE / f"{name}.sql").read_text("utf-8") for name in ("quorum_state", "latest_endorsements")
)


class BadWitness(ValueError):
    """A configured witness cannot be used. The message says how to write it."""


@dataclass(frozen=True, slots=True)
class WitnessConfig:
    """A witness: its URL, and the key of its cosignatures."""

    url: str
    key: WitnessKey

    @classmethod
    def parse(cls, text: str) -> WitnessConfig:
        """Parse URL=VERIFIER_KEY. The URL is the part before /add-checkpoint. Raises BadWitness."""
        url, separator, key = text.strip().partition("=")
        if not separator:
            raise BadWitness("a witness is written URL=VERIFIER_KEY")
        try:
            check_url(url)
        except ValueError as error:
            raise BadWitness(f"a witness is written URL=VERIFIER_KEY, and the part before = is {error}") from None
        try:
            return cls(url.rstrip("/"), WitnessKey.parse(key))
        except NoteError as error:
            raise BadWitness(f"the verifier key of a witness cannot be used: {error}{_remedy(key)}") from None

    @property
    def witness(self) -> str:
        """Return the name of the witness in the database: key name and key id."""
        return f"{self.key.name}+{self.key.key_id:08x}"


def _remedy(text: str) -> str:
    """Return what to do about a key of type 0x01, which is the type of a log's key.

    Some witnesses publish their key in this form.
    """
    try:
        key = VerifierKey.parse(text)
    except NoteError:
        return ""
    return f". If the witness cosigns with this key, write {WitnessKey(key.name, key.public).text}"


@dataclass(frozen=True, slots=True)
class WitnessPolicy:
    """The witnesses to ask, and the number of them that must cosign a checkpoint for a quorum."""

    witnesses: tuple[WitnessConfig, ...] = ()
    quorum: int = 0

    def __post_init__(self) -> None:
        names = [config.witness for config in self.witnesses]
        if len(set(names)) != len(names):
            raise BadWitness("a witness is configured twice: two URLs with one key are one witness")
        if not 0 <= self.quorum <= len(names):
            raise BadWitness(f"the quorum is {self.quorum}, but {len(names)} witnesses are configured")

    @classmethod
    def of(cls, texts: Sequence[str], quorum: int | None = None) -> WitnessPolicy:
        """Make a policy from the settings. Without `quorum`, a majority is needed. Raises BadWitness."""
        witnesses = tuple(WitnessConfig.parse(text) for text in texts)
        return cls(witnesses, len(witnesses) // 2 + 1 if quorum is None and witnesses else quorum or 0)

    @property
    def parameters(self) -> dict[str, Any]:
        """Return the parameters of quorum_state.sql."""
        names = [config.witness for config in self.witnesses]
        return {"witnesses": names, "quorum": self.quorum, "most": MAX_COSIGNATURES}


class QuorumState(NamedTuple):
    """The size of the newest checkpoint, and the size and the age in seconds of the newest with a quorum."""

    size: int
    witnessed: int | None
    witnessed_age_s: float | None


class LatestEndorsement(NamedTuple):
    """The size that a witness or an authority endorsed last; for timestamps, also the age in seconds."""

    kind: str
    name: str
    size: int
    age_s: float | None


def quorum_state(conn: Connection, policy: WitnessPolicy) -> QuorumState | None:
    """Return the state of the quorum; None before the first checkpoint.

    Needs a role that reads the transparency log.
    """
    row = conn.execute(QUORUM_STATE, policy.parameters).fetchone()
    return None if row is None else QuorumState(*row)
