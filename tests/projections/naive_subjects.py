"""The read models about subjects and credentials folded a second time, in plain Python."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from schema.events import (
    CredentialIssued,
    CredentialRevoked,
    Event,
    SigningKeyRegistered,
    SubjectGroupJoined,
    SubjectGroupLeft,
    SubjectRegistered,
    SubjectResumed,
    SubjectRoleGranted,
    SubjectRoleRevoked,
    SubjectSuspended,
)
from tests.projections.naive import Entry, Row

ABOUT_SUBJECTS = (
    SubjectRegistered,
    SubjectRoleGranted,
    SubjectRoleRevoked,
    SubjectSuspended,
    SubjectResumed,
    SubjectGroupJoined,
    SubjectGroupLeft,
)


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def subjects(history: Iterable[Entry]) -> list[Row]:
    """Return the rows, in the order of id."""
    rows: dict[str, Row] = {}
    for entry in history:
        name = entry.at.stream.removeprefix("subject-")
        if name != entry.at.stream and isinstance(entry.event, ABOUT_SUBJECTS):
            row = rows.setdefault(name, _subject(name, entry))
            row["updated_at"] = entry.at.recorded_at
            _change(row, entry, entry.event)
    for row in rows.values():
        row["grants"] = [row["grants"][role] for role in sorted(row["grants"])]
        row["roles"] = [grant["role"] for grant in row["grants"]]
        row["groups"] = sorted(row["groups"])
    return list(rows.values())


def _subject(name: str, entry: Entry) -> Row:
    told = ("suspended_at", "suspended_by", "suspend_reason", "resumed_at", "resumed_by", "resume_reason")
    return dict.fromkeys((*told, "kind", "display_name")) | {
        "stream": entry.at.stream,
        "name": name,
        "id": entry.at.position,
        "grants": {},
        "groups": set(),
        "suspended": False,
        "created_at": entry.at.recorded_at,
    }


def _change(row: Row, entry: Entry, event: Event) -> None:
    match event:
        case SubjectRegistered():
            if row["kind"] is None:
                row |= {"kind": event.kind, "display_name": event.display_name}
        case SubjectRoleGranted():
            limits = event.model_dump(include={"until", "clients"}, exclude_none=True)
            where = {"granted_by": entry.by, "position": entry.at.position}
            row["grants"][event.role] = {"role": event.role, **limits, **where}
        case SubjectRoleRevoked():
            row["grants"].pop(event.role, None)
        case SubjectGroupJoined():
            row["groups"].add(event.group)
        case SubjectGroupLeft():
            row["groups"].discard(event.group)
        case SubjectSuspended():
            row |= {"suspended": True, "suspended_at": entry.at.recorded_at, "suspended_by": entry.by}
            row["suspend_reason"] = event.reason
        case SubjectResumed():
            row |= {"suspended": False, "resumed_at": entry.at.recorded_at, "resumed_by": entry.by}
            row["resume_reason"] = event.reason


def credentials(history: Iterable[Entry]) -> list[Row]:
    """Return the rows, in the order of id."""
    rows: dict[tuple[str, int], Row] = {}
    for entry in history:
        event, stream = entry.event, entry.at.stream
        if not stream.startswith("subject-"):
            continue
        if isinstance(event, CredentialIssued) and (stream, event.credential) not in rows:
            if event.replaces is not None and (old := rows.get((stream, event.replaces))) is not None:
                _replace(old, event, entry)
            rows[stream, event.credential] = _issued(entry, event)
        elif isinstance(event, SigningKeyRegistered) and (stream, event.credential) not in rows:
            rows[stream, event.credential] = _key(entry, event)
        elif isinstance(event, CredentialRevoked):
            _revoke(rows.get((stream, event.credential)), event, entry)
    return list(rows.values())


def _revoke(row: Row | None, event: CredentialRevoked, entry: Entry) -> None:
    if row is not None and row["revoked_by"] is None:
        row |= {"revoked_by": entry.by, "revoke_reason": event.reason}
        row["revoked_at"] = row["revoked_at"] or entry.at.recorded_at


def _replace(old: Row, event: CredentialIssued, entry: Entry) -> None:
    old["replaced_by"] = min(event.credential, old["replaced_by"] or event.credential)
    if event.replaced_until is None:
        old["revoked_at"] = old["revoked_at"] or entry.at.recorded_at
    else:
        ends = [time for time in (old["ends_at"], _time(event.replaced_until)) if time is not None]
        old["ends_at"] = min(ends)


def _key(entry: Entry, event: SigningKeyRegistered) -> Row:
    token = CredentialIssued(credential=event.credential, kind="token", sha256="0" * 64, expires_at=event.expires_at)
    return _issued(entry, token) | {"kind": "signing-key", "sha256": None}


def _issued(entry: Entry, event: CredentialIssued) -> Row:
    return {
        "stream": entry.at.stream,
        "id": entry.at.position,
        "subject": entry.at.stream.removeprefix("subject-"),
        "credential": event.credential,
        "kind": event.kind,
        "sha256": event.sha256,
        "issuer": event.issuer,
        "identity": event.identity,
        "expires_at": _time(event.expires_at),
        "ends_at": _time(event.expires_at),
        "replaces": event.replaces,
        "replaced_by": None,
        "issued_by": entry.by,
        "created_at": entry.at.recorded_at,
        "revoked_at": None,
        "revoked_by": None,
        "revoke_reason": None,
    }
