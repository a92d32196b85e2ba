"""Tasks of a run, one after the other in one database: one is killed at a point, then all is run to the end."""

from __future__ import annotations

import itertools
import signal
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

from sqlalchemy import text

from dynamo_ops.database import embedded
from dynamo_ops.database.connection import Database
from tests.chaos.conftest import TABLES, Worker
from tests.conftest import TEMPLATE

Rows = list[tuple[object, ...]]


@dataclass
class Run(ABC):
    """A run in a database. ``grid.endpoints``: what its worker is told of the world outside."""

    what: ClassVar[str]
    tasks: ClassVar[tuple[str, ...]]
    grid: Any
    db: Database

    @abstractmethod
    def run(self, task: str) -> None:
        """Run one of the ``tasks`` in this process."""

    @abstractmethod
    def staged(self) -> Rows:
        """What the run staged."""

    @abstractmethod
    def tables(self) -> object:
        """All that the run may change, staging apart."""

    def steps(self) -> Iterator[str]:
        """Run all tasks; gives the task after each transaction that ``tables`` shows."""
        for task in self.tasks:
            self.run(task)
            yield task


@dataclass
class Undisturbed:
    """What a run leaves that nobody kills. ``states``: the tables before it, and after each transaction of a task."""

    staged: Rows
    states: list[tuple[str, object]]

    @classmethod
    def of(cls, run: Run) -> Undisturbed:
        states = [("", run.tables()), *((task, run.tables()) for task in run.steps())]
        return cls(run.staged(), states)

    @property
    def first(self) -> Any:
        """The tables before the run."""
        return self.states[0][1]

    @property
    def last(self) -> Any:
        """The tables after the run."""
        return self.states[-1][1]

    def during(self, task: str) -> list[object]:
        """The tables that may be found when the task is killed: as before it, and after each of its transactions."""
        own = [place for place, (each, _) in enumerate(self.states) if each == task]
        return [tables for _, tables in self.states[own[0] - 1 : own[-1] + 1]]


class Prepared:
    """A database to begin with; called, it gives a run in a copy of it."""

    def __init__(self, postgres: embedded.EmbeddedPostgres, name: str, made: Callable[[Database], Run]) -> None:
        self._postgres = postgres
        self._name = name
        self._made = made
        self._counter = itertools.count()
        postgres.create_database(name, template=TEMPLATE)

    @contextmanager
    def prepare(self) -> Iterator[Database]:
        """The database itself, as long as nobody has a copy."""
        db = Database(self._postgres.url(self._name))
        try:
            yield db
        finally:
            db.dispose()

    @contextmanager
    def __call__(self) -> Iterator[Run]:
        name = f"{self._name}_{next(self._counter)}"
        self._postgres.create_database(name, template=self._name)
        db = Database(self._postgres.url(name))
        try:
            yield self._made(db)
        finally:
            db.dispose()
            self._postgres.drop_database(name)

    def drop(self) -> None:
        self._postgres.drop_database(self._name)


def change(db: Database, statements: Iterable[str]) -> None:
    """Carry out the statements; each must find something to change."""
    with db.begin() as connection:
        for statement in statements:
            assert connection.execute(text(statement)).rowcount, statement


def killed_and_run_again(run: Run, worker: Worker, task: str, point: str, undisturbed: Undisturbed) -> list[str]:
    """What is wrong right after the kill, and after the task and those behind it have run."""
    place = run.tasks.index(task)
    for earlier in run.tasks[:place]:
        run.run(earlier)
    outcome = worker.run(run, task, kill_at=point)
    assert outcome.signal == signal.SIGKILL, f"{task}: {point!r} was not reached: {outcome.text[-2000:]}"
    problems = []
    if run.tables() not in undisturbed.during(task):
        problems.append("half of a transaction")
    assert worker.run(run, task).points
    for later in run.tasks[place + 1 :]:
        run.run(later)
    if run.staged() != undisturbed.staged:
        problems.append("other rows staged")
    if run.tables() != undisturbed.last:
        problems.append("other tables")
    TABLES.setdefault(f"{run.what} killed with -9, and run again", [("task", "point", "after the second run")]).append(
        (task, point, "; ".join(problems) or "as if undisturbed")
    )
    return problems


def killed_everywhere(new: Prepared, worker: Worker, task: str, undisturbed: Undisturbed) -> dict[str, list[str]]:
    """What is wrong when the task is killed, by each point that it passes."""
    with new() as run:
        for earlier in run.tasks[: run.tasks.index(task)]:
            run.run(earlier)
        points = worker.run(run, task).points
    found = {}
    for point in [point for point in points if "SET LOCAL" not in point]:
        with new() as run:
            found[point] = killed_and_run_again(run, worker, task, point, undisturbed)
    return found
