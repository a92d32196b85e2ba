"""Small inventories for tests: sites, blocks with files, replicas, subscriptions."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import polars as pl
from sqlalchemy import Connection, text

from dynamo_ops.database.connection import Database, insert_frame
from dynamo_ops.inventory.states import ACTIVE, SubscriptionAction
from dynamo_ops.inventory.subscription.subscribe import subscribe

SIZE = 1000


class Inventory:
    """Fills one database; names are unique, ids are kept by name."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.site_ids: dict[str, int] = {}
        self.block_ids: dict[str, int] = {}
        self.file_ids: dict[str, int] = {}
        self.files_of: dict[str, list[str]] = {}
        self.dataset_id = self.scalar("""
            INSERT INTO datasets (name, status, is_open, last_update_at)
            VALUES ('/A/B-v1/AOD', 'valid', false, now()) RETURNING id""")
        self.group_id = self.scalar("INSERT INTO groups (name, ownership_level) VALUES ('ops', 'dataset') RETURNING id")

    # -- read ------------------------------------------------------------------------------------------------------

    def rows(self, sql: str, **params: Any) -> list[Any]:
        with self.db.begin() as connection:
            result = connection.execute(text(sql), params)
            return [tuple(row) for row in result] if result.returns_rows else []

    def scalar(self, sql: str, **params: Any) -> Any:
        return self.rows(sql, **params)[0][0]

    def subscriptions(self) -> dict[tuple[str, str, str], str]:
        """(action, lfn, site) → state, with the hold reason behind a slash; the newest subscription of each."""
        rows = self.rows("""
            SELECT s.action, f.lfn, d.name, s.state || coalesce('/' || s.hold_reason, '')
            FROM subscriptions s JOIN files f ON f.id = s.file_id JOIN sites d ON d.id = s.site_id ORDER BY s.id""")
        return {row[:3]: row[3] for row in rows}

    def replica_state(self, block: str, site: str) -> tuple[bool, int, int] | None:
        """(complete, bytes, file rows) of a block replica; None when there is none."""
        key = {"block": self.block_ids[block], "site": self.site_ids[site]}
        rows = self.rows(
            "SELECT is_complete, size_bytes FROM block_replicas WHERE (block_id, site_id) = (:block, :site)", **key
        )
        count = self.scalar(
            "SELECT count(*) FROM block_replica_files WHERE (block_id, site_id) = (:block, :site)", **key
        )
        return (rows[0][0], rows[0][1], count) if rows else None

    # -- write -----------------------------------------------------------------------------------------------------

    def site(self, name: str, storage_type: str = "disk", status: str = "ready", prefix: str | None = None) -> int:
        site_id = self.scalar(
            "INSERT INTO sites (name, storage_type, status) VALUES (:n, :t, :s) RETURNING id",
            n=name,
            t=storage_type,
            s=status,
        )
        self.rows(
            "INSERT INTO site_endpoints (site_id, protocol, prefix) VALUES (:i, 'davs', :p)",
            i=site_id,
            p=prefix or f"davs://{name.lower()}.invalid:443/dav",
        )
        self.site_ids[name] = site_id
        return int(site_id)

    def block(
        self,
        name: str,
        num_files: int = 2,
        sizes: Sequence[int] | None = None,
        contents: dict[str, bytes] | None = None,
    ) -> list[str]:
        """A closed block with files ``/store/<name>/f0…``; returns their LFNs."""
        block_id = self.scalar(
            """INSERT INTO blocks (dataset_id, name, is_open, last_update_at)
            VALUES (:d, :n, false, now()) RETURNING id""",
            d=self.dataset_id,
            n=name,
        )
        lfns = list(contents) if contents else [f"/store/{name}/f{n}" for n in range(num_files)]
        for n, lfn in enumerate(lfns):
            data = (contents or {}).get(lfn)
            size = len(data) if data is not None else (sizes[n] if sizes else SIZE)
            adler = f"{zlib.adler32(data):08x}" if data is not None else None
            self.file_ids[lfn] = self.scalar(
                """INSERT INTO files (block_id, lfn, size_bytes, adler32)
                VALUES (:b, :l, :s, :a) RETURNING id""",
                b=block_id,
                l=lfn,
                s=size,
                a=adler,
            )
        self.rows(
            """UPDATE blocks b SET num_files = x.n, size_bytes = x.s FROM (
            SELECT count(*) AS n, coalesce(sum(size_bytes), 0) AS s FROM files WHERE block_id = :b) x
            WHERE b.id = :b""",
            b=block_id,
        )
        self.rows(
            """UPDATE datasets d SET num_blocks = x.n, num_files = x.f, size_bytes = x.s FROM (
            SELECT count(*) AS n, sum(num_files) AS f, sum(size_bytes) AS s FROM blocks WHERE dataset_id = :d) x
            WHERE d.id = :d""",
            d=self.dataset_id,
        )
        self.block_ids[name], self.files_of[name] = block_id, lfns
        return lfns

    def replica(
        self, block: str, site: str, present: Sequence[str] | None = None, owned: bool = True, growing: bool = False
    ) -> None:
        """A block replica: complete, or with just the files ``present``."""
        key = {"b": self.block_ids[block], "s": self.site_ids[site], "d": self.dataset_id}
        self.rows(
            """INSERT INTO dataset_replicas (dataset_id, site_id, is_growing) VALUES (:d, :s, :g)
            ON CONFLICT DO NOTHING""",
            d=self.dataset_id,
            s=key["s"],
            g=growing,
        )
        self.rows(
            """INSERT INTO block_replicas
            (block_id, site_id, dataset_id, group_id, is_complete, size_bytes, last_update_at)
            SELECT :b, :s, :d, :g, :c, coalesce(sum(f.size_bytes), 0), now() FROM files f
            WHERE f.block_id = :b AND (:c OR f.lfn = ANY(:present))""",
            g=self.group_id if owned else None,
            c=present is None,
            present=list(present or []),
            **key,
        )
        for lfn in present or []:
            self.rows(
                "INSERT INTO block_replica_files (block_id, site_id, file_id) VALUES (:b, :s, :f)",
                b=key["b"],
                s=key["s"],
                f=self.file_ids[lfn],
            )

    def wish(self, action: str, lfns: Sequence[str], site: str, origin: str = "test") -> Any:
        """As ``subscription``, by its old name, which cases of others use. No deletion may take a last copy."""
        return self.subscription(action, lfns, site, origin, is_last_allowed=False)

    def wishes(self) -> dict[tuple[str, str, str], str]:
        """As ``subscriptions``, by its old name."""
        return self.subscriptions()

    def subscription(
        self, action: str, lfns: Sequence[str], site: str, origin: str = "test", *, is_last_allowed: bool = True
    ) -> Any:
        """Make subscriptions for these files at a site; the summary. Deletions may take last copies unless told."""
        with self.db.begin() as connection:
            return subscribe(
                connection,
                SubscriptionAction(action),
                "SELECT id AS file_id, CAST(:site AS smallint) AS site_id FROM files WHERE lfn = ANY(:lfns)",
                origin=origin,
                is_last_allowed=is_last_allowed and action == "delete",
                params={"site": self.site_ids[site], "lfns": list(lfns)},
            )


def fill_changed(connection: Connection, changed: pl.DataFrame) -> None:
    """The table ``changed`` of the transaction, from a frame with ``file_id`` and ``site_id``."""
    connection.execute(text("DROP TABLE IF EXISTS changed"))
    connection.execute(text("CREATE TEMPORARY TABLE changed (file_id bigint, site_id smallint) ON COMMIT DROP"))
    insert_frame(connection, "changed", changed.select("file_id", "site_id").unique())


def withdraw(db: Database, subscription_ids: Sequence[int]) -> None:
    """Cancel these subscriptions where they are active, whatever they are for: as an opposite one does."""
    with db.begin() as connection:
        connection.execute(
            text(f"""
            UPDATE subscriptions SET state = 'cancelled', hold_reason = NULL, updated_at = now()
            WHERE id = ANY(:ids) AND state IN {ACTIVE}"""),
            {"ids": list(subscription_ids)},
        )
