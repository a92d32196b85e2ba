"""Directories that deletions left empty are removed, but none into which a copy is due."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, text

from dynamo_ops.base.spans import span
from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.states import ACTIVE, DONE_DELETIONS, SubscriptionAction
from dynamo_ops.inventory.subscription.under_way import OPEN_TRANSFERS
from dynamo_ops.storage.registry import SiteStorage


@span("deletion.clean_directories")
def clean_directories(db: Database, batch_ids: Sequence[int], open_storage: SiteStorage) -> int:
    """Remove the directories that these batches left empty, and parents that thereby became so. Returns how many.

    Directories into which a copy is due are left, since removing one just as FTS writes into it could cost the file.
    """
    with db.begin() as connection:
        rows = connection.execute(
            text(f"""
            SELECT b.site_id, array_agg(DISTINCT regexp_replace(f.lfn, '/[^/]*$', ''))
            FROM deletion_batches b JOIN deletions d ON d.batch_id = b.id
            JOIN subscriptions s ON s.id = d.subscription_id
            JOIN files f ON f.id = s.file_id WHERE b.id = ANY(:ids) AND d.state IN {DONE_DELETIONS}
            GROUP BY b.site_id ORDER BY b.site_id"""),
            {"ids": list(batch_ids)},
        ).all()
        due = {site_id: directories_due(connection, site_id) for site_id, _ in rows}
    return sum(remove_directories(open_storage, site_id, directories, due[site_id]) for site_id, directories in rows)


def directories_due(connection: Connection, site_id: int) -> set[str]:
    """LFN directories at a site into which a copy may be, or still be, written."""
    return set(
        connection.execute(
            text(f"""
        SELECT DISTINCT regexp_replace(f.lfn, '/[^/]*$', '') FROM subscriptions s JOIN files f ON f.id = s.file_id
        WHERE s.site_id = :site AND s.action = '{SubscriptionAction.COPY}' AND s.state IN {ACTIVE}
        UNION SELECT regexp_replace(f.lfn, '/[^/]*$', '') FROM {OPEN_TRANSFERS} t JOIN files f ON f.id = t.file_id
        WHERE t.site_id = :site"""),
            {"site": site_id},
        ).scalars()
    )


def remove_directories(open_storage: SiteStorage, site_id: int, directories: Sequence[str], due: set[str]) -> int:
    """Remove those of ``directories`` that are empty at the site, but none into which a copy is due."""
    keep = with_parents(due)
    wanted = [directory for directory in directories if directory not in keep]
    if not wanted:
        return 0
    storage = open_storage(site_id)
    try:
        return storage.remove_empty_directories(wanted, keep)
    finally:
        storage.close()


def with_parents(directories: Iterable[str]) -> set[str]:
    """The directories and everything above them."""
    parents: set[str] = set()
    for directory in directories:
        parts = directory.split("/")
        parents.update("/".join(parts[:n]) for n in range(2, len(parts) + 1))
    return parents
