"""Two paths of one directory: by links, and by bind mounts."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dynamo_ops.base import directory
from dynamo_ops.base.directory import Overlap, overlap

SAME, NESTED = Overlap.SAME, Overlap.NESTED


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    for name in ("a/store", "b/store", "c"):
        (tmp_path / "disk" / name).mkdir(parents=True)
    (tmp_path / "disk" / "to_a").symlink_to("a")
    (tmp_path / "disk" / "to_a_store").symlink_to(tmp_path / "disk" / "a" / "store")
    (tmp_path / "disk" / "dangling").symlink_to(tmp_path / "disk" / "c" / "later")
    (tmp_path / "data").symlink_to("disk")
    return tmp_path / "disk"


@pytest.mark.parametrize(
    ("one", "other", "how"),
    [
        ("a", "b", None),
        ("a", "a/", SAME),
        ("a", "to_a", SAME),
        ("a", "../data/a", SAME),
        ("../data/b", "../data/a", None),
        ("a", "to_a_store", NESTED),
        ("to_a", "to_a_store", NESTED),
        ("b", "to_a_store", None),
        ("to_a_store", "../data", NESTED),
        ("dangling", "c", NESTED),
        ("dangling", "c/later", SAME),
        ("dangling", "c/another", None),
        ("a", "a2", None),
        ("to_a/none", "a", NESTED),
    ],
)
def test_links(disk: Path, one: str, other: str, how: Overlap | None) -> None:
    assert overlap(str(disk / one), str(disk / other)) is how
    assert overlap(str(disk / other), str(disk / one)) is how


def told(monkeypatch: pytest.MonkeyPatch, disk: Path, *mounts: tuple[str, str, str]) -> None:
    """As if (device, directory of its file system, point) were mounted."""
    file = disk.parent / "mountinfo"
    lines = [f"1 1 {device} {root} {point} rw - ext4 x rw" for device, root, point in mounts]
    file.write_text("\n".join(lines).replace("a b", "a\\040b") + "\n")
    monkeypatch.setattr(directory, "MOUNTS", str(file))


def test_mounts_of_one_file_system(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two volumes of a container: what is above them at the host is not seen there."""
    a, b, c = (str(disk / name) for name in "abc")
    told(monkeypatch, disk, ("0:1", "/", "/"), ("8:1", "/srv/x", a), ("8:1", "/srv/x/deep", b), ("8:2", "/srv/x", c))
    assert (overlap(a, b), overlap(b, a), overlap(a, c), overlap(f"{a}/deep", b)) == (NESTED, NESTED, None, SAME)


def test_a_later_mount_hides_an_earlier_one(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = (str(disk / name) for name in "ab")
    told(monkeypatch, disk, ("8:1", "/x", a), ("8:1", "/y", a), ("8:1", "/x", b))
    assert overlap(a, b) is None


def test_a_directory_that_is_mounted_within_another(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told(monkeypatch, disk, ("8:1", "/", "/"), ("8:1", f"{disk}/b", f"{disk}/a/store"))
    assert overlap(str(disk / "a"), str(disk / "b")) is NESTED
    assert overlap(str(disk / "c"), str(disk / "b")) is None


def test_without_a_list_of_mounts(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "MOUNTS", str(disk / "none"))
    assert overlap(str(disk / "a"), str(disk / "to_a")) is SAME
    assert overlap(str(disk / "a"), str(disk / "b")) is None


def test_two_slashes_at_the_beginning(disk: Path) -> None:
    assert overlap(f"/{disk}/a", str(disk / "to_a_store")) is NESTED


@pytest.fixture
def bound(disk: Path) -> Iterator[Path]:
    """Real bind mounts, where the machine lets us: c is a/store."""
    point = disk / "c"
    if subprocess.run(["mount", "--bind", disk / "a" / "store", point], capture_output=True, check=False).returncode:
        pytest.skip("no right to mount")
    yield disk
    subprocess.run(["umount", point], check=True)


def test_a_bind_mount(bound: Path) -> None:
    assert overlap(str(bound / "c"), str(bound / "a" / "store")) is SAME
    assert overlap(str(bound / "c"), str(bound / "a")) is NESTED
    assert overlap(str(bound / "c"), str(bound / "b")) is None
