"""What must not go although the policy lets it go: it is set aside, and the next in ``Order`` takes its place
(SEMANTICS §10).

Asked of block replicas while a cycle deletes: copies that have gone by then count no more. The commit and the executor
ask again, by file.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import numpy.typing as npt
import polars as pl

from dynamo_ops.inventory.frames import InventoryFrames
from dynamo_ops.inventory.replica.good import KEYS, good_replicas, is_sure_site
from dynamo_ops.inventory.states import LAST_COPY, LAST_SOURCE, LOCKED, NEEDED, SHARED
from dynamo_ops.policy.evaluation.image import Flags, Image, Indices
from dynamo_ops.quality.thresholds import LastCopies

Codes = npt.NDArray[np.int8]


class Aside(IntEnum):
    """Why a block replica must stay; of several the first."""

    NONE = 0
    LOCKED = 1
    NEEDED = 2
    LAST_SOURCE = 3
    LAST_COPY = 4
    SHARED = 5


WORDS = (None, LOCKED, NEEDED, LAST_SOURCE, LAST_COPY, SHARED)
"""The reasons as people read them, by ``Aside``."""


class Guard:
    """``last_copies``: as in ``gates.yaml``. ``frames``: without what is doomed; copies outside the image count too."""

    def __init__(self, frames: InventoryFrames, image: Image, last_copies: LastCopies) -> None:
        self.image = image
        self.last_copies = last_copies
        self._block, first = image.blocks
        ids = np.zeros(int(first[-1]), dtype=np.int64)
        ids[self._block] = image.block_id
        blocks = pl.DataFrame({"block_id": ids})
        sure = image.sites.select(is_sure_site(frames)).to_series().to_numpy()
        self._is_good: Flags = image.is_sound & sure[image.site]
        self._num_good = _count(blocks, good_replicas(frames))
        owned = frames.block_replicas.filter(~pl.col("is_complete") & pl.col("group_id").is_not_null())
        waiting = pl.concat([frames.awaited, owned.select(KEYS)]).unique()
        self._num_waiting = _count(blocks, waiting)
        self._is_waiting = _rows_among(image, waiting)
        self._is_dismissed = np.zeros(len(ids), dtype=np.bool_)
        self._is_shared = _is_shared(frames, image)

    def reasons(self, rows: Indices, *, by_delete_line: Flags, is_needed: Flags) -> Codes:
        """Of each row why it must stay (``Aside``), as things stand. ``by_delete_line``: a Delete line takes it."""
        reasons = np.zeros(len(rows), dtype=np.int8)
        alone = np.flatnonzero(self._num_good[self._block[rows]] <= self._is_good[rows])
        if len(alone):
            at = rows[alone]
            is_lost = self.image.size_bytes[at] > 0
            if self.last_copies != "never":
                may_be_last = by_delete_line[alone] & ~self._is_dismissed[self._block[at]]
                is_lost &= ~may_be_last & (self.last_copies == "delete_lines")
            is_awaited = self._num_waiting[self._block[at]] > self._is_waiting[at]
            reasons[alone] = np.where(is_awaited, Aside.LAST_SOURCE, np.where(is_lost, Aside.LAST_COPY, Aside.NONE))
        reasons[(reasons == Aside.NONE) & self._is_shared[rows]] = Aside.SHARED
        reasons[is_needed] = Aside.NEEDED
        reasons[self.image.is_locked[rows]] = Aside.LOCKED
        return reasons

    def note_gone(self, rows: Indices, *, by_delete_line: Flags) -> None:
        """These rows are deleted now. The last of a block is a last copy by each line that took one: where one was no
        Delete line, the others must stay."""
        is_dismissed = ~by_delete_line & (self.image.size_bytes[rows] > 0)
        self._is_dismissed[self._block[rows[is_dismissed]]] = True
        good = rows[self._is_good[rows]]
        np.subtract.at(self._num_good, self._block[good], 1)


def _is_shared(frames: InventoryFrames, image: Image) -> Flags:
    """By row of the image: what goes there is gone at another site too. Where nobody declared that they share their
    storage this is all that is there, else what the other has too."""
    pairs = frames.shared_storages
    undeclared = pairs.filter(~pl.col("is_declared"))["site_id"]
    at_other = frames.block_replicas.select("block_id", other_id="site_id").join(pairs, on="other_id")
    of_site = image.sites.select(pl.col("site_id").is_in(undeclared.implode())).to_series().to_numpy()
    return np.asarray(of_site[image.site] | _rows_among(image, at_other.select(KEYS).unique()))


def _count(blocks: pl.DataFrame, pairs: pl.DataFrame) -> Indices:
    """By block of ``blocks``: how many rows of ``pairs`` are of it."""
    counts = pairs.group_by("block_id").agg(number=pl.len().cast(pl.Int64))
    return (
        blocks.join(counts, on="block_id", how="left", maintain_order="left")["number"].fill_null(0).to_numpy().copy()
    )


def _rows_among(image: Image, pairs: pl.DataFrame) -> Flags:
    """By row of the image: its (block_id, site_id) is one of ``pairs``."""
    if pairs.is_empty():
        return np.zeros(image.num_rows, dtype=np.bool_)
    keys = pl.DataFrame({"block_id": image.block_id, "site_id": image.sites["site_id"].gather(pl.Series(image.site))})
    marked = keys.join(pairs.with_columns(is_marked=pl.lit(True)), on=KEYS, how="left", maintain_order="left")
    return np.asarray(marked["is_marked"].fill_null(False).to_numpy())
