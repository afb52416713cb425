"""Which witnesses a log asks, how many of them must have cosigned a checkpoint, and how far that is so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ledger.database import Connection
from ledger.proof.tlog.cosignature import WitnessKey
from ledger.proof.tlog.note import NoteError
from ledger.tlog.endorse.http import check_url

# Of so many cosignatures, those of the newest checkpoints, it is looked whose they are: some milliseconds' work.
MOST_LOOKED_AT = 50_000

HERE = Path(__file__).parent
QUORUM_STATE, LATEST_ENDORSEMENTS = (
    (HERE / f"{name}.sql").read_text("utf-8") for name in ("quorum_state", "latest_endorsements")
)


class BadWitness(ValueError):
    """The configuration names a witness in a way that cannot be used; the message says how to write it."""


@dataclass(frozen=True, slots=True)
class WitnessConfig:
    """A witness to ask: where, and the key that its cosignatures must be by."""

    url: str
    key: WitnessKey

    @classmethod
    def parse(cls, text: str) -> WitnessConfig:
        """Reads URL=VERIFIER_KEY. The URL is the prefix before /add-checkpoint. Raises BadWitness."""
        url, separator, key = text.strip().partition("=")
        if not separator:
            raise BadWitness("a witness is written URL=VERIFIER_KEY")
        try:
            check_url(url)
        except ValueError as error:
            raise BadWitness(f"a witness is written URL=VERIFIER_KEY, and before the = is {error}") from None
        try:
            return cls(url.rstrip("/"), WitnessKey.parse(key))
        except NoteError as error:
            raise BadWitness(f"the verifier key of a witness cannot be used: {error}") from None

    @property
    def witness(self) -> str:
        """The column `witness` of its cosignatures."""
        return f"{self.key.name}+{self.key.key_id:08x}"


@dataclass(frozen=True, slots=True)
class WitnessPolicy:
    """Which witnesses are asked, and how many must have cosigned a checkpoint for it to count as witnessed."""

    witnesses: tuple[WitnessConfig, ...] = ()
    quorum: int = 0

    def __post_init__(self) -> None:
        names = [one.witness for one in self.witnesses]
        if len(set(names)) != len(names):
            raise BadWitness("a witness is named twice: a second address of the same key is no second witness")
        if not 0 <= self.quorum <= len(names):
            raise BadWitness(f"{self.quorum} cosignatures are needed, and {len(names)} witnesses are configured")

    @classmethod
    def of(cls, texts: Sequence[str], quorum: int | None = None) -> WitnessPolicy:
        """From the configuration. Without a quorum, a majority. Raises BadWitness."""
        witnesses = tuple(WitnessConfig.parse(text) for text in texts)
        return cls(witnesses, len(witnesses) // 2 + 1 if quorum is None and witnesses else quorum or 0)

    @property
    def parameters(self) -> dict[str, Any]:
        """What the query STANDING takes."""
        names = [one.witness for one in self.witnesses]
        return {"witnesses": names, "quorum": self.quorum, "most": MOST_LOOKED_AT}


class QuorumState(NamedTuple):
    """A row of STANDING: the newest size, and the newest that satisfies the policy, with its age in seconds."""

    size: int
    witnessed: int | None
    witnessed_age_s: float | None


class LatestEndorsement(NamedTuple):
    """A row of LATEST: the size that a witness or an authority endorsed last. Only timestamps have an age."""

    kind: str
    name: str
    size: int
    age_s: float | None


def quorum_state(conn: Connection, policy: WitnessPolicy) -> QuorumState | None:
    """How far the log is witnessed; None before the first checkpoint. Any role that reads the log may ask."""
    row = conn.execute(QUORUM_STATE, policy.parameters).fetchone()
    return None if row is None else QuorumState(*row)
