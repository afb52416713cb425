"""Choose the keys and checkpoints that `verify` trusts: those of the options, or else this installation's own.

The signing key, the state file beside it and the copy of that file lie outside the database. So they show what the
database's owner changed, but not what the holder of the key did: an auditor gives a key and a checkpoint of his own.
"""

from __future__ import annotations

from collections.abc import Sequence

from api.cli.keys import Place, place
from api.cli.shared import CannotRun
from api.settings import Settings
from ledger.proof.tlog.note import VerifierKey
from ledger.proof.tlog.trust import Trust, Unusable, read_note, trust
from ledger.tlog.sign import keys
from ledger.tlog.sign.last_signed import last_signed_paths
from ledger.tlog.sign.state_file import last_note
from ledger.verify.trusted_checkpoints import NamedNote, TrustedCheckpoints


def trusted_checkpoints(
    settings: Settings, since: Sequence[str], key: Sequence[str], witness: Sequence[str], policy: str | None
) -> TrustedCheckpoints:
    """Return what to compare the events with. Raises CannotRun and KeyUnusable."""
    try:
        trusted = trust(key, witness, policy)
        notes = [NamedNote(name, read_note(name)) for name in since]
    except Unusable as error:
        raise CannotRun(str(error)) from error
    if trusted.log:
        return TrustedCheckpoints(trusted, notes)
    own_key, own_note = _own(settings)
    if own_key is None and (since or witness or policy):
        raise CannotRun(
            "a checkpoint proves something only with a key that you trust: give the verifier key with --key"
        )
    own = () if own_key is None else (own_key,)
    return TrustedCheckpoints(
        Trust(own, trusted.witnesses, trusted.needed, trusted.each), [*notes, *own_note], must_exist=bool(own_note)
    )


def _own(settings: Settings) -> tuple[VerifierKey | None, list[NamedNote]]:
    """Return the public part of this installation's key, and what was signed last; None if it has no key."""
    where = place(settings, state_needed=False)
    key = None if where is None else _key(where, settings)
    if where is None or key is None:
        return None, []
    paths = last_signed_paths(where.state, where.copies, key) if where.state.name else []
    # The file and its copy mostly have the same: then it is named once.
    notes = {note: path for path in paths if (note := last_note(path)) is not None}
    return key, [NamedNote(f"what was signed last ({path})", note) for note, path in notes.items()]


def _key(where: Place, settings: Settings) -> VerifierKey | None:
    """Read the key; None if nobody configured one and the data folder has none, as before the first `serve`."""
    if where.path is None:
        return where.key().verifier
    if settings.key_file is None and not where.path.exists():
        return None
    return keys.read(where.path).verifier
