"""The catalogue: what datasets, blocks and files exist, where they were placed, how often they were read.

It is the truth that DBS, the feeds and `replicas.json` tell; the storage may differ from it where a scenario says so.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(slots=True)
class File:
    lfn: str
    size: int
    adler32: str
    file_id: int
    modified_at: int  # unix seconds, like all times here
    events: int
    is_valid: bool = True  # of the file alone: a status of its dataset does not change it


@dataclass(slots=True)
class Block:
    name: str  # /A/B/C#uuid
    block_id: int
    is_open: bool
    origin_site: str
    created_at: int
    modified_at: int
    files: list[File] = field(default_factory=list)

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)


@dataclass(slots=True)
class Dataset:
    name: str
    dataset_id: int
    status: str
    release: str
    group: str
    created_at: int
    modified_at: int
    lfn_prefix: str
    blocks: list[Block] = field(default_factory=list)


@dataclass(slots=True)
class DatasetReplica:
    dataset: str
    site: str
    group: str | None
    growing: bool
    blocks: list[str]


@dataclass(slots=True)
class Access:
    dataset: str
    site: str
    day: str  # YYYY-MM-DD, UTC
    num_accesses: int
    cpu_hours: float
    num_users: int


@dataclass(slots=True)
class Catalogue:
    built_at: int
    datasets: list[Dataset] = field(default_factory=list)
    replicas: list[DatasetReplica] = field(default_factory=list)
    accesses: list[Access] = field(default_factory=list)
    missing: list[tuple[str, str]] = field(default_factory=list)  # (site, lfn): placed, not on the storage
    orphans: list[tuple[str, str]] = field(default_factory=list)  # (site, lfn): on the storage, in no catalogue

    def blocks_by_name(self) -> dict[str, Block]:
        return {block.name: block for dataset in self.datasets for block in dataset.blocks}

    def placed_bytes(self, site: str, group: str) -> int:
        """Bytes that the catalogue places at `site` for `group`."""
        blocks = self.blocks_by_name()
        return sum(
            blocks[name].size
            for replica in self.replicas
            if replica.site == site and replica.group == group
            for name in replica.blocks
        )

    def save(self, path: Path) -> None:
        temporary = path.with_suffix(".new")
        temporary.write_text(json.dumps(asdict(self)), encoding="utf-8")
        os.replace(temporary, path)

    @classmethod
    def load(cls, path: Path) -> Catalogue:
        document = json.loads(path.read_text(encoding="utf-8"))
        return cls(
            built_at=document["built_at"],
            datasets=[_dataset(row) for row in document["datasets"]],
            replicas=[DatasetReplica(**row) for row in document["replicas"]],
            accesses=[Access(**row) for row in document["accesses"]],
            missing=[(site, lfn) for site, lfn in document["missing"]],
            orphans=[(site, lfn) for site, lfn in document["orphans"]],
        )


def _dataset(row: dict[str, Any]) -> Dataset:
    blocks = [Block(**{**block, "files": [File(**file) for file in block["files"]]}) for block in row["blocks"]]
    return Dataset(**{**row, "blocks": blocks})
