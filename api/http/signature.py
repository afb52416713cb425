"""The header with which a caller signs an act."""

from __future__ import annotations

from typing import Annotated

from fastapi import Header
from pydantic import ValidationError

from ledger.errors import Refused
from schema.signing_keys import ActSignature

MAX_SIGNATURE_CHARS = 12_000

SignatureHeader = Annotated[
    str | None,
    Header(
        min_length=2,
        max_length=MAX_SIGNATURE_CHARS,
        description="Your signature of this act, as JSON, with the salts of its sealed values (docs/formats/"
        "signed-acts.md). It needs an Idempotency-Key, from which the id of the event follows.",
    ),
]


def signature_of(key: str | None, text: str | None) -> ActSignature | None:
    """Read the header Ledger-Signature. Raises Refused `signature-encoding`."""
    if text is None:
        return None
    if key is None:
        raise Refused("signature-encoding", "a signed act needs an Idempotency-Key, from which its id follows")
    try:
        return ActSignature.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the whole header"
        raise Refused("signature-encoding", f"Ledger-Signature: {where}: {first['msg']}") from error
