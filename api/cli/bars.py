"""Show the progress of a command: bars on a terminal, nothing elsewhere."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

OnProgress = Callable[[str, int, int], None]


@contextlib.contextmanager
def progress() -> Iterator[OnProgress]:
    """Yield a function to report progress to: (name, done, total). It shows bars on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda _name, _done, _total: None
        return
    with _bars() as on_progress:
        yield on_progress


@contextlib.contextmanager
def _bars() -> Iterator[OnProgress]:
    """Yield a function that shows a bar for each name on stderr. The bars vanish when the block ends."""
    # Imported only here, because the library takes longer to import than most commands take to run.
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskID,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as display:
        tasks: dict[str, TaskID] = {}

        def show(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = display.add_task(name, total=total)
            display.update(tasks[name], completed=done, total=total)

        yield show
