"""Choose the keys and checkpoints that `verify` trusts: those of the options, or this installation's own.

The signing key, the state file beside it and the copy of that file are outside the database. So they show what the
database's owner changed, but not what the holder of the key did. An auditor therefore gives a key and a checkpoint
from elsewhere. The checkpoint that this installation signed last is compared in either case.
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
    settings: Settings,
    since: Sequence[str],
    key: Sequence[str],
    witness: Sequence[str],
    policy: str | None,
    *,
    only_new: bool = False,
) -> TrustedCheckpoints:
    """Return the checkpoints to compare with the events. With `only_new`, also begin behind them.

    Raises CannotRun, KeyUnusable.
    """
    if only_new and not since:
        raise CannotRun("--only-new needs the checkpoint behind which events are new: give it with --since")
    try:
        trusted = trust(key, witness, policy)
        notes = [NamedNote(name, read_note(name), begin=only_new) for name in since]
    except Unusable as error:
        raise CannotRun(str(error)) from error
    if trusted.log:
        return TrustedCheckpoints(trusted, [*notes, *_of_this_installation(settings, trusted.log)])
    own_key, own_note = _own(settings)
    if own_key is None and (since or witness or policy):
        raise CannotRun(
            "a checkpoint proves something only with a key that you trust: give the verifier key with --key"
        )
    own = () if own_key is None else (own_key,)
    return TrustedCheckpoints(
        Trust(own, trusted.witnesses, trusted.needed, trusted.each), [*notes, *own_note], must_exist=bool(own_note)
    )


def log_keys(settings: Settings, key: Sequence[str]) -> tuple[VerifierKey, ...]:
    """Return the keys of the log to trust: those given, or this installation's own. Raises CannotRun, KeyUnusable."""
    try:
        given = trust(key, (), None).log
    except Unusable as error:
        raise CannotRun(str(error)) from error
    where = None if given else place(settings, state_needed=False)
    own = None if where is None else _key(where, settings)
    if not given and own is None:
        raise CannotRun("give the verifier key of the ledger with --key, or put its signing key in place first")
    return given or (() if own is None else (own,))


def _own(settings: Settings) -> tuple[VerifierKey | None, list[NamedNote]]:
    """Return the public part of this installation's key, and its last signed checkpoints; None without a key."""
    where = place(settings, state_needed=False)
    key = None if where is None else _key(where, settings)
    return (None, []) if where is None or key is None else (key, _signed_last(where, (key,)))


def _of_this_installation(settings: Settings, given: Sequence[VerifierKey]) -> list[NamedNote]:
    """Return the last checkpoints that this installation signed for the ledger of the given keys: a given key removes
    none.

    The signing key itself is not read, because an auditor may not read it. An installation of another ledger adds
    none.
    """
    where = place(settings, state_needed=False)
    origins = {key.name.encode() for key in given}
    signed = [] if where is None else _signed_last(where, given)
    return [note for note in signed if note.data.partition(b"\n")[0] in origins]


def _signed_last(where: Place, signers: Sequence[VerifierKey]) -> list[NamedNote]:
    """Read the state file and the copies for these keys. If they are equal, as usual, one is named."""
    if not where.state.name:
        return []
    paths = dict.fromkeys(path for key in signers for path in last_signed_paths(where.state, where.copies, key))
    notes = {note: path for path in paths if (note := last_note(path)) is not None}
    return [NamedNote(f"what was signed last ({path})", note) for note, path in notes.items()]


def _key(where: Place, settings: Settings) -> VerifierKey | None:
    """Read the key; None if no key is configured and the data folder has none, as before the first `serve`."""
    if where.path is None:
        return where.key().verifier
    if settings.key_file is None and not where.path.exists():
        return None
    return keys.read(where.path).verifier
