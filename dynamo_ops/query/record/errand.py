"""Errands: what was asked for over REST and is done by a run, newest first; and all about one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from dynamo_ops.base.errors import UnknownNameError
from dynamo_ops.database.connection import Database
from dynamo_ops.errand.states import ErrandKind, ErrandState
from dynamo_ops.query.paging.condition import Conditions, check_words
from dynamo_ops.query.paging.listing import Listing


@dataclass(frozen=True)
class ErrandFilter:
    """Which errands. ``person``: who asked; None: anybody."""

    kinds: Sequence[str] = ()
    states: Sequence[str] = ()
    person: str | None = None


_COLUMNS = ("id", "kind", "state", "what", "person", "created_at", "started_at", "ended_at", "run_key")
_ERRANDS = f"SELECT {', '.join(_COLUMNS)} FROM errands"


def errand_card(database: Database, errand_id: int) -> dict[str, Any]:
    """All about one: also its ``arguments``, and the ``answer`` or the ``problem`` in which it ended. Raises
    UnknownNameError."""
    with database.begin() as connection:
        row = connection.execute(
            text(f"SELECT {', '.join(_COLUMNS)}, arguments, answer, problem FROM errands WHERE id = :id"),
            {"id": errand_id},
        ).one_or_none()
    if row is None:
        raise UnknownNameError(f"there is no errand {errand_id}", errand_id=errand_id)
    return dict(row._mapping)


def _narrow(_connection: Connection, asked: ErrandFilter, _as_of: datetime) -> Conditions:
    conditions = Conditions()
    check_words(asked.kinds, ErrandKind, "kind of an errand")
    check_words(asked.states, ErrandState, "state of an errand")
    conditions.add_any("listed.kind", asked.kinds, "kinds")
    conditions.add_any("listed.state", asked.states, "states")
    if asked.person is not None:
        conditions.add("listed.person = :person", person=asked.person)
    return conditions


ERRANDS: Listing[ErrandFilter] = Listing(
    "errands", _ERRANDS, _COLUMNS, key=("id",), narrow=_narrow, is_newest_first=True
)
"""``person``: who asked. ``run_key``: the run that began it last; null: none has."""
