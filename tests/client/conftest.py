"""The client's tests run against the same applications as those of the HTTP side."""

from tests.api.conftest import api, fresh_api, module_ledger

__all__ = ["api", "fresh_api", "module_ledger"]
