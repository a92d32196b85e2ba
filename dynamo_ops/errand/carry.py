"""Carrying errands out: all that wait, each once, whoever is killed on the way.

What an errand does is one transaction with its answer: committed, there are both, else neither, and the next run does
it. What cannot be in it (a gate's verdict, a person's yes) comes before, and may be done again. One run at a time is at
an errand; the row that it holds in the transaction sees to that even where its connection breaks.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from dynamo_ops.access.actions import AccessError
from dynamo_ops.access.audit import acting
from dynamo_ops.access.person import Person
from dynamo_ops.access.problem import problem_document, problem_of
from dynamo_ops.base.errors import DynamoError, RetryableRemoteError
from dynamo_ops.base.settings import Settings
from dynamo_ops.database.connection import Database
from dynamo_ops.database.locks import alone
from dynamo_ops.database.within import together
from dynamo_ops.errand import commit, document, store, trial
from dynamo_ops.errand.states import ACTIONS, ErrandKind
from dynamo_ops.errand.store import Errand
from dynamo_ops.inventory.replica import usage

log = logging.getLogger(__name__)

MOST_TRIES = 3
"""So often a run may die of it."""

Prepare = Callable[[Database, Settings, Errand, Person], Any]
Act = Callable[[Database, Settings, Errand, Person, Any], Mapping[str, Any]]


class Fate(StrEnum):
    """What came of an errand in a run. ``LEFT``: another run has done it."""

    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"
    LEFT = "left"


class ErrandError(DynamoError):
    """An errand failed, and not by what was asked for. Facts: ``errands``, their ids."""

    next_step = "The log says why; a fault of Dynamo or of its settings. Who asked may ask again when it is mended."


def _nothing(*_: object) -> None:
    pass


@dataclass(frozen=True)
class Deed:
    """How a kind is done. ``prepare``: what is not in the transaction; may be done again. ``act``: in it; is given what
    was prepared, and answers. ``follow``: what may as well be left undone."""

    act: Act
    prepare: Prepare = _nothing
    follow: Callable[[Database], object] = _nothing


DEEDS: Mapping[ErrandKind, Deed] = {
    ErrandKind.COMMIT: Deed(commit.commit_asked, commit.prepare, usage.fold),
    ErrandKind.INJECTION: Deed(document.inject_sent),
    ErrandKind.INVALIDATION: Deed(document.invalidate_sent),
    ErrandKind.TRIAL: Deed(trial.answer, trial.decide),
}


def carry_out(database: Database, settings: Settings, run_key: str) -> dict[str, int]:
    """Do all that wait. How many were ``done``, and ``refused``: their askers are told why, and nobody else need be.

    Raises RetryableRemoteError where one could not be done now: it waits for the next try, all others have been tried.
    What another run is at is left to that; but not what an earlier try of this one has begun, and PostgreSQL has not
    noticed yet that it was killed.
    Raises ErrandError where one failed, and not by what was asked for: its asker is told, and it is not tried again.
    """
    fates: Counter[Fate] = Counter()
    failed: list[int] = []
    put_back: list[DynamoError] = []
    for errand_id in store.open_ids(database):
        with alone(database, f"errand {errand_id}") as mine:
            if mine is None:
                if store.is_begun_by(database, errand_id, run_key):
                    put_back.append(_held(errand_id))
                continue
            errand = store.begin(database, errand_id, run_key)
            if errand is None:
                continue
            try:
                fate = _carry_out(database, settings, errand)
            except DynamoError as error:
                if not error.retryable:
                    raise
                store.put_back(database, errand_id)
                log.warning("%s: waits for the next try: %s", errand, error)
                put_back.append(error)
                continue
        fates[fate] += 1
        if fate is Fate.FAILED:
            failed.append(errand_id)
    if failed:
        numbers = ", ".join(map(str, failed))
        raise ErrandError(f"errands {numbers} failed, and not by what was asked for: the log says why", errands=failed)
    if put_back:
        raise put_back[0]
    return {str(fate): fates[fate] for fate in (Fate.DONE, Fate.REFUSED)}


def _held(errand_id: int) -> RetryableRemoteError:
    return RetryableRemoteError(f"errand {errand_id} is held by a try of this run that has died", service="postgresql")


def _carry_out(database: Database, settings: Settings, errand: Errand) -> Fate:
    """Raises our retryable errors."""
    if errand.tries > MOST_TRIES:
        detail = f"it was begun {MOST_TRIES} times, and its run died each time"
        log.error("%s: given up: %s", errand, detail)
        return _failed(database, errand, problem_document(500, detail, kind="errand"), Fate.FAILED)
    try:
        is_mine = _do(database, settings, errand)
    except DynamoError as error:
        if error.retryable:
            raise
        problem = problem_of(error)
        if problem["status"] < 500:
            log.info("%s: refused: %s", errand, error)
            return _failed(database, errand, problem, Fate.REFUSED)
        log.exception("%s: failed", errand)
        return _failed(database, errand, problem, Fate.FAILED)
    except Exception:
        log.exception("%s: failed", errand)
        return _failed(
            database, errand, problem_document(500, "the log of the run says why", kind="errand"), Fate.FAILED
        )
    if not is_mine:
        return Fate.LEFT
    log.info("%s: done", errand)
    DEEDS[errand.kind].follow(database)
    return Fate.DONE


def _do(database: Database, settings: Settings, errand: Errand) -> bool:
    """False: another one has done it."""
    deed, by = DEEDS[errand.kind], _asker(database, settings, errand)
    prepared = deed.prepare(database, settings, errand, by)
    with together(database) as within, within.begin() as connection:
        if not store.take(connection, errand.id):
            return False
        store.end(connection, errand.id, answer=deed.act(within, settings, errand, by, prepared))
    return True


def _asker(database: Database, settings: Settings, errand: Errand) -> Person:
    """AccessError, which is in the audit: their token is good no more."""
    try:
        with database.begin() as connection:
            return store.asker(connection, errand, settings.access)
    except AccessError:
        with acting(database, errand.nobody, ACTIONS[errand.kind], errand.what):
            raise


def _failed(database: Database, errand: Errand, problem: Mapping[str, Any], fate: Fate) -> Fate:
    with database.begin() as connection:
        if not store.take(connection, errand.id):
            return Fate.LEFT
        store.end(connection, errand.id, problem=problem)
    return fate
