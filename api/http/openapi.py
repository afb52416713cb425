"""Make the OpenAPI document with FastAPI, and add the schema of problems."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from api.http.problems import Problem

REF = "#/components/schemas/{model}"


class Documented(FastAPI):
    """An application whose document has the schema `Problem`, to which `problems.documented()` refers."""

    def openapi(self) -> dict[str, Any]:
        """Return the document; it is made once."""
        made = self.openapi_schema is not None
        document = super().openapi()
        if not made:
            _, found = models_json_schema([(Problem, "serialization")], ref_template=REF)
            document.setdefault("components", {}).setdefault("schemas", {}).update(found["$defs"])
        return document
