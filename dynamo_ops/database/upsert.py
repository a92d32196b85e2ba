"""How many rows an upsert inserted, and how many it changed."""

from __future__ import annotations

from sqlalchemy import Connection, text


def new_and_changed(connection: Connection, upsert: str) -> tuple[int, int]:
    """How many rows an upsert inserted and updated. In PostgreSQL only a row just inserted has ``xmax`` 0."""
    counted = f"""WITH done AS ({upsert} RETURNING xmax = 0 AS is_new)
                  SELECT count(*) FILTER (WHERE is_new), count(*) FILTER (WHERE NOT is_new) FROM done"""
    row = connection.execute(text(counted)).one()
    return row[0], row[1]
