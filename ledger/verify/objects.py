"""Compare the objects of a ledger with those of this version: functions, triggers, grants, tables, settings.

A test writes the expected objects from a fresh ledger to a file, which is the same for each version of PostgreSQL
(schema/objects.txt). Each line is one object in three parts with tabs between them: its subject, its name, and its
description.

A schema may have more: tables, views and indexes of other names may belong to somebody else. But each trigger, rule,
policy, grant, column and constraint on our tables is compared, each function of the schema, each type of event, each
event trigger of the database, and each setting of the database, of our roles and of their members.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import psycopg

from ledger.database import SET_BY_EVERY_SESSION, Connection
from schema.migrate import MIGRATED_BY, version_digest

OBJECTS_QUERY = Path(__file__).with_name("objects.sql").read_bytes()
EVENT_TYPES = "SELECT 'event_types', format('event type %s, version %s', type, version), 'registered' FROM event_types"
ROLE_MEMBERS = Path(__file__).with_name("role_members.sql").read_bytes()

DIGEST = version_digest()

# The names of objects that belong to a table or function begin with one of these.
BELONGING = ("child ", "column ", "constraint ", "grant ", "index ", "partition ", "policy ", "rule ", "trigger ")

# Subject, name and description.
SchemaObject = tuple[str, str, str]


def expected_objects(text: str) -> frozenset[SchemaObject]:
    """Parse a file of objects."""
    return frozenset(_object(line) for line in text.splitlines())


def _object(line: str) -> SchemaObject:
    subject, name, description = line.split("\t")
    return subject, name, description


def present_objects(conn: Connection) -> frozenset[SchemaObject]:
    """Read the objects of the schema on the search_path. Raises psycopg.Error."""
    rows = conn.execute(OBJECTS_QUERY).fetchall()
    # In a ledger of an earlier version that is not yet migrated, the reader may not read the types of events.
    with contextlib.suppress(psycopg.ProgrammingError), conn.transaction():
        rows += conn.execute(EVENT_TYPES).fetchall()
    return frozenset((str(subject), str(name), str(text)) for subject, name, text in rows)


def migrated_by_this_version(conn: Connection) -> bool:
    """Return True if the schema's comment says so.

    This is only a hint, as the owner can change it: every object is still compared.
    """
    return conn.execute(MIGRATED_BY).fetchone() == (DIGEST,)


def role_members(conn: Connection) -> list[str]:
    """Return the logins that may act in the ledger's roles, each with its roles; at most 100. Raises psycopg.Error.

    An installation may use logins of any name, so they are not differences. A person has to judge them.
    """
    return [f"{name!a} ({roles})" for name, roles in conn.execute(ROLE_MEMBERS).fetchall()]


def differences(expected: Iterable[SchemaObject], present: Iterable[SchemaObject]) -> list[str]:
    """Return a line for each object that is missing, differs, or was added to one of our objects; in order of names."""
    wanted, found = _by_name(expected), _by_name(present)
    subjects, present_subjects = {subject for subject, _ in wanted}, {subject for subject, _ in found}
    gone = {_main(subject, wanted) for subject in subjects - present_subjects}
    ours = {
        key
        for key in found
        if not (key not in wanted and _is_without_effect(key[1]))
        and ((key[0] in subjects and not key[1].startswith("index ")) or key[1].startswith("function "))
    }
    differing = {
        f"{key[1]} {'is missing' if key not in found else 'differs' if key in wanted else 'is additional'}"
        for key in wanted.keys() | ours
        if wanted.get(key) != found.get(key) and key[0] not in subjects - present_subjects
    }
    return sorted(differing | {f"{name} is missing" for name in gone})


def settings_without_effect(expected: Iterable[SchemaObject], present: Iterable[SchemaObject]) -> list[str]:
    """Return the added settings of the database and of roles that each of our connections overrides.

    They are not differences, because they cannot change a result. Settings that this version makes are not included.
    """
    wanted, found = _by_name(expected), _by_name(present)
    return sorted(name for _, name in found.keys() - wanted.keys() if _is_without_effect(name))


def _is_without_effect(name: str) -> bool:
    return name.startswith("setting ") and name.split()[1].lower() in SET_BY_EVERY_SESSION


def _main(subject: str, wanted: Iterable[tuple[str, str]]) -> str:
    """Return the main object of a subject, such as the table, view or function that the subject's other objects belong
    to."""
    return min((name for owner, name in wanted if owner == subject), key=lambda name: name.startswith(BELONGING))


def _by_name(objects: Iterable[SchemaObject]) -> dict[tuple[str, str], set[str]]:
    grouped: dict[tuple[str, str], set[str]] = defaultdict(set)
    for subject, name, description in objects:
        grouped[subject, name].add(description)
    return dict(grouped)
