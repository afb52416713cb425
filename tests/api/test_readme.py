"""README.md tells one request's story: its commands, pasted in order on a fresh ledger, print what is printed there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from ledger.verify import verify_chain
from tests.api.program import ROOT, Serving, environment, serving
from tests.support import connect, scratch_database

README = (ROOT / "README.md").read_text("utf-8")
# What is set apart by a fence; a line of text whose end differs each time says so with "…".
FENCED = re.compile(r"^```(sh|python|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
END = "---end of a block---"
MOST_LINES = 170


def test_the_commands_print_what_is_printed(server_url: str, tmp_path: Path) -> None:
    """Each block of shell, in a bash with curl, prints the text that follows it, or nothing where none does."""
    with scratch_database(server_url) as url, serving(env={"ADVICE_LEDGER_DATABASE_URL": url}) as server:
        script, expected = session(server)
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=tmp_path,
            env=environment(ADVICE_LEDGER_DATABASE_URL=url),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        printed = done.stdout.split(f"{END}\n")[:-1]
        assert len(printed) == len(expected), done.stderr
        for found, text in zip(printed, expected, strict=True):
            assert pattern(text).fullmatch(found), f"printed:\n{found}\nexpected:\n{text}\n{done.stderr}"
        with connect(url, "verifier") as conn:
            assert verify_chain(conn).ok


def session(server: Serving) -> tuple[str, list[str]]:
    """The README as one script, for this server and its tokens; and what each of its blocks of shell should print.

    A block of Python becomes the file that the text before it names.
    """
    script, expected, end = "", [], 0
    for block in FENCED.finditer(README):
        kind, content = block.groups()
        match kind:
            case "sh":
                script += f"{as_served(content, server)}echo '{END}'\n"
                expected.append("")
            case "python":
                [name] = re.findall(r"`(\w+\.py)`", README[end : block.start()])
                script += f"cat > {name} <<'{END}'\n{as_served(content, server)}{END}\n"
            case "text":
                expected[-1] = content
        end = block.end()
    return script, expected


def as_served(text: str, server: Serving) -> str:
    """What a reader changes: the tokens; and what is not as in a clone: address and virtual environment."""
    for role, token in server.tokens().items():
        text = text.replace(f"{role.upper()}=…", f"{role.upper()}={token}")
    assert "=…" not in text
    return text.replace("http://127.0.0.1:8000", server.base).replace(".venv/bin/", f"{Path(sys.executable).parent}/")


def pattern(text: str) -> re.Pattern[str]:
    """The text as printed: "…" stands for the rest, or a part, of one line; alone on a line, for any lines."""
    lines = ["(?:.*\n)+" if line == "…" else re.escape(line).replace("…", ".+") + "\n" for line in text.splitlines()]
    return re.compile("".join(lines))


def test_it_tells_the_whole_story() -> None:
    """From request to communicated, by curl and by the client: opened, edited, refused, confirmed, checked."""
    fenced = FENCED.findall(README)
    shell = "".join(content for kind, content in fenced if kind == "sh")
    python = "".join(content for kind, content in fenced if kind == "python")
    assert [what for what in SHELL if what not in shell] == []
    assert [what for what in PYTHON if what not in python] == []


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


def test_it_is_short() -> None:
    """A page that is read to its end."""
    assert len(README.splitlines()) <= MOST_LINES
