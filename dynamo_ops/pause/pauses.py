"""Pauses: acts that stand still because a person said so, for a reason, until an end or until they are resumed.

Every act that moves, makes or removes anything looks first, and long ones look again between their parts. What other
services do goes on: jobs that FTS has go on there, and their results are taken in. A site is stopped by a downtime
(``inventory.site.downtime``): nothing goes to or from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import polars as pl
from sqlalchemy import Connection, text

from dynamo_ops.access.actions import Action, Target
from dynamo_ops.access.audit import acting
from dynamo_ops.access.person import Person
from dynamo_ops.base.errors import InventoryError, PausedError, UnknownNameError
from dynamo_ops.base.times import time_text
from dynamo_ops.database.connection import Database
from dynamo_ops.pause.pause import OF_PARTITION, Pause, words
from dynamo_ops.pause.pause import PauseKind as PauseKind

IN_FORCE = "ended_at IS NULL AND (until IS NULL OR until > now())"

_LOOK = f"""
    SELECT id, kind, partition, reason, created_by, created_at, until FROM pauses
    WHERE {IN_FORCE} AND (kind IS NULL OR kind = :kind) AND (partition IS NULL OR partition = :partition)
    ORDER BY id LIMIT 1"""

_ALL = f"""
    SELECT id, kind, partition, ({IN_FORCE}) AS is_in_force, reason, created_by, created_at, until, ended_at, ended_by
    FROM pauses"""


def look(database: Database, kind: PauseKind, partition: str | None = None) -> None:
    """Raise PausedError, with who said so and why, while acts of this kind (of this partition) stand still."""
    with database.begin() as connection:
        row = connection.execute(text(_LOOK), {"kind": kind, "partition": partition}).one_or_none()
    if row is not None:
        pause = _pause(row)
        raise PausedError(f"nothing is done: {pause}", pause_id=pause.id)


def stop(
    database: Database,
    kind: PauseKind | None = None,
    partition: str | None = None,
    *,
    by: Person,
    reason: str,
    until: datetime | None = None,
) -> Pause:
    """Let everything, a kind, or a partition stand still from now on. AccessError; InventoryError: no reason, an end
    that is over, or a partition of a kind that has none."""
    if not reason.strip():
        raise InventoryError("stop: say why (reason is empty); others will read it")
    if partition is not None and kind is not None and kind not in OF_PARTITION:
        raise InventoryError(f"{kind} have no partitions; {' and '.join(OF_PARTITION)} have", kind=kind)
    with acting(database, by, Action.PAUSE, f"stop {words(kind, partition)}", reason.strip()) as act:
        act.check(Target(partitions=() if partition is None else (partition,)))
        row = act.connection.execute(
            text("""
            INSERT INTO pauses (kind, partition, reason, created_by, until)
            SELECT :kind, :partition, :reason, :by, CAST(:until AS timestamptz)
            WHERE CAST(:until AS timestamptz) IS NULL OR CAST(:until AS timestamptz) > now()
            RETURNING id, kind, partition, reason, created_by, created_at, until"""),
            {"kind": kind, "partition": partition, "reason": reason.strip(), "by": by.name, "until": until},
        ).one_or_none()
        if row is None:
            raise InventoryError(f"stop: the end {time_text(until) if until else ''} is over")
        act.ids.append(row.id)
    return _pause(row)


def resume(database: Database, pause_ids: Sequence[int] | None = None, *, by: Person, reason: str = "") -> list[Pause]:
    """End these pauses (None: all). AccessError; InventoryError when there is none to end, or one is not in force."""
    with acting(database, by, Action.PAUSE, "resume", reason.strip()) as act:
        pauses = _in_force(act.connection)
        wanted = [pause.id for pause in pauses] if pause_ids is None else list(pause_ids)
        chosen = [pause for pause in pauses if pause.id in wanted]
        missing = sorted(set(wanted) - {pause.id for pause in chosen})
        if missing or not chosen:
            there = "; ".join(map(str, pauses)) or "nothing is stopped"
            raise UnknownNameError(f"there is no pause {', '.join(map(str, missing)) or 'to end'}: {there}")
        partitions = [pause.partition for pause in chosen]
        act.check(Target(partitions=() if None in partitions else tuple(filter(None, partitions))))
        act.ids += [pause.id for pause in chosen]
        act.what = f"resume {', '.join(words(pause.kind, pause.partition) for pause in chosen)}"
        act.connection.execute(
            text("UPDATE pauses SET ended_at = now(), ended_by = :by WHERE id = ANY(:ids)"),
            {"by": by.name, "ids": act.ids},
        )
    return chosen


def in_force(database: Database) -> list[Pause]:
    """What stands still now, the oldest first."""
    with database.begin() as connection:
        return _in_force(connection)


def pauses(database: Database, *, limit: int = 100) -> pl.DataFrame:
    """All there were, newest first: id, kind (null: everything), partition, is_in_force, reason, created_by,
    created_at, until, ended_at, ended_by."""
    return database.frame(f"{_ALL} ORDER BY id DESC LIMIT $1", (limit,))


def one(database: Database, pause_id: int) -> dict[str, object]:
    """The columns of ``pauses``, of one. Raises UnknownNameError."""
    frame = database.frame(f"{_ALL} WHERE id = $1", (pause_id,))
    if frame.is_empty():
        raise UnknownNameError(f"there is no pause {pause_id}", pause_id=pause_id)
    return frame.row(0, named=True)


def _in_force(connection: Connection) -> list[Pause]:
    rows = connection.execute(
        text(f"""SELECT id, kind, partition, reason, created_by, created_at, until FROM pauses
                 WHERE {IN_FORCE} ORDER BY id FOR UPDATE""")
    )
    return [_pause(row) for row in rows]


def _pause(row: object) -> Pause:
    id_, kind, partition, reason, created_by, created_at, until = row  # type: ignore[misc]
    return Pause(id_, kind and PauseKind(kind), partition, reason, created_by, created_at, until)  # type: ignore[has-type]
