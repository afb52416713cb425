"""The event about an import as a whole, in a stream `import-N`: docs/use/import.md."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from schema.event_base import Event
from schema.fields import Count, Digest


class ImportedFile(BaseModel):
    """A file that was imported, by its name, digest and size in bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+@ -]{0,199}$")]
    sha256: Digest
    bytes: Count


class HistoryImported(Event):
    """A history was imported to its end, from these files. It is recorded once for them, however often they are read.

    Of its `events`, `imported` are recorded and the others were left out. `signatures_dropped` counts events of the
    history that were signed there. Each imported event names its source, file and line itself.
    """

    type = "history.imported"
    schema_version = 1

    source: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._@:/-]{0,99}$")]
    files: Annotated[list[ImportedFile], Field(min_length=1, max_length=2)]
    events: Count
    imported: Count
    signatures_dropped: Count
