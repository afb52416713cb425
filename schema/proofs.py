"""Events about the proof itself: keys and checkpoints of the transparency log, verification, and where streams end."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import StringConstraints

from schema.event_base import Event
from schema.fields import Code, Count, Digest, NoteSignature, Position, Rationale, Sealed, VerifierKeyText


class LogKeyRotated(Event):
    """Another key signs the transparency log from now on; both keys sign this. In the stream `policy-log-key`.

    Statement and signatures form a signed note (docs/operate/tlog.md, Changing the key).
    """

    type = "log-key.rotated"
    schema_version = 1

    old: VerifierKeyText
    new: VerifierKeyText
    statement: Annotated[str, StringConstraints(min_length=1, max_length=10_000)]
    old_signature: NoteSignature
    new_signature: NoteSignature


class LogCheckpointAdopted(Event):
    """A person decided from which checkpoint the signer goes on. In the stream `policy-log-checkpoint`.

    What was signed after it, if that is known, is given up: its events are lost for good.
    """

    type = "log-checkpoint.adopted"
    schema_version = 1

    size: Position
    root: Digest
    # The checkpoint that is given up; absent if the database continues all that was signed, or nobody knows.
    given_up_size: Position | None = None
    given_up_root: Digest | None = None
    reason: Annotated[Rationale, Sealed()]


class RecordingKeyRegistered(Event):
    """A key that attests what a process records (docs/formats/recording.md). In the stream `recording-keys`.

    The first one registers itself. Each later one is attested by a key that was registered before.
    """

    type = "recording-key.registered"
    schema_version = 1

    key: VerifierKeyText
    # The key that attests nothing from here on.
    replaces: VerifierKeyText | None = None


class VerificationRecorded(Event):
    """The result of one scan of continuous verification. In the stream `verification-YYYY-MM-DD`."""

    type = "verification.recorded"
    schema_version = 1

    first_position: Position
    last_position: Position
    # The size of the newest checkpoint whose root matches the events; 0 if no checkpoint does.
    checkpoint_size: Count
    result: Literal["good", "bad"]
    # If the result is bad: the kind of the first finding, and its position; 0 if it is in no event.
    finding: Code | None = None
    first_bad_position: Count | None = None
    duration_s: Count
    events_per_s: Count


class StreamHeadsRecorded(Event):
    """The ends of all streams and the streams of each client, as of a position. In the stream `stream-heads`.

    `root` is that of a tree over them (docs/formats/bundle.md, section 11). `blinding` is the secret of that tree: with
    it one can try out, on the proof in a bundle, which other clients there are.
    """

    type = "stream-heads.recorded"
    schema_version = 1

    as_of: Position
    root: Digest
    blinding: Annotated[Digest, Sealed()]


PROOF_EVENTS = (LogKeyRotated, LogCheckpointAdopted, VerificationRecorded, StreamHeadsRecorded, RecordingKeyRegistered)
