"""Empty directories from below: which go, in which order, and how much is looked at for it."""

from __future__ import annotations

from typing import Any

import pytest

from dynamo_ops.storage.tree import remove_upwards


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
