"""The image of a partition while a cycle works on it: who is left, who owns what, what each line said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt
import polars as pl

from dynamo_ops.inventory.frames import InventoryFrames
from dynamo_ops.policy.attributes import site_table
from dynamo_ops.policy.check import CheckedPolicy
from dynamo_ops.policy.compile import any_condition_expr, predicate_expr
from dynamo_ops.policy.image import Image, Indices, lay_out, tape_placeholders
from dynamo_ops.policy.partition import Partitions, partition_expr, partition_quota
from dynamo_ops.policy.variables import Column

Flags = npt.NDArray[np.bool_]


class Verdict(IntEnum):
    """What the last evaluation said of a block replica. Names in lower case are decisions of the plan."""

    NONE = 0
    PROTECT = 1
    DELETE = 2
    KEEP = 3
    IGNORE = 4
    REOWNED = 5


@dataclass
class State:
    """Arrays by row of ``image.blocks``, by ``replica`` and by site; the only things that a cycle changes.

    By row: ``is_left`` (still in the image), ``is_hidden`` (handed over by a Delete line in this iteration), ``group``,
    ``verdict``, ``line``, ``is_partial``, ``delete_order`` (0 not deleted), ``is_fixed`` (may not be deleted:
    placeholder, or the site's quota is unknown). By replica: ``is_final``,
    ``has_dismissed`` (blocks that a Dismiss line took and that may go), ``order_keys`` (keys × replicas). By site:
    ``bytes_left``, ``protected_bytes``, ``is_triggered``; ``quota`` (0 where ``has_quota`` is false).
    """

    image: Image
    in_partition: pl.Expr
    has_quota: Flags
    quota: Indices
    is_target: Flags
    is_left: Flags
    is_hidden: Flags
    is_fixed: Flags
    group: Indices
    verdict: npt.NDArray[np.int8]
    line: npt.NDArray[np.int32]
    is_partial: Flags
    delete_order: npt.NDArray[np.int32]
    is_final: Flags
    has_dismissed: Flags
    order_keys: npt.NDArray[np.float64]
    bytes_before: Indices
    bytes_left: Indices
    protected_bytes: Indices
    is_triggered: Flags
    was_triggered: Flags
    replica: Indices
    dataset: Indices
    site: Indices
    size: Indices
    site_of_replica: Indices
    dataset_of_replica: Indices
    first_row_of_replica: Indices

    def rows_of_replicas(self, replicas: Indices) -> Indices:
        """Row numbers of these replicas that are left."""
        starts, ends = self.first_row_of_replica[replicas], self.first_row_of_replica[replicas + 1]
        counts = ends - starts
        offsets = np.repeat(np.cumsum(counts) - counts, counts)
        rows = np.repeat(starts, counts) + np.arange(int(counts.sum())) - offsets
        return np.asarray(rows[self.is_left[rows]], dtype=np.int64)

    def left_rows(self, datasets: Indices) -> Indices:
        """Row numbers of the block replicas left of these datasets."""
        rows = self.image.rows_of(datasets)
        return np.asarray(rows[self.is_left[rows]], dtype=np.int64)

    def set_verdicts(self, rows: Indices, verdicts: npt.NDArray[np.int8]) -> None:
        """Write what was decided for rows that are left, keeping the sum of protected bytes."""
        was, now = self.verdict[rows] == Verdict.PROTECT, verdicts == Verdict.PROTECT
        change = self.size[rows] * (now.astype(np.int64) - was.astype(np.int64))
        np.add.at(self.protected_bytes, self.site[rows], change)
        self.verdict[rows] = verdicts

    def remove(self, rows: Indices) -> None:
        """Take rows out of the image."""
        protected = rows[self.verdict[rows] == Verdict.PROTECT]
        np.subtract.at(self.protected_bytes, self.site[protected], self.size[protected])
        np.subtract.at(self.bytes_left, self.site[rows], self.size[rows])
        self.is_left[rows] = False
        self.is_hidden[rows] = False

    def stays_in_partition(self, rows: Indices, groups: Indices) -> Flags:
        """For each row: the partition still takes it when owned by the group at that index."""
        image = self.image
        blocks = image.blocks[rows]
        replicas = blocks.select(
            "block_id",
            "last_update_at",
            image.datasets["dataset_id"].gather(blocks["dataset"]),
            image.sites["site_id"].gather(blocks["site"]),
            image.groups["group_id"].gather(pl.Series(groups)),
        )
        return replicas.select(self.in_partition.alias("inside")).to_series().to_numpy()

    def site_frame(self, bytes_left: Indices | None = None, sites: Indices | None = None) -> pl.DataFrame:
        """What site conditions ask, one row per target site (or per given site index), with these bytes left."""
        index = np.flatnonzero(self.is_target) if sites is None else sites
        left = self.bytes_left[index] if bytes_left is None else bytes_left
        frame = self.image.sites[index].with_columns(
            index=pl.Series(index),
            bytes_left=pl.Series(left),
            quota_bytes=pl.when(pl.Series(self.has_quota[index])).then(pl.Series(self.quota[index])),
            always=pl.lit(True),
            never=pl.lit(False),
        )
        return frame.with_columns(occupancy=occupancy_expr("bytes_left"))

    def decisions(self) -> pl.DataFrame:
        """One row per block replica of the image: names, ids and what was decided."""
        image, blocks = self.image, self.image.blocks
        start, groups = blocks["group"], image.groups["group_id"]
        names = pl.Series([verdict.name.lower() for verdict in Verdict])
        changed = pl.Series((self.group != start.to_numpy()) & (self.delete_order == 0))
        order = pl.Series("delete_order", self.delete_order)
        return blocks.select(
            image.datasets.select("dataset_id", "dataset").select(pl.all().gather(blocks["dataset"])).to_struct("d"),
            image.sites.select("site_id", "site").select(pl.all().gather(blocks["site"])).to_struct("s"),
            "block_id",
            "block",
            groups.gather(start).alias("group_id"),
            pl.when(changed).then(groups.gather(pl.Series(self.group))).alias("new_group_id"),
            names.gather(pl.Series(self.verdict.astype(np.int64))).alias("decision"),
            pl.Series("line", self.line),
            "size_bytes",
            pl.when(order > 0).then(order).alias("delete_order"),
            "is_placeholder",
        ).unnest("d", "s")

    def site_states(self) -> pl.DataFrame:
        """Target sites before and after."""
        frame = self.site_frame()
        index = frame["index"].to_numpy()
        return frame.select(
            "site_id",
            "site",
            "quota_bytes",
            pl.Series("is_triggered", self.was_triggered[index]),
            pl.Series("bytes_before", self.bytes_before[index]),
            pl.Series("bytes_after", self.bytes_left[index]),
            occupancy_after="occupancy",
            protected_bytes=pl.Series(self.protected_bytes[index]),
        ).with_columns(occupancy_before=occupancy_expr("bytes_before"))


def occupancy_expr(column: str) -> pl.Expr:
    """Bytes / ``quota_bytes``. Quota 0: infinite; negative, unlimited: 0; null, unknown: null."""
    quota = pl.col("quota_bytes")
    return (
        pl.when(quota > 0)
        .then(pl.col(column) / quota)
        .when(quota == 0)
        .then(pl.lit(float("inf")))
        .when(quota < 0)
        .then(pl.lit(0.0))
    )


def load_state(
    frames: InventoryFrames,
    policy: CheckedPolicy,
    partitions: Partitions,
    partition: str,
    *,
    attributes: Sequence[str],
    protected_sites: Sequence[str],
) -> State:
    """The state before the first iteration: block replicas of the partition at target sites."""
    quotas = partition_quota(frames, partitions, partition)
    all_sites = site_table(frames).join(quotas, on="site_id", how="left", maintain_order="left")
    in_partition = partition_expr(frames, partitions, partition)
    candidates = pl.concat(
        [frames.block_replicas.with_columns(is_placeholder=pl.lit(False)), tape_placeholders(frames)],
        how="diagonal_relaxed",
    )
    everything = candidates.filter(in_partition)
    sizes = everything.group_by("site_id").agg(pl.col("size_bytes").sum().alias("bytes_left"))
    all_sites = all_sites.join(sizes, on="site_id", how="left", maintain_order="left")
    all_sites = all_sites.with_columns(
        pl.col("bytes_left").fill_null(0), always=pl.lit(True), never=pl.lit(False)
    ).with_columns(occupancy=occupancy_expr("bytes_left"))
    is_target = all_sites.select(site_conditions_expr(policy, "targets").alias("t")).to_series()
    targets = all_sites.filter(is_target)["site_id"]
    inside = everything.filter(pl.col("site_id").is_in(targets.implode()))
    image = lay_out(frames, inside, attributes=attributes, protected_sites=protected_sites)
    return _state(image, in_partition, all_sites["quota_bytes"], is_target, len(policy.order))


def site_conditions_expr(policy: CheckedPolicy, which: str) -> pl.Expr:
    """True where one of the policy's ``targets``, ``triggers`` or ``stops`` holds for certain."""
    conditions = getattr(policy, which)
    columns = {
        (p.variable.name, p.operator, p.values): predicate_expr(p, pl.col(p.variable.source.name), c.source)
        for c in conditions
        for p in c.predicates
        if isinstance(p.variable.source, Column)
    }
    return any_condition_expr(conditions, lambda p: columns[(p.variable.name, p.operator, p.values)])


def _state(image: Image, in_partition: pl.Expr, quota: pl.Series, is_target: pl.Series, num_keys: int) -> State:
    rows, replicas, sites = image.blocks.height, image.replicas.height, image.sites.height
    blocks = image.blocks
    site = blocks["site"].to_numpy().astype(np.int64)
    size = blocks["size_bytes"].to_numpy().astype(np.int64)
    replica = blocks["replica"].to_numpy().astype(np.int64)
    has_quota = quota.is_not_null().to_numpy()
    before = np.zeros(sites, dtype=np.int64)
    np.add.at(before, site, size)
    return State(
        image=image,
        in_partition=in_partition,
        has_quota=has_quota,
        quota=quota.fill_null(0).to_numpy().astype(np.int64),
        is_target=is_target.to_numpy(),
        is_left=np.ones(rows, dtype=np.bool_),
        is_hidden=np.zeros(rows, dtype=np.bool_),
        is_fixed=blocks["is_placeholder"].to_numpy() | ~has_quota[site],
        group=blocks["group"].to_numpy().astype(np.int64),
        verdict=np.zeros(rows, dtype=np.int8),
        line=np.zeros(rows, dtype=np.int32),
        is_partial=np.zeros(rows, dtype=np.bool_),
        delete_order=np.zeros(rows, dtype=np.int32),
        is_final=np.zeros(replicas, dtype=np.bool_),
        has_dismissed=np.zeros(replicas, dtype=np.bool_),
        order_keys=np.zeros((num_keys, replicas)),
        bytes_before=before,
        bytes_left=before.copy(),
        protected_bytes=np.zeros(sites, dtype=np.int64),
        is_triggered=np.zeros(sites, dtype=np.bool_),
        was_triggered=np.zeros(sites, dtype=np.bool_),
        replica=replica,
        dataset=blocks["dataset"].to_numpy().astype(np.int64),
        site=site,
        size=size,
        site_of_replica=image.replicas["site"].to_numpy().astype(np.int64),
        dataset_of_replica=image.replicas["dataset"].to_numpy().astype(np.int64),
        first_row_of_replica=np.searchsorted(replica, np.arange(replicas + 1)).astype(np.int64),
    )
