"""README.md tells one request's story: its commands, pasted in order on a fresh ledger, print what is printed there."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from ledger.verify.database import verify_chain
from tests.api.pasted import FENCED, Pasted, check
from tests.api.program import cli, serving
from tests.paths import DOCS, ROOT
from tests.support import connect, scratch_database

README = (ROOT / "README.md").read_text("utf-8")
SHELL = (
    "curl ",
    "/portfolio/recommendations",
    "/openings",
    "/decisions",
    '"outcome": "edit"',
    "/approvals",
    "/communications",
    "as_of=",
    "/suspensions",
    "advice-ledger orphans",
    "advice-ledger replay",
    "advice-ledger verify --projections",
    "advice-ledger export",
    "ledger.proof.auditor.cli case.zip",
    "advice-ledger-verify forged.zip",
)
PYTHON = (
    ".request_recommendation(",
    ".context(",
    ".model_call(",
    ".record_recommendation(",
    ".open(",
    'outcome="edit"',
    ".confirm(",
    ".communicate(",
)


# The auditor's own environment, which takes the package registry; and what stands for it where that is not to be asked.
INSTALL = "python3 -m venv auditor/venv && auditor/venv/bin/pip install -q cryptography orjson rfc8785"
OURS = {INSTALL: "true", "venv/bin/python -m ledger.proof": '"$OURS" -m ledger.proof'}


@pytest.mark.parametrize("instead", [OURS, pytest.param({}, marks=pytest.mark.slow)], ids=["ours", "as-printed"])
def test_the_commands_print_what_is_printed(server_url: str, tmp_path: Path, instead: Mapping[str, str]) -> None:
    """Each block of shell, with the program and curl as they are, prints the text that follows it, or nothing."""
    assert INSTALL in README
    (tmp_path / "ledger").symlink_to(ROOT / "ledger")
    with scratch_database(server_url) as url:
        where = {"ADVICE_LEDGER_DATABASE_URL": url, "ADVICE_LEDGER_KEY_FILE": str(tmp_path / "log.key")}
        assert cli("migrate", env=where).code == cli("keys", "generate", env=where).code == 0
        with serving(env=where) as server:
            tokens = {f"{role.upper()}=…": f"{role.upper()}={token}" for role, token in server.tokens().items()}
            pasted = Pasted(server.base, {**tokens, **instead}).add(README)
            assert "=…" not in pasted.script
            for printed, expected in pasted.run(tmp_path, OURS=sys.executable, **where):
                check(printed, expected or "")
        with connect(url, "verifier") as conn:
            assert verify_chain(conn).ok


def test_it_tells_the_whole_story() -> None:
    """From request to communicated, by curl and by the client: opened, edited, refused, confirmed, checked."""
    fenced = FENCED.findall(README)
    shell = "".join(content for kind, content in fenced if kind == "sh")
    python = "".join(content for kind, content in fenced if kind == "python")
    assert [what for what in SHELL if what not in shell] == []
    assert [what for what in PYTHON if what not in python] == []


def test_the_promised_targets_exist() -> None:
    """Each `make TARGET` of the text is a target, and `make run` serves."""
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    assert set(re.findall(r"(?:`|^ {4})make ([a-z]+)", README, re.MULTILINE)) <= targets
    assert re.search(r"^run: install.*\n\t\S*advice-ledger serve$", makefile, re.MULTILINE)


def test_links_lead_somewhere() -> None:
    """Each relative link of the README and of docs/ is a file or folder."""
    for page in (ROOT / "README.md", *(DOCS).rglob("*.md")):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
