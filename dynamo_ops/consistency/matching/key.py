"""The 64-bit key of a line: the first bits come from the name alone, the others from name and size.

So lines of one name share a bucket, whatever their sizes, and two sizes of one name that are less than 128 GiB apart
never share a key. Two names share one by chance, once in 2^64 pairs: that can hide a difference. It cannot invent one,
since all lines of a bucket in which anything differs are compared by name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Hashes = NDArray[np.uint64]

BUCKET_BITS = 27
_LOW = 64 - BUCKET_BITS
_LOW_BITS = (1 << _LOW) - 1
_ODD = 0x9E3779B97F4A7C15
"""Odd: the multiples of two numbers differ in their low bits if the numbers do."""
SEED = 20_261_201
_PROBES = tuple("/store/" + "a%20é/" * number for number in range(24))


@dataclass(frozen=True)
class KeyFunction:
    """What makes a hash of a name, for all names of a column at once. Where any of what it is told by differs, hashes
    of one are nothing to another."""

    name: str
    version: str
    seed: int
    hashes: Callable[[pl.Series], Hashes] = field(compare=False, repr=False)

    @property
    def identity(self) -> dict[str, Any]:
        """What lists say of the function that made their keys. ``probe``: what it makes of some names, here."""
        probe = hashlib.sha256(self.hashes(pl.Series(_PROBES)).tobytes()).hexdigest()[:16]
        return {"name": self.name, "version": self.version, "seed": self.seed, "probe": probe}


def _polars_hashes(names: pl.Series) -> Hashes:
    return names.hash(SEED).to_numpy()


POLARS_KEY = KeyFunction("polars.Series.hash", pl.__version__, SEED, _polars_hashes)


def line_keys(hashes: Hashes, sizes: pl.Series) -> Hashes:
    """The keys of lines by the hashes of their names, and their sizes."""
    import numpy as np  # slow to import

    numbers = sizes.cast(pl.Int64).fill_null(-1).to_numpy().view(np.uint64)
    low_bits, odd = np.uint64(_LOW_BITS), np.uint64(_ODD)
    return (hashes & ~low_bits) | ((hashes + numbers * odd) & low_bits)


def buckets(hashes: Hashes) -> Hashes:
    """The bucket of each name, or of each key."""
    import numpy as np  # slow to import

    return hashes >> np.uint64(_LOW)
