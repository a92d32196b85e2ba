"""Two lists on disk, compared by keys and then by name, differ in what they differ in by name alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.consistency.matching import writer
from dynamo_ops.consistency.matching.differences import Differences, differences
from dynamo_ops.consistency.matching.file_list import FileList, open_list
from dynamo_ops.consistency.matching.key import POLARS_KEY, KeyFunction, line_keys
from dynamo_ops.consistency.matching.writer import ListWriter
from tests.consistency.checking import written_list

if TYPE_CHECKING:
    from dynamo_ops.consistency.matching.key import Hashes

COLUMNS = {"lfn": pl.String, "size_bytes": pl.Int64}
Line = tuple[str, int]


def key_of(hashes: Callable[[pl.Series], Hashes]) -> KeyFunction:
    return KeyFunction("of a test", "1", 0, hashes)


def all_alike(names: pl.Series) -> Hashes:
    return np.zeros(len(names), np.uint64)


def two_kinds(names: pl.Series) -> Hashes:
    """By how long a name is, and nothing else: half of the names begin the last bucket, half the first."""
    return (names.str.len_bytes().to_numpy() % 2).astype(np.uint64) * np.uint64(2**64 - 1)


BAD_KEYS = [key_of(all_alike), key_of(two_kinds)]


class Found(NamedTuple):
    only_inventory: set[str]
    only_storage: set[str]
    other_size: set[str]


def by_name(inventory: list[Line], storage: list[Line]) -> Found:
    """What differs, by sets."""
    here, there = defaultdict(set), defaultdict(set)
    for sizes, lines in ((here, inventory), (there, storage)):
        for name, size in lines:
            sizes[name].add(size)
    both = here.keys() & there.keys()
    return Found(here.keys() - both, there.keys() - both, {name for name in both if not here[name] & there[name]})


def found(differing: Differences) -> Found:
    frames = (differing.only_inventory, differing.only_storage, differing.other_size)
    assert all(frame["lfn"].is_unique().all() for frame in frames)
    return Found(*(set(frame["lfn"]) for frame in frames))


@contextmanager
def both_lists(
    inventory: list[Line], storage: list[Line], key: KeyFunction = POLARS_KEY, a_frame: int = 3
) -> Iterator[tuple[FileList, FileList]]:
    with TemporaryDirectory() as folder:
        here, there = Path(folder) / "inventory", Path(folder) / "storage"
        yield (
            written_list(here, COLUMNS, inventory, key, a_frame),
            written_list(there, COLUMNS, storage, key, a_frame),
        )


def compared(inventory: list[Line], storage: list[Line], key: KeyFunction = POLARS_KEY, **options: Any) -> Differences:
    with both_lists(inventory, storage, key) as lists:
        return differences(*lists, key=key, **options)


names = st.sampled_from(["/store/a", "/store/b", "/store/c/d", "/store/c"]) | st.text(max_size=3).map("/store/".__add__)
sizes = st.sampled_from([0, 1, 2**37, 2**62])
"""Two of these are as far apart as the bits of a key that a size changes can tell."""
near_sizes = st.integers(0, 3)


@given(st.lists(st.tuples(names, near_sizes), max_size=12), st.lists(st.tuples(names, near_sizes), max_size=12))
def test_what_differs_is_what_differs_by_name(inventory: list[Line], storage: list[Line]) -> None:
    once = list(dict(inventory).items())  # the inventory has each name once
    differing = compared(once, storage)
    assert found(differing) == by_name(once, storage)
    assert differing.repeated.height == len(storage) - len(dict(storage))


@settings(max_examples=15)
@given(
    st.lists(st.tuples(names, near_sizes | sizes), max_size=12),
    st.lists(st.tuples(names, near_sizes | sizes), max_size=12),
    st.sampled_from(BAD_KEYS),
)
def test_keys_that_collide_invent_nothing(inventory: list[Line], storage: list[Line], key: KeyFunction) -> None:
    differing, exact = found(compared(inventory, storage, key)), by_name(inventory, storage)
    assert all(some <= every for some, every in zip(differing, exact, strict=True))


def test_a_wrong_size_whose_key_another_file_has_is_no_orphan() -> None:
    """The storage's line of /store/p has the key of the inventory's /store/q: by keys alone /store/p were missing."""
    inventory, storage = [("/store/p", 1), ("/store/q", 2)], [("/store/p", 2)]
    assert found(compared(inventory, storage, BAD_KEYS[0])) == Found({"/store/q"}, set(), {"/store/p"})


def test_one_key_of_two_names_hides_and_does_not_invent() -> None:
    """What the size of the key is for."""
    assert found(compared([("/store/p", 1)], [("/store/q", 1)], BAD_KEYS[0])) == Found(set(), set(), set())


def test_sizes_of_one_name_never_share_a_key() -> None:
    near = [*range(1000), *(2**number for number in range(37)), 2**37 - 1]
    keys = line_keys(np.full(len(near), 7, np.uint64), pl.Series(near))
    assert len(np.unique(keys)) == len(set(near))


def test_more_than_can_be_named_is_counted_and_sampled() -> None:
    inventory = [(f"/store/i{number}", 1) for number in range(600)] + [("/store/both", 1), ("/store/wrong", 1)]
    storage = [(f"/store/s{number}", 1) for number in range(300)] + [("/store/both", 1), ("/store/wrong", 2)]
    differing = compared(inventory, storage, max_candidates=100)
    sample, exact = found(differing), by_name(inventory, storage)
    assert 0 < differing.sampled < 1
    assert all(some <= every for some, every in zip(sample, exact, strict=True))
    assert 0 < len(sample.only_inventory) <= 100
    assert differing.num_candidates == (601, 301)
    assert compared(inventory, storage, max_candidates=902).sampled == 1


def test_a_list_in_several_parts_is_the_same_list(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(writer, "LINES_A_GROUP", 4)
    monkeypatch.setattr(writer, "LINES_A_PART", 8)
    lines = [(f"/store/{number}", number) for number in range(45)]
    for a_frame in (1, 3, 4, 30):
        files = written_list(tmp_path / "list", COLUMNS, lines, a_frame=a_frame)
        assert len(files.parts) == 6
        assert files.scan().collect().rows() == lines
        assert pl.concat(files.batches()).rows() == lines
        assert found(differences(files, files)) == Found(set(), set(), set())


def test_lists_of_other_keys_are_keyed_anew(tmp_path: Path) -> None:
    lines = [("/store/a", 1), ("/store/b", 2), ("/store/c", 3)]
    inventory = written_list(tmp_path / "inventory", COLUMNS, lines)
    other_version = replace(POLARS_KEY, version="of tomorrow", hashes=lambda names: names.hash(1).to_numpy())
    storage = written_list(tmp_path / "storage", COLUMNS, [("/store/a", 1), ("/store/b", 3)], other_version)
    expected = Found({"/store/c"}, set(), {"/store/b"})
    assert found(differences(inventory, storage)) == expected
    assert found(differences(inventory, storage, key=other_version)) == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == ["inventory", "storage"]


def test_a_list_of_before_lists_were_folders_is_read(tmp_path: Path) -> None:
    path = tmp_path / "storage.parquet"
    pl.DataFrame({"lfn": ["/store/a"], "size_bytes": [1]}).write_parquet(path, metadata={"clock_fault": "slow"})
    inventory = written_list(tmp_path / "inventory", COLUMNS, [("/store/a", 1), ("/store/b", 2)])
    storage = open_list(path)
    assert found(differences(inventory, storage)) == Found({"/store/b"}, set(), set())
    assert storage.notes["clock_fault"] == "slow"
    written_list(path, COLUMNS, [("/store/b", 2)])  # in its place
    assert found(differences(inventory, open_list(path))) == Found({"/store/a"}, set(), set())


def break_off(path: Path) -> None:
    with suppress(ZeroDivisionError), ListWriter(path, COLUMNS) as lines:
        lines.write(pl.DataFrame({"lfn": ["/store/b"], "size_bytes": [1]}))
        raise ZeroDivisionError


def test_a_list_that_was_not_ended_is_none(tmp_path: Path) -> None:
    path = tmp_path / "list"
    break_off(path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InventoryError, match="it is not there"):
        open_list(path)
    written_list(path, COLUMNS, [("/store/a", 1)])
    break_off(path)
    assert open_list(path).scan().collect().rows() == [("/store/a", 1)]  # the one before stays
    (path / "manifest.json").unlink()
    with pytest.raises(InventoryError, match="no readable manifest"):
        open_list(path)


def test_keys_that_were_lost_are_noticed(tmp_path: Path) -> None:
    files = written_list(tmp_path / "list", COLUMNS, [("/store/a", 1)])
    (keys,) = (tmp_path / "list" / "keys").iterdir()
    keys.write_bytes(keys.read_bytes()[:-1])
    with pytest.raises(InventoryError, match="these are not its 1 keys"):
        differences(files, files)
    keys.unlink()
    with pytest.raises(InventoryError, match="these are not its 1 keys"):
        differences(files, files)


def test_the_hash_says_what_it_is() -> None:
    """Other hashes under the same name and version are another key function."""
    changed = replace(POLARS_KEY, hashes=lambda names: POLARS_KEY.hashes(names) + np.uint64(1))
    assert changed.identity != POLARS_KEY.identity == replace(POLARS_KEY).identity
