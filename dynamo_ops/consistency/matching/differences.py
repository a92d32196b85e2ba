"""What differs between two lists: by keys which lines are in doubt, then by name what they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from dynamo_ops.consistency.matching.file_list import FileList
from dynamo_ops.consistency.matching.key import POLARS_KEY, KeyFunction, buckets
from dynamo_ops.consistency.matching.suspects import Suspects
from dynamo_ops.consistency.matching.writer import NAME, SIZE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_CANDIDATES = 1_000_000
"""Lines of both lists whose names are held at once."""
SAMPLED = 1_000
"""What is named of more."""
_HELD_OF_MORE = 20 * SAMPLED
CHANGED = "modified_at"
STORED = "_stored"
"""At the end of the columns of the storage's line, beside the inventory's."""
_BUCKET = "bucket"


class Concern(NamedTuple):
    """Of some lines: ``counts``: those that are compared at all, by their names alone, so that both lists agree on it.
    ``matters``: of which something follows if no line of the other list can have their name: the rest of these is only
    counted."""

    counts: pl.Series
    matters: pl.Series


Watch = Callable[[pl.DataFrame], Concern]
"""Sees every line of a list once, in batches."""


@dataclass(frozen=True)
class Differences:
    """``only_inventory``, ``only_storage``: names that only one list has. ``other_size``: names of both that have no
    size in common, the storage's columns with ``STORED``. ``repeated``: lines of the storage whose name has another.

    ``num_unheard``: lines of the storage that the inventory has not, beyond ``only_storage``: nothing follows of them.
    ``num_candidates``: lines in doubt, by list. ``sampled``: 1; or, where they were more than may be named, the part of
    all names that was compared: then the frames are of this part, and have ``SAMPLED`` lines at most.
    """

    only_inventory: pl.DataFrame
    only_storage: pl.DataFrame
    other_size: pl.DataFrame
    repeated: pl.DataFrame
    num_unheard: int
    num_candidates: tuple[int, int]
    sampled: float = 1.0


def all_lines(lines: pl.DataFrame) -> Concern:
    """Every line counts, and matters."""
    every = pl.repeat(True, lines.height, eager=True)
    return Concern(every, every)


def differences(
    inventory: FileList,
    storage: FileList,
    watch_inventory: Watch = all_lines,
    watch_storage: Watch = all_lines,
    *,
    key: KeyFunction = POLARS_KEY,
    max_candidates: int = MAX_CANDIDATES,
) -> Differences:
    """Compare two lists. Each is read once, batch by batch; what is held of them are the lines in doubt."""
    with inventory.keyed(key) as inventory_keys, storage.keyed(key) as storage_keys:
        suspects = Suspects(inventory_keys, storage_keys)
    candidates = _Candidates(suspects, key, max_candidates)
    expected = candidates.gather(inventory, watch_inventory)
    stored = candidates.gather(storage, watch_storage)
    sampled = 1 / candidates.every
    del suspects, candidates  # what they hold is as much as the lines
    return _joined(expected, stored, sampled)


@dataclass
class _Gathered:
    """Of one list. ``lines``: with ``_BUCKET``, some at a time. ``number``: of all, whatever was let go again."""

    lines: list[pl.DataFrame]
    number: int = 0
    num_unheard: int = 0

    def taken(self) -> pl.DataFrame:
        """All of them; they are not held here any more."""
        lines = pl.concat(self.lines).drop(_BUCKET)
        self.lines.clear()
        return lines


class _Candidates:
    """The lines in doubt of both lists: all of them, or those of every so manieth bucket, for both the same."""

    def __init__(self, suspects: Suspects, key: KeyFunction, limit: int) -> None:
        self._suspects, self._key, self._limit = suspects, key, limit
        self._gathered: list[_Gathered] = []
        self.every = 1

    def gather(self, files: FileList, watch: Watch) -> _Gathered:
        """Those of one list; ``watch`` sees all its lines on the way."""
        import numpy as np  # slow to import

        gathered = _Gathered([])
        self._gathered.append(gathered)
        for lines in files.batches():
            concern = watch(lines)
            numbers = buckets(self._key.hashes(lines[NAME]))
            counts = _array(concern.counts) & self._suspects.differing.has(numbers)
            at = np.flatnonzero(counts & ~_array(concern.matters))
            idle = at[self._suspects.lone.has(numbers[at])]
            counts[idle] = False
            gathered.num_unheard += len(idle)
            gathered.number += int(counts.sum())
            counts &= numbers % np.uint64(self.every) == 0
            if counts.any() or not gathered.lines:
                kept = lines.with_columns(pl.Series(_BUCKET, numbers)).filter(pl.Series(counts))
                gathered.lines.append(_alone(kept))
                self._thin()
        return gathered

    def _thin(self) -> None:
        """Hold no more than may be held; from when they are more, no more than a sample needs."""
        if self._num_held() <= self._limit:
            return
        while self._num_held() > min(self._limit, _HELD_OF_MORE):
            self.every *= 4
            is_kept = pl.col(_BUCKET) % self.every == 0
            for gathered in self._gathered:
                gathered.lines[:] = [_alone(lines.filter(is_kept)) for lines in gathered.lines]

    def _num_held(self) -> int:
        return sum(lines.height for gathered in self._gathered for lines in gathered.lines)


def _joined(expected: _Gathered, stored: _Gathered, sampled: float) -> Differences:
    """What the names say."""
    here, there = expected.taken(), stored.taken()
    if CHANGED in there.columns:
        there = there.sort(CHANGED, nulls_last=True, maintain_order=True)
    both = here.join(there, on=NAME, suffix=STORED, maintain_order="left_right")
    alike = both.filter(pl.col(SIZE).eq_missing(pl.col(f"{SIZE}{STORED}")))
    frames = (
        here.join(there, on=NAME, how="anti", maintain_order="left").unique(NAME, maintain_order=True),
        there.join(here, on=NAME, how="anti", maintain_order="left").unique(NAME, keep="last", maintain_order=True),
        both.join(alike, on=NAME, how="anti", maintain_order="left").unique(NAME, keep="last", maintain_order=True),
        there.filter(~pl.col(NAME).is_first_distinct()),
    )
    only_here, only_there, other_size, repeated = (frame.head(SAMPLED) if sampled < 1 else frame for frame in frames)
    numbers = (expected.number, stored.number)
    return Differences(only_here, only_there, other_size, repeated, stored.num_unheard, numbers, sampled)


def _array(mask: pl.Series) -> NDArray[np.bool_]:
    return mask.fill_null(False).to_numpy()


def _alone(lines: pl.DataFrame) -> pl.DataFrame:
    """A copy that does not keep the batch in memory which its names are from."""
    copied = pl.from_arrow(lines.to_arrow(compat_level=pl.CompatLevel.oldest()))
    assert isinstance(copied, pl.DataFrame)
    return copied
