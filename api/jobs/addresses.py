"""Read the addresses of mail endpoints from files of the operator: `NAME.addresses` in the folder of endpoints' keys.

Each line has the name of a portfolio, or `*` for all others, a blank, and one address. Addresses are personal: they
are in no event, no answer and no log, and they disappear when the operator removes the line.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from api.jobs.mail import is_address

MOST_BYTES = 16 * 1024 * 1024
OTHERS = "*"


class BadAddresses(Exception):
    """The file cannot be used. The message names the file and the line, never an address."""


class NoAddress(BadAddresses):
    """The file has no address for these portfolios, or several."""


def file_of(folder: Path, endpoint: str) -> Path:
    """Return the file with the addresses of an endpoint."""
    return folder / f"{endpoint}.addresses"


def address_of(folder: Path, endpoint: str, portfolios: Iterable[str]) -> str:
    """Return the address of a message about these portfolios. Raises NoAddress or BadAddresses."""
    path = file_of(folder, endpoint)
    try:
        with path.open("rb") as file:
            text = file.read(MOST_BYTES + 1).decode("ascii")
    except FileNotFoundError:
        raise NoAddress(f"{path} is not there") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadAddresses(f"{path} cannot be read: {type(error).__name__}") from None
    if len(text) > MOST_BYTES:
        raise BadAddresses(f"{path} is too long")
    known: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        parts = line.split()
        if not parts:
            continue
        if len(parts) != 2 or not is_address(parts[1]) or parts[0] in known:
            raise BadAddresses(f"{path}, line {number}: a portfolio or *, and one address, each once")
        known[parts[0]] = parts[1]
    found = {known.get(name, known.get(OTHERS)) for name in portfolios}
    if len(found) != 1 or None in found:
        raise NoAddress(f"{path} has no address for these portfolios, or several")
    return str(found.pop())
