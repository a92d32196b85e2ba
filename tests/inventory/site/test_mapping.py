"""LFN → PFN, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.inventory.site.mapping import Endpoint, parse_chains

PREFIX = Endpoint("T2_A", "davs", "davs://a.invalid:443/dav")
ROOT = Endpoint("T2_A", "root", "root://a.invalid:1094//eos")
FOLDER = Endpoint("T2_A", "file", "file:///data")
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
        (PREFIX, "/store/a b/50%#1", "davs://a.invalid:443/dav/store/a%20b/50%25%231"),
        (FOLDER, "/store/what?", "file:///data/store/what%3F"),
        (ROOT, "/store/a b/50%#1", "root://a.invalid:1094//eos/store/a b/50%#1"),
        (replace(ROOT, prefix="root://a.invalid/"), "/store/f", "root://a.invalid//store/f"),
        (PREFIX, "/store/ü", "davs://a.invalid:443/dav/store/%C3%BC"),
        (CHAINS, "/store/user/x/f", "davs://a.invalid/user/x/f"),
        (CHAINS, "/store/data/f", "davs://a.invalid/data/f"),
        (CHAINS, "/store/mc/f", "davs://a.invalid/rest/mc/f"),
    ],
    ids=[
        "prefix",
        "quoted",
        "question mark",
        "root as it is",
        "root's double slash",
        "unicode",
        "first chain",
        "chain of two",
        "first that matches to its end",
    ],
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


@pytest.mark.parametrize("endpoint", [PREFIX, ROOT], ids=["davs", "root"])
def test_question_mark_is_refused_where_a_server_may_cut_the_name_there(endpoint: Endpoint) -> None:
    with pytest.raises(InventoryError, match="question mark"):
        endpoint.pfn("/store/f?x")


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


@pytest.mark.parametrize("endpoint", [PREFIX, ROOT, CHAINS], ids=["prefix", "root", "chains"])
@pytest.mark.parametrize("name", ["f.root", "a:b=c+d", "50% ü"])
def test_a_listing_names_what_was_mapped(endpoint: Endpoint, name: str) -> None:
    assert endpoint.listed_lfn("/store/data", name) == f"/store/data/{name}"


def test_a_listing_that_names_files_anew_says_nothing() -> None:
    renaming = replace(CHAINS, chains=parse_chains([[["/store/(.*)/([^/]*)", "davs://a.invalid/$1/x-$2"]]]))
    with pytest.raises(InventoryError, match="cannot be turned round"):
        renaming.listed_lfn("/store/data", "f")
