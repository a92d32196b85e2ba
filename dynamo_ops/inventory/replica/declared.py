"""Replicas that a person declares to be somewhere, in an injected document (``inventory.catalogue.injection``).

All SQL is about tables of the transaction: ``injected_replicas``, ``injected_copies`` and ``injected_copy_files`` (the
document), ``grown_blocks`` (block_id), and those that ``prepare`` makes: ``wanted_copies`` (one row a block replica;
``copy``: the row that names its files, null: all of them are there; ``is_complete`` at first: a new one can be made so
at once), ``new_replicas`` (dataset_id, site_id) and ``changed_copies`` (block_id, site_id, is_new).
"""

from __future__ import annotations

from sqlalchemy import Connection, text

from dynamo_ops.inventory.replica import block_replica, dataset_replica, present_file
from dynamo_ops.inventory.replica.grown import ALL_REPLICAS, lock_replicas

TABLES = ("wanted_copies", "new_replicas", "changed_copies")
"""Temporary tables made here."""


def take(connection: Connection) -> None:
    """``wanted_copies``; those that are not there are made, and locked as those of blocks that gain files are. In the
    order of ``inventory.replica.files``: dataset replicas, new block replicas, locks. What was removed before the locks
    were there is made again."""
    for statement in _PREPARE:
        connection.execute(text(statement))
    _make(connection)
    lock_replicas(connection, f"{ALL_REPLICAS} UNION SELECT block_id, site_id FROM wanted_copies")
    _make(connection)
    connection.execute(text("ANALYZE changed_copies"))


def change_dataset_replicas(connection: Connection) -> int:
    """Whether they grow, and for whom; of known ones only what the document says. Returns how many known ones were
    different."""
    return dataset_replica.change(connection, _WANTED_GROWTH, but="new_replicas")


def fill(connection: Connection) -> tuple[int, int, int]:
    """What is there: all of the block, or the files that are named beside those that are known to be there. Returns the
    number of new and of changed block replicas, and the bytes of both."""
    present_file.add(connection, _NAMED_FILES, note_in="changed_copies")
    connection.execute(text(_COUNT_FILES))
    block_replica.change(
        connection,
        "SELECT block_id, site_id, has_group, group_id, is_complete, size_bytes, is_custodial FROM wanted_copies",
        note_in="changed_copies",
    )
    present_file.forget(connection, "SELECT block_id, site_id FROM wanted_copies WHERE is_complete")
    new, changed, size_bytes = connection.execute(text(_COUNT_COPIES)).one()
    return int(new), int(changed), int(size_bytes)


def _make(connection: Connection) -> None:
    dataset_replica.make(connection, _MISSING_DATASET_REPLICAS, note_in="new_replicas")
    block_replica.make(connection, _MISSING_BLOCK_REPLICAS, note_in="changed_copies")


_PREPARE = (
    """CREATE TEMPORARY TABLE wanted_copies ON COMMIT DROP AS
       WITH replicas AS (
           SELECT declared.row, declared.all_blocks, declared.is_custodial, declared.has_group, site.id AS site_id,
                  dataset.id AS dataset_id, owner.id AS group_id
           FROM injected_replicas AS declared JOIN datasets AS dataset ON dataset.name = declared.dataset
           JOIN sites AS site ON site.name = declared.site LEFT JOIN groups AS owner ON owner.name = declared."group"),
       wanted AS (
           SELECT replica.row AS replica, NULL::bigint AS place, block.id AS block_id, replica.site_id,
                  replica.dataset_id, replica.has_group, replica.group_id, replica.is_custodial, NULL::bigint AS copy,
                  block.size_bytes, block.last_update_at
           FROM replicas AS replica JOIN blocks AS block ON block.dataset_id = replica.dataset_id
           WHERE replica.all_blocks
           UNION ALL
           SELECT replica.row, copy.place, block.id, replica.site_id, replica.dataset_id,
                  copy.has_group OR replica.has_group,
                  CASE WHEN copy.has_group THEN owner.id ELSE replica.group_id END,
                  coalesce(copy.is_custodial, replica.is_custodial),
                  CASE WHEN NOT copy.all_files THEN copy.row END, block.size_bytes, block.last_update_at
           FROM replicas AS replica JOIN injected_copies AS copy ON copy.replica = replica.row
           JOIN blocks AS block ON block.dataset_id = replica.dataset_id AND block.name = copy.block
           LEFT JOIN groups AS owner ON owner.name = copy."group")
       SELECT wanted.*, wanted.copy IS NULL AND grown.block_id IS NULL AS is_complete
       FROM wanted LEFT JOIN grown_blocks AS grown USING (block_id)""",
    "ANALYZE wanted_copies",
    "CREATE TEMPORARY TABLE new_replicas (dataset_id bigint, site_id smallint) ON COMMIT DROP",
    """CREATE TEMPORARY TABLE changed_copies (block_id bigint, site_id smallint, is_new boolean,
                                              PRIMARY KEY (block_id, site_id)) ON COMMIT DROP""",
)

_MISSING_DATASET_REPLICAS = """
    SELECT dataset.id AS dataset_id, site.id AS site_id
    FROM injected_replicas AS declared JOIN datasets AS dataset ON dataset.name = declared.dataset
    JOIN sites AS site ON site.name = declared.site
    WHERE NOT EXISTS (SELECT FROM dataset_replicas AS known
                      WHERE known.dataset_id = dataset.id AND known.site_id = site.id)"""

_MISSING_BLOCK_REPLICAS = """
    SELECT wanted.block_id, wanted.site_id, wanted.dataset_id, wanted.group_id, wanted.is_complete,
           coalesce(wanted.is_custodial, false) AS is_custodial,
           CASE WHEN wanted.is_complete THEN wanted.size_bytes ELSE 0 END AS size_bytes, wanted.last_update_at
    FROM wanted_copies AS wanted
    WHERE NOT EXISTS (SELECT FROM block_replicas AS known
                      WHERE known.block_id = wanted.block_id AND known.site_id = wanted.site_id)"""

_WANTED_GROWTH = """
    SELECT declared.dataset_id, declared.site_id, growth.is_growing,
           CASE WHEN NOT growth.is_growing THEN CASE WHEN declared.growing IS NULL THEN known.group_id END
                WHEN declared.has_group THEN declared.group_id ELSE known.group_id END AS group_id
    FROM (SELECT dataset.id AS dataset_id, site.id AS site_id, injected.growing, injected.has_group,
                 owner.id AS group_id
          FROM injected_replicas AS injected JOIN datasets AS dataset ON dataset.name = injected.dataset
          JOIN sites AS site ON site.name = injected.site
          LEFT JOIN groups AS owner ON owner.name = injected."group") AS declared
    JOIN dataset_replicas AS known USING (dataset_id, site_id),
    LATERAL (SELECT coalesce(declared.growing, known.is_growing) AS is_growing) AS growth"""

# A complete replica lists no files: those that are named are there.
_NAMED_FILES = """
    SELECT wanted.block_id, wanted.site_id, file.id AS file_id
    FROM wanted_copies AS wanted JOIN injected_copy_files AS named ON named.copy = wanted.copy
    JOIN files AS file ON md5(file.lfn)::uuid = md5(named.lfn)::uuid
    JOIN block_replicas AS replica ON replica.block_id = wanted.block_id AND replica.site_id = wanted.site_id
        AND NOT replica.is_complete"""

_COUNT_FILES = """
    UPDATE wanted_copies AS wanted
    SET size_bytes = counted.size_bytes,
        is_complete = wanted.copy IS NULL OR counted.was_complete OR counted.num_present = counted.num_files
    FROM (SELECT wanted.block_id, wanted.site_id, replica.is_complete AS was_complete, block.num_files,
                 count(file.id) AS num_present,
                 CASE WHEN wanted.copy IS NULL OR replica.is_complete THEN block.size_bytes
                      ELSE coalesce(sum(file.size_bytes), 0)::bigint END AS size_bytes
          FROM wanted_copies AS wanted JOIN block_replicas AS replica USING (block_id, site_id)
          JOIN blocks AS block ON block.id = wanted.block_id
          LEFT JOIN block_replica_files AS listed ON wanted.copy IS NOT NULL AND NOT replica.is_complete
              AND listed.block_id = wanted.block_id AND listed.site_id = wanted.site_id
          LEFT JOIN files AS file ON file.id = listed.file_id
          WHERE NOT wanted.is_complete
          GROUP BY wanted.block_id, wanted.site_id, wanted.copy, replica.is_complete, block.num_files,
                   block.size_bytes) AS counted
    WHERE wanted.block_id = counted.block_id AND wanted.site_id = counted.site_id"""

_COUNT_COPIES = """
    SELECT count(*) FILTER (WHERE changed.is_new), count(*) FILTER (WHERE NOT changed.is_new),
           coalesce(sum(wanted.size_bytes), 0)::bigint
    FROM changed_copies AS changed JOIN wanted_copies AS wanted USING (block_id, site_id)"""
