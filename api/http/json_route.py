"""Handle JSON writes with one plain ASGI application, from the credential to the answer.

FastAPI still declares the operation: `JsonRoute` takes parameters, dependencies and models from the signature of the
endpoint, so the OpenAPI document is as for any route. But FastAPI does not solve them for each request, which took
more than half of the time of a write (docs/decisions/0013-json-writes.md).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.types import Receive, Scope, Send

from api.http.auth.permissions import Permission
from api.http.json_body import bounds_of, read_json
from api.http.problems import ApiError, FieldError

# The headers that a write may have, each once.
HEADERS = frozenset({"idempotency-key", "ledger-signature"})

Dependency = Callable[[Request], Awaitable[Any]]


class JsonRoute(APIRoute):
    """A route that handles JSON writes with `JsonWrite`; its other operations are FastAPI's."""

    def __init__(self, path: str, endpoint: Any, **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        if self.body_field is not None:
            self.app = JsonWrite(self)


class JsonWrite:
    """Run a JSON write as an ASGI application. Errors are exceptions, which `problems.install()` answers.

    The order is fixed: no body is read from a caller who may not send it, and no body is parsed that is too large. All
    faults of path, header and body are named at once.
    """

    def __init__(self, route: APIRoute) -> None:
        signature = route.dependant
        assert not signature.query_params
        assert not signature.cookie_params
        assert all(field.alias in HEADERS for field in signature.header_params)
        calls = {str(item.name): cast("Dependency", item.call) for item in signature.dependencies}
        [(self._caller, self._permission)] = [item for item in calls.items() if isinstance(item[1], Permission)]
        self._others = [item for item in calls.items() if item[0] != self._caller]
        self._path = signature.path_params
        self._headers = signature.header_params
        [self._body] = signature.body_params
        self._command = cast("type[BaseModel]", self._body.field_info.annotation)
        self._bounds = bounds_of(self._command)
        self._endpoint = route.endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Raises ApiError, RequestValidationError, or what the endpoint raises."""
        request = Request(scope, receive)
        values = {self._caller: await self._permission(request)}
        headers = {field.alias: _only(request, field.alias) for field in self._headers}
        content = await read_json(request, self._command, self._bounds)
        errors: list[Any] = []
        for field in self._path:
            values[field.name], found = field.validate(scope["path_params"][field.alias], loc=("path", field.alias))
            errors += found
        for field in self._headers:
            if headers[field.alias] is not None:
                values[field.name], found = field.validate(headers[field.alias], loc=("header", field.alias))
                errors += found
        values[self._body.name], found = self._body.validate(content, loc=("body",))
        errors += found
        if errors:
            raise RequestValidationError(errors)
        for name, dependency in self._others:
            values[name] = await dependency(request)
        response = await self._endpoint(**values)
        await response(scope, receive, send)


def _only(request: Request, name: str) -> str | None:
    """Return the value of a header. Raises ApiError if there are several."""
    values = request.headers.getlist(name)
    if len(values) > 1:
        reason = "there are several: send one, so that it is clear which command this is"
        raise ApiError("invalid", f"not valid: {name}", errors=[FieldError(field=name, reason=reason)])
    return values[0] if values else None
