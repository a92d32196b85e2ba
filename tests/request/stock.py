"""A small inventory for tests of requests: two groups, three disk sites and a tape, one or more datasets."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import polars as pl

from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.replica.files import arrive, leave
from dynamo_ops.inventory.subscription.subscribe import subscribe_blocks
from dynamo_ops.query.paging.listing import Window, read_page
from dynamo_ops.query.record.request import REQUESTS, RequestFilter
from dynamo_ops.request.copy_request import record_plan, request_copy
from dynamo_ops.request.deletion_request import DeletionAnswer, request_deletion
from tests.inventory.factory import Inventory, fill_changed
from tests.people import ADA

DATASET = "/A/B-v1/AOD"
OTHER = "/C/D-v1/AOD"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NO_REFUSALS = pl.DataFrame(schema={"request_id": pl.Int64, "reason": pl.String})


def list_requests(db: Database, **asked: list[str]) -> pl.DataFrame:
    """Requests, newest first."""
    page = read_page(db, REQUESTS, RequestFilter(**asked), Window())
    return pl.DataFrame(page.records(), schema=list(page.columns), infer_schema_length=None)


class Stock(Inventory):
    """Blocks b1 and b2 of three files of 1 kB each, complete at T2_A and T2_B for ``ops``; T2_C and T1_Tape are
    empty."""

    def __init__(self, db: Database) -> None:
        super().__init__(db)
        for site in ("T2_A", "T2_B", "T2_C"):
            self.site(site)
        self.site("T1_Tape", storage_type="mss")
        self.users = self.scalar("INSERT INTO groups (name, ownership_level) VALUES ('users', 'block') RETURNING id")
        for block in ("b1", "b2"):
            self.block(block, 3)
            for site in ("T2_A", "T2_B"):
                self.replica(block, site)

    def other_dataset(self, *blocks: str, status: str = "valid") -> int:
        """Another dataset with blocks of one file; further calls to ``replica`` with these names are for it."""
        first = self.dataset_id
        self.dataset_id = self.scalar(
            """INSERT INTO datasets (name, status, is_open, last_update_at)
            VALUES (:n, :s, false, now()) RETURNING id""",
            n=OTHER,
            s=status,
        )
        for block in blocks:
            self.block(block, 1)
        other, self.dataset_id = self.dataset_id, first
        return int(other)

    # -- asking ------------------------------------------------------------------------------------------------------

    def ask(self, *items: str, sites: tuple[str, ...] = ("T2_C",), **given: Any) -> int:
        """A copy request (of the dataset) by ada."""
        options = {"num_copies": 1, "group": "ops", "by": ADA, **given}
        return request_copy(self.db, list(items) or DATASET, sites, **options)

    def delete(self, *items: str, sites: tuple[str, ...] = ("T2_A",), **given: Any) -> DeletionAnswer:
        """A deletion request (of the dataset) by ada."""
        options = {"reason": "not needed", "by": ADA, "now": NOW, **given}
        return request_deletion(self.db, list(items) or DATASET, sites, **options)

    # -- what the Dealer does ----------------------------------------------------------------------------------------

    def plan_row(self, kind: str = "dealer", partition: str = "physics") -> int:
        """A committed plan."""
        number = self.scalar("SELECT count(*) FROM plans")
        version = self.scalar(
            """INSERT INTO policy_versions (kind, partition, sha256, text) VALUES (:k, :p, :s, '') RETURNING id""",
            k=kind,
            p=partition,
            s=str(number),
        )
        return int(
            self.scalar(
                """INSERT INTO plans (kind, partition, run_key, policy_version_id, location, summary, planned_for_at,
                                      state, committed_at)
                VALUES (:k, :p, :r, :v, '', '{}', now(), 'committed', now()) RETURNING id""",
                k=kind,
                p=partition,
                r=str(number),
                v=version,
            )
        )

    def dealt(self, request_id: int, *copies: tuple[str | None, str], plugin: str = "requests") -> int:
        """A Dealer plan that copies (block, or None: the dataset; site) for a request; its id."""
        plan = self.plan_row()
        own = plugin == "requests"
        with self.db.begin() as connection:
            for block, site in copies:
                self._deal(connection, plan, block, site, request_id if own else None, plugin)
            rows = [
                (request_id, self.dataset_id, block and self.block_ids[block], self.site_ids[s]) for block, s in copies
            ]
            names = ["request_id", "dataset_id", "block_id", "site_id"]
            frame = pl.DataFrame(rows if own else [], schema=dict.fromkeys(names, pl.Int64), orient="row")
            record_plan(connection, plan, frame, NO_REFUSALS)
        return plan

    def _deal(
        self, connection: Any, plan: int, block: str | None, site: str, request_id: int | None, plugin: str
    ) -> None:
        from sqlalchemy import text

        values = {
            "d": self.dataset_id,
            "s": self.site_ids[site],
            "b": block and self.block_ids[block],
            "g": self.group_id,
            "p": plan,
            "r": request_id,
            "plugin": plugin,
        }
        for statement in (
            """INSERT INTO dataset_replicas AS r (dataset_id, site_id, group_id, is_growing)
               VALUES (:d, :s, :g, CAST(:b AS bigint) IS NULL)
               ON CONFLICT (dataset_id, site_id) DO UPDATE SET is_growing = r.is_growing OR excluded.is_growing,
                   group_id = excluded.group_id""",
            """INSERT INTO block_replicas (block_id, site_id, dataset_id, group_id, is_complete, size_bytes,
                                           last_update_at)
               SELECT id, :s, :d, :g, false, 0, now() FROM blocks
               WHERE dataset_id = :d AND (CAST(:b AS bigint) IS NULL OR id = :b) ON CONFLICT DO NOTHING""",
            """INSERT INTO dealer_history (dataset_id, site_id, plan_id, copy, plugin, request_id, group_id,
                                           num_blocks, num_left_out, size_bytes, reason)
               VALUES (:d, :s, :p, (SELECT count(*) + 1 FROM dealer_history), :plugin, :r, :g, 1, 0, 0, 'asked')""",
        ):
            connection.execute(text(statement), values)
        subscribe_blocks(
            connection,
            "copy",
            """SELECT id AS block_id, CAST(:s AS smallint) AS site_id FROM blocks
               WHERE dataset_id = :d AND (CAST(:b AS bigint) IS NULL OR id = :b)""",
            origin="dealer",
            plan_id=plan,
            params=values,
        )

    def arrive(self, site: str, *lfns: str) -> None:
        """These files are at the site now, and their copy subscriptions done."""
        self._moved(site, lfns, "copy")

    def vanish(self, site: str, *lfns: str) -> None:
        """These files are gone from the site, and their delete subscriptions done."""
        self._moved(site, lfns, "delete")

    def _moved(self, site: str, lfns: tuple[str, ...], action: str) -> None:
        from sqlalchemy import text

        rows = [(self.file_ids[lfn], self.site_ids[site]) for lfn in lfns]
        frame = pl.DataFrame(rows, schema={"file_id": pl.Int64, "site_id": pl.Int64}, orient="row")
        with self.db.begin() as connection:
            connection.execute(
                text("""UPDATE subscriptions SET state = 'done' WHERE action = :a AND site_id = :s
                        AND file_id = ANY(CAST(:f AS bigint[])) AND state = 'new'"""),
                {"a": action, "s": self.site_ids[site], "f": [file for file, _ in rows]},
            )
            fill_changed(connection, frame)
            (arrive if action == "copy" else leave)(connection)

    def detox_said(self, site: str, *decisions: tuple[str, int], partition: str = "physics") -> int:
        """A committed Detox plan that wrote these (decision, line) of the dataset replica to the history; its id."""
        plan = self.plan_row("detox", partition)
        version = self.scalar("SELECT policy_version_id FROM plans WHERE id = :p", p=plan)
        for line in {line for _, line in decisions}:
            self.rows(
                "INSERT INTO policy_lines VALUES (:v, :l, :t, :l)",
                v=version,
                l=line,
                t=f"Protect dataset.name == /line{line}/*",
            )
        for decision, line in decisions:
            self.rows(
                "INSERT INTO detox_history VALUES (:d, :s, :p, :w, :l, 2, 6000)",
                d=self.dataset_id,
                s=self.site_ids[site],
                p=plan,
                w=decision,
                l=line,
            )
        return plan

    # -- looking -----------------------------------------------------------------------------------------------------

    @property
    def files(self) -> list[str]:
        """All files of the first dataset."""
        return [*self.files_of["b1"], *self.files_of["b2"]]

    def state(self, request_id: int) -> str:
        """The request's state."""
        return str(self.scalar("SELECT state FROM requests WHERE id = :r", r=request_id))

    def because(self, request_id: int) -> str | None:
        """Why it was closed."""
        found: str | None = self.scalar("SELECT closed_because FROM requests WHERE id = :r", r=request_id)
        return found

    def actions(self, request_id: int) -> dict[tuple[str | None, str], str]:
        """(block, or None: the dataset; site) → state."""
        found = self.rows(
            """SELECT b.name, s.name, a.state FROM request_actions a JOIN sites s ON s.id = a.site_id
            LEFT JOIN blocks b ON b.id = a.block_id WHERE a.request_id = :r""",
            r=request_id,
        )
        return {(block, site): state for block, site, state in found}

    def owner(self, block: str, site: str) -> str | None:
        """The group that owns a block replica; None the null group, ``no replica`` if there is none."""
        found = self.rows(
            """SELECT g.name FROM block_replicas r LEFT JOIN groups g ON g.id = r.group_id
            WHERE r.block_id = :b AND r.site_id = :s""",
            b=self.block_ids[block],
            s=self.site_ids[site],
        )
        return found[0][0] if found else "no replica"

    def own(self, block: str, site: str, group: int | None) -> None:
        """Give a block replica to a group."""
        self.rows(
            "UPDATE block_replicas SET group_id = :g WHERE block_id = :b AND site_id = :s",
            g=group,
            b=self.block_ids[block],
            s=self.site_ids[site],
        )

    def grows(self, site: str) -> bool | None:
        """Whether the dataset replica grows; None when there is none."""
        found = self.rows("SELECT is_growing FROM dataset_replicas WHERE site_id = :s", s=self.site_ids[site])
        return bool(found[0][0]) if found else None

    def active(self, action: str, site: str) -> int:
        """Number of active subscriptions."""
        return int(
            self.scalar(
                """SELECT count(*) FROM subscriptions WHERE action = :a AND site_id = :s
                AND state IN ('new', 'inbatch', 'retry', 'held')""",
                a=action,
                s=self.site_ids[site],
            )
        )

    def everything(self) -> dict[str, list[Any]]:
        """All rows that a request could touch."""
        tables = (
            "block_replicas",
            "dataset_replicas",
            "subscriptions",
            "requests",
            "request_items",
            "request_actions",
        )
        return {table: self.rows(f"SELECT * FROM {table} ORDER BY 1, 2") for table in tables}
