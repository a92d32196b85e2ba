"""What lies on a storage and is odd costs itself, not the check of its site: names that are no text, times that cannot
be, links, pipes."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from dynamo_ops.consistency.matching.file_list import open_list
from dynamo_ops.consistency.storage_list import write_storage_list
from dynamo_ops.inventory.site.mapping import Endpoint
from dynamo_ops.storage.filesystem import entry_of
from dynamo_ops.storage.multistatus import http_date, parse_multistatus, strong_etag
from dynamo_ops.storage.posix import PosixStorage
from dynamo_ops.storage.protocol import STORED_FILES, StorageOptions
from dynamo_ops.storage.tree import no_text
from tests.consistency.checking import LONG_AGO, check_twice, findings, mend, plant
from tests.world import World

NOW = datetime(2026, 3, 1, tzinfo=UTC)
NAMES = [b"bad\xff\xfename", b"half\xed\xa0\x80", b"line\nend", b"bell\x07", b"tab\tbed"]


def test_a_check_goes_on_and_what_cannot_be_named_stays(world: World, tmp_path: Path) -> None:
    lfns = world.inventory.block("b1", contents={f"/store/b1/f{n}": b"data" for n in range(20)})
    world.inventory.replica("b1", "T2_A")
    for lfn in lfns:
        world.pocket.put("T2_A", lfn, b"data")
    loose = plant(world, "/store/b1/loose")
    odd = [Path(os.fsdecode(os.fsencode(loose.parent) + b"/" + name)) for name in NAMES]
    inside = Path(os.fsdecode(os.fsencode(loose.parent) + b"/dir\xff")) / "inside"
    inside.parent.mkdir()
    for path in (*odd, inside):
        path.write_bytes(b"odd")
        os.utime(path, (LONG_AGO, LONG_AGO))
    summary = check_twice(world, tmp_path)
    assert (summary.num_missing_found, summary.num_orphan_found, summary.num_unnamed) == (0, 1, len(odd) + 1)
    assert summary.refused_because is None
    done = mend(world, summary, delete_orphans=True)
    assert (done.num_deleted, done.num_failed) == (1, 0)
    assert findings(world, summary.check_id) == {"/store/b1/loose": "orphan/repaired"}
    assert not loose.exists()
    assert all(path.exists() for path in (*odd, inside))
    assert world.inventory.scalar("SELECT max(num_unnamed) FROM consistency_checks") == len(odd) + 1


class Listed:
    """A storage that lists what it is given."""

    endpoint = Endpoint("T2_A", "file", "file:///data")

    def __init__(self, modified_at: datetime | None) -> None:
        self._modified_at = modified_at

    def list_files(self, _prefix: str) -> list[pl.DataFrame]:
        return [pl.DataFrame([("/store/f", 1, self._modified_at)], schema=STORED_FILES, orient="row")]


@pytest.mark.parametrize(
    ("modified_at", "is_kept"),
    [
        (NOW - timedelta(days=4_000), True),
        (NOW + timedelta(days=3), True),
        (datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC), False),
        (datetime(1, 1, 1, tzinfo=UTC), False),
        (datetime(2300, 1, 1, tzinfo=UTC), False),
        (None, False),
    ],
)
def test_a_time_that_cannot_be_is_none(tmp_path: Path, modified_at: datetime | None, is_kept: bool) -> None:
    """And one that a wrong clock can have made is believed: it says that the clock is wrong."""
    listed = write_storage_list(Listed(modified_at), ["/store"], tmp_path / "list.parquet", NOW)  # type: ignore[arg-type]
    assert (listed.num_files, listed.num_unnamed) == (1, 0)
    assert open_list(listed.path).scan().collect()["modified_at"].to_list() == [modified_at if is_kept else None]


@pytest.mark.parametrize("seconds", [10**13, -(10**11), 2**62, float("nan"), float("inf"), 0])
def test_seconds_that_no_calendar_has_are_no_time(seconds: float) -> None:
    assert entry_of({"name": "/d/f", "type": "file", "size": 1, "mtime": seconds}).modified_at is None


@pytest.mark.parametrize("date", ["Fri, 31 Dec 9999 23:59:59 -0100", "Thu, 99 Foo 2026 00:00:00 GMT", "0", ""])
def test_dates_of_http_that_cannot_be_are_no_time(date: str) -> None:
    assert http_date(date) is None


def test_links_and_pipes_are_no_reason_to_stop(tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    (store / "file").write_bytes(b"data")
    for name, target in {
        "loop": "loop",
        "out": "/etc/passwd",
        "nowhere": "missing",
        "dir": "/etc",
        "self": ".",
    }.items():
        (store / name).symlink_to(target)
    os.mkfifo(store / "pipe")
    storage = PosixStorage(Endpoint("T2_A", "file", f"file://{tmp_path}"), StorageOptions())
    lfns = pl.concat(storage.list_files("/store"))["lfn"].to_list()
    assert "/store/file" in lfns
    assert not {"/store/loop", "/store/nowhere", "/store/pipe"} & set(lfns)


PROPFIND = """<?xml version="1.0"?><d:multistatus xmlns:d="DAV:"><d:response><d:href>/dav/store/</d:href></d:response>
<d:response><d:href>/dav/store/{name}</d:href><d:propstat><d:prop><d:getcontentlength>3</d:getcontentlength>
<d:getetag>"tag"</d:getetag></d:prop></d:propstat></d:response>
<d:response><d:href>/dav/store/file</d:href></d:response></d:multistatus>"""


@pytest.mark.parametrize(
    "name", [b"bad%FF%FE", b"bad\xff\xfe", b"bell\x07", b"bell&#7;", b"bell&#x1B;", b"\xed\xa0\x80"], ids=repr
)
def test_a_document_with_a_name_that_is_no_text_gives_the_others(name: bytes) -> None:
    document = PROPFIND.encode().replace(b"{name}", name)
    odd, file = parse_multistatus(document, "/dav/store/")
    assert file.name == "file"
    assert no_text(odd.name)
    assert strong_etag(document) == '"tag"'
