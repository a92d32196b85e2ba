"""What only a mounted file system can do to us: links, and not being mounted."""

from __future__ import annotations

from pathlib import Path

import pytest

from dynamo_ops.base.errors import PermanentRemoteError, RetryableRemoteError, SettingsError
from dynamo_ops.inventory.site.mapping import Endpoint
from dynamo_ops.inventory.states import DeletionObservation as Seen
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
