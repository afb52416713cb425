"""advice-ledger credentials register-key: make a key with which a subject signs acts, and register it."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from api.cli.administration import Expires, Name, on_ledger, time_text
from api.cli.configure import configured, opened
from api.cli.shared import AsJson, CannotRun, ConfigFile, DatabaseUrl, DataDir, say, say_json
from ledger.proof.acts.encoding import encode
from ledger.proof.acts.statement import ACT_PREFIX, registration_statement
from ledger.service.ledger import Ledger
from ledger.store.envelope import Actor
from schema.signing_keys import RegisterKey

# The format of key files, which the Python client reads.
FORMAT = "advice-ledger/signing-key/v1"


def register_key(
    name: Name,
    key: Annotated[Path, typer.Option("--key", metavar="FILE", help="The new file for the key; it must not exist.")],
    expires: Expires = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Make an Ed25519 key with which a subject signs acts, register it, and write it into a new file.

    Only the owner of the file may read it. Who has it can sign in the name of the subject. Revoke a key that is
    lost.
    """
    until = time_text(expires)
    settings = configured(config, database_url=database_url, data_dir=data_dir)
    try:
        # Create the file first, so that no key is registered that cannot be kept.
        file = os.open(key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise CannotRun(f"{key}: {error.strerror}") from error
    registered = False
    try:
        with os.fdopen(file, "w", encoding="utf-8") as out, opened(settings) as url:
            position, members = on_ledger(settings, url, partial(_register, name, until))
            json.dump(members, out, indent=1)
            out.write("\n")
        registered = True
    finally:
        if not registered:
            key.unlink()
    if as_json:
        say_json({"name": name, "credential": members["credential"], "position": position, "key": str(key)})
    else:
        say(f"registered key {members['credential']} of {name} at position {position}, in {key}")


async def _register(name: str, until: str | None, ledger: Ledger, actor: Actor) -> tuple[int, dict[str, str | int]]:
    """Register a new key; return the position and the content of the file."""
    private = Ed25519PrivateKey.generate()
    public = encode(private.public_key().public_bytes_raw())
    data = {"scheme": "ed25519", "purpose": "sign", "public_key": public} | (
        {} if until is None else {"expires_at": until}
    )
    prepared_at = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    origin = await ledger.signing_keys.executor.signatures.origin()
    statement = registration_statement(origin, name, prepared_at, data)
    proof = {"prepared_at": prepared_at, "signature": encode(private.sign(ACT_PREFIX + statement))}
    key = RegisterKey.model_validate({**data, "proof": proof})
    receipt, number = await ledger.signing_keys.register(actor, name, key)
    secret = encode(private.private_bytes_raw())
    file: dict[str, str | int] = {"format": FORMAT, "ledger": origin, "subject": name, "credential": number}
    return receipt.position, {**file, "private_key": secret}
