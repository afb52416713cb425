"""Credentials of subjects: one row for each that was issued."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from pydantic import BaseModel

from projections.read_model import ReadModel, fixed


class IssuedCredential(BaseModel):
    """A credential. `ends_at` is when it expires, or when the grace after its replacement is over."""

    id: int
    subject: str
    credential: int
    kind: str
    sha256: str | None
    issuer: str | None
    identity: str | None
    expires_at: datetime | None
    ends_at: datetime | None
    replaces: int | None
    replaced_by: int | None
    issued_by: str
    created_at: datetime
    revoked_at: datetime | None
    revoked_by: str | None
    revoke_reason: str | None


CREDENTIALS = ReadModel(
    Path(__file__).parent,
    IssuedCredential,
    fixed("subject", "credential", "kind"),
)
