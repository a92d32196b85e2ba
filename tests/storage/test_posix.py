"""What only a mounted file system can do to us: links, and not being mounted."""

from __future__ import annotations

from pathlib import Path

import pytest

from dynamo_ops.base.directory import Overlap
from dynamo_ops.base.errors import PermanentRemoteError, RetryableRemoteError, SettingsError
from dynamo_ops.inventory.site.mapping import Endpoint
from dynamo_ops.inventory.states import DeletionObservation as Seen
from dynamo_ops.storage import posix
from dynamo_ops.storage.posix import PosixStorage
from dynamo_ops.storage.protocol import StorageOptions


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "site" / "store" / "a").mkdir(parents=True)
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "f").write_text("secret")
    return tmp_path / "site"


def storage_on(root: Path) -> PosixStorage:
    return PosixStorage(Endpoint("T2_A", "file", f"file://{root}"), StorageOptions(threads=2))


def test_links_out_of_the_prefix_are_not_followed(root: Path) -> None:
    (root / "store" / "out").symlink_to(root.parent / "secret")
    (root / "store" / "a" / "f").symlink_to(root.parent / "secret" / "f")
    storage = storage_on(root)
    for lfn in ("/store/out/f", "/store/a/f"):
        for call in (storage.stat, storage.checksum, lambda name: list(storage.read(name))):
            with pytest.raises(PermanentRemoteError, match="leads to"):
                call(lfn)
        assert [outcome.observation for outcome in storage.delete([lfn])] == [Seen.REFUSED]
    with pytest.raises(PermanentRemoteError, match="leads to"):
        storage.upload("/store/out/new", 1)
    assert storage.remove_empty_directories(["/store/a"]) == 0
    assert [path.name for path in (root.parent / "secret").iterdir()] == ["f"]


def test_links_to_files_are_listed_and_no_others(root: Path) -> None:
    (root / "store" / "a" / "f").write_text("one")
    (root / "store" / "a" / "loop").symlink_to(root / "store")
    (root / "store" / "a" / "gone").symlink_to(root / "store" / "none")
    (root / "store" / "a" / "same").symlink_to("f")
    (frame,) = storage_on(root).list_files("/store")
    assert sorted(frame.select("lfn", "size_bytes").iter_rows()) == [("/store/a/f", 3), ("/store/a/same", 3)]


def test_a_file_system_that_is_not_mounted_has_lost_nothing(root: Path) -> None:
    storage = storage_on(root)
    (root / "store" / "a").rmdir()
    (root / "store").rmdir()
    assert [outcome.observation for outcome in storage.delete(["/store/a/f"])] == [Seen.UNAVAILABLE]
    root.rmdir()
    with pytest.raises(RetryableRemoteError, match="mounted"):
        storage.stat("/store/a/f")


def test_prefix_must_be_absolute() -> None:
    with pytest.raises(SettingsError, match="absolute"):
        PosixStorage(Endpoint("T2_A", "file", "data"), StorageOptions())


def test_prefix_may_be_a_link_itself(root: Path) -> None:
    link = root.parent / "link"
    link.symlink_to(root)
    (root / "store" / "a" / "f").write_text("one")
    found = storage_on(link).stat("/store/a/f")
    assert found is not None
    assert found.size_bytes == 3


def test_what_lies_behind_a_link_has_another_name_and_stays(root: Path) -> None:
    (root / "store" / "a" / "b").mkdir()
    (root / "store" / "old").symlink_to("a")
    for name in ("f", "b/g"):
        (root / "store" / "a" / name).write_text("one")
    storage = storage_on(root)
    outcomes = storage.delete(["/store/old/f", "/store/old/b/g", "/store/old/none", "/store/old"])
    assert [outcome.observation for outcome in outcomes] == [Seen.REFUSED] * 4
    link = f"it lies behind a link: {root}/store/old -> a; not deleted"
    assert [outcome.reason for outcome in outcomes] == [link, link, link, "it is a directory"]
    (root / "store" / "a" / "b" / "g").unlink()
    assert storage.remove_empty_directories(["/store/old/b"]) == 0
    assert [outcome.observation for outcome in storage.delete(["/store/a/f"])] == [Seen.DELETED]


def test_a_link_to_a_file_goes_and_the_file_stays(root: Path) -> None:
    (root / "store" / "a" / "f").write_text("one")
    (root / "store" / "a" / "same").symlink_to("f")
    assert [outcome.observation for outcome in storage_on(root).delete(["/store/a/same"])] == [Seen.DELETED]
    assert (root / "store" / "a" / "f").exists()


def test_a_link_that_came_between_two_calls_is_seen(root: Path) -> None:
    (root / "store" / "a" / "f").write_text("one")
    (root / "store" / "b").mkdir()
    storage = storage_on(root)
    assert [outcome.observation for outcome in storage.delete(["/store/b/f"])] == [Seen.NOT_FOUND]
    (root / "store" / "b").rmdir()
    (root / "store" / "b").symlink_to("a")
    assert [outcome.observation for outcome in storage.delete(["/store/b/f"])] == [Seen.REFUSED]


def test_links_above_the_prefix_and_the_prefix_itself_do_not_count(root: Path) -> None:
    (root.parent / "data").symlink_to(root.parent)
    (root.parent / "data" / "link").symlink_to(root)
    for place, name in ((root.parent / "data" / "site", "f"), (root.parent / "link", "g")):
        (root / "store" / "a" / name).write_text("one")
        assert [outcome.observation for outcome in storage_on(place).delete([f"/store/a/{name}"])] == [Seen.DELETED]


def test_each_directory_is_looked_at_once_a_call(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    storage = storage_on(root)
    monkeypatch.setattr(posix, "_link", lambda path: looked.append(path))
    storage.delete([f"/store/a/f{number}" for number in range(50)])
    assert sorted(set(looked)) == [f"{root}/store", f"{root}/store/a"]
    assert len(looked) <= 2 * 2  # two threads may look at the same time


@pytest.mark.parametrize(
    ("prefix", "chains", "how"),
    [
        ("file://{}/other", (), None),
        ("file://{}/site", (), Overlap.SAME),
        ("file://{}/link", (), Overlap.SAME),
        ("file://localhost{}/link", (), Overlap.SAME),
        ("file://{}/link/store", (), Overlap.NESTED),
        ("file://{}", (), Overlap.NESTED),
        ("file:///", ((("/store/(.*)", "file://{}/other/$1"),),), None),
        ("file:///", ((("/store/(.*)", "file://{}/link/x$1"),),), Overlap.SAME),
        ("file:///", ((("/a/(.*)", "file://{}/link/$1"),), (("/b/(.*)", "{}/link/b/$1"),)), Overlap.NESTED),
    ],
)
def test_where_another_site_is_the_same_directory(
    root: Path, prefix: str, chains: tuple[tuple[tuple[str, str], ...], ...], how: Overlap | None
) -> None:
    (root.parent / "link").symlink_to(root)
    here = root.parent
    to = tuple(tuple((pattern, new.format(here)) for pattern, new in chain) for chain in chains)
    assert storage_on(root).overlap(Endpoint("T2_B", "file", prefix.format(here), to)) is how
