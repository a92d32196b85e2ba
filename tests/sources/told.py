"""A small world of datasets that any metadata source can be made to tell, and the frames that it must give then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import polars as pl

from dynamo_ops.sources.source import BLOCKS, DATASETS, FILES


@dataclass(frozen=True)
class File:
    lfn: str
    size_bytes: int
    adler32: str | None
    is_valid: bool = True


@dataclass(frozen=True)
class Block:
    block: str
    is_open: bool
    last_update_at: datetime
    files: Sequence[File]

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)


@dataclass(frozen=True)
class Dataset:
    dataset: str
    status: str
    last_update_at: datetime
    software_release: str
    blocks: Sequence[Block] = field(default_factory=list)

    @property
    def is_open(self) -> bool:
        return self.status == "production"


def day(number: int) -> datetime:
    return datetime(2026, 3, number, tzinfo=UTC)


def files(stem: str, number: int, *, is_valid: bool = True) -> list[File]:
    return [File(f"{stem}/{n:03d}.root", 10**9 + n, f"{n * 77:08x}", is_valid) for n in range(number)]


MUONS = Dataset(
    "/Muons/Run2026A-v1/AOD",
    "production",
    day(1),
    "SW_1_0_0",
    [
        Block("0a-1", False, day(1), files("/store/muons/1", 5)),
        Block("0a-2", True, day(2), files("/store/muons/2", 3)),
    ],
)
STRANGE = Dataset(
    '/Jets and more/Rün2026A-v2/it\'s "RAW", they say',
    "valid",
    day(2),
    "SW_1_0_0",
    [Block("b 1'ü", False, day(2), [File('/store/jets and more/ñ, "x" it\'s;1.root', 7, "0000001f")])],
)
INVALID = Dataset(
    "/Old/Run2025B-v1/AOD",
    "invalid",
    day(3),
    "SW_0_9_0",
    [Block("c-1", False, day(1), [*files("/store/old", 2, is_valid=False), *files("/store/sound", 1)])],
)
EMPTY = Dataset("/Empty/Run2026C-v1/AOD", "deprecated", day(4), "SW_0_9_0")
WORLD = (MUONS, STRANGE, INVALID, EMPTY)


def datasets_frame(world: Sequence[Dataset]) -> pl.DataFrame:
    rows = [[getattr(dataset, name) for name in DATASETS] for dataset in world]
    return pl.DataFrame(rows, schema=dict(DATASETS), orient="row")


def blocks_frame(world: Sequence[Dataset]) -> pl.DataFrame:
    rows = [
        [dataset.dataset, block.block, block.is_open, block.size_bytes, len(block.files), block.last_update_at]
        for dataset in world
        for block in dataset.blocks
    ]
    return pl.DataFrame(rows, schema=dict(BLOCKS), orient="row")


def files_frame(world: Sequence[Dataset]) -> pl.DataFrame:
    rows = [
        [dataset.dataset, block.block, file.lfn, file.size_bytes, file.adler32, file.is_valid]
        for dataset in world
        for block in dataset.blocks
        for file in block.files
    ]
    return pl.DataFrame(rows, schema=dict(FILES), orient="row")
