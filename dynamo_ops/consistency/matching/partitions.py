"""Keys in 16 files by their first bits, in the order in which their lines came: one file is sorted in memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from dynamo_ops.consistency.matching.manifest import no_list

if TYPE_CHECKING:
    from dynamo_ops.consistency.matching.key import Hashes

PARTITION_BITS = 4
PARTITIONS = 1 << PARTITION_BITS


class KeyFiles:
    """The files of one list while it is written."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[int, BinaryIO] = {}
        self.num_keys = [0] * PARTITIONS
        folder.mkdir(parents=True)

    def append(self, keys: Hashes) -> None:
        """Add the keys of some lines."""
        import numpy as np  # slow to import

        partitions = (keys >> np.uint64(64 - PARTITION_BITS)).astype(np.uint8)
        ordered = keys[np.argsort(partitions, kind="stable")]
        begin = 0
        for number, length in enumerate(np.bincount(partitions, minlength=PARTITIONS).tolist()):
            if length:
                self._file(number).write(ordered[begin : begin + length].data.cast("B"))
            self.num_keys[number] += length
            begin += length

    def _file(self, number: int) -> BinaryIO:
        if number not in self._files:
            self._files[number] = _path(self._folder, number).open("wb")
        return self._files[number]

    def close(self) -> None:
        """All is in the files."""
        for file in self._files.values():
            file.close()


class KeyFolder:
    """The files of a list that is whole. ``num_keys``: by partition."""

    def __init__(self, folder: Path, num_keys: list[int]) -> None:
        self._folder = folder
        self.num_keys = num_keys

    def read(self, number: int, into: Hashes) -> None:
        """The keys of a partition. ``InventoryError`` where they are not as many as there were."""
        if not self.num_keys[number]:
            return
        path = _path(self._folder, number)
        try:
            with path.open("rb") as file:
                is_whole = file.readinto(into.data.cast("B")) == into.nbytes and not file.read(1)
        except FileNotFoundError:
            is_whole = False
        if not is_whole:
            raise no_list(path, f"these are not its {self.num_keys[number]} keys")


def _path(folder: Path, number: int) -> Path:
    return folder / f"{number:x}.keys"
