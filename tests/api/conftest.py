"""Fixtures for the tests of the HTTP side."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.api.served import Api, ledger_copy, served
from tests.conftest import Template


@pytest.fixture(scope="module")
def module_ledger(server_url: str, template_database: Template) -> Iterator[str]:
    """A ledger that a module's tests share. Its chain and read models are checked at the end."""
    with ledger_copy(server_url, template_database) as url:
        yield url


@pytest.fixture(scope="module")
def api(module_ledger: str) -> Iterator[Api]:
    """The application on the module's ledger, without a worker, with a token for each role."""
    with served(module_ledger) as found:
        yield found


@pytest.fixture
def fresh_api(server_url: str, template_database: Template) -> Iterator[Api]:
    """The application on a ledger of its own."""
    with ledger_copy(server_url, template_database) as url, served(url) as found:
        yield found
