"""Recipes of the columns that policy variables read: of a dataset replica, and of a single block replica.

Each is a function of a :class:`~dynamo_ops.policy.evaluation.view.View` and gives one value a replica, or one a
block replica. No column has an unknown value: what can be unknown stands in the tables of datasets and sites.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from dynamo_ops.policy.evaluation.view import View

Column = Callable[[View], npt.NDArray[Any]]
DAY_US = 86_400_000_000


def _last_used(view: View) -> npt.NDArray[Any]:
    """Later of the newest block replica and the dataset's last access (unix seconds; never: 1970)."""
    access = view.image.datasets["attribute:last_access"].fill_null(0.0).to_numpy() * 1e6
    return np.maximum(view.newest, access.astype(np.int64)[view.dataset])


def _age(view: View) -> npt.NDArray[Any]:
    """Days behind the newest block replica that remains of the replica."""
    return (view.newest[view.replica_of_row] - view.last_update) / DAY_US


REPLICA_COLUMNS: Mapping[str, Column] = {
    "replica_size_bytes": lambda view: view.sums(view.size_bytes),
    "is_incomplete": lambda view: ~view.is_complete_replica,
    "last_block_created_at": lambda view: view.newest,
    "first_block_created_at": lambda view: np.minimum.reduceat(view.last_update, view.starts),
    "last_used_at": _last_used,
    "has_locked_block": lambda view: view.any(view.is_locked),
    "num_full_disk_copy": lambda view: view.copies.num_disk,
    "num_full_copy": lambda view: view.copies.num_all,
    "dataset_on_tape": lambda view: view.copies.on_tape,
    "num_full_disk_copy_common_owner": lambda view: view.common_owner_copies[0],
    "num_full_other_copy_common_owner": lambda view: view.common_owner_copies[1],
    "enforcer_protected": lambda view: view.is_enforced,
}
"""By replica. ``dataset_on_tape`` is the place in ``variables.ON_TAPE``; times are microseconds."""

BLOCK_COLUMNS: Mapping[str, Column] = {
    "last_update_at": lambda view: view.last_update,
    "is_locked": lambda view: view.is_locked,
    "block_num_full_disk_copy": lambda view: view.block_copies.num_complete,
    "block_on_tape": lambda view: view.block_copies.is_on_tape,
    "is_last_transfer_source": lambda view: view.block_copies.is_last_source,
    "age_relative_to_newest": _age,
}
"""By block replica; the copies of its block are counted over all replicas, seen whole."""
