"""Hand-over (SEMANTICS §3.4): blocks owned at block level that a dataset-level owner takes instead of their
deletion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dynamo_ops.detox.state import Flags, State
from dynamo_ops.policy.image import Indices


@dataclass(frozen=True)
class Handover:
    """For each row to be deleted: ``is_kept`` (handed over), to which ``group`` index, and whether it
    ``leaves_image`` thereby."""

    is_kept: Flags
    group: Indices
    leaves_image: Flags


def handed_over(state: State, rows: Indices) -> Handover:
    """Which of ``rows`` change owner. The rows of one replica are deleted together.

    Only when a proper subset of what the replica has in the image goes, and a group with ownership level dataset owns a
    block of it (those that go included; several: the first by name).
    """
    group = np.full(len(rows), -1, dtype=np.int64)
    nothing = np.zeros(len(rows), dtype=np.bool_)
    if not len(rows):
        return Handover(nothing, group, nothing)
    replicas, counts = np.unique(state.replica[rows], return_counts=True)
    present = state.rows_of_replicas(replicas)
    owners = state.group[present]
    is_dataset_level = state.image.groups["is_dataset_level"].to_numpy()
    big = len(is_dataset_level)
    heir = np.full(state.is_final.shape[0], big, dtype=np.int64)
    np.minimum.at(heir, state.replica[present], np.where(is_dataset_level[owners], owners, big))
    left = np.bincount(np.searchsorted(replicas, state.replica[present]), minlength=len(replicas))
    heir[replicas[left == counts]] = big
    new_group = heir[state.replica[rows]]
    is_kept = (new_group < big) & ~is_dataset_level[state.group[rows]]
    leaves = np.zeros(len(rows), dtype=np.bool_)
    if is_kept.any():
        leaves[is_kept] = ~state.stays_in_partition(rows[is_kept], new_group[is_kept])
    return Handover(is_kept, np.where(is_kept, new_group, -1), leaves)
