"""LFN → PFN, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.inventory.site.mapping import Endpoint, endpoint_fault, parse_chains

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


UNFIT = [
    ("davs", "http://se.org/x", "does not begin with davs:// or https://, as davs does"),
    ("davs", "dav://se.org/x", "does not begin with"),
    ("davs", "se.org/x", "does not begin with"),
    ("https", "davs://se.org/x", "does not begin with https://"),
    ("https", "http://se.org/x", "does not begin with https://"),
    ("http", "https://se.org/x", "does not begin with http://"),
    ("root", "davs://se.org/x", "does not begin with root://"),
    ("roots", "root://se.org/x", "does not begin with roots://"),
    ("file", "https://se.org/x", "does not begin with file://"),
    ("s3", "https://bucket/x", "does not begin with s3://"),
    ("srm", "http://se.org/x", "does not begin with srm://"),
    ("gsiftp", "http://se.org/x", "it begins with http://"),
    ("davs", "davs://me:secret@se.org/x", "a user or password"),
    ("root", "root://me@se.org/x", "a user or password"),
    ("davs", "davs://se.org/x?authz=secret", "a query"),
    ("srm", "srm://se.org/x?authz=secret", "a query"),
    ("s3", "s3://bucket/x#y", "a fragment"),
]


@pytest.mark.parametrize(("protocol", "prefix", "reason"), UNFIT)
def test_an_address_that_its_protocol_does_not_have_is_used_by_nobody(protocol: str, prefix: str, reason: str) -> None:
    fault = endpoint_fault(protocol, prefix)
    assert fault is not None
    assert reason in fault
    assert "secret" not in fault
    with pytest.raises(InventoryError, match=rf"site T2_A: its {protocol} endpoint cannot be used"):
        Endpoint("T2_A", protocol, prefix).pfn("/store/f")


@pytest.mark.parametrize(
    ("protocol", "prefix"),
    [
        ("davs", "https://se.org:443/x"),
        ("davs", "DAVS://se.org/@x"),
        ("dav", "http://se.org/x"),
        ("http", "http://se.org/x"),
        ("root", "xroot://se.org//x"),
        ("root", "roots://se.org//x"),
        ("file", "/data"),
        ("srm", "srm://se.org:8443/srm/managerv2?SFN=/x"),
        ("cupboard", "cupboard:///x.db"),
    ],
)
def test_an_address_of_its_protocol_is_used(protocol: str, prefix: str) -> None:
    assert endpoint_fault(protocol, prefix) is None
    assert Endpoint("T2_A", protocol, prefix).pfn("/store/f").endswith("/store/f")


def test_what_chains_lead_to_is_an_address_of_the_protocol() -> None:
    plain = [[["/store/(.*)", "http://se.org/$1"]]]
    assert "the replacement 'http://se.org/$1'" in str(endpoint_fault("davs", "", plain))
    assert endpoint_fault("davs", "", [[["/store/(.*)", "/x/$1"], ["/(.*)", "davs://se.org/$1"]]]) is None
    by_a_group = Endpoint("T2_A", "davs", "", parse_chains([[["/store(.*)", "http://se.org$1"], ["(.*)", "$1"]]]))
    with pytest.raises(InventoryError, match="does not begin with"):
        by_a_group.pfn("/store/f")


def test_hosts() -> None:
    assert PREFIX.hosts == CHAINS.hosts == {"a.invalid"}
    assert FOLDER.hosts == Endpoint("T2_A", "davs", "http://a.invalid/").hosts == frozenset()
