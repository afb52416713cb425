"""House rules: sizes, words, addresses, SQL from files, imports of proof code, handlers that name their errors."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.paths import ROOT

CODE = ("schema", "ledger", "projections", "api")
TEXT_SUFFIXES = {
    ".css",
    ".html",
    ".js",
    ".json",
    ".lock",
    ".md",
    ".py",
    ".sh",
    ".sql",
    ".toml",
    ".txt",
    ".yaml",
    ".yml",
    "",
}
PROSE_SUFFIXES = {".html", ".js", ".md", ".py", ".sql"}
FILE_LINES = 300
FUNCTION_LINES = 60
PROOF_IMPORTS = {"cryptography", "orjson", "rfc8785", "ledger"} | sys.stdlib_module_names
# SQL of more lines than this is in a file of its own.
SQL_LINES = 3
SQL_TEXT = re.compile(r"\s*(?:SELECT|INSERT|UPDATE|DELETE|WITH|CREATE|ALTER|GRANT)\b")
SQL_METHODS = {"copy", "execute", "executemany", "stream"}

# A number of things in a message, which may be one; a constant is not.
NUMBER_OF = re.compile(r"\{(?![A-Z_]+\})(?!counted)[^{}]*\} (?:checkpoints|events|rows|streams)\b|%[ds] events")

# Each is put together from halves, so that this file does not hold what it forbids.
UNFINISHED = re.compile(
    r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "X" + "XX", "HA" + "CK"]) + r")\b"
    r"|(?i:"
    + "|".join(["for" + r" now\b", r"(?<!sql\.)place" + "holder", "simpli" + "fied version", r"\bst" + r"ub\b"])
    + ")"
)
HOSTS = re.compile(
    "|".join(["py" + r"pi\.org", "pythonhos" + r"ted\.org", "npm" + r"js\.(org|com)", r"deb\.deb" + r"ian\.org"])
)
# A path that exists on one machine alone: somebody's home, or the folder this is being built in.
MACHINE_PATHS = re.compile(r"/(?:ho" + r"me|Us" + r"ers)/\w|/(?:wo" + r"rk|fa" + r"rm)/\w")


def files() -> list[Path]:
    """Return each file that is in git or would be added to it, relative to the repository."""
    if not (ROOT / ".git").exists():
        pytest.skip("these rules are about what is in git, and this is no clone")
    # A clone may belong to another user than the one who tests it.
    listing = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return [Path(name) for name in names if (ROOT / name).is_file()]


def read(path: Path) -> str:
    """Return the text of a file of the repository."""
    return (ROOT / path).read_text("utf-8")


def modules(*folders: str) -> list[Path]:
    """Return the Python files below some folders."""
    return [path for path in files() if path.suffix == ".py" and path.parts[0] in folders]


def lines_with(pattern: re.Pattern[str], suffixes: set[str]) -> list[str]:
    """Return `path:line: text` for each line with the pattern, in files with one of the suffixes."""
    return [
        f"{path}:{number}: {line.strip()}"
        for path in files()
        if path.suffix in suffixes
        for number, line in enumerate(read(path).splitlines(), 1)
        if pattern.search(line)
    ]


def formatted_sql(source: str) -> Iterator[int]:
    """Yield the lines where a query is put together from text: an f-string, % or + on text, or str.format."""
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in SQL_METHODS):
            continue
        for query in node.args[:1]:
            made = isinstance(query, ast.JoinedStr)
            made |= isinstance(query, ast.BinOp) and any(is_text(side) for side in (query.left, query.right))
            made |= isinstance(query, ast.Call) and isinstance(query.func, ast.Attribute) and is_text(query.func.value)
            if made:
                yield node.lineno


def is_text(node: ast.expr) -> bool:
    """Tell whether an expression is a string literal."""
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def imported(source: str) -> set[str]:
    """Return the top-level names of the modules that a source imports."""
    nodes = list(ast.walk(ast.parse(source)))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    whence = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    return {name.partition(".")[0] for name in plain | whence}


def test_files_are_short() -> None:
    """No module outside the tests grows past FILE_LINES."""
    sizes = {str(path): len(read(path).splitlines()) for path in modules(*CODE)}
    assert {path: lines for path, lines in sizes.items() if lines > FILE_LINES} == {}


def test_functions_fit_a_screen() -> None:
    """No function outside the tests grows past FUNCTION_LINES."""
    sizes = {
        f"{path}:{node.lineno} {node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for path in modules(*CODE)
        for node in ast.walk(ast.parse(read(path)))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {name: lines for name, lines in sizes.items() if lines > FUNCTION_LINES} == {}


def test_nothing_is_left_for_later() -> None:
    """No file announces that it is unfinished."""
    assert lines_with(UNFINISHED, PROSE_SUFFIXES) == []


def test_no_file_names_a_registry_or_a_machine() -> None:
    """The installing machine decides where packages come from, and where its folders are."""
    assert lines_with(HOSTS, TEXT_SUFFIXES) == []
    assert lines_with(MACHINE_PATHS, TEXT_SUFFIXES) == []


def test_no_message_says_one_events() -> None:
    """A number of things that may be one is written with `counted`. The auditor's program has its own words."""
    assert NUMBER_OF.search('f"{count} events wait"')
    assert not NUMBER_OF.search("f\"{counted(count, 'event')} and {MOST} events\"")
    paths = [path for path in modules("ledger", "projections", "api") if path.parts[:2] != ("ledger", "proof")]
    found = [f"{path}: {match[0]}" for path in paths for match in NUMBER_OF.finditer(read(path))]
    assert found == []


LOCKS = ("requirements.lock", "requirements-dev.lock")


def pinned(lock: str) -> set[str]:
    """Return the requirements of a lock file, each with its version and hashes, without comments."""
    text = re.sub(r"(?m)^\s*#.*\n?", "", read(Path(lock)))
    return set(re.split(r"\n(?=\S)", text.strip()))


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_pins_everything_and_names_no_index(lock: str) -> None:
    """Each requirement of a lock file is one version with hashes, and no line is an option."""
    pin = re.compile(r"[\w.-]+==\S+(?: ; .*)? \\\n +--hash=sha256:\w{64}")
    assert [requirement for requirement in pinned(lock) if not pin.match(requirement)] == []


def test_the_lock_of_the_server_is_a_part_of_the_lock_of_everything() -> None:
    """`make run` and `make test` use the same versions, down to the hashes."""
    server, everything = map(pinned, LOCKS)
    assert server < everything


def test_no_query_is_put_together_from_text() -> None:
    """SQL comes from files, constants, or psycopg.sql: never an f-string or a concatenation."""
    found = [f"{path}:{line}" for path in modules(*CODE, "tests") for line in formatted_sql(read(path))]
    assert found == []


@pytest.mark.parametrize(
    "call",
    ['c.execute(f"SELECT {x}")', 'c.execute("SELECT " + x)', 'c.copy("COPY %s" % x)', 'c.execute("DROP {}".format(x))'],
)
def test_the_search_for_such_queries_finds_them(call: str) -> None:
    """Each way to put a query together from text is seen."""
    assert list(formatted_sql(call)) == [1]


def long_sql(source: str) -> Iterator[int]:
    """Yield the lines at which SQL of more than SQL_LINES lines begins."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL_TEXT.match(node.value):
            # A text with newlines has its own lines; one that is put together has those of the code.
            of_code = (node.end_lineno or node.lineno) - node.lineno + 1
            text = node.value.strip()
            if (text.count("\n") + 1 if "\n" in text else of_code) > SQL_LINES:
                yield node.lineno


def test_long_queries_are_in_sql_files() -> None:
    """No Python file outside the tests holds SQL of more than SQL_LINES lines: it is in a .sql file beside it."""
    assert [f"{path}:{line}" for path in modules(*CODE) for line in long_sql(read(path))] == []


def test_the_search_for_long_queries_finds_them() -> None:
    """Four lines are found, as one text and as adjacent ones. Three lines, and other long texts, are not."""
    assert list(long_sql('X = """\nSELECT 1,\n2,\n3,\n4\n"""')) == [1]
    assert list(long_sql('X = (\n    "WITH a AS ("\n    " SELECT 1"\n    ")"\n    " TABLE a"\n)')) == [2]
    assert list(long_sql('X = """\nSELECT 1,\n2,\n3\n"""')) == []
    assert list(long_sql('"""Select a file.\n\nIt is\nread."""')) == []


def test_proof_code_stands_on_little() -> None:
    """The auditor's code imports the standard library, cryptography, the JSON libraries, and its own package."""
    beyond = {str(path): imported(read(path)) - PROOF_IMPORTS for path in modules("ledger") if path.parts[1] == "proof"}
    assert beyond
    assert {path: names for path, names in beyond.items() if names} == {}


# A thread dies unseen. The last handler of a background worker turns any error into a state that is shown; that of an
# answer without an end tells the follower.
LAST_HANDLERS = {
    "api/callers.py",
    "api/event_feed.py",
    "api/http/event_stream.py",
    "api/agents/run/worker.py",
    "api/jobs/runner.py",
    "api/pace.py",
    "ledger/background.py",
    "ledger/store/shared_reads.py",
    "ledger/store/writer.py",
    "ledger/verify/continuous.py",
}


def test_no_handler_catches_everything() -> None:
    """Each handler outside the tests names the errors that it handles, except the last one of a thread or task."""
    handlers = [
        f"{path}:{node.lineno}"
        for path in modules(*CODE)
        if str(path) not in LAST_HANDLERS
        for node in ast.walk(ast.parse(read(path)))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or ast.unparse(node.type) in {"Exception", "BaseException"})
    ]
    assert handlers == []
