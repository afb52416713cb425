"""The exceptions of the client.

ClientError
├── LedgerProblem     the server answered with an error
├── Unreachable       no answer before the deadline; the write may or may not be recorded
├── ContentMismatch   the server shows content that is not what its digest commits to
├── NotCanonical      a value that canonical JSON cannot hold; nothing was sent
├── NotRecorded       the start or the end of a model call could not be recorded
├── AlreadyEntered    a model call was entered a second time
├── NotCompleted      the block of a model call ended without complete() or fail()
├── RequestFailed     the request has failed and gets no recommendation
├── SigningError      the signing key cannot be used; nothing was sent
└── NotYet            no recommendation before the deadline
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from advice_ledger_client.receipts import UnrecordedCall


class ClientError(Exception):
    """Base of all exceptions of the client. No message contains the token or the content that was sent."""


class LedgerProblem(ClientError):
    """The server answered with an error. `slug` names it for programs; docs/use/http.md lists all slugs.

    The slug is `http-STATUS` if a proxy or another server answered instead of the ledger. `errors` lists fields and
    reasons. `content` is the whole answer. `current_digest` is set if a command named an outdated version.
    """

    def __init__(self, slug: str, status: int, content: Mapping[str, Any]) -> None:
        self.slug = slug
        self.status = status
        self.title = str(content.get("title", ""))
        self.detail = str(content.get("detail", ""))
        errors = content.get("errors")
        self.errors: list[dict[str, Any]] = errors if isinstance(errors, list) else []
        self.current_digest: str | None = content.get("current_digest")
        self.content = content
        reasons = [f"{error.get('field')}: {error.get('reason')}" for error in self.errors]
        details = [self.detail, *(reason for reason in reasons if reason not in self.detail)]
        super().__init__(" - ".join([f"{status} {slug}", *filter(None, details)]))


class Unreachable(ClientError):
    """No answer before the deadline. Repeat a write with the same idempotency key: it is recorded at most once."""


class NotCanonical(ClientError, ValueError):
    """A value that canonical JSON cannot hold. `path` is its place, such as `data.notes[2]`; `reason` says why."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path or 'value'}: {reason}")
        self.path = path
        self.reason = reason


class ContentMismatch(ClientError):
    """The server shows content that does not open its digest, so nobody should decide about it.

    `name` is the content.
    """

    def __init__(self, recommendation_id: object, name: str) -> None:
        super().__init__(f"recommendation {recommendation_id}: the {name} is not what its digest commits to")
        self.recommendation_id = recommendation_id
        self.name = name


class NotRecorded(ClientError):
    """The ledger did not record the start, or the end, of `call`; `__cause__` says why.

    If the start is not recorded, the model was not called. If the end is not recorded, `call.result` still has the
    model's answer, and the ledger lists the call as an orphan.
    """

    def __init__(self, message: str, call: UnrecordedCall) -> None:
        super().__init__(message)
        self.call = call


class AlreadyEntered(ClientError):
    """A model call was entered twice. Make a new one with client.model_call(). Nothing was sent."""


class NotCompleted(ClientError):
    """The block of a model call ended without complete() or fail(). The failure `no-result` is recorded."""


class RequestFailed(ClientError):
    """The request has failed. `reason` is the recorded code, `detail` the explanation."""

    def __init__(self, request_id: int, reason: str | None, detail: str | None) -> None:
        super().__init__(f"request {request_id} failed: {reason}")
        self.request_id = request_id
        self.reason = reason
        self.detail = detail


class SigningError(ClientError):
    """The signing key cannot be used: its file is not readable or not of this kind, or it is not registered."""


class NotYet(ClientError):
    """No recommendation before the deadline. The request is still queued."""
