"""Errors of the embedded PostgreSQL. Each message says what to do.

EmbeddedError
 ├── ExtraMissingError     the extra with the binaries is not installed
 ├── FolderError           the data folder cannot be written, or its file system has no locks
 ├── DataVersionError      the cluster was made by another major version of PostgreSQL
 ├── StartError            the server, or a step before its start, failed
 └── BusyError             another process held the start-stop lock for too long
"""


class EmbeddedError(Exception):
    """The embedded PostgreSQL cannot be used."""


class ExtraMissingError(EmbeddedError):
    """The package with the PostgreSQL binaries is not installed."""


class FolderError(EmbeddedError):
    """The data folder cannot be created, written or locked."""


class DataVersionError(EmbeddedError):
    """The cluster in the data folder belongs to another major version of PostgreSQL."""


class StartError(EmbeddedError):
    """The server, or a step before its start, failed."""


class BusyError(EmbeddedError):
    """Another process has been starting or stopping the server for longer than that can take."""
