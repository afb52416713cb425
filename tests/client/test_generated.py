"""LedgerClient is generated from AsyncLedgerClient, and help() shows both completely."""

from __future__ import annotations

import ast
import inspect
import pydoc

import generate_sync
import pytest
from advice_ledger_client import AsyncLedgerClient, LedgerClient

NAMES = {"__aenter__": "__enter__", "__aexit__": "__exit__", "aclose": "close"}


def operations(client: type) -> list[str]:
    """Names of the public methods."""
    return [name for name in vars(client) if not name.startswith("_")]


def test_the_blocking_client_is_up_to_date() -> None:
    """client.py is what client/generate_sync.py makes of async_client.py, apart from formatting."""
    made = generate_sync.blocking(generate_sync.SOURCE.read_text("utf-8"))
    assert ast.dump(ast.parse(made)) == ast.dump(ast.parse(generate_sync.TARGET.read_text("utf-8")))
    assert "async" not in made.replace("async_client.py", "")
    assert "await" not in made


def test_both_clients_have_the_same_operations() -> None:
    """The same methods with the same parameters; each asynchronous one is awaited and gives the same type."""
    assert [NAMES.get(name, name) for name in operations(AsyncLedgerClient)] == operations(LedgerClient)
    for name in operations(AsyncLedgerClient):
        awaited = inspect.signature(vars(AsyncLedgerClient)[name])
        blocking = inspect.signature(vars(LedgerClient)[NAMES.get(name, name)])
        assert awaited.parameters == blocking.parameters
        if name == "follow":
            assert inspect.isasyncgenfunction(vars(AsyncLedgerClient)[name])
        elif name != "model_call":
            assert inspect.iscoroutinefunction(vars(AsyncLedgerClient)[name])
            assert awaited.return_annotation == blocking.return_annotation


@pytest.mark.parametrize("client", [LedgerClient, AsyncLedgerClient])
def test_help_shows_each_operation(client: type) -> None:
    """Every operation has a docstring and a type for each parameter and for the result."""
    text = pydoc.plain(pydoc.render_doc(client))
    for name in operations(client):
        operation = vars(client)[name]
        signature = inspect.signature(operation)
        assert operation.__doc__
        assert operation.__doc__.splitlines()[0] in text
        assert signature.return_annotation is not inspect.Signature.empty
        untyped = [name for name, one in signature.parameters.items() if one.annotation is one.empty]
        assert untyped == ["self"]


def test_a_misspelled_member_of_a_call_is_a_type_error() -> None:
    """model_call() takes exactly the members of CallStart, and the required ones are required."""
    with LedgerClient("http://ledger.test", "token") as client:
        start = {"provider_name": "p", "request_model": "m", "input_messages": []}
        with pytest.raises(TypeError, match="unknown members \\['promptname'\\]"):
            client.model_call(1, **start, promptname="p")  # type: ignore[arg-type, call-arg]
        with pytest.raises(TypeError, match="missing members \\['input_messages'\\]"):
            client.model_call(1, provider_name="p", request_model="m")  # type: ignore[call-arg]
