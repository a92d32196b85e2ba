"""Hand-over (SEMANTICS §3.4): blocks owned at block level that a dataset-level owner takes instead of their
deletion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dynamo_ops.detox.engine.state import State
from dynamo_ops.policy.evaluation.image import Flags, Indices, Small, segments

StaysInPartition = Callable[[Indices, Small], Flags]


@dataclass(frozen=True)
class Handover:
    """For each row to be deleted: ``is_kept`` (handed over), to which ``group`` index, and whether it
    ``leaves_image`` thereby."""

    is_kept: Flags
    group: Small
    leaves_image: Flags

    def of_rows(self, chosen: Flags) -> Handover:
        """What it says of some of the rows: of no replica a part."""
        return Handover(self.is_kept[chosen], self.group[chosen], self.leaves_image[chosen])


def handed_over(state: State, rows: Indices, stays_in_partition: StaysInPartition) -> Handover:
    """Which of ``rows`` (ascending) change owner. The rows of one replica are deleted together.

    Only when a proper subset of what the replica has in the image goes, and a group with ownership level dataset owns a
    block of it (those that go included; several: the first by name).
    """
    nothing = np.zeros(len(rows), dtype=np.bool_)
    group = np.full(len(rows), -1, dtype=np.int32)
    is_dataset_level = state.image.is_dataset_level
    if is_dataset_level[state.group[rows]].all():
        return Handover(nothing, group, nothing)
    _, replicas, place = segments(state.image.replica[rows])
    present = state.rows_of_replicas(replicas.astype(np.int64))
    owners = state.group[present]
    if len(present) == len(rows) or not is_dataset_level[owners].any():
        return Handover(nothing, group, nothing)
    big = len(is_dataset_level)
    heir = np.full(len(replicas), big, dtype=np.int32)
    of = np.searchsorted(replicas, state.image.replica[present])
    np.minimum.at(heir, of, np.where(is_dataset_level[owners], owners, big).astype(np.int32))
    heir[np.bincount(of) == np.bincount(place)] = big
    new_group = heir[place]
    is_kept = (new_group < big) & ~is_dataset_level[state.group[rows]]
    leaves = nothing.copy()
    if is_kept.any():
        leaves[is_kept] = ~stays_in_partition(rows[is_kept], new_group[is_kept])
    return Handover(is_kept, np.where(is_kept, new_group, -1).astype(np.int32), leaves)
