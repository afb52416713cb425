"""What the tests of faults may ask for."""

from tests.api.conftest import fresh_api

__all__ = ["fresh_api"]
