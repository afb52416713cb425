"""Find the permission that reading the sealed values of an event needs."""

from __future__ import annotations

MODEL_CALLS = "model-call."
# The permission by the stream of the event: the first prefix that fits. Other streams have no sealed values of
# clients.
PERMISSION_OF_STREAM = (
    ("request-", "read cases"),
    ("client-", "read clients"),
    ("subject-", "read subjects"),
    ("agent-", "read agents"),
)
OTHERWISE = "read cases"
OF_CALLS = "read model calls"
# All permissions that sealed values may need.
PERMISSIONS_OF_SEALED = sorted({OTHERWISE, OF_CALLS, *(permission for _, permission in PERMISSION_OF_STREAM)})


def permission_of(stream: str, type_: str) -> str:
    """Return the permission to read the sealed values of an event of this type in this stream."""
    if type_.startswith(MODEL_CALLS):
        return OF_CALLS
    return next((permission for prefix, permission in PERMISSION_OF_STREAM if stream.startswith(prefix)), OTHERWISE)
