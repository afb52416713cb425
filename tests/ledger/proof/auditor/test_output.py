"""The auditor's program ends with exit code 2 and one line if its result cannot be written; errors are in words."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ledger.proof.bundle import manifest
from ledger.proof.bundle.manifest import decode_manifest
from ledger.proof.bundle.selection import Selection
from ledger.proof.bundle.zip import BundleError
from tests.ledger.proof.bundle.bundles import PROGRAM, Case, make_bundle, program
from tests.paths import ROOT
from tests.vector_parts import LOG

LOST = {
    ">&-": "the standard output is closed",
    ">/dev/full": "the result could not be written in full: No space left on device",
    "| true": "the result could not be written in full: Broken pipe",
}


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good bundle."""
    path = tmp_path_factory.mktemp("bundle") / "case.zip"
    path.write_bytes(make_bundle(4, Selection("positions", first_position=1, last_position=4), LOG))
    return path


def shell(command: str) -> tuple[int, str]:
    """Run the program, of which `command` are arguments and redirections; return its exit code, and stderr."""
    run = f'set -o pipefail; "$PYTHON" -c "$PROGRAM" {command}'
    environment = {**os.environ, "PYTHON": sys.executable, "PROGRAM": PROGRAM, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-c", run], capture_output=True, text=True, env=environment, timeout=60, check=False)
    return done.returncode, done.stderr


@pytest.mark.parametrize("arguments", ["case.zip", "case.zip --json", "--help"])
@pytest.mark.parametrize("lost", LOST)
def test_a_result_that_cannot_be_written_is_exit_2(
    arguments: str, lost: str, case: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Standard output is closed or full, or its reader has left: 2 and one line, never 1 and never a traceback."""
    monkeypatch.chdir(case.parent)
    # The reader of a pipe ends before the program has written.
    assert shell(f"{arguments} {lost}") == (2, f"error: {LOST[lost]}\n")


@pytest.mark.parametrize("lost", ["2>&-", "2>/dev/full", ">&- 2>&-"])
def test_an_error_that_cannot_be_written_is_exit_2(lost: str, case: Path) -> None:
    """The exit code alone tells."""
    assert shell(f"{case}.none {lost}")[0] == 2
    if lost != ">&- 2>&-":
        assert shell(f"{case} {lost}")[0] == 0


def test_a_malformed_manifest_is_described_in_words(case: Path) -> None:
    """A missing member, one of another type or out of range: in words, without names of Python's exceptions."""
    good = Case.read(case.read_bytes()).files[manifest.MANIFEST]
    for old, new, words in (
        (b'"created_at_us":1700000000000000', b'"created_at_us":-5', "the number -5 is not from 0 to"),
        (b'"created_at_us":1700000000000000,', b"", "the member 'created_at_us' is missing"),
        (b'"created_at_us":1700000000000000', b'"created_at_us":"now"', "a member of another type"),
        (b'{"checkpoint_size"', b'"checkpoint_size"', "not JSON"),
    ):
        assert old in good
        with pytest.raises(BundleError, match=words):
            decode_manifest(good.replace(old, new))


def test_a_malformed_line_is_at_the_position_before_it(tmp_path: Path) -> None:
    """The position is that of the last event that could be read; the event after it may be another case's."""
    taken = Case.read(make_bundle(40, Selection("request", request=3), LOG, lambda event: event.stream == "request-3"))
    taken.lines = [*taken.lines[:2], {**taken.lines[2], "more": 1}, *taken.lines[3:]]
    path = tmp_path / "case.zip"
    path.write_bytes(taken.write())
    assert [line["position"] for line in taken.lines[:2]] == [3, 10]
    assert program(path, "--json", "--key", LOG.verifier.text).found == [("damaged", 10)]
