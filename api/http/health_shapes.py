"""The shapes of the answers of `/healthz` and `/readyz`."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from ledger.background import WorkerState
from ledger.tlog import status as endorsements


class Alive(BaseModel):
    """The process answers."""

    status: Literal["alive"]


class ReadModelState(BaseModel):
    """The state of a read model. `lag` counts the events that it has not folded yet.

    `stalled_s` is the time for which it has not moved although events wait.
    """

    name: str
    position: int
    lag: int
    error: str | None
    stalled_s: float


class CheckpointState(BaseModel):
    """The newest checkpoint, and whether this process signs.

    `not_covered` counts the events that it does not cover, `waiting_s` is how long they have waited. `error` says why
    nothing is signed, or not by this process. `witnessed` and `timestamps` are the endorsements.
    """

    size: int
    age_s: float | None
    not_covered: int
    waiting_s: float
    signer: WorkerState
    error: str | None
    witnessed: endorsements.WitnessedState | None
    timestamps: list[endorsements.TimestampState]


class VerificationState(BaseModel):
    """The progress of this process in verifying the chain, and its finding.

    `passed_age_s` is the time since the last complete scan.
    """

    state: WorkerState
    position: int
    age_s: float | None
    passed_age_s: float | None
    checkpoint_size: int
    finding: str | None
    first_bad_position: int | None
    error: str | None


class RecordingState(BaseModel):
    """The appends of this process. `failing_s`: for how long none has succeeded although one was tried; `cause`: the
    reason.

    `waiting` counts the callers that wait for a receipt, `oldest_s` is the waiting time of the first of them.
    """

    failing_s: float
    cause: str | None
    waiting: int
    oldest_s: float


class StandbyState(BaseModel):
    """The database is a standby: whether it receives from its primary, and the bytes that it has still to replay."""

    receives: bool
    behind_bytes: int


class Readiness(BaseModel):
    """The state of this process. It is ready if it can record, answer, and sign if it has a key.

    `warnings` are for a person to look at; the process is ready in spite of them.
    """

    status: Literal["ready", "not ready"]
    reasons: list[str]
    warnings: list[str]
    origin: str | None
    position: int | None
    hash: str | None
    read_models: list[ReadModelState]
    checkpoint: CheckpointState | None
    verification: VerificationState
    recording: RecordingState
    # None on a primary.
    standby: StandbyState | None
