"""Fixtures for the tests of faults."""

from tests.api.conftest import fresh_api

__all__ = ["fresh_api"]
