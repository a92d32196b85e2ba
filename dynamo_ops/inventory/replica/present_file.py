"""The only writer of ``block_replica_files``: which files an incomplete block replica has. A complete one lists none.
And of ``bad_replicas``: copies that are called bad, or suspicious.

Set-wise; what is there is written only by who holds the lock of the block replica.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, text

from dynamo_ops.inventory.checks import BadState


def add(connection: Connection, files: str, *, note_in: str | None = None) -> None:
    """``files`` (block_id, site_id, file_id) are there.

    ``note_in``: a table (block_id, site_id, is_new) of the transaction where replicas that had not listed one are
    noted.
    """
    insert = f"""
        INSERT INTO block_replica_files (block_id, site_id, file_id)
        SELECT block_id, site_id, file_id FROM ({files}) AS present ON CONFLICT DO NOTHING"""
    if note_in is not None:
        insert = f"""
            WITH added AS ({insert} RETURNING block_id, site_id)
            INSERT INTO {note_in} (block_id, site_id, is_new)
            SELECT DISTINCT block_id, site_id, false FROM added ON CONFLICT DO NOTHING"""
    connection.execute(text(insert))


def add_all(connection: Connection, replicas: str) -> None:
    """Every file of the block is listed of ``replicas`` (block_id, site_id), which are complete until now."""
    add(
        connection,
        f"""SELECT complete.block_id, complete.site_id, file.id AS file_id
            FROM ({replicas}) AS complete JOIN files AS file ON file.block_id = complete.block_id""",
    )


def remove(connection: Connection, files: str) -> None:
    """``files`` (block_id, site_id, file_id) are not there any more."""
    connection.execute(
        text(f"""
        DELETE FROM block_replica_files AS listed USING ({files}) AS gone
        WHERE listed.block_id = gone.block_id AND listed.site_id = gone.site_id AND listed.file_id = gone.file_id""")
    )


def remove_everywhere(connection: Connection, files: str) -> None:
    """``files`` (block_id, file_id) leave the inventory."""
    connection.execute(
        text(f"""
        DELETE FROM block_replica_files AS listed USING ({files}) AS gone
        WHERE listed.block_id = gone.block_id AND listed.file_id = gone.file_id""")
    )


def forget(connection: Connection, replicas: str) -> None:
    """``replicas`` (block_id, site_id) are complete: a list would say nothing."""
    connection.execute(
        text(f"""
        DELETE FROM block_replica_files AS listed USING ({replicas}) AS complete
        WHERE listed.block_id = complete.block_id AND listed.site_id = complete.site_id""")
    )


def call_bad(connection: Connection, files: str, *, over: str, parameters: Mapping[str, object]) -> int:
    """``files`` (file_id, site_id, state, reason, created_by) are called so from now on; where something is said of the
    file at the site already, only in place of words ``over`` (a list in SQL). How many were."""
    return connection.execute(
        text(f"""
        INSERT INTO bad_replicas AS called (file_id, site_id, state, reason, created_by)
        SELECT file_id, site_id, state, reason, created_by FROM ({files}) AS named ORDER BY file_id, site_id
        ON CONFLICT (file_id, site_id) DO UPDATE
            SET state = excluded.state, reason = excluded.reason, created_by = excluded.created_by, created_at = now()
            WHERE called.state IN {over}"""),
        dict(parameters),
    ).rowcount


def settle_bad(connection: Connection, files: str) -> None:
    """What became of ``files`` (file_id, site_id, state), of those that are called bad: who said it, when and why
    stays."""
    connection.execute(
        text(f"""
        UPDATE bad_replicas AS called SET state = settled.state FROM ({files}) AS settled
        WHERE called.file_id = settled.file_id AND called.site_id = settled.site_id
          AND called.state <> '{BadState.GOOD}'""")
    )


def forget_bad(connection: Connection, files: str, *, states: str) -> int:
    """Nothing is said any more of ``files`` (file_id, site_id) that are in one of ``states`` (a list in SQL). How
    many."""
    return connection.execute(
        text(f"""
        DELETE FROM bad_replicas AS called USING ({files}) AS named
        WHERE called.file_id = named.file_id AND called.site_id = named.site_id AND called.state IN {states}""")
    ).rowcount
