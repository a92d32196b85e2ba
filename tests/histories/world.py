"""The small installation of a history: its database, its storages, its FTS, and what its makers know of data."""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from dynamo_ops.base.errors import DynamoError
from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.catalogue.injection.inject import inject
from dynamo_ops.inventory.site.shared import declare
from dynamo_ops.storage.protocol import Storage
from tests.histories.fts import MemoryFts
from tests.histories.kills import Killer
from tests.histories.places import Content, Place, PlaceStorage
from tests.histories.witness import Witness
from tests.people import TESTER

Something = TypeVar("Something")
OWNER = "ops"
NO_HISTORY = frozenset({"alembic_version", "signing_keys"})
UNTIMED = frozenset({"transfer_hours", "deletion_hours", "audit"})
"""Tables of whole hours, and one that nobody may change."""


MOMENTS = """
    SELECT table_name, column_name FROM information_schema.columns
    WHERE table_schema = 'public' AND data_type LIKE 'timestamp%' ORDER BY 1, 2"""


class NothingToDoError(Exception):
    """A step has nothing that it could be about."""


@dataclass(frozen=True)
class Layout:
    """Which sites lie where: place by site; ``shared``: sites on one storage who say so."""

    places: Mapping[str, str]
    tapes: frozenset[str] = frozenset({"tape"})
    shared: tuple[str, str] | None = None


LAYOUTS = (
    Layout({"T2_A": "a", "T2_B": "b", "T2_C": "c", "T1_MSS": "tape"}),
    Layout({"T2_A": "a", "T2_B": "b", "T2_C": "c"}),
    Layout({"T2_A": "a", "T2_B": "b", "T2_C": "c", "T2_D": "b", "T1_MSS": "tape"}, shared=("T2_B", "T2_D")),
    Layout({"T2_A": "a", "T2_B": "b", "T2_C": "c", "T2_D": "b"}),
)
"""Two of them with two sites on one storage, once declared."""


CLOCKS = {("a", 0): timedelta(days=3), ("b", 1): -timedelta(days=3), ("c", 2): timedelta(hours=1)}
"""Storages whose clocks are wrong, in some worlds."""


def pick(among: Sequence[Something], number: int) -> Something:
    """One of them, by a number of any size."""
    if not among:
        raise NothingToDoError
    return among[number % len(among)]


@dataclass
class World:
    """``made``: what is in each block by the books of its makers, LFN → content, whoever was told. ``untold``: what
    the inventory's source will say next time. ``is_told_by_source``: it has said anything; without a source what nobody
    injects within two days belongs to nobody. ``meanwhile``: what comes while the next request is under way."""

    db: Database
    folder: Path
    killer: Killer
    witness: Witness = field(init=False)
    layout: Layout = LAYOUTS[0]
    places: dict[str, Place] = field(default_factory=dict)
    site_ids: dict[str, int] = field(default_factory=dict)
    made: dict[tuple[str, str], dict[str, Content]] = field(default_factory=dict)
    untold: set[str] = field(default_factory=set)
    plans: list[tuple[str, int]] = field(default_factory=list)
    is_told_by_source: bool = False
    meanwhile: Callable[[], None] | None = None
    num_runs: int = 0
    _columns: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.witness = Witness(self)
        self.fts = MemoryFts(self.places, self.killer.point, self.come_meanwhile)

    # -- what there is ---------------------------------------------------------------------------------------------

    def begin(self, number: int) -> None:
        """A history begins: nothing is left of the one before."""
        self._clear()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.layout = pick(LAYOUTS, number)
        self.places.clear()
        for name in dict.fromkeys(self.layout.places.values()):
            self.places[name] = Place(
                name, name in self.layout.tapes, CLOCKS.get((name, number // 4 % 5), timedelta(0))
            )
        self.made.clear()
        self.untold.clear()
        self.plans.clear()
        self.is_told_by_source = False
        self.fts.jobs.clear()
        self.witness.begin()
        for dataset, block in ((0, 0), (0, 1), (1, 0)):
            self.make(dataset, block, 2, pick(list(self.layout.places), number // 4 + dataset))
        self._found(number)
        self.untold.clear()

    def make(self, dataset: int, block: int, num_files: int, site: str) -> list[str]:
        """Files come into being in a block, at a site, the inventory not knowing. Their LFNs."""
        files = self.made.setdefault((f"/D{dataset}/Run-v1/AOD", f"b{block}"), {})
        lfns = [f"/store/data/D{dataset}/b{block}/f{number}" for number in range(len(files), len(files) + num_files)]
        for lfn in lfns:
            files[lfn] = Content(1000 + zlib.crc32(lfn.encode()) % 100, f"{zlib.adler32(lfn.encode()):08x}")
            self.place(site).put(lfn, files[lfn])
        self.untold.update(lfns)
        return lfns

    def _found(self, number: int) -> None:
        """The installation as it is set up: by an injection, each block at one to three sites."""
        sites = list(self.layout.places)
        holders: dict[str, list[str]] = {}
        for order, (dataset, block) in enumerate(self.made):
            first = number // 16 + order
            chosen = [pick(sites, first + turn * (1 + number % 2)) for turn in range(1 + (number + order) % 3)]
            for site in dict.fromkeys(chosen):
                holders.setdefault(site, []).append(f"{dataset}#{block}")
                for lfn, content in self.made[dataset, block].items():
                    self.place(site).put(lfn, content)
        names = list(dict.fromkeys(dataset for dataset, _ in self.made))
        self.inject(
            groups=[{"name": OWNER, "ownership_level": "dataset"}],
            sites=[{**self.told_site(site), "status": "ready"} for site in self.layout.places],
            datasets=[self.told(name) for name in names],
            dataset_replicas=[
                {
                    "dataset": name,
                    "site": site,
                    "group": OWNER,
                    "blocks": [block for block in blocks if block.startswith(f"{name}#")],
                }
                for site, blocks in holders.items()
                for name in names
                if any(block.startswith(f"{name}#") for block in blocks)
            ],
        )
        self.site_ids = dict(self.select("SELECT name, id FROM sites"))
        if self.layout.shared:
            declare(self.db, *self.layout.shared, by=TESTER, reason="they are one storage")

    def told_site(self, site: str) -> dict[str, Any]:
        """A site as an injection tells of it, but for its status."""
        place = self.place(site)
        endpoint = {"protocol": "davs", "prefix": place.prefix}
        return {"name": site, "storage_type": "mss" if place.is_tape else "disk", "endpoints": [endpoint]}

    def told(self, dataset: str) -> dict[str, Any]:
        """A dataset as an injection tells of it, with all that was made."""
        return {
            "name": dataset,
            "status": "valid",
            "is_open": True,
            "blocks": [
                {
                    "name": block,
                    "is_open": True,
                    "files": [
                        {"lfn": lfn, "size_bytes": content.size_bytes, "adler32": content.adler32}
                        for lfn, content in files.items()
                    ],
                }
                for (name, block), files in self.made.items()
                if name == dataset
            ],
        }

    def inject(self, **document: Any) -> None:
        """As a tester."""
        inject(self.db, document, by=TESTER)

    def place(self, site: str) -> Place:
        """The storage of a site."""
        return self.places[self.layout.places[site]]

    def sites_at(self, place: str) -> list[str]:
        """The sites on a storage."""
        return [site for site, name in self.layout.places.items() if name == place]

    def open_storage(self, site_id: int) -> Storage:
        """What Dynamo is shown of a site's storage."""
        site = next(name for name, number in self.site_ids.items() if number == site_id)
        return PlaceStorage(
            self.place(site),
            site,
            site_id,
            self.killer.point,
            self.witness.about_to_delete,
            self.come_meanwhile,
        )

    def come_meanwhile(self) -> None:
        """A request is under way: what others shall do ``meanwhile``, they do now, once."""
        if others := self.meanwhile:
            self.meanwhile = None
            self.witness.note_before()
            is_repair, self.witness.is_repair = self.witness.is_repair, False
            try:
                with suppress(NothingToDoError, DynamoError):
                    others()
            finally:
                self.witness.is_repair = is_repair

    def content(self, lfn: str) -> Content | None:
        """What a file is by its makers."""
        return next((files[lfn] for files in self.made.values() if lfn in files), None)

    # -- the database ----------------------------------------------------------------------------------------------

    def select(self, sql: str, **params: Any) -> list[tuple[Any, ...]]:
        """Rows, read by the test: no point to die at."""
        return self.witness.select(sql, params)

    def grow_older(self, by: timedelta) -> None:
        """Time passes: all that there is becomes older, in the database, on the storages, at FTS and in lists."""
        span = f"interval '{by.total_seconds()} seconds'"
        earlier = {
            table: ", ".join(f"{name} = {name} - {span}" for name in names) for table, names in self._moments().items()
        }
        self.witness.execute("; ".join(f'UPDATE "{table}" SET {changes}' for table, changes in earlier.items()))
        for place in self.places.values():
            place.grow_older(by)
        self.fts.grow_older(by)
        for listed in self.folder.glob("checks/*/storage.parquet"):
            _grow_older(listed, by)

    def _moments(self) -> dict[str, list[str]]:
        if not self._columns:
            for table, name in self.select(MOMENTS):
                if table not in UNTIMED | NO_HISTORY:
                    self._columns.setdefault(table, []).append(name)
        return self._columns

    def _clear(self) -> None:
        tables = self.select("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        emptied = "; ".join(f'DELETE FROM "{name}"' for (name,) in tables if name not in NO_HISTORY)
        sequences = self.select("SELECT sequencename FROM pg_sequences WHERE schemaname = 'public'")
        restarted = "; ".join(f"SELECT setval('{name}', 1, false)" for (name,) in sequences)
        self.witness.execute(
            f"SET session_replication_role = replica; {emptied}; {restarted}; RESET session_replication_role"
        )


def _grow_older(path: Path, by: timedelta) -> None:
    """A list that was taken earlier is older now, as what it says of its own time."""
    from dynamo_ops.consistency.matching.file_list import open_list
    from dynamo_ops.consistency.matching.writer import ListWriter
    from dynamo_ops.consistency.storage_list import read_clocks
    from dynamo_ops.storage.protocol import STORED_FILES

    clocks, frame = read_clocks(path), open_list(path).scan().collect()
    with ListWriter(path, STORED_FILES) as writer:
        writer.write(frame.with_columns(pl.col("modified_at") - by))
        writer.notes = {
            "listing_ended_at": (clocks.ended_at - by).isoformat() if clocks.ended_at else "",
            "clock_fault": clocks.fault or "",
        }
