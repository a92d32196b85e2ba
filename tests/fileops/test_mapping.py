"""LFN → PFN, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamo_ops.errors import InventoryError
from dynamo_ops.fileops.storage.mapping import Endpoint, parse_chains

PREFIX = Endpoint("T2_A", "davs", "davs://a.invalid:443/dav")
CHAINS = Endpoint(
    "T2_A",
    "davs",
    "davs://a.invalid/",
    parse_chains(
        [
            [["/store/user/(.*)", "davs://a.invalid/user/$1"]],
            [["/store/(.*)", "/pnfs/$1"], ["/pnfs/data/(.*)", "davs://a.invalid/data/\\1"]],
            [["/store/(.*)", "davs://a.invalid/rest/$1"]],
        ]
    ),
)


@pytest.mark.parametrize(
    ("endpoint", "lfn", "pfn"),
    [
        (PREFIX, "/store/a/f.root", "davs://a.invalid:443/dav/store/a/f.root"),
        (PREFIX, "/store/a b/50%#1?", "davs://a.invalid:443/dav/store/a%20b/50%25%231%3F"),
        (PREFIX, "/store/ü", "davs://a.invalid:443/dav/store/%C3%BC"),
        (CHAINS, "/store/user/x/f", "davs://a.invalid/user/x/f"),
        (CHAINS, "/store/data/f", "davs://a.invalid/data/f"),
        (CHAINS, "/store/mc/f", "davs://a.invalid/rest/mc/f"),
    ],
    ids=["prefix", "quoted", "unicode", "first chain", "chain of two", "first that matches to its end"],
)
def test_pfn(endpoint: Endpoint, lfn: str, pfn: str) -> None:
    assert endpoint.pfn(lfn) == pfn


@pytest.mark.parametrize(
    "lfn",
    [
        "store/f",
        "",
        "/",
        "/store",
        "/store/",
        "/store/a/",
        "/store/../etc/passwd",
        "/store/./f",
        "/store//f",
        "/etc/passwd",
        "/storeroom/f",
        "/store/a\nb",
        "/store/a\\b",
        "/store/a\x00",
    ],
    ids=repr,
)
def test_refused(lfn: str) -> None:
    with pytest.raises(InventoryError, match="refused"):
        PREFIX.pfn(lfn)


def test_chain_that_leaves_the_prefix_is_refused() -> None:
    endpoint = Endpoint(
        "T2_A", "davs", "davs://a.invalid/data/", parse_chains([[["/store/(.*)", "davs://a.invalid/$1"]]])
    )
    with pytest.raises(InventoryError, match="outside"):
        endpoint.pfn("/store/f")


def test_no_chain_matches() -> None:
    endpoint = Endpoint("T2_A", "davs", "", parse_chains([[["/store/mc/(.*)", "davs://a.invalid/$1"]]]))
    with pytest.raises(InventoryError, match="no davs chain maps"):
        endpoint.pfn("/store/data/f")


@given(st.text(max_size=40))
def test_nothing_leaves_the_prefix(name: str) -> None:
    try:
        pfn = PREFIX.pfn("/store/" + name)
    except InventoryError:
        return
    path = pfn.removeprefix("davs://a.invalid:443/dav/store/")
    assert path != pfn
    assert not {"", ".", ".."} & set(path.split("/"))
    assert "?" not in path
    assert "#" not in path
