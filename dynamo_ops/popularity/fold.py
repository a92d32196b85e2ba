"""Old accesses are folded: of the days of long ago one row stays by source, dataset and site, the sum on the last day.

So ``usage_rank``, ``num_access`` and ``last_access`` are what they were, to the bit: they ask for sums and last days.
"""

from __future__ import annotations

from datetime import date
from typing import Any

from sqlalchemy import text

from dynamo_ops.base.spans import span
from dynamo_ops.database.connection import Database
from dynamo_ops.database.locks import Lock, hold
from dynamo_ops.inventory.kinds import PullKind

DATASETS_PER_CHUNK = 5_000
_HORIZON = f"""
    SELECT date_trunc('month', max(day) - CAST(:keep_days AS integer))::date FROM aggregated_days
    WHERE kind = '{PullKind.ACCESSES}'"""
_SUM = """
    CREATE TEMPORARY TABLE folded ON COMMIT DROP AS
    SELECT max(day) AS day, source, dataset_id, site_id, sum(num_accesses)::bigint AS num_accesses FROM accesses_daily
    WHERE dataset_id > :after AND dataset_id <= :until AND day < :horizon AND num_accesses > 0
    GROUP BY source, dataset_id, site_id HAVING count(*) > 1"""
_REMOVE = """
    DELETE FROM accesses_daily AS old USING folded
    WHERE old.source = folded.source AND old.dataset_id = folded.dataset_id AND old.site_id = folded.site_id
      AND old.day < :horizon AND old.num_accesses > 0"""
_INSERT = """
    INSERT INTO accesses_daily (day, source, dataset_id, site_id, num_accesses)
    SELECT day, source, dataset_id, site_id, num_accesses FROM folded"""
_IS_DUE = f"""
    SELECT EXISTS (SELECT FROM aggregated_days
                   WHERE kind = '{PullKind.ACCESSES}' AND day < :horizon AND is_folded IS NOT TRUE)"""
_NOTE = f"""
    UPDATE aggregated_days SET is_folded = :is_done
    WHERE kind = '{PullKind.ACCESSES}' AND day < :horizon AND is_folded IS NOT TRUE"""
_OLD_DEMAND = """
    DELETE FROM demand_daily WHERE day = (SELECT min(day) FROM demand_daily WHERE day < :horizon)"""


@span("popularity.fold")
def fold_old(db: Database, keep_days: int) -> int:
    """Fold the accesses of whole months that ended more than ``keep_days`` before the newest aggregated day, and forget
    the jobs of then; how many days were folded. Chunk by chunk, each right by itself: safe to run again after a kill.

    A day that was folded, or begun to be, cannot be pulled anew (``aggregate.replace_day``): it would count twice.
    """
    with db.begin() as connection:
        horizon: date | None = connection.execute(text(_HORIZON), {"keep_days": keep_days}).scalar_one()
        if horizon is None:
            return 0
        last = connection.execute(text("SELECT coalesce(max(dataset_id), 0) FROM accesses_daily")).scalar_one()
        is_due = connection.execute(text(_IS_DUE), {"horizon": horizon}).scalar_one()
    while _run(db, {"horizon": horizon}, _OLD_DEMAND):
        pass
    if not is_due:
        return 0
    _run(db, {"horizon": horizon, "is_done": False}, _NOTE)
    for after in range(0, last, DATASETS_PER_CHUNK):
        _run(db, {"horizon": horizon, "after": after, "until": after + DATASETS_PER_CHUNK}, _SUM, _REMOVE, _INSERT)
    return _run(db, {"horizon": horizon, "is_done": True}, _NOTE)


def _run(db: Database, params: dict[str, Any], *statements: str) -> int:
    """One transaction; rows of the last statement."""
    with db.begin() as connection:
        hold(connection, Lock.DAYS)
        return [connection.execute(text(statement), params).rowcount for statement in statements][-1]
