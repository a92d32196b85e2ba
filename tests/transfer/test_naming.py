"""FTS is asked for the file and no other, whatever it is called, through all that is done to a URL on its way."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from random import Random
from urllib.parse import unquote

import pytest

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.fts.url import fts_url
from dynamo_ops.inventory.lfn import CANONICAL, DOTS, OURS
from dynamo_ops.inventory.site.mapping import Endpoint
from dynamo_ops.transfer.submission.naming import name_file
from simgrid.fts.copier.names import ROOT, as_copied, check_stored
from tests.storage.test_names import NAMES, neighbours

PIECES = [
    *"abf09._-+~^`'\"<>[]{}()|*$!@=:;,#?&% ",
    *("%20", "%41", "%25", "%2F", "%3F", "%26", "..", "  ", "?versionId=1", ";type=a", "&x=1", "\N{NO-BREAK SPACE}"),
    *(
        "\N{LATIN SMALL LETTER E WITH ACUTE}",
        "日本",
        "\N{GRINNING FACE}",
        "e\N{COMBINING ACUTE ACCENT}",
        "\N{OHM SIGN}",
    ),
]


def endpoint(site: str, protocol: str, *, is_mapped: bool) -> Endpoint:
    prefix = f"{protocol}://{site}.invalid:1094//data" if protocol in ROOT else f"{protocol}://{site}.invalid/data"
    chains = (((r"/store/(.*)", f"{prefix}/store/$1"),),) if is_mapped else ()
    return Endpoint(site, protocol, prefix, chains)


def sites(pair: str) -> Mapping[int, Mapping[str, Endpoint]]:
    """Site 1 speaks all of the pair's protocols, by a prefix; site 2 as well, by chains."""
    return {
        number: {protocol: endpoint(f"s{number}", protocol, is_mapped=number == 2) for protocol in pair.split("+")}
        for number in (1, 2)
    }


def names(seed: int) -> Iterator[str]:
    """LFNs that the gates let in: the known bad ones with what they could be taken for, and made-up ones."""
    draw = Random(seed)
    for name in NAMES:
        yield from (f"/store/{one}" for one in sorted({name, *neighbours(name)}))
    while True:
        parts = ["".join(draw.choices(PIECES, k=draw.randrange(1, 7))) for _ in range(draw.randrange(1, 4))]
        if draw.random() < 0.02:
            parts.append("x" * draw.randrange(900, 1200))
        yield "/store/" + "/".join(parts)


def allowed(seed: int, number: int) -> list[str]:
    kept: dict[str, None] = {}
    for lfn in names(seed):
        if re.search(CANONICAL, lfn) and not re.search(DOTS, lfn) and not re.search(OURS, lfn):
            kept[lfn] = None
        if len(kept) == number:
            return list(kept)
    raise AssertionError


def reached(url: str) -> str:
    """Which file of the storage that is, in the end. AssertionError: FTS would not take the document."""
    assert url == url.strip()
    check_stored(url)
    asked = as_copied(url)
    scheme, _, rest = asked.partition("://")
    path = rest.partition("/")[2]
    if scheme in ROOT:
        return path.partition("?")[0].removeprefix("/data")
    return unquote(path.partition("?")[0].partition("#")[0]).removeprefix("data")


PAIRS = ("davs", "root", "s3", "https", "root+davs", "davs+root", "root+s3")


WHY = {"question mark", "ampersand", "1,100 characters"}


def test_every_name_arrives_as_it_is_or_is_refused() -> None:
    """150,000 names and pairs."""
    lfns = allowed(1, 150_000 // len(PAIRS) + 1)
    num_refused: Counter[str] = Counter()
    reasons: set[str] = set()
    for pair in PAIRS:
        endpoints, protocols = sites(pair), pair.split("+")
        for lfn in lfns:
            try:
                naming = name_file(lfn, 1, 2, (), endpoints, protocols)
            except InventoryError as error:
                num_refused[pair] += 1
                reasons |= {reason for reason in WHY if reason in error.message} or {error.message}
                continue
            ends = (fts_url(naming.source), fts_url(naming.destination))
            assert tuple(map(reached, ends)) == (lfn, lfn), (lfn, naming)
    assert reasons == WHY
    assert num_refused["root+davs"] == num_refused["davs+root"] < num_refused["root"]
    assert num_refused["root+s3"] < num_refused["root"]


@pytest.mark.parametrize(("pair", "scheme"), [("root", None), ("root+davs", "davs"), ("davs+root", "davs")])
def test_another_protocol_takes_what_one_cannot(pair: str, scheme: str | None) -> None:
    arguments = ("/store/a&b", 1, 2, (), sites(pair), pair.split("+"))
    if scheme is None:
        with pytest.raises(InventoryError, match="it has an ampersand"):
            name_file(*arguments)
        return
    naming = name_file(*arguments)
    assert {url.partition(":")[0] for url in (naming.source, naming.destination)} == {scheme}


def test_what_no_protocol_takes_says_why_for_each() -> None:
    endpoints = sites("root+davs")
    with pytest.raises(InventoryError, match=r"ampersand.*; .*1,100 characters"):
        name_file("/store/a&" + "x" * 1_100, 1, 2, (), endpoints, ("root", "davs"))


def test_other_sources_are_named_by_the_protocol_of_the_first() -> None:
    endpoints = {**sites("davs"), 3: sites("root")[1], 4: sites("davs")[1]}
    assert list(name_file("/store/f", 1, 2, (3, 4), endpoints, ("davs", "root")).others) == [4]
