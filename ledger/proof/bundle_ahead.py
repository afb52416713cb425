"""The lines of a bundle with what bundle_blocks.py says of them. For a large one, a second process looks at every other
group of lines: it reads the file itself, and says what it found through a pipe.

Without a second process, or when it ends early, the first does all. It says nothing else, so nothing depends on it.
"""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, NoReturn

from ledger.proof.bundle_blocks import Run, sound_runs
from ledger.proof.bundle_zip import Member

# Below this a second process is not worth its start.
WORTH_BYTES = 16 * 1024 * 1024


def looked_at(
    member: Member, most: int, *, positions_only: bool
) -> Generator[tuple[list[bytes], list[Run]], None, None]:
    """Groups of lines as Member.lines() gives them, each with its sound_runs(). Raises BundleError."""
    with _second(member, most, positions_only=positions_only) as answers:
        for number, lines in enumerate(member.lines(most)):
            runs = _answer(answers) if number % 2 and answers is not None else None
            if runs is None:
                answers = None
                runs = sound_runs(lines, positions_only=positions_only)
            yield lines, runs


def _answer(answers: BinaryIO) -> list[Run] | None:
    """What the second process says next; None if it has ended."""
    try:
        found: list[Run] = pickle.load(answers)  # noqa: S301, from a process of our own
    except (EOFError, OSError, pickle.UnpicklingError):
        return None
    return found


@contextmanager
def _second(member: Member, most: int, *, positions_only: bool) -> Iterator[BinaryIO | None]:
    """Where the second process answers, for every other group; None where there is none."""
    name = getattr(member.file, "name", None)
    if member.size < WORTH_BYTES or sys.platform != "linux" or len(os.sched_getaffinity(0)) < 2 or name is None:
        yield None
        return
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        _answer_all(member, name, most, writing, positions_only=positions_only)
    os.close(writing)
    try:
        with os.fdopen(reading, "rb") as answers:
            yield answers
    finally:
        # With the pipe closed, it ends at its next answer.
        os.waitpid(child, 0)


def _answer_all(member: Member, name: str, most: int, writing: int, *, positions_only: bool) -> NoReturn:
    """The second process, to its end. A file that is not the same any more, or an error: no more answers."""
    with suppress(BaseException), Path(name).open("rb") as file, os.fdopen(writing, "wb") as answers:
        if os.path.samestat(os.fstat(file.fileno()), os.fstat(member.file.fileno())):
            for number, lines in enumerate(replace(member, file=file).lines(most)):
                if number % 2:
                    pickle.dump(sound_runs(lines, positions_only=positions_only), answers, pickle.HIGHEST_PROTOCOL)
                    answers.flush()
    os._exit(0)
