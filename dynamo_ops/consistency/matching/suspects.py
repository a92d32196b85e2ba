"""Which buckets hold a key that is on one side only: told from the keys alone, one partition at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dynamo_ops.consistency.matching.key import BUCKET_BITS
from dynamo_ops.consistency.matching.partitions import PARTITION_BITS, PARTITIONS, KeyFolder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from dynamo_ops.consistency.matching.key import Hashes

_BITS_LEFT = BUCKET_BITS - PARTITION_BITS
"""Of a bucket's number, within a partition."""


class Buckets:
    """A set of buckets: one bit each, 16 MB whatever the lists."""

    def __init__(self) -> None:
        import numpy as np  # slow to import

        self._bytes = np.zeros((1 << BUCKET_BITS) // 8, np.uint8)

    def add(self, numbers: Hashes) -> None:
        """Add these."""
        import numpy as np  # slow to import

        np.bitwise_or.at(self._bytes, numbers >> np.uint64(3), np.uint8(1) << (numbers & np.uint64(7)).astype(np.uint8))

    def has(self, numbers: Hashes) -> NDArray[np.bool_]:
        """Which of these it has."""
        import numpy as np  # slow to import

        bits = self._bytes[numbers >> np.uint64(3)] >> (numbers & np.uint64(7)).astype(np.uint8)
        return np.asarray(bits & 1, np.bool_)


class Suspects:
    """``differing``: buckets in which not every line of one side has its only like on the other. ``lone``: those of
    them with a single line, of whichever side: no other line can have its name. ``num_inventory``, ``num_storage``:
    keys that are on one side only, or there more often."""

    def __init__(self, inventory: KeyFolder, storage: KeyFolder) -> None:
        import numpy as np  # slow to import

        self.num_inventory = self.num_storage = 0
        self.differing, self.lone = Buckets(), Buckets()
        for partition in range(PARTITIONS):
            length = inventory.num_keys[partition]
            lines = np.empty(length + storage.num_keys[partition], np.uint64)
            inventory.read(partition, lines[:length])
            storage.read(partition, lines[length:])
            self._compare(partition, lines, length)

    def _compare(self, partition: int, lines: Hashes, num_inventory: int) -> None:
        """All keys of the partition in one order. The last bit tells the side, in place of bits that all share."""
        import numpy as np  # slow to import

        lines <<= np.uint64(PARTITION_BITS)
        lines[num_inventory:] |= np.uint64(1)
        lines.sort()
        is_pair = (lines[:-1] ^ lines[1:]) == 1
        is_alone = np.ones(len(lines), np.bool_)
        is_alone[:-1] &= ~is_pair
        is_alone[1:] &= ~is_pair
        alone = np.flatnonzero(is_alone)
        if not len(alone):
            return
        num_storage = int((lines[alone] & np.uint64(1)).sum())
        self.num_storage += num_storage
        self.num_inventory += len(alone) - num_storage
        shift = np.uint64(64 - _BITS_LEFT)
        numbers = lines[alone] >> shift  # within the partition
        is_lone = (alone == 0) | (lines[alone - 1] >> shift != numbers)
        is_lone &= (alone == len(lines) - 1) | (lines[(alone + 1) % len(lines)] >> shift != numbers)
        numbers |= np.uint64(partition << _BITS_LEFT)
        self.differing.add(numbers)
        self.lone.add(numbers[is_lone])
