"""Reasons to sign nothing.

SigningRefused            the database must not be signed as it is; a person has to look
├── HistoryRefused        it may not be the database that was signed last: nothing more is recorded either
│   ├── RolledBack        the database has fewer events than were signed: an older copy was restored
│   ├── Rewritten         the signed event was changed, the chain after it does not link, or the head is gone
│   ├── StateMissing      checkpoints were signed, and the state file is gone
│   ├── StateDamaged      the state file is not as a signer wrote it
│   └── TileDiffers       a stored tile is not what the events make
├── OtherLedger           the key signs for another ledger
├── KeyReplaced           a recorded rotation replaced this key by another
├── NotAttested           no registered recording key attests an event
└── StateTaken            another process uses the state file
KeyUnusable               the signing key cannot be read, or others can read it
└── NoKey                 the file or text holds no signing key
"""

from __future__ import annotations


class SigningRefused(Exception):
    """Base class. The message says what is wrong and what to do, and holds nothing of the key."""


class HistoryRefused(SigningRefused):
    """The database may not be the one that was signed last."""


class RolledBack(HistoryRefused):
    """The database has fewer events than were signed."""


class Rewritten(HistoryRefused):
    """The chain in the database does not continue what was signed."""


class OtherLedger(SigningRefused):
    """The key signs for another ledger."""


class KeyReplaced(SigningRefused):
    """A recorded rotation replaced this key by another, which signs from there on."""


class StateMissing(HistoryRefused):
    """Checkpoints exist, but no state file names the last one."""


class StateDamaged(HistoryRefused):
    """The state file does not have the form that a signer writes."""


class NotAttested(SigningRefused):
    """No recording key that the ledger registered attests an event."""


class StateTaken(SigningRefused):
    """Another process uses the state file, or changed it meanwhile."""


class TileDiffers(HistoryRefused):
    """A stored tile differs from the tile that the events make."""


class KeyUnusable(Exception):
    """The signing key cannot be used. The message says why, and contains no part of the key."""


class NoKey(KeyUnusable):
    """A file or text was read, but holds no signing key."""
