"""Chains that are shown to be one-to-one, chains that are not, and that the first kind never joins two files."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.inventory.site.chains import why_not_one_to_one
from dynamo_ops.inventory.site.mapping import Endpoint

Chain = Sequence[tuple[str, str]]
URL = "davs://se.org:2880/cms"


def endpoint(*chains: Chain, protocol: str = "davs", managed_prefix: str = "/") -> Endpoint:
    return Endpoint("T2_A", protocol, "", tuple(tuple(chain) for chain in chains), managed_prefix)


USUAL: dict[str, tuple[Chain, ...]] = {
    "a prefix": ([("/+store/(.*)", f"{URL}/store/$1")],),
    "everything": ([("(.*)", f"{URL}$1")],),
    "everything, from its slash on": ([("/+(.*)", "davs://se.org/$1")],),
    "a prefix with its anchor": ([("^/+store/(.+)$", f"{URL}/store/\\1")],),
    "no group": ([("/store/", f"{URL}/")],),
    "a dot": ([("/store/v1\\.0/(.*)", f"{URL}/v1.0/$1")],),
    "temp with a root of its own": (
        [("/+store/temp/(.*)", "davs://se.org/scratch/$1")],
        [("/+store/(.*)", f"{URL}/store/$1")],
    ),
    "temp in the place that it would have": (
        [("/+store/temp/(.*)", f"{URL}/store/temp/$1")],
        [("/+store/(.*)", f"{URL}/store/$1")],
        [("/+(.*)", f"{URL}/$1")],
    ),
    "three areas": (
        [("/+store/unmerged/(.*)", f"{URL}/unmerged/$1")],
        [("/+store/temp/user/(.*)", f"{URL}/user/$1")],
        [("/+store/data/(.*)", f"{URL}/data/$1")],
    ),
    "a chain that is never reached": ([("/store/(.*)", f"{URL}/$1")], [("/store/user/(.*)", f"{URL}/$1")]),
    "direct and door": ([("/+store/(.*)", "/pnfs/se.org/cms/$1"), ("/+(.*)", "root://se.org:1094//$1")],),
    "direct and door, all": ([("(.*)", "/pnfs/se.org/cms$1"), ("(.*)", "srm://se.org:8443/srm/managerv2?SFN=$1")],),
    "the second step chooses": (
        [("/store/(.*)", "/pnfs/$1"), ("/pnfs/data/(.*)", f"{URL}/data/$1")],
        [("/store/(.*)", f"{URL}/rest/$1")],
    ),
    "a group in the middle": ([("/+store/user/([^/]+)/(.*)", f"{URL}/home/$1/cms/$2")],),
    "a group with a beginning": ([("/store/([^/]*)/([^/]+)/x/(.*)", "davs://se.org/u_$1/$2/y_$3")],),
    "a suffix": ([("/store/(.*)", "root://se.org//x/$1.gz")],),
    "a beginning of names": ([("/store/temp_(.*)", f"{URL}/temp/t_$1")],),
}

NOT_SHOWN: dict[str, tuple[tuple[Chain, ...], str]] = {
    "two areas, one place": (
        ([("/store/user/(.*)", f"{URL}/$1")], [("/store/mc/(.*)", f"{URL}/$1")]),
        "chain 1 (for /store/user/…) and chain 2 (for /store/mc/…) may both lead to the same name below se.org/cms/",
    ),
    "the later lies in the earlier": (
        ([("/store/user/(.*)", f"{URL}/$1")], [("/store/(.*)", f"{URL}/store/$1")]),
        "below se.org/cms/store/",
    ),
    "the later has a group, and more behind it": (
        ([("/store/b/c/(.*)", f"{URL}/b/c/$1")], [("/store/([^/]+)/x/(.*)", f"{URL}/$1/$2")]),
        "below se.org/cms/b/c/",
    ),
    "the earlier leaves the bare name": (
        ([("/store/a(.+)", f"{URL}/b$1")], [("/store/a(.*)", f"{URL}/bx$1")]),
        "below se.org/cms/bx",
    ),
    "the earlier takes one name only": (
        ([("/store/a$", f"{URL}/z")], [("/store/a(.*)", f"{URL}/b$1")], [("/store/c(.*)", f"{URL}/b$1")]),
        "chain 2 (for /store/a…) and chain 3",
    ),
    "two ports of one host": (
        ([("/a/(.*)", "davs://se.org:1/x/$1")], [("/b/(.*)", "davs://SE.org:2//x/$1")]),
        "below se.org/x/",
    ),
    "a load test": ([("/+store/LoadTest/Test_(.*)_.*_.*", f"{URL}/$1")], "goes on behind its '(.*)'"),
    "a part is lost": ([("/store/([^/]+)/(.*)", f"{URL}/$2")], "does not use every group"),
    "all is lost": ([("/store/(.*)", f"{URL}/one")], "does not use every group"),
    "another order": ([("/store/([^/]+)/(.*)", f"{URL}/$2/$1")], "in the same order"),
    "parts are joined": ([("/store/([^/]+)/(.*)", f"{URL}/$1$2")], "not followed by a slash"),
    "parts are joined by a dot": ([("/store/([^/]+)/(.*)", f"{URL}/$1.$2")], "not followed by a slash"),
    "half a part": ([("/store/u_([^/]+)/(.*)", f"{URL}/$1/$2")], "not a whole part between slashes"),
    "any character": ([("/store/v1.0/(.*)", f"{URL}/$1")], "can be looked through"),
    "one of two": ([("/store/(mc|data)/(.*)", f"{URL}/$1/$2")], "can be looked through"),
    "capitals": ([("(?i)/store/(.*)", f"{URL}/$1")], "can be looked through"),
    "many letters": ([("/store/a+/(.*)", f"{URL}/$1")], "can be looked through"),
    "a slash more": ([("/store/temp(.*)", f"{URL}/$1")], "let pattern and replacement have a slash"),
    "a dot that goes": ([("/store/temp(.*)", f"{URL}/.$1")], "let pattern and replacement have a slash"),
    "into the host": ([("/store/(.*)", "davs://se.org$1")], "does not begin with scheme://host/"),
    "no host": ([("/store/(.*)", "/pnfs/$1")], "does not begin with scheme://host/"),
    "a question mark": ([("/store/(.*)", "root://se.org//x?a=$1")], "question mark"),
    "dots": ([("/store/(.*)", f"{URL}/../x/$1")], "'.' or '..' part"),
    "a directory behind": ([("/store/(.*)", f"{URL}/$1/x")], "has a slash behind the last group"),
    "the whole match": ([("/store/(.*)", f"{URL}/$0$1")], "does not use every group"),
    "steps of more": (
        [("/store/([^/]+)/(.*)", "/x/$1/$2"), ("/x/(.*)", f"{URL}/$1")],
        "more than put one beginning of names for another",
    ),
    "slashes of a step": ([("/store/(.*)", "//x/$1"), ("/+x/(.*)", f"{URL}/$1")], "double slashes"),
    "no steps": ([], "does not begin with scheme://host/"),
}  # fmt: skip


@pytest.mark.parametrize("managed_prefix", ["/", "/store"])
@pytest.mark.parametrize("chains", USUAL.values(), ids=USUAL)
def test_what_sites_have_is_shown(chains: tuple[Chain, ...], managed_prefix: str) -> None:
    protocol = chains[0][-1][1].split(":")[0]
    assert why_not_one_to_one(endpoint(*chains, protocol=protocol, managed_prefix=managed_prefix)) is None


@pytest.mark.parametrize(("chains", "reason"), NOT_SHOWN.values(), ids=NOT_SHOWN)
def test_what_is_not_shown_says_why(chains: tuple[Chain, ...] | Chain, reason: str) -> None:
    is_one = not chains or isinstance(chains[0][0], str)
    said = why_not_one_to_one(endpoint(*([chains] if is_one else chains)))  # type: ignore[arg-type,list-item]
    assert said is not None
    assert reason in said


def test_a_prefix_needs_no_proof() -> None:
    assert why_not_one_to_one(Endpoint("T2_A", "davs", "davs://se.org/cms")) is None


def test_the_managed_area_alone_counts() -> None:
    chains = ([("/store/(.*)", f"{URL}/$1")], [("/(.*)", f"{URL}/$1")])
    assert why_not_one_to_one(endpoint(*chains, managed_prefix="/store")) is None
    assert why_not_one_to_one(endpoint(*chains)) is not None
    assert why_not_one_to_one(endpoint([("/store(.*)", f"{URL}/$1")], managed_prefix="/store")) is None


# -- what is shown is true -----------------------------------------------------------------------------------------

PARTS = ("a", "b", "ab", "a.", ".a", "s")
LFNS = tuple("/" + "/".join(parts) for number in (1, 2, 3) for parts in itertools.product(PARTS, repeat=number))

BEGINS = ("/s/", "/s/a/", "/s/b/", "/+s/", "/s/+a/", "/s/ab/", "/a/", "/", "", "/s", "/s/a", "/s/a/b/", "/s/a\\.")
PLACES = (
    "/",
    "/s/",
    "/a/",
    "/b/",
    "/s/a/",
    "/s/b/",
    "//s/",
    "/s/a/b/",
    "/s",
    "/a",
    "/s/a",
    "/x/",
    "/x/y",
    "/.",
    "/./",
    "/a.",
)
HOSTS = ("davs://h", "davs://h", "davs://H:1", "davs://g")
TAILS = ("(.*)", "(.+)", "(.*)$", "(.*)\\.", "(.*?)")
SUFFIXES = ("", "", "", ".", ".gz", "/x")
MIDDLES = ("/", "/a/", "/s", "", ".")


@st.composite
def plain_steps(draw: st.DrawFn, *, is_last: bool) -> tuple[str, str]:
    """One beginning for another, as most rules of sites are."""
    begin, place = draw(st.sampled_from(BEGINS)), draw(st.sampled_from(PLACES))
    is_grouped = draw(st.booleans())
    pattern, new = (f"{begin}(.*)", f"{place}$1") if is_grouped else (begin, place)
    return pattern, (draw(st.sampled_from(HOSTS)) if is_last else "") + new


@st.composite
def odd_steps(draw: st.DrawFn, *, is_last: bool) -> tuple[str, str]:
    """With groups in the middle, that are lost or exchanged at times, and other ends."""
    pattern = draw(st.sampled_from(BEGINS))
    new = (draw(st.sampled_from(HOSTS)) if is_last else "") + draw(st.sampled_from(PLACES))
    num_parts = draw(st.integers(0, 2))
    numbers = list(range(1, num_parts + 1))
    if draw(st.integers(0, 4)) == 0:
        numbers = draw(st.permutations(numbers))[: draw(st.integers(0, 2))]
    is_straight = draw(st.booleans())
    for _ in range(num_parts):
        pattern += draw(st.sampled_from(["([^/]+)", "([^/]*)"])) + (
            "/" if is_straight else draw(st.sampled_from(MIDDLES))
        )
    new += "".join(f"${number}" + ("/" if is_straight else draw(st.sampled_from(MIDDLES))) for number in numbers)
    if draw(st.booleans()):
        pattern += draw(st.sampled_from(TAILS))
        new += f"${num_parts + 1}{draw(st.sampled_from(SUFFIXES))}"
    return pattern, new


@st.composite
def chains(draw: st.DrawFn) -> list[tuple[str, str]]:
    steps = odd_steps if draw(st.integers(0, 4)) == 0 else plain_steps
    num_steps = 2 if draw(st.integers(0, 4)) == 0 else 1
    return [draw(steps(is_last=number == num_steps)) for number in range(1, num_steps + 1)]


def normal(pfn: str) -> str:
    """One spelling of what is one name to a storage."""
    host, _, path = unquote(pfn).removeprefix("davs://").partition("/")
    path = re.sub(r"(?<=/)\.(/|$)", "", re.sub("/+", "/", f"/{path}"))
    return host.lower().removesuffix(":1") + re.sub("/+", "/", path)


def mapped(to: Endpoint) -> Iterator[tuple[str, str]]:
    for lfn in LFNS:
        try:
            yield lfn, normal(to.pfn(lfn))
        except (InventoryError, re.error, IndexError):
            continue


@pytest.mark.thorough
def test_what_is_shown_joins_no_two_files() -> None:
    """Every LFN of up to three of six parts by random chains; and both verdicts are frequent, and the bad one is right
    often enough."""
    verdicts: Counter[str] = Counter()

    @settings(max_examples=1500, derandomize=True, database=None)
    @given(st.lists(chains(), min_size=1, max_size=3), st.sampled_from(["/", "/s"]))
    def shown_is_true(drawn: list[Chain], managed_prefix: str) -> None:
        to = endpoint(*drawn, managed_prefix=managed_prefix)
        reason = why_not_one_to_one(to)
        lfn_of: dict[str, str] = {}
        for lfn, pfn in mapped(to):
            other = lfn_of.setdefault(pfn, lfn)
            if other != lfn:
                assert reason is not None, (drawn, managed_prefix, lfn, other, pfn)
                verdicts["joined"] += 1
                return
        verdicts["shown" if reason is None and lfn_of else "empty" if reason is None else "not shown"] += 1

    shown_is_true()
    print(dict(verdicts))
    assert min(verdicts["shown"], verdicts["joined"], verdicts["not shown"]) >= 100
