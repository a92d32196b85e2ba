"""What all that write datasets, sites and replicas from outside share: one at a time, and how many rows it was."""

from __future__ import annotations

from sqlalchemy import Connection, text


def lock_inventory(connection: Connection) -> None:
    """One merge, injection or invalidation at a time, until the end of the transaction.

    Two that insert the same names in another order would wait for each other.
    """
    connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('dynamo_ops.inventory.catalogue.merge'))"))


def keep_inventory(connection: Connection) -> None:
    """No merge, injection or invalidation until the end of the transaction; others that ask for the same may go on."""
    connection.execute(text("SELECT pg_advisory_xact_lock_shared(hashtext('dynamo_ops.inventory.catalogue.merge'))"))


def new_and_changed(connection: Connection, upsert: str) -> tuple[int, int]:
    """How many rows an upsert inserted and updated. In PostgreSQL only a row just inserted has ``xmax`` 0."""
    counted = f"""WITH done AS ({upsert} RETURNING xmax = 0 AS is_new)
                  SELECT count(*) FILTER (WHERE is_new), count(*) FILTER (WHERE NOT is_new) FROM done"""
    row = connection.execute(text(counted)).one()
    return row[0], row[1]
