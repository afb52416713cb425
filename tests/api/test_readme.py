"""The commands of README.md and of the tutorial, pasted in order, print what the pages show."""

from __future__ import annotations

import contextlib
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest

from ledger.verify.database import verify_chain
from tests.api.pasted import FENCED, Pasted, check, free_port
from tests.api.program import Serving, cli, serving
from tests.paths import DOCS, ROOT
from tests.support import connect, eventually, scratch_database

README = (ROOT / "README.md").read_text("utf-8")
LETTER = "## Answer a letter\n"
TUTORIAL = (DOCS / "use/tutorial.md").read_text("utf-8")
PEOPLE = tuple((DOCS / "use" / name).read_text("utf-8") for name in ("advisor.md", "reviewer.md"))

# The parts of the story that a reader of the tutorial has to meet, in shell and in Python.
SHELL = (
    "curl ",
    "/portfolio/recommendations",
    "/openings",
    "/decisions",
    '"outcome": "edit"',
    "/confirmations",
    "/communications",
    "as_of=",
    "/suspensions",
    "advice-ledger orphans",
    "advice-ledger replay",
    "advice-ledger verify",
    "advice-ledger export",
    "ledger.proof.auditor case.zip",
    "credentials register-key",
    "credentials rotate",
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
    "signing_key=",
    ".communicate(",
)

# The auditor's environment needs the package registry. OURS replaces it by the environment that runs the tests.
INSTALL = "python3 -m venv auditor/venv && auditor/venv/bin/pip install -q cryptography orjson rfc8785"
OURS = {INSTALL: "true", "venv/bin/python -m ledger.proof": '"$OURS" -m ledger.proof'}
# The client and the package that verifies messages are already in the environment that runs the tests.
INSTALL_CLIENT = ".venv/bin/pip install -q ./client"
INSTALL_VERIFIER = ".venv/bin/pip install -q standardwebhooks"
# The one setting of README's server, and the port of its receiver, which the tests replace by a free one.
LOOPBACK = ("ADVICE_LEDGER_ENDPOINT_NETWORKS", "127.0.0.0/8")
RECEIVER_PORT = "8001"


@contextlib.contextmanager
def fresh_ledger(server_url: str, folder: Path) -> Iterator[tuple[Serving, dict[str, str]]]:
    """Serve a new ledger with a signing key. Yield the server and the environment of a reader who pasted its exports.

    The chain verifies afterwards.
    """
    (folder / "ledger").symlink_to(ROOT / "ledger")
    with scratch_database(server_url) as url:
        where = {
            "ADVICE_LEDGER_DATABASE_URL": url,
            "ADVICE_LEDGER_KEY_FILE": str(folder / "log.key"),
            "ADVICE_LEDGER_ENDPOINT_KEYS": str(folder / "endpoints"),
            **dict([LOOPBACK]),
        }
        assert cli("migrate", env=where).code == cli("keys", "generate", env=where).code == 0
        with serving(env=where) as server:
            # A reader takes seconds to paste: by then the read model of credentials has caught up.
            eventually("it is ready", lambda: httpx.get(f"{server.base}/readyz", timeout=30).status_code == 200)
            exports = {role.upper(): token for role, token in server.tokens().items()}
            yield server, {**where, **exports, "OURS": sys.executable}
        with connect(url, "verifier") as conn:
            assert verify_chain(conn).ok


@pytest.mark.timeout(700)
@pytest.mark.parametrize("instead", [OURS, pytest.param({}, marks=pytest.mark.slow)], ids=["ours", "as-printed"])
def test_the_tutorial_prints_what_it_shows(server_url: str, tmp_path: Path, instead: Mapping[str, str]) -> None:
    """On a fresh ledger each block prints exactly the text below it."""
    assert INSTALL in TUTORIAL
    assert INSTALL_CLIENT in TUTORIAL
    with fresh_ledger(server_url, tmp_path) as (server, environment):
        for printed, expected in (
            Pasted(server.base, {INSTALL_CLIENT: "true", **instead}).add(TUTORIAL).run(tmp_path, **environment)
        ):
            check(printed, expected or "")


@pytest.mark.slow
@pytest.mark.timeout(700)
def test_a_letter_is_answered_on_the_demos_data() -> None:
    """README's session for reviewers, with no setting at all: story, bundle, PDF, and where a change is noticed."""
    page = README.partition(LETTER)[2].partition("\n## ")[0]
    folder = Path(tempfile.mkdtemp(prefix="advice-ledger-test-"))  # the server's account cannot enter pytest's folder
    try:
        for printed, expected in Pasted("", {}).add(page).run(folder):
            check(printed, expected or "")
    finally:
        shutil.rmtree(folder)


@pytest.mark.slow
@pytest.mark.timeout(700)
def test_the_pages_work_one_after_the_other(server_url: str, tmp_path: Path) -> None:
    """README works on a fresh ledger; the pages for advisors and reviewers, and the tutorial, on what README left."""
    assert f"    {'='.join(LOOPBACK)} make run\n" in README
    instead = {INSTALL_CLIENT: "true", INSTALL_VERIFIER: "true", RECEIVER_PORT: str(free_port()), **OURS}
    assert [INSTALL_VERIFIER in README, README.count(RECEIVER_PORT)] == [True, 2]
    with fresh_ledger(server_url, tmp_path) as (server, environment):
        before, _, after = README.partition(LETTER)  # which needs a ledger of its own
        pasted = Pasted(server.base, instead).add(before + after.partition("\n## ")[2])
        first = len(pasted.expected)
        for page in (*PEOPLE, TUTORIAL):
            pasted.add(page)
        for number, (printed, expected) in enumerate(pasted.run(tmp_path, **environment)):
            check(printed, expected or "", any_number=number >= first)


def test_the_first_screen_is_short() -> None:
    """The forgery comes first: twelve lines of at most 100 columns, below the first heading."""
    kind, content = FENCED.findall(README)[0]
    lines = content.splitlines()
    assert (kind, len(lines) <= 12, max(map(len, lines)) <= 100) == ("sh", True, True)
    assert README.count("\n## ", 0, README.index("```sh")) == 1


def test_the_tutorial_tells_the_whole_story() -> None:
    """From request to communicated, by curl and by the client: opened, edited, refused, confirmed, checked."""
    fenced = FENCED.findall(TUTORIAL)
    shell = "".join(content for kind, content in fenced if kind == "sh")
    python = "".join(content for kind, content in fenced if kind == "python")
    assert [part for part in SHELL if part not in shell] == []
    assert [part for part in PYTHON if part not in python] == []


def test_the_map_names_each_folder() -> None:
    """Each folder of README's map exists, and each folder of the repository and of ledger/ that has code is there."""
    section = README.partition("## Map\n")[2].partition("\n## ")[0]
    entries = re.findall(r"^( {4,6})(\w+)/ ", section, re.MULTILINE)
    top = {name for indent, name in entries if len(indent) == 4}
    below = {name for indent, name in entries if len(indent) == 6}
    assert {*top, *(f"ledger/{name}" for name in below)} == {
        *(path.name for path in ROOT.iterdir() if path.is_dir() and path.name in top | packages(ROOT)),
        *(f"ledger/{name}" for name in packages(ROOT / "ledger")),
    }


def packages(folder: Path) -> set[str]:
    """The names of the Python packages in a folder."""
    return {path.parent.name for path in folder.glob("*/__init__.py")}


def test_the_promised_targets_exist() -> None:
    """Each `make TARGET` of README is a target, and `make run` serves."""
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    assert set(re.findall(r"(?:`|^ {4})make ([a-z]+)", README, re.MULTILINE)) <= targets
    assert re.search(r"^run:.*\n(?:\t.*\n)*\t\S*advice-ledger serve\b", makefile, re.MULTILINE)


def test_links_lead_somewhere() -> None:
    """Each relative link of a page is a file or folder, and each #anchor is a heading there."""
    broken = []
    for page in (ROOT / "README.md", ROOT / "CHANGELOG.md", *DOCS.rglob("*.md")):
        for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", page.read_text("utf-8")):
            linked = page.parent / target if target else page
            if not linked.exists() or (anchor and anchor not in anchors(linked.read_text("utf-8"))):
                broken.append(f"{page.relative_to(ROOT)}: {target}#{anchor}")
    assert broken == []


def test_the_index_leads_to_every_page() -> None:
    """docs/README.md links to each page of docs/, except the decisions, which it links as a folder."""
    index = (DOCS / "README.md").read_text("utf-8")
    linked = {(DOCS / target).resolve() for target in re.findall(r"\]\((?!https?:)([^)#]+)", index)}
    pages = {page for page in DOCS.rglob("*.md") if page.parent.name != "decisions"} - {DOCS / "README.md"}
    assert [str(page.relative_to(DOCS)) for page in pages - linked] == []


def anchors(page: str) -> set[str]:
    """The anchors that a Markdown page has: its headings in lower case, blanks as hyphens, punctuation removed."""
    headings = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}
