"""The access policy: for each permission, the roles that have it and how far it reaches.

The packaged policy is policies/access.json. A policy of one's own may take a permission from a role, give it to another
one, or narrow it; it names every permission that the program asks for, and no other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ledger.domain.policy import Policy, Text, load
from ledger.domain.subject import SubjectState
from schema.fields import Name

NAME = "access"

# The reach of a permission: everything, the clients that are assigned to the subject or to one of its groups, or what
# the subject itself recorded.
Scope = Literal["all", "assigned", "own"]

READS_OF_CLIENTS = ("read clients", "read contexts", "read cases", "read model calls", "read portfolios")
# The permissions that can be limited to the subject's own rows.
OWNABLE = frozenset({"read model calls", "read jobs", "cancel jobs"})
# The permissions that can be limited to some clients, by the policy or by the list of clients of a grant.
OF_CLIENTS = frozenset(
    {
        "request portfolios",
        "open recommendations",
        "decide",
        "confirm decisions",
        "communicate",
        "withdraw requests",
        "revoke decisions",
        "review cases",
        "handle findings",
        "assign clients",
        "define portfolios",
        "handle alerts",
        "hold records",
        "erase clients",
        *READS_OF_CLIENTS,
    }
)
# The other permissions of a role whose grant lists clients. They neither show nor change data of a client.
WITHOUT_CLIENTS = frozenset({"read agents", "read proofs", "register signing keys", "read own rights"})
LIMITABLE = OF_CLIENTS | WITHOUT_CLIENTS
PERMISSIONS = frozenset(
    {
        "request portfolios",
        "answer requests",
        "open recommendations",
        "decide",
        "confirm decisions",
        "communicate",
        "withdraw requests",
        "revoke decisions",
        "review cases",
        "handle findings",
        "draw samples",
        "read reviews",
        "register agents",
        "suspend agents",
        "resume agents",
        "register clients",
        "assign clients",
        "merge clients",
        "register signing keys",
        "manage subjects",
        "read subjects",
        "read own rights",
        *READS_OF_CLIENTS,
        "read events",
        "read reports",
        "read who looked",
        "read agents",
        "read proofs",
        "define portfolios",
        "handle alerts",
        "hold records",
        "erase clients",
        "record prices",
        "adopt monitoring policies",
        "run monitoring",
        "read monitoring",
        "read jobs",
        "cancel jobs",
        "export",
        "read exports",
        "define endpoints",
        "read deliveries",
        "resend deliveries",
    }
)
Roles = Annotated[dict[Name, Scope], Field(max_length=100)]


class Administrators(BaseModel):
    """The number of administrators that a change of subjects, roles, groups and credentials needs."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    changes: Literal["one", "two"] = "one"


class AccessText(Text):
    """The policy file."""

    permissions: dict[str, Roles]
    administrators: Administrators = Administrators()

    @model_validator(mode="after")
    def _complete(self) -> AccessText:
        if faults := list(self._faults()):
            raise ValueError("; ".join(faults))
        return self

    def _faults(self) -> Iterator[str]:
        """Yield all faults, so that a file can be corrected at once."""
        if missing := sorted(PERMISSIONS - self.permissions.keys()):
            yield f"{_named(missing)} missing; with {{}} nobody has it"
        if unknown := sorted(self.permissions.keys() - PERMISSIONS):
            yield f"there is no permission {', '.join(map(ascii, unknown))}"
        for reach, possible in (("own", OWNABLE), ("assigned", OF_CLIENTS)):
            wrong = sorted(name for name, roles in self.permissions.items() if reach in roles.values())
            if wrong := [name for name in wrong if name not in possible]:
                yield f'{", ".join(map(ascii, wrong))} cannot be "{reach}": only {", ".join(sorted(possible))} can'
        if self.permissions.get("manage subjects") == {}:
            yield "'manage subjects' must have a role, or nobody could change who may do what"


def _named(permissions: Sequence[str]) -> str:
    names = ", ".join(map(repr, permissions))
    return f"the permission {names} is" if len(permissions) == 1 else f"the permissions {names} are"


@dataclass(frozen=True)
class AccessPolicy:
    """The policy in force."""

    policy: Policy
    permissions: Mapping[str, Mapping[str, Scope]]
    # True if a change by an administrator takes effect once another one confirms it.
    two_administrators: bool = False

    @classmethod
    def load(cls, path: Path | None = None) -> AccessPolicy:
        """Load the policy from a file, or the packaged one. Raises BadPolicy."""
        policy, text = load(NAME, AccessText, path)
        return cls(policy, text.permissions, text.administrators.changes == "two")

    def roles(self, permission: str) -> frozenset[str]:
        """Return the roles that have a permission."""
        return frozenset(self.permissions[permission])

    def needs_two(self, role: str) -> bool:
        """Return True if a change of subjects in this role needs the confirmation of another administrator."""
        return self.two_administrators and role in self.roles("manage subjects")

    def roles_of(self, permission: str, state: SubjectState, now: datetime) -> frozenset[str]:
        """Return the roles in which a subject has a permission now.

        A role that is granted for a list of clients has only permissions that can be limited to them.
        """
        limitable = permission in LIMITABLE
        held = state.roles(now)
        return frozenset(
            role for role in self.roles(permission) & held if limitable or state.grants[role].clients is None
        )

    def scope(self, permission: str, role: str) -> Scope | None:
        """Return the reach of a permission for a role; None if the role does not have it."""
        return self.permissions[permission].get(role)
