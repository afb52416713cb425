"""Serve GET /docs: the OpenAPI document as one HTML page, without scripts and external resources."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from html import escape
from itertools import starmap
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.responses import HTMLResponse, Response

STYLE = (Path(__file__).parent / "docs_page.css").read_text("utf-8")
# A page that does not change while the program runs.
CACHE = {"Cache-Control": "max-age=300"}
# The links are relative, so that they work under any prefix that a proxy adds.
PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><link rel="stylesheet" href="docs/style.css"></head>
<body><h1>{title}</h1>{introduction}<p>For programs: <a href="openapi.json">openapi.json</a></p>
{contents}{operations}<h2>Schemas</h2>{schemas}</body></html>
"""
Document = Mapping[str, Any]


def install(app: FastAPI) -> None:
    """Serve the page and its style sheet."""

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return HTMLResponse(_page(app), headers=CACHE)

    @app.get("/docs/style.css", include_in_schema=False)
    async def style() -> Response:
        return Response(STYLE, headers=CACHE, media_type="text/css")


@cache
def _page(app: FastAPI) -> str:
    document = app.openapi()
    operations = list(_operations(document))
    return PAGE.format(
        title=escape(document["info"]["title"]),
        introduction=_paragraphs(document["info"].get("description", "")),
        contents=_list(_link(f"#{name}", name) for name, _ in operations),
        operations="".join(html for _, html in operations),
        schemas="".join(_schema(name, schema) for name, schema in document["components"]["schemas"].items()),
    )


def _operations(document: Document) -> Iterator[tuple[str, str]]:
    """Yield each operation's method with its path, and its HTML."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            name = f"{method.upper()} {path}"
            body = "".join(
                f"<p>Body: {escape(media)}, {_type(content.get('schema', {}))}</p>"
                for media, content in operation.get("requestBody", {}).get("content", {}).items()
            )
            heading = f'<h2 id="{escape(name)}">{escape(name)}</h2>{_paragraphs(operation.get("description", ""))}'
            parameters = _table(("parameter", "in", "type", ""), map(_parameter, operation.get("parameters", ())))
            answers = starmap(_response, operation["responses"].items())
            yield name, f"{heading}{parameters}{body}{_table(('status', 'body', ''), answers)}"


def _parameter(parameter: Document) -> tuple[str, ...]:
    where = parameter["in"] + (", required" if parameter.get("required") else "")
    description = escape(parameter.get("description", ""))
    return f"<code>{escape(parameter['name'])}</code>", where, _type(parameter["schema"]), description


def _response(status: str, response: Document) -> tuple[str, ...]:
    bodies = ", ".join(_type(content.get("schema", {})) for content in response.get("content", {}).values())
    return escape(status), bodies, escape(response.get("description", ""))


def _schema(name: str, schema: Document) -> str:
    required = set(schema.get("required", ()))
    rows = (
        (f"<code>{escape(member)}</code>", _type(kind), "required" if member in required else "", _description(kind))
        for member, kind in schema.get("properties", {}).items()
    )
    values = "" if "properties" in schema else f"<p>{_type(schema)}</p>"
    heading = f'<h3 id="{escape(name)}">{escape(name)}</h3>{_paragraphs(schema.get("description", ""))}'
    return f"{heading}{values}{_table(('member', 'type', '', ''), rows)}"


def _description(kind: Document) -> str:
    return escape(kind.get("description", ""))


def _type(kind: Document) -> str:
    """Describe a type in a few words, with links to the schemas that it names."""
    if "$ref" in kind:
        name = kind["$ref"].rpartition("/")[2]
        return _link(f"#{name}", name)
    for several in ("anyOf", "oneOf", "allOf"):
        if several in kind:
            return " or ".join(map(_type, kind[several]))
    if "enum" in kind:
        return " or ".join(f"<code>{escape(str(value))}</code>" for value in kind["enum"])
    if "const" in kind:
        return f"<code>{escape(str(kind['const']))}</code>"
    if kind.get("type") == "array":
        return f"list of {_type(kind.get('items', {}))}"
    return escape(" ".join([kind.get("type", "any JSON"), *_limits(kind)]))


def _limits(kind: Document) -> Iterator[str]:
    words = {"minLength": "from", "minimum": "from", "exclusiveMinimum": "above", "maxLength": "to", "maximum": "to"}
    for name, word in words.items():
        if name in kind:
            unit = " characters" if name == "maxLength" else ""
            yield f"{word} {kind[name]:.15g}{unit}"
    if "format" in kind:
        yield f"({kind['format']})"


def _table(header: tuple[str, ...], rows: Any) -> str:
    lines = ["".join(f"<td>{cell}</td>" for cell in row) for row in rows]
    if not lines:
        return ""
    head = "".join(f"<th>{cell}</th>" for cell in header)
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def _paragraphs(text: str) -> str:
    return "".join(f"<p>{escape(paragraph)}</p>" for paragraph in text.strip().split("\n\n") if paragraph)


def _list(items: Iterator[str]) -> str:
    return f"<ul>{''.join(f'<li>{item}</li>' for item in items)}</ul>"


def _link(target: str, text: str) -> str:
    return f'<a href="{escape(target)}">{escape(text)}</a>'
