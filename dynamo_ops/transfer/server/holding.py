"""Which FTS server has which batches: read from them, since settings change while jobs are open."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import text

from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.states import OPEN_BATCHES, Backend


def by_server(rows: Iterable[Sequence[Any]]) -> dict[str | None, list[Any]]:
    """Rows (server, what it has), as they were read: what each server has, in their order. None: not recorded."""
    shares: dict[str | None, list[Any]] = {}
    for server, share in rows:
        shares.setdefault(server, []).append(share)
    return shares


def adopt(db: Database, address: str) -> int:
    """Give this server the open batches of which none is recorded: there was but one. Returns how many."""
    with db.begin() as connection:
        return connection.execute(
            text(f"""
            UPDATE transfer_batches SET server = :server
            WHERE server IS NULL AND backend = '{Backend.FTS}' AND state IN {OPEN_BATCHES}"""),
            {"server": address},
        ).rowcount


def batches_by_server(db: Database, batch_ids: Sequence[int]) -> dict[str | None, list[int]]:
    """These batches by their server, in their order."""
    with db.begin() as connection:
        return by_server(
            connection.execute(
                text("""
                SELECT batch.server, batch.id FROM unnest(CAST(:ids AS bigint[])) WITH ORDINALITY AS asked (id, n)
                JOIN transfer_batches batch ON batch.id = asked.id ORDER BY asked.n"""),
                {"ids": list(batch_ids)},
            )
        )


def jobs_by_server(db: Database, job_ids: Sequence[str]) -> dict[str | None, list[str]]:
    """These jobs by their server, in their order; those that no batch has, at None."""
    with db.begin() as connection:
        return by_server(
            connection.execute(
                text("""
                SELECT batch.server, asked.id::text FROM unnest(CAST(:ids AS uuid[])) WITH ORDINALITY AS asked (id, n)
                LEFT JOIN transfer_batches batch ON batch.job_id = asked.id ORDER BY asked.n"""),
                {"ids": list(job_ids)},
            )
        )
