"""One spelling of adler32, whoever gives it: sources, documents, storages, FTS."""

from __future__ import annotations

import polars as pl
import pytest

from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.checksum import adler32_digits, adler32_text
from tests.inventory.told import block, dataset, file, merge, sync_sites
from tests.people import inject

WRITTEN = {
    "0a1b2c3d": "0a1b2c3d",
    "0A1B2C3D": "0a1b2c3d",
    "a1b2c3d": "0a1b2c3d",
    "0xA1B2C3D": "0a1b2c3d",
    " a1b2c3d ": "0a1b2c3d",
    "1": "00000001",
    "NOTSET": None,
    "none": None,
    "": None,
}
NONE = ["123456789", "xyz", "0x", "-1", "a1b2c3dg", "\u0661"]
"""That are no checksums; who asks for the text of one gets none, who judges documents sees what was written."""


@pytest.mark.parametrize(("written", "spelling"), WRITTEN.items())
def test_all_spellings_are_one(written: str, spelling: str | None) -> None:
    frame = pl.DataFrame({"adler32": [written, None]}, schema={"adler32": pl.String})
    assert frame.select(adler32_digits()).to_series().to_list() == [spelling, None]
    assert adler32_text(written) == spelling


@pytest.mark.parametrize("written", NONE)
def test_what_is_no_checksum_is_left_to_be_judged(written: str) -> None:
    frame = pl.DataFrame({"adler32": [written]})
    assert frame.select(adler32_digits()).item() == written
    assert adler32_text(written) is None


def test_sources_and_documents_come_to_the_same(database: Database) -> None:
    """A source of others may leave it as its service writes it."""
    sync_sites(database)
    shouted = file("/a/1") | {"adler32": "A1B2C3D"}
    merge(database, [dataset()], [block("b1")], [shouted])
    again = {"lfn": "/a/1", "size_bytes": shouted["size_bytes"], "adler32": "0xa1b2c3d"}
    new = {"lfn": "/a/2", "size_bytes": 1, "adler32": "ED6E0CF"}
    inject(database, {"datasets": [{"name": "/A/B-v1/C", "blocks": [{"name": "b1", "files": [again, new]}]}]})
    frame = database.frame("SELECT lfn, adler32 FROM files ORDER BY lfn")
    assert frame.rows() == [("/a/1", "0a1b2c3d"), ("/a/2", "0ed6e0cf")]
