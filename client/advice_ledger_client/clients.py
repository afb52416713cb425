"""The two clients: the same operations, driven by httpx's own two clients.

An Operation is a descriptor, so that each is written once and typed for both: on LedgerClient it is a function that
gives the result, on AsyncLedgerClient one that is awaited.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from functools import wraps
from types import TracebackType
from typing import Any, Generic, ParamSpec, Self, TypeVar, overload

import anyio
import httpx

from advice_ledger_client import calls, operations
from advice_ledger_client.calls import Begun, ModelCall
from advice_ledger_client.flow import Attempt, Flow, Patience, Pause, steps

P = ParamSpec("P")
T = TypeVar("T")


class Operation(Generic[P, T]):
    """A flow of client/advice_ledger_client/operations.py as a method of both clients."""

    def __init__(self, flow: Callable[P, Flow[T]]) -> None:
        self._flow = flow
        self.__doc__ = flow.__doc__

    @overload
    def __get__(self, client: LedgerClient, owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, client: AsyncLedgerClient, owner: type) -> Callable[P, Coroutine[Any, Any, T]]: ...
    @overload
    def __get__(self, client: None, owner: type) -> Self: ...
    def __get__(self, client: LedgerClient | AsyncLedgerClient | None, owner: type) -> Any:
        """Bound to a client; on the class itself, the operation."""
        if client is None:
            return self

        @wraps(self._flow)
        def bound(*args: P.args, **kwargs: P.kwargs) -> Any:
            return client.run(self._flow(*args, **kwargs))

        return bound


class Calling(Generic[P]):
    """`model_call` of both clients: gives a context manager of the client's own kind."""

    def __init__(self, begin: Callable[P, Begun]) -> None:
        self._begin = begin
        self.__doc__ = begin.__doc__

    @overload
    def __get__(self, client: LedgerClient, owner: type) -> Callable[P, SyncModelCall]: ...
    @overload
    def __get__(self, client: AsyncLedgerClient, owner: type) -> Callable[P, AsyncModelCall]: ...
    @overload
    def __get__(self, client: None, owner: type) -> Self: ...
    def __get__(self, client: LedgerClient | AsyncLedgerClient | None, owner: type) -> Any:
        """Bound to a client; on the class itself, the descriptor."""
        if client is None:
            return self

        @wraps(self._begin)
        def bound(*args: P.args, **kwargs: P.kwargs) -> SyncModelCall | AsyncModelCall:
            begun = self._begin(*args, **kwargs)
            return SyncModelCall(client, begun) if isinstance(client, LedgerClient) else AsyncModelCall(client, begun)

        return bound


class Operations:
    """What both clients can do."""

    request_recommendation = Operation(operations.request_recommendation)
    context = Operation(operations.context)
    model_call = Calling(calls.model_call)
    record_recommendation = Operation(operations.record_recommendation)
    fail_request = Operation(operations.fail_request)
    open = Operation(operations.open_)
    decide = Operation(operations.decide)
    confirm = Operation(operations.confirm)
    communicate = Operation(operations.communicate)
    get_request = Operation(operations.get_request)
    recommendation = Operation(operations.recommendation)
    recommendations = Operation(operations.recommendations)
    wait_for_recommendation = Operation(operations.wait_for_recommendation)

    def __init__(self, base_url: str, token: str, timeout_s: float, retries: int) -> None:
        self._base_url = httpx.URL(base_url.rstrip("/"))
        self._headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        self._patience = Patience(timeout_s, retries)

    def __repr__(self) -> str:
        """Without the token, and without a password in the address."""
        return f"{type(self).__name__}({self._base_url!r})"

    def _request(self, attempt: Attempt) -> dict[str, Any]:
        """The arguments of httpx's request()."""
        call = attempt.call
        headers = dict(self._headers)
        if call.key is not None:
            headers |= {"Idempotency-Key": call.key, "Content-Type": "application/json"}
        return {
            "method": call.method,
            "url": f"{self._base_url}{call.path}",
            "params": dict(call.params),
            "content": call.body,
            "headers": headers,
            "timeout": attempt.timeout_s,
        }


class LedgerClient(Operations):
    """A ledger over HTTP; may be used from several threads. Close it, or use it in a with statement.

    `timeout_s` bounds each operation with all its `retries`. `http` is used as it is and stays open; without it there
    is one of our own.
    """

    def __init__(
        self,
        base_url: str,
        token: str,
        *,
        http: httpx.Client | None = None,
        timeout_s: float = 30.0,
        retries: int = 8,
    ) -> None:
        super().__init__(base_url, token, timeout_s, retries)
        self._http = http or httpx.Client()
        self._owned = http is None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections, unless they are the caller's own."""
        if self._owned:
            self._http.close()

    def run(self, flow: Flow[T]) -> T:
        """The result of a flow, with its requests made and its pauses waited for."""
        going = steps(flow, self._patience)
        try:
            step = next(going)
            while True:
                if isinstance(step, Pause):
                    time.sleep(step.seconds)
                    step = going.send(None)
                    continue
                try:
                    response = self._http.request(**self._request(step))
                except httpx.RequestError as error:
                    step = going.throw(error)
                else:
                    step = going.send(response)
        except StopIteration as done:
            result: T = done.value
            return result


class AsyncLedgerClient(Operations):
    """A ledger over HTTP, for one event loop. As LedgerClient, with each operation awaited."""

    def __init__(
        self,
        base_url: str,
        token: str,
        *,
        http: httpx.AsyncClient | None = None,
        timeout_s: float = 30.0,
        retries: int = 8,
    ) -> None:
        super().__init__(base_url, token, timeout_s, retries)
        self._http = http or httpx.AsyncClient()
        self._owned = http is None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes the connections, unless they are the caller's own."""
        if self._owned:
            await self._http.aclose()

    async def run(self, flow: Flow[T]) -> T:
        """The result of a flow, with its requests made and its pauses waited for."""
        going = steps(flow, self._patience)
        try:
            step = next(going)
            while True:
                if isinstance(step, Pause):
                    await anyio.sleep(step.seconds)
                    step = going.send(None)
                    continue
                try:
                    response = await self._http.request(**self._request(step))
                except httpx.RequestError as error:
                    step = going.throw(error)
                else:
                    step = going.send(response)
        except StopIteration as done:
            result: T = done.value
            return result


class SyncModelCall(ModelCall):
    """A model call in a `with` block."""

    def __init__(self, client: LedgerClient, begun: Begun) -> None:
        super().__init__(begun)
        self._client = client

    def __enter__(self) -> Self:
        self._client.run(self.starting())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._client.run(self.ending(error))


class AsyncModelCall(ModelCall):
    """A model call in an `async with` block."""

    def __init__(self, client: AsyncLedgerClient, begun: Begun) -> None:
        super().__init__(begun)
        self._client = client

    async def __aenter__(self) -> Self:
        await self._client.run(self.starting())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        # A cancelled call has an end too; the client's own deadline bounds how long that takes.
        with anyio.CancelScope(shield=True):
            await self._client.run(self.ending(error))
