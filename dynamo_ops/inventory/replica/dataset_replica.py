"""The only writer of ``dataset_replicas``. Set-wise: each act takes a SELECT of the replicas that it is about.

A dataset replica is there as long as it has block replicas, or grows: new blocks of the dataset are then subscribed for
its group.
"""

from __future__ import annotations

from sqlalchemy import Connection, text


def make(connection: Connection, replicas: str, *, note_in: str | None = None) -> int:
    """Those of ``replicas`` (dataset_id, site_id) that are not there yet; for no group, not growing. Returns how many.

    ``note_in``: a table (dataset_id, site_id) of the transaction that the new ones are noted in.
    """
    insert = f"""
        INSERT INTO dataset_replicas (dataset_id, site_id)
        SELECT DISTINCT dataset_id, site_id FROM ({replicas}) AS wanted ORDER BY dataset_id, site_id
        ON CONFLICT DO NOTHING"""
    if note_in is not None:
        insert = f"""
            WITH made AS ({insert} RETURNING dataset_id, site_id)
            INSERT INTO {note_in} (dataset_id, site_id) SELECT dataset_id, site_id FROM made"""
    return connection.execute(text(insert)).rowcount


def claim(connection: Connection, claims: str) -> int:
    """Make those of ``claims`` (dataset_id, site_id, group_id, is_growing) that are not there, and have those grow for
    their group that are to grow; what grows already goes on where a claim says nothing of growth. Returns how many were
    made or changed. Of several claims for one replica a growing one counts.
    """
    return connection.execute(
        text(f"""
        INSERT INTO dataset_replicas AS replica (dataset_id, site_id, group_id, is_growing)
        SELECT DISTINCT ON (dataset_id, site_id) dataset_id, site_id, CASE WHEN is_growing THEN group_id END,
               coalesce(is_growing, false)
        FROM ({claims}) AS claim ORDER BY dataset_id, site_id, is_growing DESC NULLS LAST
        ON CONFLICT (dataset_id, site_id)
            DO UPDATE SET is_growing = true, group_id = excluded.group_id, was_growing = false
        WHERE excluded.is_growing""")
    ).rowcount


def change(connection: Connection, wanted: str, *, but: str) -> int:
    """Growth and group as ``wanted`` (dataset_id, site_id, is_growing, group_id) says. Returns how many were different,
    those of the table ``but`` (dataset_id, site_id) not counted."""
    changed = text(f"""
        WITH changed AS (
            UPDATE dataset_replicas AS replica
            SET is_growing = wanted.is_growing, group_id = wanted.group_id, was_growing = false
            FROM ({wanted}) AS wanted
            WHERE wanted.dataset_id = replica.dataset_id AND wanted.site_id = replica.site_id
              AND (replica.is_growing, replica.group_id) IS DISTINCT FROM (wanted.is_growing, wanted.group_id)
            RETURNING replica.dataset_id, replica.site_id)
        SELECT count(*) FROM changed WHERE NOT EXISTS (
            SELECT FROM {but} AS aside WHERE aside.dataset_id = changed.dataset_id AND aside.site_id = changed.site_id)
        """)
    return int(connection.execute(changed).scalar_one())


def stop_growing(connection: Connection, replicas: str, *, for_deletion: bool = False) -> int:
    """``replicas`` (dataset_id, site_id) get no new blocks from now on; ``for_deletion``: that they did is remembered,
    since a deletion can be taken back. Returns how many there are of them."""
    return connection.execute(
        text(f"""
        UPDATE dataset_replicas AS replica
        SET is_growing = false, was_growing = {"replica.is_growing OR replica.was_growing" if for_deletion else "false"}
        FROM ({replicas}) AS stopped
        WHERE replica.dataset_id = stopped.dataset_id AND replica.site_id = stopped.site_id""")
    ).rowcount


def grow_again(connection: Connection, replicas: str) -> int:
    """``replicas`` (dataset_id, site_id) that stopped growing get new blocks again. Returns how many there are."""
    return connection.execute(
        text(f"""
        UPDATE dataset_replicas AS replica SET is_growing = true, was_growing = false FROM ({replicas}) AS growing
        WHERE replica.dataset_id = growing.dataset_id AND replica.site_id = growing.site_id""")
    ).rowcount


def grow_as_before(connection: Connection, replicas: str) -> int:
    """Those of ``replicas`` (dataset_id, site_id) that grew until a deletion stopped it. Returns how many."""
    return grow_again(
        connection,
        f"""SELECT stopped.dataset_id, stopped.site_id FROM ({replicas}) AS stopped
            JOIN dataset_replicas AS before USING (dataset_id, site_id) WHERE before.was_growing""",
    )


def drop_hollow(connection: Connection, replicas: str, params: dict[str, object] | None = None) -> int:
    """Those of ``replicas`` (dataset_id, site_id) go that have no block replica and do not grow. Returns how many."""
    return connection.execute(
        text(f"""
        DELETE FROM dataset_replicas AS replica USING ({replicas}) AS hollow
        WHERE replica.dataset_id = hollow.dataset_id AND replica.site_id = hollow.site_id AND NOT replica.is_growing
          AND NOT EXISTS (SELECT FROM block_replicas AS block_replica
                          WHERE block_replica.dataset_id = replica.dataset_id
                            AND block_replica.site_id = replica.site_id)"""),
        params or {},
    ).rowcount


def drop_all(connection: Connection, datasets: str) -> int:
    """Every replica of ``datasets`` (dataset_id), which leave the inventory. Returns how many."""
    return connection.execute(
        text(f"""
        DELETE FROM dataset_replicas AS replica USING ({datasets}) AS doomed
        WHERE replica.dataset_id = doomed.dataset_id""")
    ).rowcount
