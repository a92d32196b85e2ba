"""What is going on, and for how long: on standard error, for a person who waits."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from dynamo_ops.cli.terminal.page import is_terminal


@contextmanager
def step(what: str, *, quiet: bool = False) -> Iterator[None]:
    """Show ``what`` and the time it takes while the block runs; nothing if ``quiet`` or nobody looks at a terminal."""
    if quiet or not is_terminal(sys.stderr):
        yield
        return
    columns = (SpinnerColumn(finished_text=" "), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(what, total=1)
        yield
        progress.update(task, completed=1)


@contextmanager
def steps(*, quiet: bool = False) -> Iterator[Callable[[str], None]]:
    """Give a function that shows what is done now and how long it takes; it shows nothing if ``quiet`` or nobody
    looks at a terminal."""
    if quiet or not is_terminal(sys.stderr):
        yield lambda _: None
        return
    columns = (SpinnerColumn(finished_text=" "), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:

        def say(what: str) -> None:
            for task in progress.task_ids:
                progress.update(task, completed=1)
            progress.add_task(what, total=1)

        yield say
        for task in progress.task_ids:
            progress.update(task, completed=1)
