"""The page on signed acts says what the code does."""

from __future__ import annotations

import re

from ledger.proof.acts.errors import ActFlaw
from ledger.proof.acts.statement import COVERS
from tests.paths import DOCS

PAGE = (DOCS / "formats/signed-acts.md").read_text("utf-8")
ROW = re.compile(r"^\| `([a-z.-]+)` (\d+) \| (.+) \|$", re.MULTILINE)


def test_the_page_names_what_signatures_cover() -> None:
    """The table has each type and version with its list, in order, and no other."""
    rows = {(kind, int(version)): tuple(re.findall(r"`([a-z_]+)`", rest)) for kind, version, rest in ROW.findall(PAGE)}
    assert rows == COVERS


def test_the_page_names_each_flaw() -> None:
    """Each name of a finding is on the page."""
    assert [flaw for flaw in ActFlaw if f"`{flaw}`" not in PAGE] == []
