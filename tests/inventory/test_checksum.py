"""One spelling of adler32, whoever gives it: sources, documents, storages, FTS."""

from __future__ import annotations

import zlib

import polars as pl
import pytest
from requests.structures import CaseInsensitiveDict

from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.checksum import (
    adler32_digits,
    adler32_text,
    told_in_headers,
    told_in_words,
)
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


HELLO = b'{"hello": "world"}'
"""RFC 9530 gives its adler: OZkGFw== in base64."""
TOLD = {
    "hex, as of RFC 3230": ({"Digest": "adler32=39990617"}, "39990617"),
    "capitals": ({"DIGEST": "ADLER32=0A1B2C3D"}, "0a1b2c3d"),
    "a leading zero lost": ({"Digest": "adler32=a1b2c3d"}, "0a1b2c3d"),
    "with 0x": ({"Digest": "adler32=0xa1b2c3d"}, "0a1b2c3d"),
    "in quotes": ({"Digest": 'adler32="39990617"'}, "39990617"),
    "base64 under the name of RFC 3230": ({"Digest": "adler32=OZkGFw=="}, "39990617"),
    "as of RFC 9530": ({"Repr-Digest": "adler=:OZkGFw==:"}, "39990617"),
    "hex between colons": ({"Repr-Digest": "adler32=:39990617:"}, "39990617"),
    "without padding": ({"Repr-Digest": "adler=:OZkGFw:"}, "39990617"),
    "hex digits in base64, as of StoRM": ({"Repr-Digest": "adler=:MDNmYzAxOWQ=:"}, "03fc019d"),
    "between colons, of fewer digits": ({"Repr-Digest": "adler=:1234:"}, None),
    "several algorithms": ({"Digest": "md5=1B2M2Y8AsgTpgAmY7PhCfg==, adler32=39990617;q=1,crc32c=1"}, "39990617"),
    "both headers": ({"Digest": "adler32=39990617", "Repr-Digest": "adler=:OZkGFw==:"}, "39990617"),
    "one that can be read": ({"Digest": "adler32=?", "Repr-Digest": "adler=:OZkGFw==:"}, "39990617"),
    "no header": ({}, None),
    "an empty one": ({"Digest": ""}, None),
    "another algorithm": ({"Digest": "md5=1B2M2Y8AsgTpgAmY7PhCfg=="}, None),
    "two that differ": ({"Digest": "adler32=39990617,adler32=1"}, None),
    "zeros for none": ({"Digest": "adler32=00000000"}, None),
    "words for none": ({"Digest": "adler32=none"}, None),
    "too long": ({"Digest": "adler32=399906170"}, None),
    "base64 of something else": ({"Repr-Digest": "adler=:OZkGFxxx:"}, None),
    "no entry at all": ({"Digest": "39990617"}, None),
}


@pytest.mark.parametrize(("headers", "checksum"), TOLD.values(), ids=TOLD.keys())
def test_what_http_tells(headers: dict[str, str], checksum: str | None) -> None:
    assert told_in_headers(CaseInsensitiveDict(headers)) == checksum


def test_the_base64_of_rfc_9530_is_that_of_zlib() -> None:
    assert told_in_headers({"Repr-Digest": "adler=:OZkGFw==:"}) == f"{zlib.adler32(HELLO):08x}"


@pytest.mark.parametrize(
    ("answer", "checksum"),
    [
        (b"adler32 0a1b2c3d\x00", "0a1b2c3d"),
        ("ADLER32 A1B2C3D\n", "0a1b2c3d"),
        (b"md5 d41d8cd98f00b204e9800998ecf8427e", None),
        (b"adler32 00000000", None),
        (b"adler32", None),
        (b"\xff\xfe", None),
        (b"", None),
        (None, None),
    ],
)
def test_what_is_told_in_words(answer: bytes | str | None, checksum: str | None) -> None:
    assert told_in_words(answer) == checksum
