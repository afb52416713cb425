"""Keys with which subjects sign what they do, and signatures as they are sent: docs/formats/signed-acts.md."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from schema.event_base import Event
from schema.subjects import CredentialNumber, Moment

Scheme = Literal["ed25519", "webauthn"]
# base64url without padding. The code that verifies decodes it strictly, within its own limits.
Base64Url = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+$", max_length=6000)]
Salt = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
MemberName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z_]{0,99}$")]
Transport = Annotated[str, StringConstraints(pattern=r"^[a-z-]{1,30}$")]
Domain = Annotated[str, StringConstraints(max_length=253, pattern=r"^[a-z0-9-]+(\.[a-z0-9-]+)*$")]
Origin = Annotated[str, StringConstraints(pattern=r"^https?://[a-z0-9.-]{1,253}(:[0-9]{1,5})?$")]
PASSKEY = ("alg", "rp_id", "origins", "credential_id", "backup_eligible")


class KeyProof(BaseModel):
    """The signature of a new key over the statement of its registration."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prepared_at: Moment
    authenticator_data: Base64Url | None = None
    client_data: Base64Url | None = None
    signature: Base64Url


class ActSignature(KeyProof):
    """The signature of an act as its signer sends it, with the salts of the act's sealed values, by member."""

    scheme: Scheme
    key: CredentialNumber
    salts: Annotated[dict[MemberName, Salt], Field(max_length=20)] = {}


class RegisterKey(BaseModel):
    """A key that its subject registers to sign acts with. The key signs its own registration."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scheme: Scheme
    purpose: Literal["sign"]
    public_key: Base64Url
    alg: Literal[-7, -8, -257] | None = None
    rp_id: Domain | None = None
    origins: Annotated[list[Origin], Field(min_length=1, max_length=10)] | None = None
    credential_id: Annotated[Base64Url, StringConstraints(max_length=1400)] | None = None
    backup_eligible: bool | None = None
    transports: Annotated[list[Transport], Field(max_length=10)] | None = None
    aaguid: Annotated[str, StringConstraints(pattern=r"^[0-9a-f-]{36}$")] | None = None
    expires_at: Moment | None = None
    proof: KeyProof

    @model_validator(mode="after")
    def _one_scheme(self) -> RegisterKey:
        present = [getattr(self, name) is not None for name in PASSKEY]
        if (not all(present)) if self.scheme == "webauthn" else any(present):
            raise PydanticCustomError("scheme", "Input should have the members of its scheme")
        return self


class SigningKeyRegistered(RegisterKey, Event):
    """The subject signs acts with this key from now on. In the stream `subject-NAME`.

    The event's id follows from the public key, so that a key is registered once in the life of a ledger.
    """

    type = "signing-key.registered"
    schema_version = 1

    credential: CredentialNumber
