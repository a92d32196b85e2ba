"""What files may be called: one answer of Python, Rust and PostgreSQL; and what stands for a file until it is whole."""

from __future__ import annotations

import re

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.lfn import CANONICAL, DOTS, OURS, upload_lfn
from dynamo_ops.inventory.site.mapping import Endpoint, check_lfn

NAMES = {
    "/store/f": True,
    "/store/ f ": True,
    "/store/f?versionId=1": True,
    "/store/f;x%2Fg#h": True,
    "/store/...": True,
    "/store/.hidden": True,
    "/store/f.dynamo-part": True,
    "/store/.f.dynamo-parts": True,
    "/store/\N{LATIN SMALL LETTER E WITH ACUTE}\N{LINE SEPARATOR}": True,
    "/store/.f.dynamo-part": False,
    "/store/..dynamo-part": False,
    "/store/.a.dynamo-part/f": False,
    "/store/a\\b": False,
    "/store/a\nb": False,
    "/store/a\x7f": False,
    "/store/f\n": False,
    "/store/../f": False,
    "/store/./f": False,
    "/store/f/..": False,
    "/store//f": False,
    "/store/f/": False,
    "store/f": False,
    "/": False,
}
PATTERNS = {"is_canonical": CANONICAL, "has_dots": DOTS, "is_ours": OURS}

ENDPOINTS = [
    Endpoint("T2_A", protocol, prefix)
    for protocol, prefix in (
        ("davs", "davs://a.invalid/dav"),
        ("root", "root://a.invalid//eos"),
        ("file", "file:///data"),
        ("s3", "s3://bucket/prefix"),
    )
]
PARTS = st.text(
    st.sampled_from(["a", "f", "%", "2", "F", "4", "1", ";", "?", "#", "+", " ", "é", "/", ".", "&"]), max_size=8
)


@pytest.mark.parametrize("name", NAMES, ids=repr)
def test_a_name_is_judged_alike_by_all_who_read_it(database: Database, name: str) -> None:
    by_python = {kind: re.search(pattern.replace("$", r"\Z"), name) is not None for kind, pattern in PATTERNS.items()}
    by_rust = pl.Series([name])
    assert {kind: by_rust.str.contains(pattern).item() for kind, pattern in PATTERNS.items()} == by_python
    columns = ", ".join(f"$1::text ~ '{pattern}' AS {kind}" for kind, pattern in PATTERNS.items())
    assert database.frame(f"SELECT {columns}", (name,)).row(0, named=True) == by_python
    assert (by_python["is_canonical"] and not by_python["has_dots"] and not by_python["is_ours"]) == NAMES[name]


@given(PARTS.map(lambda part: f"/store/{part}"))
def test_no_file_can_be_called_as_an_upload_is(lfn: str) -> None:
    try:
        check_lfn(lfn, "/store")
    except InventoryError:
        return
    part = upload_lfn(lfn)
    assert re.search(OURS, part)
    assert check_lfn(part, "/store") == part
    assert part.rpartition("/")[0] == lfn.rpartition("/")[0]
    assert part != upload_lfn(part)


def test_an_upload_is_called_otherwise_than_a_file_that_was_let_in_as_one_of_those_before() -> None:
    assert upload_lfn("/store/f") != "/store/.f.dynamo-part"


def test_the_longest_name_of_a_file_system_has_room_for_its_upload() -> None:
    assert len(upload_lfn("/store/" + "x" * 255).rpartition("/")[2]) <= 255


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.protocol)
@given(pair=st.tuples(PARTS, PARTS))
def test_two_names_are_two_addresses_whoever_cuts_them_off_or_decodes_them(
    endpoint: Endpoint, pair: tuple[str, str]
) -> None:
    addresses = {}
    for name in pair:
        try:
            addresses[name] = endpoint.pfn(f"/store/{name}")
        except InventoryError:
            continue
    assert len(set(addresses.values())) == len(addresses)
    for pfn in addresses.values():
        if endpoint.protocol != "root":
            assert not set("?#;+ ") & set(pfn)
