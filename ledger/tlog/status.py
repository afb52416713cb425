"""Report the checkpoints' endorsements, by the policy of this process: from the database, and from its own pollers."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel

from ledger.database import AsyncConnection
from ledger.tlog.endorse.endorsers import EndorserConfig, EndorserStatus
from ledger.tlog.quorum import LATEST_ENDORSEMENTS, QUORUM_STATE, LatestEndorsement, QuorumState
from ledger.tlog.sign.signer_thread import SignerThread


class WitnessState(BaseModel):
    """A witness: the size that it cosigned last, and the error of the last try. Null means unknown to this process."""

    name: str
    size: int | None
    error: str | None


class WitnessedState(BaseModel):
    """The newest checkpoint with at least `needed` cosignatures. `size` is null if no recent checkpoint has them."""

    needed: int
    size: int | None
    age_s: float | None
    witnesses: list[WitnessState]


class TimestampState(BaseModel):
    """The newest timestamp by one authority, and the error of the last try."""

    authority: str
    size: int | None
    age_s: float | None
    error: str | None


class EndorsementStatus(BaseModel):
    """The endorsements by witnesses and timestamp authorities. `witnessed` is null if no witness is configured."""

    witnessed: WitnessedState | None = None
    timestamps: list[TimestampState] = []


async def endorsement_status(
    conn: AsyncConnection, config: EndorserConfig, signer: SignerThread | None
) -> EndorsementStatus:
    """Read the endorsements. Only the process that leads the signing asks endorsers, so only it knows their errors."""
    if not config.policy.witnesses and not config.authorities:
        return EndorsementStatus()
    cursor = await conn.execute(QUORUM_STATE, config.policy.parameters, prepare=True)
    row = await cursor.fetchone()
    rows = await (await conn.execute(LATEST_ENDORSEMENTS, prepare=True)).fetchall()
    leads = signer is not None and signer.status.state == "leads"
    asking = signer.endorsers.progress() if signer is not None and leads else []
    return _combined(
        config, None if row is None else QuorumState(*row), [LatestEndorsement(*row) for row in rows], asking
    )


def _combined(
    config: EndorserConfig,
    quorum: QuorumState | None,
    latest: Sequence[LatestEndorsement],
    pollers: Sequence[EndorserStatus],
) -> EndorsementStatus:
    stored = {(endorsement.kind, endorsement.name): endorsement for endorsement in latest}
    polled = {state.name: state for state in pollers}
    witnesses, timestamps = [], []
    for configured in config.policy.witnesses:
        name = configured.witness
        last, now = stored.get(("witness", name)), polled.get(name)
        # The poller also knows the size of a witness that cosigned long ago.
        size = last.size if last else now.size or None if now else None
        witnesses.append(WitnessState(name=name, size=size, error=now and now.error))
    for authority in config.authorities:
        last, now = stored.get(("authority", authority.url)), polled.get(authority.url)
        timestamps.append(
            TimestampState(
                authority=authority.url,
                size=last and last.size,
                age_s=last and last.age_s,
                error=now and now.error,
            )
        )
    if not witnesses:
        return EndorsementStatus(timestamps=timestamps)
    witnessed = WitnessedState(
        needed=config.policy.quorum,
        size=quorum and quorum.witnessed,
        age_s=quorum and quorum.witnessed_age_s,
        witnesses=witnesses,
    )
    return EndorsementStatus(witnessed=witnessed, timestamps=timestamps)
