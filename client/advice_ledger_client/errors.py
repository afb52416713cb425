"""What can go wrong for a caller of the ledger.

ClientError
├── LedgerProblem     the server refused, and says why in a slug and in words
├── Unreachable       no answer within the deadline; whether it was recorded is not known
├── NotRecorded       a model call could not be recorded; has the call
├── AlreadyEntered    a model call was entered a second time
├── NotCompleted      a block ended without saying what the model answered
├── RequestFailed     no recommendation will come for this request
└── NotYet            no recommendation came within the time given
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from advice_ledger_client.calls import ModelCall


class ClientError(Exception):
    """Base of all. No message holds the token or what was sent."""


class LedgerProblem(ClientError):
    """An answer that is an error. `slug` is for programs (docs/use/http.md has all).

    Where another than the ledger answered it is `http-STATUS`. `errors` names fields and reasons; `content` is all of
    the answer; `current_digest` is there where a decision was on anything but the current version.
    """

    def __init__(self, slug: str, status: int, content: Mapping[str, Any]) -> None:
        self.slug = slug
        self.status = status
        self.title = str(content.get("title", ""))
        self.detail = str(content.get("detail", ""))
        found = content.get("errors")
        self.errors: list[dict[str, Any]] = found if isinstance(found, list) else []
        self.current_digest: str | None = content.get("current_digest")
        self.content = content
        reasons = [f"{error.get('field')}: {error.get('reason')}" for error in self.errors]
        said = [self.detail, *(reason for reason in reasons if reason not in self.detail)]
        super().__init__(" - ".join([f"{status} {slug}", *filter(None, said)]))


class Unreachable(ClientError):
    """Nobody answered in time. Send it again with the same idempotency key: it is not recorded twice."""


class NotRecorded(ClientError):
    """The ledger has no record of the start, or of the end, of `call`; `__cause__` says why.

    Without the start the model was not called. Without the end `call.result` has what the model answered, and the
    ledger reports the call as an orphan.
    """

    def __init__(self, message: str, call: ModelCall) -> None:
        super().__init__(message)
        self.call = call


class AlreadyEntered(ClientError):
    """A model call is one call, so its block runs once: make another with client.model_call(). Nothing was sent."""


class NotCompleted(ClientError):
    """The block of a model call ended well but did not call complete(); recorded as the failure `no-result`."""


class RequestFailed(ClientError):
    """The request has failed: `reason` is the recorded code, `detail` the words."""

    def __init__(self, request_id: int, reason: str | None, detail: str | None) -> None:
        super().__init__(f"request {request_id} failed: {reason}")
        self.request_id = request_id
        self.reason = reason
        self.detail = detail


class NotYet(ClientError):
    """No recommendation came within the time that was given; the request is still queued."""
