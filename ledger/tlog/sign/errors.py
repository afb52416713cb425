"""Why nothing is signed.

SigningRefused               the log must not be signed as the database has it; a person has to look
├── RolledBack            the database has fewer events than were signed: an older copy was restored
├── Rewritten             the event at the signed position is another one, the chain after it does not link, or the
│                         head is gone
├── OtherLedger           the key signs for another ledger
├── KeyReplaced           a rotation on record put another key in this one's place
├── StateMissing          checkpoints were signed, and the file that says which is gone
├── StateDamaged          the file is not what a signer wrote
├── StateTaken            another process uses the file
└── TileDiffers           the database holds another tile than the events make
KeyUnusable               the signing key cannot be read, or others can read it
└── NoKey                 what was read is no signing key
"""

from __future__ import annotations


class SigningRefused(Exception):
    """Base; the message says what was found and what to do, and holds nothing of the key."""


class RolledBack(SigningRefused):
    """The database has fewer events than were signed."""


class Rewritten(SigningRefused):
    """The chain in the database does not go on from what was signed."""


class OtherLedger(SigningRefused):
    """The key signs for another ledger than this."""


class KeyReplaced(SigningRefused):
    """A rotation is on record from this key to another, which signs from there on."""


class StateMissing(SigningRefused):
    """There are checkpoints, and no file beside the key that says which was the last."""


class StateDamaged(SigningRefused):
    """The file beside the key is not as a signer writes it."""


class StateTaken(SigningRefused):
    """Another process has the file beside the key, or changed it meanwhile."""


class TileDiffers(SigningRefused):
    """A stored tile is not what the events make."""


class KeyUnusable(Exception):
    """The signing key cannot be used; the message says why, and holds nothing of it."""


class NoKey(KeyUnusable):
    """A file or text was read whole, and is no signing key."""
