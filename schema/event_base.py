"""The base of all event types."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from schema.fields import Sealed


class Event(BaseModel):
    """The base of all event types. Subclasses set `type` and `schema_version`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: ClassVar[str]
    schema_version: ClassVar[int]
    # The names of the fields marked Sealed. Computed for each subclass.
    sealed: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        cls.sealed = frozenset(
            name for name, field in cls.model_fields.items() if any(isinstance(mark, Sealed) for mark in field.metadata)
        )
