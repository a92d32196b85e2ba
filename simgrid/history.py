"""The catalogue as it was: blocks and files appear one after the other, datasets leave production, accesses come late.

What DBS and the access feed tell depends on the grid's clock (`Clock`). Without one they tell the end of the story.
"""

from __future__ import annotations

import zlib
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from simgrid.catalogue import Access, Block, Catalogue, Dataset

LATE_ONE_IN = 5  # so many accesses are known a day later than the others of their day


class Clock:
    """What time it is in the grid's world; None: the end."""

    def __init__(self) -> None:
        self.moment: datetime | None = None

    def datasets(self, catalogue: Catalogue) -> list[Dataset]:
        """The datasets as DBS knew them."""
        if self.moment is None:
            return catalogue.datasets
        at = int(self.moment.timestamp())
        return [_dataset(dataset, at) for dataset in catalogue.datasets if dataset.created_at <= at]

    def accesses(self, catalogue: Catalogue) -> list[Access]:
        """The accesses that monitoring had by then."""
        moment = self.moment
        return [access for access in catalogue.accesses if moment is None or _known_at(access) <= moment]


def _dataset(dataset: Dataset, at: int) -> Dataset:
    """In production until its last modification, when it got the status that it has. Blocks do not move its time."""
    blocks = [_block(block, at) for block in dataset.blocks if block.created_at <= at]
    if dataset.modified_at <= at:
        return replace(dataset, blocks=blocks)
    return replace(dataset, blocks=blocks, status="PRODUCTION", modified_at=dataset.created_at)


def _block(block: Block, at: int) -> Block:
    """Open until the last of its files was there."""
    if block.modified_at <= at:
        return block
    files = [file for file in block.files if file.modified_at <= at]
    last = max((file.modified_at for file in files), default=block.created_at)
    return replace(block, is_open=True, modified_at=last, files=files)


def _known_at(access: Access) -> datetime:
    """Midnight after the day; for some a day later."""
    is_late = zlib.crc32(f"{access.dataset} {access.site} {access.day}".encode()) % LATE_ONE_IN == 0
    return datetime.combine(date.fromisoformat(access.day), datetime.min.time(), UTC) + timedelta(days=1 + is_late)
