"""From scenario to catalogue: names, sizes, checksums, placements and accesses, all following from the seed."""

from __future__ import annotations

import random
import uuid
import zlib
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from itertools import count

from simgrid.catalogue import Access, Block, Catalogue, Dataset, DatasetReplica, File
from simgrid.scenario import Accesses, DatasetShape, Replicas, Scenario


def file_bytes(seed: int, lfn: str, size: int) -> bytes:
    """The content of a file: the same for the same seed, LFN and size."""
    return random.Random(f"{seed}:{lfn}").randbytes(size)


def populate(scenario: Scenario, now: datetime) -> Catalogue:
    """The catalogue a scenario describes, with its ages counted back from `now`."""
    catalogue = Catalogue(built_at=int(now.timestamp()))
    writer = _DatasetWriter(scenario.seed, int(now.timestamp()))
    for name, shape, age in _shapes(scenario):
        catalogue.datasets.append(writer.dataset(name, shape, age))
    placed: dict[tuple[str, str], DatasetReplica] = {}
    for number, line in enumerate(scenario.replicas):
        _place(catalogue, line, random.Random(f"{scenario.seed}:replicas:{number}"), placed)
    catalogue.replicas = list(placed.values())
    _own(catalogue)
    for number, accesses in enumerate(scenario.accesses):
        _access(catalogue, accesses, random.Random(f"{scenario.seed}:accesses:{number}"), now)
    _plant(scenario, catalogue)
    return catalogue


def _shapes(scenario: Scenario) -> list[tuple[str, DatasetShape, float]]:
    shapes: list[tuple[str, DatasetShape, float]] = [(d.name, d, d.age) for d in scenario.datasets]
    for generator in scenario.generators:
        for n in range(generator.count):
            tier = generator.tiers[n % len(generator.tiers)]
            name = generator.name.format(n=n + 1, tier=tier)
            shapes.append((name, generator, generator.age + n * generator.age_step))
    return shapes


class _DatasetWriter:
    """Makes datasets with running ids, as a bookkeeping database would give them."""

    def __init__(self, seed: int, now: int) -> None:
        self._seed = seed
        self._now = now
        self._dataset_ids, self._block_ids, self._file_ids = count(1001), count(20001), count(300001)

    def dataset(self, name: str, shape: DatasetShape, age: float) -> Dataset:
        modified = self._now - int(age)
        spread = int(shape.grown_in or 3600 * shape.blocks)
        dataset = Dataset(
            name=name,
            dataset_id=next(self._dataset_ids),
            status=shape.status,
            release=shape.release,
            group="",
            created_at=modified - spread,
            modified_at=modified,
            lfn_prefix=shape.lfn_prefix,
        )
        for number in range(shape.blocks):
            last = number == shape.blocks - 1
            dataset.blocks.append(self._block(dataset, shape, number, shape.open and last))
        return dataset

    def _block(self, dataset: Dataset, shape: DatasetShape, number: int, is_open: bool) -> Block:
        chance = random.Random(f"{self._seed}:{dataset.name}:{number}")
        span = (dataset.modified_at - dataset.created_at) // shape.blocks
        created = dataset.modified_at - span * (shape.blocks - number)
        name = f"{dataset.name}#{uuid.UUID(int=chance.getrandbits(128), version=4)}"
        block = Block(
            name=name,
            block_id=next(self._block_ids),
            is_open=is_open,
            origin_site="",
            created_at=created,
            modified_at=created + span,
        )
        for place in range(shape.files_per_block):
            size = chance.randint(*shape.file_size_bytes)
            lfn = _lfn(dataset, number, uuid.UUID(int=chance.getrandbits(128), version=4))
            checksum = zlib.adler32(file_bytes(self._seed, lfn, size))
            block.files.append(
                File(
                    lfn=lfn,
                    size=size,
                    adler32=f"{checksum:08x}",
                    file_id=next(self._file_ids),
                    modified_at=created + span * (place + 1) // shape.files_per_block,
                    events=size // 20,
                )
            )
        return block


def _lfn(dataset: Dataset, number: int, name: uuid.UUID) -> str:
    _, primary, processed, tier = dataset.name.split("/")
    era, _, version = processed.partition("-")
    return f"{dataset.lfn_prefix}/{era}/{primary}/{tier}/{version or 'v1'}/{number:05d}/{name}.root"


def _place(
    catalogue: Catalogue, line: Replicas, chance: random.Random, placed: dict[tuple[str, str], DatasetReplica]
) -> None:
    for dataset in catalogue.datasets:
        if not fnmatchcase(dataset.name, line.dataset):
            continue
        sites = line.sites if line.copies is None else chance.sample(line.sites, min(line.copies, len(line.sites)))
        names = [block.name for block in dataset.blocks]
        if line.blocks != "all":
            names = names[: max(1, round(float(line.blocks) * len(names)))]
        for site in sites:
            placed[dataset.name, site] = DatasetReplica(dataset.name, site, line.group, line.growing, list(names))


def _own(catalogue: Catalogue) -> None:
    """Give datasets the group and blocks the origin site of their first replica."""
    first: dict[str, DatasetReplica] = {}
    for replica in catalogue.replicas:
        first.setdefault(replica.dataset, replica)
    for dataset in catalogue.datasets:
        origin = first.get(dataset.name)
        dataset.group = (origin.group if origin else None) or "NoGroup"
        for block in dataset.blocks:
            block.origin_site = origin.site if origin else "UNKNOWN"


def _access(catalogue: Catalogue, line: Accesses, chance: random.Random, now: datetime) -> None:
    here = {(replica.dataset, replica.site) for replica in catalogue.replicas}
    today = now.astimezone(UTC).date()
    for dataset in catalogue.datasets:
        if not fnmatchcase(dataset.name, line.dataset):
            continue
        for back in range(line.days, -1, -1):
            for site in line.sites:
                number = max(1, round(line.per_day * chance.uniform(0.5, 1.5)))
                if (dataset.name, site) in here:
                    day = (today - timedelta(days=back)).isoformat()
                    users = min(number, chance.randint(1, line.users))
                    hours = round(number * line.cpu_hours * chance.uniform(0.8, 1.2), 3)
                    catalogue.accesses.append(Access(dataset.name, site, day, number, hours, users))


def _plant(scenario: Scenario, catalogue: Catalogue) -> None:
    """Choose the files that shall be missing from, or unknown to be on, the storage."""
    blocks = catalogue.blocks_by_name()
    for number, line in enumerate(scenario.missing):
        chance = random.Random(f"{scenario.seed}:missing:{number}")
        lfns = [
            file.lfn
            for replica in catalogue.replicas
            if replica.site == line.site and fnmatchcase(replica.dataset, line.dataset)
            for name in replica.blocks
            for file in blocks[name].files
        ]
        catalogue.missing += [(line.site, lfn) for lfn in chance.sample(lfns, min(line.count, len(lfns)))]
    for number, orphans in enumerate(scenario.orphans):
        chance = random.Random(f"{scenario.seed}:orphans:{number}")
        for _ in range(orphans.count):
            name = uuid.UUID(int=chance.getrandbits(128), version=4)
            catalogue.orphans.append((orphans.site, f"{orphans.directory}/{name}.root"))
