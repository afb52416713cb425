"""The errors of migrating. Each message says what to do.

MigrationError
├── ServerTooOld
├── OnStandby
├── EditedMigration
├── NewerSchema
├── BadOrigin
├── NotEmpty
├── ForeignOwner
└── NotPermitted
"""

from __future__ import annotations


class MigrationError(Exception):
    """The database cannot be migrated to this version. The message says what to do."""


class ServerTooOld(MigrationError):
    """PostgreSQL is older than 14, or the database does not store UTF-8."""


class OnStandby(MigrationError):
    """The server is a standby, which takes no change."""


class EditedMigration(MigrationError):
    """A migration has changed since it was applied."""


class NewerSchema(MigrationError):
    """The database has migrations that this version does not know."""


class BadOrigin(MigrationError):
    """The text cannot name a ledger."""


class NotEmpty(MigrationError):
    """A ledger cannot be restored into a schema that has one."""


class ForeignOwner(MigrationError):
    """The tables belong to another role than the ledger's owner."""


class NotPermitted(MigrationError):
    """The login lacks rights to create roles, schemas or tables."""
