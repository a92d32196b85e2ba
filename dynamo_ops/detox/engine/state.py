"""The image of a partition while a cycle works on it: who is left, who owns what, what each line said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
import numpy.typing as npt
import polars as pl

from dynamo_ops.detox.engine.evidence import Evidence
from dynamo_ops.detox.engine.guard import WORDS, Aside
from dynamo_ops.detox.engine.site_condition import SiteConditions, occupancy
from dynamo_ops.inventory.frames import InventoryFrames
from dynamo_ops.policy.evaluation.attributes import site_table
from dynamo_ops.policy.evaluation.image import Flags, Image, Indices, Small, lay_out, ranges, tape_placeholders
from dynamo_ops.policy.language.check import CheckedPolicy
from dynamo_ops.policy.partition import Partitions, partition_expr, partition_quota


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
    """Arrays by row of the image, by replica and by site; the only things that a cycle changes.

    By row: ``is_left`` (still in the image), ``is_hidden`` (handed over by a Delete line in this iteration; their
    numbers are in ``hidden``), ``group``, ``verdict``, ``line``, ``is_partial``, ``delete_order`` (0 not deleted),
    ``is_fixed`` (may not be deleted: placeholder, or the site's quota is unknown), ``aside`` (why it must stay, by
    ``guard.Aside``) and ``is_passed_over`` (and it would have gone otherwise). By replica: ``is_final``, ``is_needed``
    (a rule needs it; known with a guard only),
    ``is_live`` (something of it is left, and it is not final), ``has_dismissed`` (blocks that a Dismiss line took and
    that may go), ``order_keys`` (keys × replicas). By site:
    ``bytes_left``, ``protected_bytes``, ``num_dismissed`` (replicas that have dismissed blocks), ``is_triggered``;
    ``quota`` (0 where ``has_quota`` is false).
    """

    image: Image
    has_quota: Flags
    quota: Indices
    is_target: Flags
    is_fixed: Flags
    bytes_before: Indices
    num_keys: int
    hidden: Indices = field(default_factory=lambda: np.empty(0, dtype=np.int64))

    def __post_init__(self) -> None:
        num_rows, num_replicas, num_sites = self.image.num_rows, self.image.num_replicas, self.image.sites.height
        self.is_left: Flags = np.ones(num_rows, dtype=np.bool_)
        self.is_hidden: Flags = np.zeros(num_rows, dtype=np.bool_)
        self.group: Small = self.image.group.copy()
        self.verdict: npt.NDArray[np.int8] = np.zeros(num_rows, dtype=np.int8)
        self.line: Small = np.zeros(num_rows, dtype=np.int32)
        self.is_partial: Flags = np.zeros(num_rows, dtype=np.bool_)
        self.delete_order: Small = np.zeros(num_rows, dtype=np.int32)
        self.aside: npt.NDArray[np.int8] = np.zeros(num_rows, dtype=np.int8)
        self.is_passed_over: Flags = np.zeros(num_rows, dtype=np.bool_)
        self.is_needed: Flags = np.zeros(num_replicas, dtype=np.bool_)
        self.is_final: Flags = np.zeros(num_replicas, dtype=np.bool_)
        self.is_live: Flags = np.ones(num_replicas, dtype=np.bool_)
        self.has_dismissed: Flags = np.zeros(num_replicas, dtype=np.bool_)
        self.order_keys: npt.NDArray[np.float64] = np.zeros((self.num_keys, num_replicas))
        self.bytes_left: Indices = self.bytes_before.copy()
        self.protected_bytes: Indices = np.zeros(num_sites, dtype=np.int64)
        self.num_dismissed: Indices = np.zeros(num_sites, dtype=np.int64)
        self.is_triggered: Flags = np.zeros(num_sites, dtype=np.bool_)
        self.was_triggered: Flags = np.zeros(num_sites, dtype=np.bool_)
        self.handovers: list[tuple[Indices, Small, Small, Flags]] = []

    def rows_of_replicas(self, replicas: Indices) -> Indices:
        """Row numbers of these replicas that are left."""
        first = self.image.first_row
        rows = ranges(first[replicas], first[replicas + 1])
        return np.asarray(rows[self.is_left[rows]], dtype=np.int64)

    def left_rows(self, datasets: Indices) -> Indices:
        """Row numbers of the block replicas left of these datasets."""
        rows = self.image.rows_of(datasets)
        return np.asarray(rows[self.is_left[rows]], dtype=np.int64)

    def set_verdicts(self, rows: Indices, verdicts: npt.NDArray[np.int8]) -> None:
        """Write what was decided for rows that are left, keeping the sum of protected bytes."""
        change = (verdicts == Verdict.PROTECT).astype(np.int8) - (self.verdict[rows] == Verdict.PROTECT)
        changed = np.flatnonzero(change)
        if len(changed):
            at = rows[changed]
            self.protected_bytes += self.by_site(at, self.image.size_bytes[at] * change[changed])
        self.verdict[rows] = verdicts

    def by_site(self, rows: Indices, values: Indices) -> Indices:
        """Sums of ``values`` of these rows, by site: whole numbers, not floats."""
        sums = np.zeros(len(self.quota), dtype=np.int64)
        np.add.at(sums, self.image.site[rows], values)
        return sums

    def remove(self, rows: Indices) -> None:
        """Take rows out of the image."""
        protected = rows[self.verdict[rows] == Verdict.PROTECT]
        self.protected_bytes -= self.by_site(protected, self.image.size_bytes[protected])
        self.bytes_left -= self.by_site(rows, self.image.size_bytes[rows])
        self.is_left[rows] = False
        self.is_hidden[rows] = False

    def hide(self, rows: Indices) -> None:
        """Take rows out of view of their own replica until ``show_hidden``."""
        self.is_hidden[rows] = True
        self.hidden = np.concatenate((self.hidden, rows))

    def show_hidden(self) -> None:
        """Everything that is left is in view again."""
        self.is_hidden[self.hidden] = False
        self.hidden = self.hidden[:0]

    def note_handover(self, rows: Indices, order: Small, group: Small, leaves_image: Flags) -> None:
        """Remember that rows changed their owner at these places in the order of deletion."""
        self.handovers.append((rows, order, group, leaves_image))

    def evidence(self) -> Evidence:
        """What conditions saw, and who changed owner when."""
        image = self.image
        groups = image.groups["group_id"]
        dataset, site = pl.Series(image.dataset), pl.Series(image.site)
        replicas = pl.DataFrame(
            {
                "dataset_id": image.datasets["dataset_id"].gather(dataset),
                "site_id": image.sites["site_id"].gather(site),
                "block_id": image.block_id,
                "is_complete": image.is_complete,
                "is_sound": image.is_sound,
                "last_update_at": pl.Series(image.last_update).cast(pl.Datetime("us", "UTC")),
                "is_locked": image.is_locked,
            }
        )
        none = np.empty(0, dtype=np.int32)
        rows, order, group, leaves = (
            (np.concatenate(column) for column in zip(*self.handovers, strict=True))
            if self.handovers
            else (none, none, none, none.astype(np.bool_))
        )
        handovers = replicas.select("dataset_id", "site_id", "block_id")[rows].with_columns(
            pl.Series("delete_order", order), groups.gather(pl.Series(group)), pl.Series("leaves_image", leaves)
        )
        return Evidence(replicas, handovers, image.datasets, image.sites, image.groups)

    def decisions(self, blocks: pl.DataFrame) -> pl.DataFrame:
        """One row per block replica of the image: names, ids and what was decided. ``blocks``: their names by id."""
        image = self.image
        dataset, site, start = pl.Series(image.dataset), pl.Series(image.site), pl.Series(image.group)
        groups = image.groups["group_id"]
        names = pl.Series([verdict.name.lower() for verdict in Verdict], dtype=pl.Categorical)
        changed = pl.Series((self.group != image.group) & (self.delete_order == 0))
        order = pl.Series(self.delete_order)
        frame = pl.DataFrame({"block_id": image.block_id}).with_columns(
            image.datasets["dataset_id"].gather(dataset),
            image.datasets["dataset"].gather(dataset),
            image.sites["site_id"].gather(site),
            image.sites["site"].gather(site),
            groups.gather(start).alias("group_id"),
            pl.when(changed).then(groups.gather(pl.Series(self.group))).alias("new_group_id"),
            names.gather(pl.Series(self.verdict)).alias("decision"),
            pl.Series("line", self.line),
            pl.Series("size_bytes", image.size_bytes),
            pl.when(order > 0).then(order).alias("delete_order"),
            pl.Series("is_placeholder", image.is_placeholder),
            self._set_aside(),
        )
        return frame.join(blocks.select("block_id", "block"), on="block_id", how="left", maintain_order="left")

    def _set_aside(self) -> pl.Series:
        """By row: why it is not deleted although it was its turn; null otherwise."""
        reasons = pl.Series("set_aside", WORDS, dtype=pl.String)
        return reasons.gather(pl.Series(np.where(self._is_set_aside, self.aside, Aside.NONE)))

    @property
    def _is_set_aside(self) -> Flags:
        is_aside = self.is_passed_over & (self.aside != Aside.NONE)
        return np.asarray(is_aside & self.is_left & (self.verdict == Verdict.KEEP))

    def site_states(self) -> pl.DataFrame:
        """Target sites before and after."""
        index = np.flatnonzero(self.is_target)
        quota, has_quota = self.quota[index], self.has_quota[index]
        before, after = self.bytes_before[index], self.bytes_left[index]
        aside = np.flatnonzero(self._is_set_aside)
        set_aside_bytes = self.by_site(aside, self.image.size_bytes[aside])
        return self.image.sites[index].select(
            "site_id",
            "site",
            pl.when(pl.Series(has_quota)).then(pl.Series(quota)).alias("quota_bytes"),
            pl.Series("is_triggered", self.was_triggered[index]),
            pl.Series("bytes_before", before),
            pl.Series("bytes_after", after),
            pl.Series("protected_bytes", self.protected_bytes[index]),
            pl.Series("set_aside_bytes", set_aside_bytes[index]),
            pl.Series("occupancy_before", occupancy(before, quota, has_quota)).fill_nan(None),
            pl.Series("occupancy_after", occupancy(after, quota, has_quota)).fill_nan(None),
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
    sites = site_table(frames).join(
        partition_quota(frames, partitions, partition), on="site_id", how="left", maintain_order="left"
    )
    has_quota = sites["quota_bytes"].is_not_null().to_numpy()
    quota = sites["quota_bytes"].fill_null(0).to_numpy().astype(np.int64)
    in_partition = partition_expr(frames, partitions, partition)
    inside = frames.block_replicas.filter(in_partition)
    placeholders = tape_placeholders(frames).filter(in_partition)
    if placeholders.height:
        inside = pl.concat([inside, placeholders], how="diagonal_relaxed").with_columns(
            pl.col("is_placeholder").fill_null(False)
        )
    sizes = inside.group_by("site_id").agg(pl.col("size_bytes").sum())
    size_bytes = sites.join(sizes, on="site_id", how="left", maintain_order="left")["size_bytes"].fill_null(0)
    every = np.arange(sites.height)
    targets = SiteConditions(policy.targets, sites, quota, has_quota)
    is_target = targets.hold(every, size_bytes.to_numpy().astype(np.int64))
    if not is_target.all():
        inside = inside.filter(pl.col("site_id").is_in(sites["site_id"].filter(pl.Series(is_target)).implode()))
    image = lay_out(frames, inside, attributes=attributes, protected_sites=protected_sites)
    before = np.zeros(sites.height, dtype=np.int64)
    np.add.at(before, image.site, image.size_bytes)
    return State(
        image=image,
        has_quota=has_quota,
        quota=quota,
        is_target=is_target,
        is_fixed=image.is_placeholder | ~has_quota[image.site],
        bytes_before=before,
        num_keys=len(policy.order),
    )
