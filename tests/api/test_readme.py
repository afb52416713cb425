"""README.md tells one request's story: its commands, pasted in order on a fresh ledger, print what is printed there."""

from __future__ import annotations

import re
from pathlib import Path

from ledger.verify import verify_chain
from tests.api.pasted import FENCED, Pasted, check
from tests.api.program import ROOT, serving
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


def test_the_commands_print_what_is_printed(server_url: str, tmp_path: Path) -> None:
    """Each block of shell, with the program and curl as they are, prints the text that follows it, or nothing."""
    with scratch_database(server_url) as url, serving(env={"ADVICE_LEDGER_DATABASE_URL": url}) as server:
        tokens = {f"{role.upper()}=…": f"{role.upper()}={token}" for role, token in server.tokens().items()}
        pasted = Pasted(server.base, tokens).add(README)
        assert "=…" not in pasted.script
        for printed, expected in pasted.run(tmp_path, ADVICE_LEDGER_DATABASE_URL=url):
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
    for page in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
