"""Listings that are whole or none; and empty directories from below: which go, in which order, and what that costs."""

from __future__ import annotations

from typing import Any

import pytest

from dynamo_ops.base.errors import RetryableRemoteError
from dynamo_ops.inventory.site.mapping import Endpoint
from dynamo_ops.storage.tree import Entry, list_below, remove_upwards


class Looked(str):
    """The name of a directory that counts how often it is looked at."""

    __slots__ = ()
    number = 0

    def count(self, *arguments: Any) -> int:
        Looked.number += 1
        return super().count(*arguments)

    def rstrip(self, *arguments: Any) -> Looked:
        return Looked(super().rstrip(*arguments))


def test_parents_go_after_their_children_and_what_is_kept_stays_with_all_above() -> None:
    removed: list[str] = []
    directories = ["/store/a/b/c/", "/store/a/b", "/store/a/d", "/store/x/kept", "/store/y/full", "/elsewhere/z"]
    number = remove_upwards(
        directories, ["/store/x/kept"], "/store/", lambda name: not name.endswith("full") and not removed.append(name)
    )
    assert removed == ["/store/a/b/c", "/store/a/d", "/store/a/b", "/store/a"]
    assert number == 4


@pytest.mark.parametrize("num_directories", [500, 1_000, 2_000])
def test_a_directory_is_looked_at_as_often_however_many_there_are(num_directories: int) -> None:
    Looked.number = 0
    names = [Looked(f"/store/a/d{n}") for n in range(num_directories)]
    assert remove_upwards(names, (), "/store", lambda _: True) == num_directories + 1
    assert Looked.number == num_directories


def test_no_directories() -> None:
    assert remove_upwards([], (), "/store", lambda _: True) == 0


TREE = {"/store": ["a/", "b/"], "/store/a": ["one/", "f"], "/store/a/one": ["f1"], "/store/b": ["two/"],
        "/store/b/two": ["f2"]}  # fmt: skip
HERE = Endpoint("T2_A", "davs", "davs://a.invalid")


class Changing:
    """A storage whose directories change when one of them is looked at: ``then`` maps it to what is there from then
    on, before it is answered."""

    def __init__(self, then: dict[str, dict[str, list[str]]]) -> None:
        self.now, self._then = TREE, then

    def children(self, directory: str) -> list[Entry] | None:
        self.now = self._then.pop(directory, self.now)
        names = self.now.get(directory)
        return None if names is None else [Entry(name.rstrip("/"), name.endswith("/"), 1, None) for name in names]

    def lfns(self) -> list[str]:
        frames = list_below(HERE, "/store", self.children, 1)
        return sorted(lfn for frame in frames for lfn in frame["lfn"])


WHOLE = ["/store/a/f", "/store/a/one/f1", "/store/b/two/f2"]
WITHOUT_TWO = {**TREE, "/store/b": []}
del WITHOUT_TWO["/store/b/two"]  # type: ignore[attr-defined]


def test_a_directory_is_gone_where_its_parent_does_not_name_it_any_more() -> None:
    assert Changing({}).lfns() == WHOLE
    assert Changing({"/store/b/two": WITHOUT_TWO}).lfns() == WHOLE[:2]
    without_b = {"/store": ["a/"], "/store/a": ["one/", "f"], "/store/a/one": ["f1"]}
    assert Changing({"/store/b/two": without_b}).lfns() == WHOLE[:2], "nor its parent"
    more = {**TREE, "/store": ["a/", "b/", "new/"]}
    assert Changing({"/store/b/two": more}).lfns() == WHOLE


@pytest.mark.parametrize(
    ("then", "words"),
    [
        ({"/store/b/two": {**TREE, "/store/b/two": None}}, "/store/b/two is not there, and /store/b names it"),
        ({"/store/b": {}}, "/store is not there any more"),
        ({"/store/a/one": {"/store": []}}, "/store had a, b at first|/store had b at first"),
        ({"/store/a/one": {**TREE, "/store": ["a/"]}}, "/store had b at first, and has not any more"),
    ],
    ids=["it is named", "the mount is lost", "empty in the middle", "a part is lost after it was read"],
)
def test_a_listing_in_which_a_mount_was_lost_is_void(then: dict[str, Any], words: str) -> None:
    with pytest.raises(RetryableRemoteError, match=words):
        Changing(then).lfns()
