"""What is told no more, in whatever order the days of its telling are merged: noted, kept, and off the list again."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.catalogue.merge import MergeSummary, merge_metadata
from dynamo_ops.inventory.catalogue.vanished import vanished
from tests.inventory.told import LATER, T0, UNTIL, Row, accept, block, dataset, file, merge, stage

DAY = timedelta(days=1)
OPEN = dataset(is_open=True, status="production")
BLOCKS = [block("b1"), block("b2")]
FILES = [file("/a/1"), file("/a/2", size_bytes=5), file("/a/3", in_block="b2")]


def listed(db: Database, **which: Any) -> list[tuple[object, ...]]:
    return vanished(db, **which).select("kind", "name", "size_bytes").rows()


def counts(summary: MergeSummary) -> tuple[int, ...]:
    """Vanished datasets, blocks, files; told again."""
    return summary.vanished_datasets, summary.vanished_blocks, summary.vanished_files, summary.told_again


def num_rows(db: Database) -> tuple[int, ...]:
    tables = ("datasets", "blocks", "files")
    return tuple(db.frame(f"SELECT count(*) AS n FROM {table}").item() for table in tables)


@pytest.fixture
def known(database: Database) -> Database:
    assert counts(merge(database, [OPEN], BLOCKS, FILES)) == (0, 0, 0, 0)
    return database


def test_a_block_that_is_not_told_is_noted_and_kept(known: Database) -> None:
    told = [OPEN], BLOCKS[:1], FILES[:2]
    assert counts(merge(known, *told, run_key="next", since=T0)) == (0, 1, 0, 0)
    assert listed(known) == [("block", "/A/B-v1/C#b2", 10)]
    assert num_rows(known) == (1, 2, 3)
    assert counts(merge(known, *told, run_key="next", since=T0)) == (0, 0, 0, 0)
    assert counts(merge(known, [OPEN], BLOCKS, FILES, run_key="again", since=T0)) == (0, 0, 0, 1)
    assert listed(known) == []


@pytest.mark.parametrize("left", [[], [file("/a/2", size_bytes=5, is_valid=False)]], ids=["not told", "not valid"])
def test_a_file_that_is_not_told_or_not_valid_is_noted_and_kept(known: Database, left: list[Row]) -> None:
    told = [OPEN], BLOCKS, [FILES[0], FILES[2], *left]
    assert counts(merge(known, *told, run_key="next", since=T0)) == (0, 0, 1, 0)
    assert listed(known) == [("file", "/a/2", 5)]
    assert num_rows(known) == (1, 2, 3)
    assert counts(merge(known, [OPEN], BLOCKS, FILES, run_key="again", since=T0)) == (0, 0, 0, 1)
    assert listed(known) == []


def test_a_file_is_not_noted_beside_its_block(known: Database) -> None:
    merge(known, [OPEN], BLOCKS, FILES[:2], run_key="next", since=T0)
    assert listed(known) == [("file", "/a/3", 10)]
    merge(known, [OPEN], BLOCKS[:1], FILES[:2], run_key="later", since=T0)
    assert listed(known) == [("block", "/A/B-v1/C#b2", 10)]


def test_a_dataset_that_a_full_pull_does_not_list_is_noted_alone(known: Database) -> None:
    merge(known, [OPEN], BLOCKS[:1], FILES[:1], run_key="next", since=T0)
    assert [kind for kind, *_ in listed(known)] == ["block", "file"]
    assert counts(merge(known, [dataset("/New/B/C")], run_key="full", until=LATER)) == (1, 0, 0, 0)
    assert listed(known) == [("dataset", "/A/B-v1/C", 25)]
    assert counts(merge(known, [OPEN], BLOCKS, FILES, run_key="back", since=T0, until=LATER + DAY)) == (0, 0, 0, 1)
    assert listed(known) == []


def test_an_incremental_pull_says_nothing_of_what_it_does_not_list(database: Database) -> None:
    merge(database, [dataset()], BLOCKS, FILES)
    assert counts(merge(database, [], run_key="next", since=T0, until=LATER)) == (0, 0, 0, 0)


def test_an_open_dataset_that_the_source_has_nothing_of_is_noted_and_its_blocks_are_not(known: Database) -> None:
    assert counts(merge(known, [], run_key="next", since=T0, until=LATER)) == (1, 0, 0, 0)
    assert listed(known) == [("dataset", "/A/B-v1/C", 25)]
    assert counts(merge(known, [], BLOCKS, FILES, run_key="back", since=T0, until=LATER + DAY)) == (0, 0, 0, 1)


def test_an_open_dataset_that_never_had_blocks_is_not_noted(database: Database) -> None:
    merge(database, [OPEN])
    assert counts(merge(database, [], run_key="next", since=T0, until=LATER)) == (0, 0, 0, 0)


def test_details_that_were_not_pulled_say_nothing(known: Database) -> None:
    stage(known, [OPEN], [], [], run_key="next", since=T0)
    with known.begin() as connection:
        connection.execute(text("UPDATE staged_datasets SET has_details = false"))
    accept(known, "next")
    assert counts(merge_metadata(known, "next", "dbs", LATER)) == (0, 0, 0, 0)


def test_another_source_s_silence_says_nothing(known: Database) -> None:
    other = [dataset("/Lab/B/C")], [block("b", of="/Lab/B/C")], [file("/lab/1", of="/Lab/B/C", in_block="b")]
    assert counts(merge(known, *other, source="lab", run_key="lab", until=LATER)) == (0, 0, 0, 0)
    stage(known, [], run_key="lab 2", since=T0, source="lab")
    accept(known, "lab 2", "lab")
    assert counts(merge_metadata(known, "lab 2", "lab", LATER + DAY)) == (0, 0, 0, 0)
    assert counts(merge(known, [], source="lab", run_key="lab 3", until=LATER + 2 * DAY)) == (1, 0, 0, 0)
    assert listed(known, source="lab") == [("dataset", "/Lab/B/C", 10)]
    assert listed(known, source="dbs") == []
    assert listed(known, kind="block") == []


def test_what_an_older_day_adds_has_vanished_since(known: Database) -> None:
    """The newest telling is merged first; the older one knew a block, a file and a dataset more."""
    old = [OPEN, dataset("/Gone/B/C")], [*BLOCKS, block("b0")], [*FILES, file("/a/0"), file("/b/0", in_block="b0")]
    assert counts(merge(known, *old, run_key="old", since=T0, until=T0 + DAY)) == (1, 1, 1, 0)
    assert listed(known) == [("dataset", "/Gone/B/C", 0), ("block", "/A/B-v1/C#b0", 10), ("file", "/a/0", 10)]


# -- any order -------------------------------------------------------------------------------------------------------


@dataclass
class World:
    """What a source has, as it changes from day to day; every choice comes from ``random``."""

    random: random.Random
    datasets: dict[str, Row] = field(default_factory=dict)
    blocks: dict[tuple[str, str], Row] = field(default_factory=dict)
    files: dict[str, Row] = field(default_factory=dict)

    def live(self, now: datetime) -> set[str]:
        """One day's changes; the names of the datasets whose own time moved."""
        changed = {f"/D{self.random.randrange(8)}/R-v1/AOD" for _ in range(3)}
        for name in sorted(changed):
            if self.random.random() < 0.15:
                self._forget(name)
                continue
            release = self.random.choice([None, "SW_1", "SW_2"])
            status = self.random.choice(["production", "production", "valid", "invalid"])
            self.datasets[name] = dataset(
                name, status=status, is_open=status == "production", software_release=release, last_update_at=now
            )
        for name in sorted(self.datasets):
            self._change_inside(name, now)
        return changed & set(self.datasets)

    def _change_inside(self, name: str, now: datetime) -> None:
        for number in range(3):
            key, chance = (name, f"b{number}"), self.random.random()
            if key not in self.blocks:
                if chance < 0.3:
                    self.blocks[key] = block(key[1], name, is_open=True, last_update_at=now)
                continue
            if chance < 0.1:
                self._forget_block(key)
                continue
            if chance < 0.3:
                self.blocks[key] = {**self.blocks[key], "is_open": not self.blocks[key]["is_open"]}
                if self.random.random() < 0.7 or self.blocks[key]["is_open"]:
                    self.blocks[key]["last_update_at"] = now
            for file_number in range(3):
                self._change_file(f"/store{name}/{key[1]}/{file_number}", key)

    def _change_file(self, lfn: str, key: tuple[str, str]) -> None:
        chance = self.random.random()
        if lfn not in self.files:
            if chance < 0.4:
                size, has_sum = sum(lfn.encode()), self.random.random() < 0.5
                checksum = f"{size:08x}" if has_sum else None
                self.files[lfn] = file(lfn, key[0], key[1], size_bytes=size, adler32=checksum)
        elif chance < 0.1:
            del self.files[lfn]
        elif chance < 0.2:
            self.files[lfn] = {**self.files[lfn], "is_valid": not self.files[lfn]["is_valid"]}
        elif chance < 0.4:
            self.files[lfn] = {**self.files[lfn], "adler32": f"{self.files[lfn]['size_bytes']:08x}"}

    def _forget(self, name: str) -> None:
        self.datasets.pop(name, None)
        for key in [key for key in self.blocks if key[0] == name]:
            self._forget_block(key)

    def _forget_block(self, key: tuple[str, str]) -> None:
        del self.blocks[key]
        self.files = {lfn: row for lfn, row in self.files.items() if (row["dataset"], row["block"]) != key}

    def details(self, names: Sequence[str]) -> tuple[list[Row], list[Row]]:
        return (
            [row for row in self.blocks.values() if row["dataset"] in names],
            [row for row in self.files.values() if row["dataset"] in names],
        )


NAMED = {
    "datasets": "SELECT name, status, is_open, software_release, size_bytes, num_blocks, num_files, last_update_at"
    " FROM datasets",
    "blocks": "SELECT d.name AS dataset, b.name, b.is_open, b.size_bytes, b.num_files, b.last_update_at"
    " FROM blocks b JOIN datasets d ON d.id = b.dataset_id",
    "files": "SELECT d.name AS dataset, b.name, f.lfn, f.size_bytes, f.adler32"
    " FROM files f JOIN blocks b ON b.id = f.block_id JOIN datasets d ON d.id = b.dataset_id",
    "vanished": "SELECT kind, name, source, size_bytes FROM vanished",
    "dataset_sources": "SELECT d.name, o.source, o.is_open, o.release_at, o.state_until, o.known_until,"
    " o.details_until, o.lost_until FROM dataset_sources o JOIN datasets d ON d.id = o.dataset_id",
    "source_states": "SELECT source, full_until, merged_until, num_datasets FROM source_states",
}


def dump(db: Database) -> dict[str, list[tuple[object, ...]]]:
    """The tables of metadata by name, without ids and load times."""
    return {name: sorted(db.frame(query).rows(), key=repr) for name, query in NAMED.items()}


def days(db: Database, seed: int, number: int = 8) -> Iterator[tuple[str, datetime]]:
    """A source's days, staged and merged one after the other; some are pulled whole."""
    world = World(random.Random(seed))
    for day in range(number):
        since, until = UNTIL + day * DAY, UNTIL + (day + 1) * DAY
        changed = world.live(until - DAY / 2)
        is_full = day == 0 or world.random.random() < 0.2
        names = set(world.datasets) if is_full else changed
        asked = set(world.datasets) if is_full else names | open_datasets(db)
        stage(
            db,
            [row for name, row in world.datasets.items() if name in names],
            *world.details(sorted(asked)),
            run_key=f"day {day}",
            since=None if is_full else since,
            count=len(world.datasets),
        )
        accept(db, f"day {day}")
        merge_metadata(db, f"day {day}", "dbs", until)
        yield f"day {day}", until


def open_datasets(db: Database) -> set[str]:
    return set(db.frame("SELECT name FROM datasets WHERE is_open")["name"])


@pytest.mark.parametrize("seed", [*range(3), *(pytest.param(n, marks=pytest.mark.slow) for n in range(3, 50))])
def test_days_give_the_same_tables_in_any_order_and_however_often(database: Database, seed: int) -> None:
    told = list(days(database, seed))
    undisturbed = dump(database)
    assert all(undisturbed.values())
    for shuffle in range(3):
        with database.begin() as connection:
            connection.execute(text("TRUNCATE datasets, vanished, source_states CASCADE"))
        order = random.Random(shuffle).sample(told * 2, 2 * len(told))
        for run_key, until in order:
            merge_metadata(database, run_key, "dbs", until)
        assert dump(database) == undisturbed, [run_key for run_key, _ in order]
