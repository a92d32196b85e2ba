"""From staging into the inventory, in one transaction a source, by set-based SQL.

A merge only adds and updates: what a source no longer tells stays, because an answer that lacks something is more often
a broken answer than a deletion; it is noted (``inventory.catalogue.vanished``). What a person declared invalid is left
out, and so is a dataset with a bad record, whole (``inventory.catalogue.aside``). To merge the same staged rows again
changes nothing, and the order in which intervals are merged does not matter: a dataset or block is as it was told with
the newest time of its own. That the rows make sense is the gate's work, done before.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from dynamo_ops.base.spans import span
from dynamo_ops.database.connection import Database
from dynamo_ops.database.locks import Lock, hold
from dynamo_ops.inventory.catalogue.aside import find_faulty, note_set_aside
from dynamo_ops.inventory.catalogue.vanished import VanishedCounts, note_vanished
from dynamo_ops.inventory.freshness import refuse_future
from dynamo_ops.inventory.kinds import CatalogueKind, DatasetStatus
from dynamo_ops.inventory.names import BARRED_NAMES
from dynamo_ops.inventory.replica.grown import grow, keep_old_files, lock_replicas
from dynamo_ops.inventory.staging.pull import Pull, lock_staged, staged_pull


@dataclass(frozen=True)
class MergeSummary:
    """What a merge of metadata did. ``changed`` counts rows that were there and are different now.

    ``replicas_made_incomplete``: block replicas that were complete until their block gained files.
    ``replicas_grown``: new, empty block replicas at sites with a growing replica of the dataset.
    ``vanished_…``: things that the source does not tell any more since this pull; ``told_again``: that it does again.
    ``left_out``: told things (by their own name) that a person declared invalid. ``num_set_aside``: datasets of which
    nothing was merged, since the source told a bad record of them.
    """

    new_datasets: int
    changed_datasets: int
    new_blocks: int
    changed_blocks: int
    new_files: int
    new_bytes: int
    replicas_made_incomplete: int
    replicas_grown: int
    vanished_datasets: int = 0
    vanished_blocks: int = 0
    vanished_files: int = 0
    told_again: int = 0
    left_out: int = 0
    num_set_aside: int = 0


@span("metadata.merge")
def merge_metadata(db: Database, run_key: str, source: str, until: datetime) -> MergeSummary:
    """Merge what (run_key, source) staged; the source then counts as merged up to ``until``.

    Raises InventoryError if nothing was staged under this key, or ``until`` is still to come: what is told before it
    would not count any more.
    """
    refuse_future(db, until, f"what {source} tells would be known until")
    with db.begin() as connection:  # without statistics the planner compares each file with each block
        connection.execute(text(f"ANALYZE {', '.join(_STAGED)}"))
    with db.begin() as connection:
        lock_staged(connection, run_key, source)  # a pull that is cleared meanwhile would show one half of each
        hold(connection, Lock.INVENTORY)
        merge = _Merge(connection, run_key, source, until)
        merge.datasets()
        merge.blocks()
        merge.files_of_new_blocks()
        merge.files_of_known_blocks()
        merge.replicas()
        merge.sum_up()
        vanished = merge.vanished()
        merge.close()
    return MergeSummary(
        **merge.counts,
        vanished_datasets=vanished.datasets,
        vanished_blocks=vanished.blocks,
        vanished_files=vanished.files,
        told_again=vanished.told_again,
    )


class _Merge:
    """The parts of one merge, in order. They hand on by temporary tables, which ``close`` removes:

    ``faulty`` (datasets with a bad record, which are left out), ``told_datasets`` (one row a dataset told, as it shall
    be), ``told_blocks`` (one a block told), ``file_changes`` (a file of a known block that is not as the inventory has
    it), ``grown_blocks`` (known blocks that gain files), ``new_files`` (those of known blocks), ``new_sums`` (one a new
    block that has files).
    """

    def __init__(self, connection: Connection, run_key: str, source: str, until: datetime) -> None:
        self.counts = {"new_files": 0, "new_bytes": 0}
        self._connection = connection
        self._run_key, self._source, self._until = run_key, source, until
        self._key = {"run_key": run_key, "source": source, "until": until}
        self._pull: Pull = staged_pull(connection, run_key, source, "metadata")
        for setting in ("work_mem = '128MB'", "jit = off"):  # sorts and hashes of millions of LFNs
            self._run(f"SET LOCAL {setting}")
        self._run(_INVALID_FILES)
        self.counts["left_out"] = self._one(_COUNT_INVALID)[0]
        self.counts["num_set_aside"] = find_faulty(connection, run_key, source)

    def datasets(self) -> None:
        """``told_datasets``; new ones are inserted, known ones changed after their blocks are known (``sum_up``)."""
        self._run(_TOLD_DATASETS)
        self.counts["new_datasets"] = self._run(_INSERT_DATASETS)
        self._run(
            "UPDATE told_datasets AS t SET id = d.id FROM datasets AS d WHERE t.id IS NULL AND d.name = t.dataset"
        )
        self._run("ANALYZE told_datasets")

    def blocks(self) -> None:
        """``told_blocks``; new ones are inserted, known ones changed."""
        self._run(_TOLD_BLOCKS)
        self._run("ANALYZE told_blocks")
        self.counts["changed_blocks"] = self._run(_CHANGE_BLOCKS)
        self.counts["new_blocks"] = self._run(_INSERT_BLOCKS)
        if self.counts["new_blocks"]:
            self._run(_NAME_NEW_BLOCKS)
            self._run("ANALYZE told_blocks")

    def files_of_new_blocks(self) -> None:
        """Straight from staging: there is nothing to compare them with."""
        self._run(
            "CREATE TEMPORARY TABLE new_sums (block_id bigint, num_files bigint, size_bytes bigint) ON COMMIT DROP"
        )
        if self.counts["new_blocks"]:
            self._count_files(_INSERT_FILES_OF_NEW_BLOCKS)

    def files_of_known_blocks(self) -> None:
        """``file_changes``: what is told and not there, there and not told, or there without its checksum."""
        self._run(_FILE_CHANGES)
        self._run("ANALYZE file_changes")
        self._run(_GROWN_BLOCKS)
        self._run("ANALYZE grown_blocks")
        lock_replicas(self._connection)
        self._run("CREATE TEMPORARY TABLE new_files (id bigint, block_id bigint, size_bytes bigint) ON COMMIT DROP")
        self._count_files(_INSERT_NEW_FILES)
        self._run(_FILL_CHECKSUMS)

    def replicas(self) -> None:
        """Complete replicas of blocks that gained files keep the files they had, and are incomplete from now on."""
        self._run("ANALYZE new_files")
        self.counts["replicas_made_incomplete"] = keep_old_files(self._connection)
        new_blocks = "SELECT id AS block_id, dataset_id FROM told_blocks WHERE is_new"
        self.counts["replicas_grown"] = grow(self._connection, new_blocks)

    def sum_up(self) -> None:
        """Sizes and numbers from the files up; then what the datasets are, and how far the source is merged."""
        self._run(_SUM_BLOCKS)
        self.counts["changed_datasets"] = self._one(_CHANGE_DATASETS)[0]
        self._run(_NOTE_SOURCES)
        self._run(_NOTE_LOST)
        self._run(_NOTE_PULL, is_full=self._pull.since is None, num_datasets=self._pull.num_source_datasets)

    def vanished(self) -> VanishedCounts:
        """What was set aside, and what was not told, as ``inventory.catalogue.aside`` and ``.vanished`` say."""
        note_set_aside(self._connection, self._run_key, self._source, self._until, is_full=self._pull.since is None)
        return note_vanished(self._connection, self._source, is_full=self._pull.since is None)

    def close(self) -> None:
        """The transaction may be long over before the connection is."""
        self._run(
            "DROP TABLE told_datasets, told_blocks, file_changes, grown_blocks, new_files, new_sums, invalid_files,"
            " faulty"
        )

    def _count_files(self, insert: str) -> None:
        num_files, num_bytes = self._one(insert)
        self.counts["new_files"] += num_files
        self.counts["new_bytes"] += num_bytes

    def _run(self, sql: str, **parameters: Any) -> int:
        return self._connection.execute(text(sql), {**self._key, **parameters}).rowcount

    def _one(self, sql: str) -> tuple[Any, ...]:
        return tuple(self._connection.execute(text(sql), self._key).one())


_STAGED = (
    "staged_datasets (run_key, source, dataset)",
    "staged_blocks (run_key, source, dataset, block)",
    "staged_files (run_key, source, dataset, block, lfn)",
)

_OF_RUN = "s.run_key = :run_key AND s.source = :source"

_INVALID_FILES = f"""
    CREATE TEMPORARY TABLE invalid_files ON COMMIT DROP AS
    SELECT s.lfn FROM staged_files AS s JOIN {BARRED_NAMES} AS i ON i.kind = '{CatalogueKind.FILE}'
      AND i.name = s.lfn WHERE {_OF_RUN}"""

_COUNT_INVALID = f"""
    SELECT (SELECT count(*) FROM staged_datasets AS s JOIN {BARRED_NAMES} AS i
            ON i.kind = '{CatalogueKind.DATASET}' AND i.name = s.dataset WHERE {_OF_RUN} AND s.is_listed)
         + (SELECT count(*) FROM staged_blocks AS s JOIN {BARRED_NAMES} AS i
            ON i.kind = '{CatalogueKind.BLOCK}' AND i.name = s.dataset || '#' || s.block WHERE {_OF_RUN})
         + (SELECT count(*) FROM invalid_files)"""

# Columns beside the dataset as it shall be. A row that was not listed repeats what the inventory had at the pull: it
# changes nothing, but makes the dataset if intervals are merged in another order than they were pulled. One that is
# asked for again, since it was set aside, counts as listed if the source told blocks of it, and else not at all.
# wins        what is told is not older than what we have: newest last_update_at, then newest interval. Against what no
#             source ever listed, a person's word, it always wins: that may be of the day of its injection
# is_known    the source listed it, or told what is in it
# compares    no newer interval told its details: what it did not tell has vanished
# is_stale    a newer interval told its details: what we did not know until now has vanished since
# is_lost     asked for what is in it, the source had nothing
# is_untold   no source told of it before: what a person said of its blocks stands back too
_TOLD_DATASETS = f"""
    CREATE TEMPORARY TABLE told_datasets ON COMMIT DROP AS
    SELECT DISTINCT ON (s.dataset)
           d.id, d.id IS NULL AS is_new, s.dataset, k.is_known,
           s.has_details AND k.is_known AND coalesce(o.known_until <= :until OR o.source = :source, true)
               AND coalesce(o.details_until <= :until, true) AS compares,
           s.has_details AND coalesce(o.source = :source AND o.details_until > :until, false) AS is_stale,
           s.has_details AND NOT k.is_known AS is_lost, o.dataset_id IS NULL AS is_untold,
           CASE WHEN k.wins THEN s.status ELSE d.status END AS status,
           CASE WHEN k.wins THEN s.is_open WHEN o.is_open IS NOT NULL THEN o.is_open
                WHEN k.is_known THEN d.status = '{DatasetStatus.PRODUCTION}' ELSE d.is_open END AS is_open,
           CASE WHEN k.wins THEN s.last_update_at ELSE d.last_update_at END AS last_update_at,
           CASE WHEN k.wins AND l.is_listed THEN :until ELSE o.state_until END AS state_until,
           CASE WHEN k.names_release THEN s.software_release ELSE d.software_release END AS software_release,
           CASE WHEN k.names_release AND l.is_listed AND s.software_release IS NOT NULL THEN s.last_update_at
                ELSE o.release_at END AS release_at,
           CASE WHEN k.wins THEN coalesce(d.properties, '{{}}') || coalesce(s.properties, '{{}}')
                ELSE coalesce(s.properties, '{{}}') || d.properties END AS properties
    FROM staged_datasets AS s
    LEFT JOIN (SELECT DISTINCT s.dataset FROM staged_blocks AS s WHERE {_OF_RUN}) AS b ON b.dataset = s.dataset
    LEFT JOIN datasets AS d ON d.name = s.dataset
    LEFT JOIN dataset_sources AS o ON o.dataset_id = d.id,
    LATERAL (SELECT s.is_listed OR s.is_again AS is_listed) AS l,
    LATERAL (SELECT l.is_listed OR b.dataset IS NOT NULL AS is_known,
                    d.id IS NULL OR l.is_listed AND (o.state_until IS NULL OR
                        (s.last_update_at, CAST(:until AS timestamptz)) >= (d.last_update_at, o.state_until)) AS wins,
                    d.id IS NULL OR l.is_listed AND s.software_release IS NOT NULL AND (d.software_release IS NULL OR
                        (s.last_update_at, s.software_release) >=
                        (coalesce(o.release_at, '-infinity'), d.software_release)) AS names_release) AS k
    WHERE {_OF_RUN} AND s.dataset IS NOT NULL AND NOT (s.is_again AND b.dataset IS NULL)
      AND NOT EXISTS (SELECT FROM faulty AS f WHERE f.dataset = s.dataset)
      AND NOT EXISTS (SELECT FROM {BARRED_NAMES} AS i WHERE i.kind = '{CatalogueKind.DATASET}' AND i.name = s.dataset)
    ORDER BY s.dataset, l.is_listed DESC, s.last_update_at DESC NULLS LAST, s.id DESC"""

_INSERT_DATASETS = """
    INSERT INTO datasets (name, status, is_open, software_release, last_update_at, properties)
    SELECT dataset, status, is_open, software_release, last_update_at, properties
    FROM told_datasets WHERE is_new ORDER BY dataset"""

_TOLD_BLOCKS = f"""
    CREATE TEMPORARY TABLE told_blocks ON COMMIT DROP AS
    SELECT DISTINCT ON (t.id, s.block)
           b.id, b.id IS NULL AS is_new, t.id AS dataset_id, t.dataset, s.block, s.is_open, s.last_update_at,
           t.compares, t.is_stale,
           (t.is_untold AND (s.is_open, s.last_update_at) IS DISTINCT FROM (b.is_open, b.last_update_at))
               OR s.last_update_at > b.last_update_at
               OR (s.last_update_at = b.last_update_at AND b.is_open AND NOT s.is_open) AS wins
    FROM staged_blocks AS s JOIN told_datasets AS t ON t.dataset = s.dataset
    LEFT JOIN blocks AS b ON b.dataset_id = t.id AND b.name = s.block
    WHERE {_OF_RUN} AND s.block IS NOT NULL
      AND NOT EXISTS (SELECT FROM {BARRED_NAMES} AS i WHERE i.kind = '{CatalogueKind.BLOCK}'
        AND i.name = s.dataset || '#' || s.block)
    ORDER BY t.id, s.block, s.last_update_at DESC NULLS LAST, s.is_open, s.id DESC"""

_CHANGE_BLOCKS = """
    UPDATE blocks AS b SET is_open = t.is_open, last_update_at = t.last_update_at
    FROM told_blocks AS t WHERE b.id = t.id AND t.wins"""

_INSERT_BLOCKS = """
    INSERT INTO blocks (dataset_id, name, is_open, last_update_at)
    SELECT dataset_id, block, is_open, last_update_at FROM told_blocks WHERE is_new ORDER BY dataset_id, block"""

_NAME_NEW_BLOCKS = """
    UPDATE told_blocks AS t SET id = b.id FROM blocks AS b
    WHERE t.is_new AND b.dataset_id = t.dataset_id AND b.name = t.block"""

_TOLD_FILES = f"""
    FROM staged_files AS s JOIN told_blocks AS b ON b.dataset = s.dataset AND b.block = s.block
    WHERE {_OF_RUN} AND s.lfn IS NOT NULL AND NOT EXISTS (SELECT FROM invalid_files AS i WHERE i.lfn = s.lfn)"""

_CHECKSUM = "CASE WHEN s.adler32 ~ '^[0-9a-f]{8}$' THEN s.adler32 END"

_INSERT_FILES_OF_NEW_BLOCKS = f"""
    WITH inserted AS (
        INSERT INTO files (block_id, lfn, size_bytes, adler32)
        SELECT b.id, s.lfn, s.size_bytes, {_CHECKSUM} {_TOLD_FILES} AND b.is_new AND s.is_valid
        ON CONFLICT ((md5(lfn)::uuid)) DO NOTHING
        RETURNING block_id, size_bytes),
    summed AS (
        INSERT INTO new_sums SELECT block_id, count(*), sum(size_bytes) FROM inserted GROUP BY block_id
        RETURNING num_files, size_bytes)
    SELECT coalesce(sum(num_files), 0)::bigint, coalesce(sum(size_bytes), 0)::bigint FROM summed"""

_FILE_CHANGES = f"""
    CREATE TEMPORARY TABLE file_changes ON COMMIT DROP AS
    SELECT f.id AS file_id, coalesce(s.block_id, f.block_id) AS block_id, s.lfn, s.size_bytes, s.adler32, s.is_valid
    FROM (SELECT b.id AS block_id, s.lfn, s.size_bytes, {_CHECKSUM} AS adler32, s.is_valid
          {_TOLD_FILES} AND NOT b.is_new) AS s
    FULL JOIN (SELECT f.id, f.block_id, f.lfn, f.adler32, f.size_bytes
               FROM told_blocks AS b JOIN files AS f ON f.block_id = b.id WHERE NOT b.is_new) AS f
    ON f.block_id = s.block_id AND f.lfn = s.lfn
    LEFT JOIN vanished AS v ON v.kind = '{CatalogueKind.FILE}' AND v.name = f.lfn
    WHERE CASE WHEN f.id IS NULL THEN s.is_valid
               ELSE s.lfn IS NULL OR NOT s.is_valid OR v.id IS NOT NULL
                    OR (f.adler32 IS NULL AND s.adler32 IS NOT NULL AND f.size_bytes = s.size_bytes) END"""

_GROWN_BLOCKS = """
    CREATE TEMPORARY TABLE grown_blocks ON COMMIT DROP AS
    SELECT DISTINCT block_id FROM file_changes WHERE file_id IS NULL"""

_INSERT_NEW_FILES = """
    WITH inserted AS (
        INSERT INTO files (block_id, lfn, size_bytes, adler32)
        SELECT block_id, lfn, size_bytes, adler32 FROM file_changes WHERE file_id IS NULL ORDER BY block_id
        ON CONFLICT ((md5(lfn)::uuid)) DO NOTHING
        RETURNING id, block_id, size_bytes),
    noted AS (INSERT INTO new_files SELECT id, block_id, size_bytes FROM inserted RETURNING size_bytes)
    SELECT count(*), coalesce(sum(size_bytes), 0)::bigint FROM noted"""

_FILL_CHECKSUMS = """
    UPDATE files AS f SET adler32 = c.adler32 FROM file_changes AS c
    WHERE f.id = c.file_id AND f.adler32 IS NULL AND c.adler32 IS NOT NULL AND c.is_valid
      AND f.size_bytes = c.size_bytes"""

_SUM_BLOCKS = """
    UPDATE blocks AS b SET size_bytes = f.size_bytes, num_files = f.num_files
    FROM (SELECT block_id, num_files, size_bytes FROM new_sums
          UNION ALL
          SELECT block_id, count(*), sum(size_bytes)::bigint FROM files
          WHERE block_id IN (SELECT block_id FROM new_files) GROUP BY block_id) AS f
    WHERE b.id = f.block_id"""

_CHANGE_DATASETS = """
    WITH present AS (
        SELECT t.id, t.is_new, t.status, t.is_open OR coalesce(b.is_open, false) AS is_open, t.software_release,
               t.last_update_at, t.properties, coalesce(b.size_bytes, 0) AS size_bytes,
               coalesce(b.num_blocks, 0) AS num_blocks, coalesce(b.num_files, 0) AS num_files
        FROM told_datasets AS t
        LEFT JOIN (SELECT dataset_id, bool_or(is_open) AS is_open, sum(size_bytes)::bigint AS size_bytes,
                          count(*) AS num_blocks, sum(num_files)::bigint AS num_files
                   FROM blocks WHERE dataset_id IN (SELECT id FROM told_datasets) GROUP BY dataset_id) AS b
        ON b.dataset_id = t.id),
    different AS (
        SELECT p.*, NOT p.is_new AND
                    (d.status, d.is_open, d.software_release, d.last_update_at, d.properties) IS DISTINCT FROM
                    (p.status, p.is_open, p.software_release, p.last_update_at, p.properties) AS is_changed
        FROM present AS p JOIN datasets AS d ON d.id = p.id
        WHERE (d.status, d.is_open, d.software_release, d.last_update_at, d.properties, d.size_bytes, d.num_blocks,
               d.num_files) IS DISTINCT FROM
              (p.status, p.is_open, p.software_release, p.last_update_at, p.properties, p.size_bytes, p.num_blocks,
               p.num_files)),
    written AS (
        UPDATE datasets AS d
        SET status = p.status, is_open = p.is_open, software_release = p.software_release,
            last_update_at = p.last_update_at, properties = p.properties, size_bytes = p.size_bytes,
            num_blocks = p.num_blocks, num_files = p.num_files
        FROM different AS p WHERE d.id = p.id
        RETURNING p.is_changed)
    SELECT count(*) FILTER (WHERE is_changed) FROM written"""

_NOTE_SOURCES = """
    INSERT INTO dataset_sources AS old
           (dataset_id, source, is_open, release_at, state_until, known_until, details_until)
    SELECT id, :source, is_open, release_at, state_until, CASE WHEN is_known THEN :until END,
           CASE WHEN compares THEN :until END
    FROM told_datasets WHERE is_known OR is_new
    ON CONFLICT (dataset_id) DO UPDATE
    SET source = CASE WHEN old.known_until > excluded.known_until THEN old.source ELSE excluded.source END,
        is_open = excluded.is_open, release_at = excluded.release_at, state_until = excluded.state_until,
        known_until = greatest(old.known_until, excluded.known_until),
        details_until = greatest(old.details_until, excluded.details_until)
    WHERE coalesce(old.known_until <= excluded.known_until, true)
       OR (old.is_open, old.release_at, old.state_until) IS DISTINCT FROM
          (excluded.is_open, excluded.release_at, excluded.state_until)"""

_NOTE_LOST = """
    UPDATE dataset_sources AS o SET lost_until = greatest(o.lost_until, :until) FROM told_datasets AS t
    WHERE o.dataset_id = t.id AND o.source = :source AND t.is_lost"""

_NOTE_PULL = """
    INSERT INTO source_states AS old (source, full_sync_at, full_until, merged_until, num_datasets, updated_at)
    VALUES (:source, CASE WHEN :is_full THEN now() END, CASE WHEN :is_full THEN :until END, :until, :num_datasets,
            now())
    ON CONFLICT (source) DO UPDATE
    SET full_sync_at = coalesce(excluded.full_sync_at, old.full_sync_at),
        full_until = greatest(old.full_until, excluded.full_until),
        merged_until = greatest(least(old.merged_until, old.updated_at), excluded.merged_until),
        num_datasets = CASE WHEN old.merged_until > excluded.merged_until THEN old.num_datasets
                            ELSE coalesce(excluded.num_datasets, old.num_datasets) END,
        updated_at = now()"""
