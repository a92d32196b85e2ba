"""What one lock covers in the inventory now, and what nothing would protect any more without it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import polars as pl

from dynamo_ops.access.person import Person
from dynamo_ops.database.connection import Database
from dynamo_ops.database.reading import Snapshot
from dynamo_ops.inventory import frames as f
from dynamo_ops.inventory.frames import InventoryFrames, empty
from dynamo_ops.lock.coverage import locked_expr
from dynamo_ops.lock.rows import about_these
from dynamo_ops.lock.store import (
    IN_FORCE,
    lock_row,
    named_datasets,
    not_in_force,
    remove_lock,
    scope_warnings,
    sites_and_groups,
)

NAMED = "unnest($1::text::bigint[]) AS named (dataset_id)"
"""The datasets by their ids. As a condition, ``= ANY``, the text is read anew for each row: minutes for 200,000."""


@dataclass(frozen=True)
class Coverage:
    """What a lock covers now. ``lock``: its row. ``sites``: by name, site, num_block_replicas, size_bytes (on disk)."""

    lock: dict[str, object]
    sites: pl.DataFrame
    warnings: tuple[str, ...]

    @property
    def num_block_replicas(self) -> int:
        """At all sites."""
        return int(self.sites["num_block_replicas"].sum())

    @property
    def size_bytes(self) -> int:
        """On disk, at all sites."""
        return int(self.sites["size_bytes"].sum())

    @property
    def document(self) -> dict[str, object]:
        """All of it, plainly."""
        amounts = {"num_block_replicas": self.num_block_replicas, "size_bytes": self.size_bytes}
        return {**vars(self), "sites": self.sites.to_dicts(), "warnings": list(self.warnings), **amounts}


@dataclass(frozen=True)
class Unprotected(Coverage):
    """What a lock covers now and no other lock in force. ``num_datasets``, ``num_blocks``: distinct ones, in all.
    ``num_still_locked``: block replicas that another lock covers too."""

    num_datasets: int
    num_blocks: int
    num_still_locked: int


def lock_coverage(database: Database, lock_id: int) -> Coverage:
    """What a lock covers now, or would cover if it were in force. Raises InventoryError if there is none."""
    lock = lock_row(database, lock_id)
    with database.snapshot() as snapshot:
        frames = _frames_of(snapshot, lock)
    warnings = scope_warnings(frames, str(lock["sites"]), str(lock["groups"]))
    covered = _by_site(frames.block_replicas.filter(locked_expr(frames)), frames)
    if covered.is_empty():
        warnings.append("it covers nothing that is there now")
    return Coverage(lock, covered, tuple(warnings))


def unprotected_without(database: Database, lock_id: int) -> Unprotected:
    """What no lock would cover any more if this one were removed now. Raises InventoryError when it is not in force."""
    lock = lock_row(database, lock_id)
    if not lock["is_in_force"]:
        raise not_in_force(lock)
    with database.snapshot() as snapshot:
        others = snapshot.frame(
            f"SELECT l.item, l.sites, l.groups FROM locks AS l WHERE l.id <> $1 AND {IN_FORCE}", (lock_id,)
        )
        frames = _frames_of(snapshot, lock, others)
        others = about_these(others, frames.datasets["dataset"])
    covered = frames.block_replicas.filter(locked_expr(frames))
    bare = covered.filter(~locked_expr(replace(frames, locks=others)))
    return Unprotected(
        lock,
        _by_site(bare, frames),
        (),
        num_datasets=bare["dataset_id"].n_unique(),
        num_blocks=bare["block_id"].n_unique(),
        num_still_locked=covered.height - bare.height,
    )


def removal(database: Database, lock_id: int, *, reason: str, by: Person) -> dict[str, object]:
    """Take a lock back: what nothing protects any more, plainly. Raises as ``remove_lock``."""
    bare = unprotected_without(database, lock_id)
    remove_lock(database, lock_id, reason=reason, by=by)
    document = {name: field for name, field in bare.document.items() if name not in ("lock", "warnings")}
    return {"id": lock_id, "state": "removed", "is_in_force": False, **document}


def _frames_of(snapshot: Snapshot, lock: dict[str, object], others: pl.DataFrame | None = None) -> InventoryFrames:
    """The datasets that a lock may mean, their block replicas, and the lock itself. Their blocks (millions, for a wide
    glob) only where the lock, or one of the ``others`` that is about these datasets, names blocks."""
    dataset, _, block = str(lock["item"]).partition("#")
    datasets = named_datasets(snapshot, dataset)
    others = about_these(others, datasets["dataset"]) if others is not None else empty(f.LOCKS)
    ids = "{" + ",".join(map(str, datasets["dataset_id"])) + "}"
    are_blocks_named = bool(block) or others["item"].str.contains("#", literal=True).any()
    blocks = snapshot.frame(
        f"SELECT id AS block_id, dataset_id, name AS block FROM {NAMED} JOIN blocks USING (dataset_id)",
        (ids if are_blocks_named else "{}",),
    )
    replicas = snapshot.frame(
        f"""SELECT block_id, dataset_id, site_id::bigint AS site_id, group_id::bigint AS group_id, size_bytes
            FROM {NAMED} JOIN block_replicas USING (dataset_id)""",
        (ids,),
    )
    small = sites_and_groups(snapshot)
    locks = pl.DataFrame({name: [str(lock[name])] for name in f.LOCKS}, schema=dict(f.LOCKS))
    return InventoryFrames(
        small.sites, small.groups, datasets, blocks, empty(f.DATASET_REPLICAS), replicas, locks=locks
    )


def _by_site(block_replicas: pl.DataFrame, frames: InventoryFrames) -> pl.DataFrame:
    """site, num_block_replicas, size_bytes; by name."""
    return (
        block_replicas.join(frames.sites, on="site_id")
        .group_by("site")
        .agg(num_block_replicas=pl.len().cast(pl.Int64), size_bytes=pl.col("size_bytes").sum())
        .sort("site")
    )
