"""What every type of event has."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from schema.fields import Sealed


class Event(BaseModel):
    """Base of all types; subclasses name their `type` and `schema_version`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: ClassVar[str]
    schema_version: ClassVar[int]
    # Names of the fields marked Sealed; filled in for each subclass.
    sealed: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        cls.sealed = frozenset(
            name for name, field in cls.model_fields.items() if any(isinstance(mark, Sealed) for mark in field.metadata)
        )
