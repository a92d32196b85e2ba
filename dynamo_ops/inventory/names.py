"""Names of datasets and blocks by id, also of those that were declared invalid: for histories and closed requests."""

from __future__ import annotations

from dynamo_ops.inventory.kinds import CatalogueKind

EVER_KNOWN_DATASETS = f"""(SELECT id, name FROM datasets
    UNION ALL SELECT thing_id, name FROM invalidations WHERE kind = '{CatalogueKind.DATASET}'
      AND thing_id IS NOT NULL)"""
"""SQL: id and name of datasets."""

EVER_KNOWN_BLOCKS = f"""(SELECT id, name FROM blocks
    UNION ALL SELECT thing_id, split_part(name, '#', 2) FROM invalidations WHERE kind = '{CatalogueKind.BLOCK}'
        AND thing_id IS NOT NULL)"""
"""SQL: id and name (without the dataset's) of blocks; not of those that went with their dataset."""


def item_name(row: str) -> str:
    """SQL: ``dataset`` or ``dataset#block`` of ``row``, which has a ``block_id`` (null: the dataset) and is joined with
    ``EVER_KNOWN_DATASETS`` as ``d``, and left joined with ``EVER_KNOWN_BLOCKS`` as ``b``."""
    return f"""d.name || coalesce('#' || b.name, CASE WHEN {row}.block_id IS NOT NULL
        THEN '#(block ' || {row}.block_id || ', gone with it)' END, '')"""
