"""Checks that are long over go, with what they found and the lists that they compared.

Of each site that stays on which something rests (CONSISTENCY §11): the last check that judged its files by name says
which copies are doubtful, the last that came to a comparison what is seen for the second time, both how long lists
should be; and the one before, to compare.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from pathlib import Path

from sqlalchemy import text

from dynamo_ops.base.spans import span
from dynamo_ops.consistency.inventory_list import INVENTORY_LIST
from dynamo_ops.consistency.matching.writer import remove_list
from dynamo_ops.consistency.storage_list import STORAGE_LIST
from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.checks import JUDGED_CHECKS, FindingState

FINDINGS_PER_CHUNK = 50_000
CHECKS_PER_CHUNK = 500

SUPERSEDED = f"""2 <= (
    SELECT count(*) FROM consistency_checks AS newer
    WHERE newer.site_id = performed.site_id AND newer.state IN {JUDGED_CHECKS}
      AND newer.started_at > performed.started_at
      AND newer.storage_listed_at > coalesce(performed.storage_listed_at, '-infinity'))"""
"""SQL: two newer checks of the site of ``performed`` have judged its files, so that nothing rests on this one."""


@span("consistency.forget")
def forget_checks(db: Database, *, before: datetime) -> int:
    """Remove checks that began earlier, and their findings, chunk by chunk; how many checks. Safe to run again after a
    kill. A check stays while no two newer ones have judged the site, and where a repair of it was broken off."""
    with db.begin() as connection:
        old = (
            connection.execute(
                text(f"""
            SELECT id FROM consistency_checks AS performed WHERE started_at < :before AND {SUPERSEDED}
              AND NOT EXISTS (SELECT FROM consistency_findings AS claimed WHERE claimed.check_id = performed.id
                              AND claimed.claimed_at IS NOT NULL AND claimed.state = '{FindingState.FOUND}')
            ORDER BY id"""),
                {"before": before},
            )
            .scalars()
            .all()
        )
    for check_id in old:
        while _forget_findings(db, check_id):
            pass
    with db.begin() as connection:
        return connection.execute(text("DELETE FROM consistency_checks WHERE id = ANY(:old)"), {"old": old}).rowcount


def _forget_findings(db: Database, check_id: int) -> int:
    with db.begin() as connection:
        return connection.execute(
            text("""
            DELETE FROM consistency_findings WHERE id IN (
              SELECT id FROM consistency_findings WHERE check_id = :check LIMIT :size)"""),
            {"check": check_id, "size": FINDINGS_PER_CHUNK},
        ).rowcount


@span("consistency.remove_lists")
def remove_lists(db: Database, *, before: datetime) -> int:
    """Remove the files of lists of checks that began earlier; of how many checks. Files first: a check that names them
    is looked at again after a kill. Nothing else in the folders is touched."""
    number = 0
    while checks := _listed(db, before):
        for _, location in checks:
            _remove(Path(location))
        with db.begin() as connection:
            connection.execute(
                text("UPDATE consistency_checks SET location = NULL WHERE id = ANY(:ids)"),
                {"ids": [check_id for check_id, _ in checks]},
            )
        number += len(checks)
    return number


def _listed(db: Database, before: datetime) -> list[tuple[int, str]]:
    with db.begin() as connection:
        rows = connection.execute(
            text(f"""
            SELECT id, location FROM consistency_checks AS performed
            WHERE location IS NOT NULL AND started_at < :before AND {SUPERSEDED} ORDER BY id LIMIT :size"""),
            {"before": before, "size": CHECKS_PER_CHUNK},
        )
        return [(check_id, location) for check_id, location in rows]


def _remove(folder: Path) -> None:
    for name in (INVENTORY_LIST, STORAGE_LIST):
        remove_list(folder / name)
    for empty in (folder, folder.parent):
        with suppress(OSError):  # something else is in it, or it is not there
            empty.rmdir()
