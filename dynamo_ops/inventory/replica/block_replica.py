"""The only writer of ``block_replicas``. Set-wise: each act takes a SELECT of the replicas that it is about.

Whoever changes what is there locks the replicas first, in the order of block and site; ``size_bytes`` is always the sum
of the files present.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

from dynamo_ops.inventory.states import ACTIVE

COLUMNS = "block_id, site_id, dataset_id, group_id, is_complete, is_custodial, size_bytes, last_update_at"


def make(connection: Connection, replicas: str, *, note_in: str | None = None) -> int:
    """Those of ``replicas`` (all ``COLUMNS``) that are not there yet. Returns how many.

    ``note_in``: a table (block_id, site_id, is_new) of the transaction that the new ones are noted in.
    """
    insert = f"""
        INSERT INTO block_replicas ({COLUMNS})
        SELECT {COLUMNS} FROM ({replicas}) AS wanted ORDER BY block_id, site_id ON CONFLICT DO NOTHING"""
    if note_in is not None:
        insert = f"""
            WITH made AS ({insert} RETURNING block_id, site_id)
            INSERT INTO {note_in} (block_id, site_id, is_new) SELECT block_id, site_id, true FROM made"""
    return connection.execute(text(insert)).rowcount


def make_empty(connection: Connection, replicas: str) -> int:
    """Those of ``replicas`` (block_id, site_id, dataset_id, group_id, last_update_at) that are not there yet, with
    nothing in them. Complete is only what has no file to wait for: see ``complete``. Returns how many."""
    return make(
        connection,
        f"""SELECT block_id, site_id, dataset_id, group_id, false AS is_complete, false AS is_custodial,
                   0 AS size_bytes, last_update_at FROM ({replicas}) AS empty_replica""",
    )


def own(connection: Connection, owners: str) -> int:
    """``owners`` (block_id, site_id, group_id; null: nobody) own them from now on. Returns how many changed hands."""
    return connection.execute(
        text(f"""
        UPDATE block_replicas AS replica SET group_id = owner.group_id, former_group_id = NULL FROM ({owners}) AS owner
        WHERE replica.block_id = owner.block_id AND replica.site_id = owner.site_id
          AND replica.group_id IS DISTINCT FROM owner.group_id""")
    ).rowcount


def hand_over(connection: Connection, handovers: str) -> int:
    """``handovers`` (block_id, site_id, from_group_id, group_id): from one owner (null: nobody) to another, where the
    owner is still the first. Returns how many."""
    return connection.execute(
        text(f"""
        UPDATE block_replicas AS replica SET group_id = handover.group_id, former_group_id = NULL
        FROM ({handovers}) AS handover
        WHERE replica.block_id = handover.block_id AND replica.site_id = handover.site_id
          AND replica.group_id IS NOT DISTINCT FROM handover.from_group_id""")
    ).rowcount


def disown(connection: Connection, replicas: str, *, only_incomplete: bool = False) -> int:
    """``replicas`` (block_id, site_id) belong to nobody from now on: nobody waits for them.

    ``only_incomplete``: what has become complete stays its owner's. Returns how many.
    """
    return connection.execute(
        text(f"""
        UPDATE block_replicas AS replica SET group_id = NULL, former_group_id = NULL FROM ({replicas}) AS disowned
        WHERE replica.block_id = disowned.block_id AND replica.site_id = disowned.site_id
          {"AND NOT replica.is_complete" if only_incomplete else ""}""")
    ).rowcount


def condemn(connection: Connection, replicas: str) -> int:
    """``replicas`` (block_id, site_id) are being deleted: they belong to nobody, and who owned them is remembered.
    Returns how many."""
    return connection.execute(
        text(f"""
        UPDATE block_replicas AS replica
        SET group_id = NULL, former_group_id = coalesce(replica.group_id, replica.former_group_id)
        FROM ({replicas}) AS condemned
        WHERE replica.block_id = condemned.block_id AND replica.site_id = condemned.site_id""")
    ).rowcount


def give_back(connection: Connection, replicas: str) -> int:
    """Those of ``replicas`` (block_id, site_id) that nobody owns belong again to who owned them before they were
    condemned, as far as that is known. Returns how many do."""
    return connection.execute(
        text(f"""
        UPDATE block_replicas AS replica SET group_id = replica.former_group_id, former_group_id = NULL
        FROM ({replicas}) AS again
        WHERE replica.block_id = again.block_id AND replica.site_id = again.site_id
          AND replica.group_id IS NULL AND replica.former_group_id IS NOT NULL""")
    ).rowcount


def resize(connection: Connection, sizes: str) -> None:
    """Files came or went: ``sizes`` (block_id, site_id, size_bytes: of the files present now)."""
    connection.execute(
        text(f"""
        UPDATE block_replicas AS replica SET size_bytes = counted.size_bytes, last_update_at = now()
        FROM ({sizes}) AS counted
        WHERE replica.block_id = counted.block_id AND replica.site_id = counted.site_id""")
    )


def complete(connection: Connection, replicas: str) -> int:
    """``replicas`` (block_id, site_id) have every file of their block. Returns how many had not."""
    return _set_completeness(connection, replicas, is_complete=True)


def make_incomplete(connection: Connection, replicas: str) -> int:
    """``replicas`` (block_id, site_id) lack files of their block; which ones they have is listed beforehand. Returns
    how many were complete."""
    return _set_completeness(connection, replicas, is_complete=False)


def _set_completeness(connection: Connection, replicas: str, *, is_complete: bool) -> int:
    is_other = "NOT replica.is_complete" if is_complete else "replica.is_complete"
    return connection.execute(
        text(f"""
        UPDATE block_replicas AS replica SET is_complete = {is_complete} FROM ({replicas}) AS judged
        WHERE replica.block_id = judged.block_id AND replica.site_id = judged.site_id AND {is_other}""")
    ).rowcount


def recount(connection: Connection, counts: str) -> None:
    """Files left the inventory: ``counts`` (block_id, site_id, size_bytes, is_complete). No time of change: nothing
    happened at the site."""
    connection.execute(
        text(f"""
        UPDATE block_replicas AS replica SET size_bytes = counted.size_bytes, is_complete = counted.is_complete
        FROM ({counts}) AS counted
        WHERE replica.block_id = counted.block_id AND replica.site_id = counted.site_id""")
    )


def change(connection: Connection, wanted: str, *, note_in: str) -> None:
    """A person's word: ``wanted`` (block_id, site_id, has_group, group_id, is_complete, size_bytes, is_custodial; null:
    as it is). Those that were different are noted in the table ``note_in`` (block_id, site_id, is_new)."""
    connection.execute(
        text(f"""
        WITH different AS (
            UPDATE block_replicas AS replica
            SET group_id = CASE WHEN wanted.has_group THEN wanted.group_id ELSE replica.group_id END,
                former_group_id = CASE WHEN NOT wanted.has_group THEN replica.former_group_id END,
                is_complete = wanted.is_complete, size_bytes = wanted.size_bytes,
                is_custodial = coalesce(wanted.is_custodial, replica.is_custodial)
            FROM ({wanted}) AS wanted
            WHERE wanted.block_id = replica.block_id AND wanted.site_id = replica.site_id
              AND (replica.group_id, replica.is_complete, replica.size_bytes, replica.is_custodial) IS DISTINCT FROM
                  (CASE WHEN wanted.has_group THEN wanted.group_id ELSE replica.group_id END, wanted.is_complete,
                   wanted.size_bytes, coalesce(wanted.is_custodial, replica.is_custodial))
            RETURNING replica.block_id, replica.site_id)
        INSERT INTO {note_in} (block_id, site_id, is_new)
        SELECT block_id, site_id, false FROM different ON CONFLICT DO NOTHING""")
    )


DROP_EMPTY = f"""
    WITH dropped AS (
        DELETE FROM block_replicas AS replica USING ({{replicas}}) AS candidate
        WHERE replica.block_id = candidate.block_id AND replica.site_id = candidate.site_id
          AND replica.size_bytes = 0
          AND NOT EXISTS (SELECT FROM block_replica_files AS listed
                          WHERE listed.block_id = replica.block_id AND listed.site_id = replica.site_id)
          AND NOT (replica.is_complete
                   AND EXISTS (SELECT FROM files AS file WHERE file.block_id = replica.block_id))
          AND NOT EXISTS (SELECT FROM files AS file JOIN subscriptions AS subscription
                              ON subscription.file_id = file.id AND subscription.site_id = candidate.site_id
                              AND subscription.state IN {ACTIVE}
                          WHERE file.block_id = candidate.block_id)
        RETURNING replica.dataset_id, replica.site_id)
    SELECT dataset_id, site_id, count(*) AS num_blocks FROM dropped GROUP BY dataset_id, site_id"""


def drop_empty(connection: Connection, replicas: str) -> list[tuple[int, int, int]]:
    """Those of ``replicas`` (block_id, site_id) go that hold no file and for whose files nothing is subscribed there.

    A file of no bytes is a file: a complete replica of it is not empty. While a copy or deletion of one of its files is
    subscribed, the replica waits for that. Returns dataset, site and number of those that went.
    """
    dropped = connection.execute(text(DROP_EMPTY.format(replicas=replicas)))
    return [(int(gone.dataset_id), int(gone.site_id), int(gone.num_blocks)) for gone in dropped]


def drop_all(connection: Connection, blocks: str) -> int:
    """Every replica of ``blocks`` (block_id), which leave the inventory. Returns how many."""
    return connection.execute(
        text(
            f"DELETE FROM block_replicas AS replica USING ({blocks}) AS doomed WHERE replica.block_id = doomed.block_id"
        )
    ).rowcount
