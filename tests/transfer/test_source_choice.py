"""The choice of sources: pure, repeatable, spread, within limits."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamo_ops.base.settings import TransferSettings
from dynamo_ops.transfer.choice import CANDIDATES, IN_FLIGHT, choose_sources
from dynamo_ops.transfer.submission.limits import TransferLimits

DESTINATION = 9
PLAIN = {
    "site_id": DESTINATION,
    "num_attempts": 0,
    "is_last_resort": False,
    "is_tape": False,
    "is_doomed": False,
    "is_doubted": False,
    "is_direct": False,
    "num_failed": 0,
}


def candidate(subscription: int, source: int, **values: Any) -> dict[str, Any]:
    return PLAIN | {"subscription_id": subscription, "source_site_id": source, "turn": subscription} | values


def choose(
    *rows: dict[str, Any],
    in_flight: dict[tuple[int, int], tuple[int, ...]] | None = None,
    at_sites: dict[int, TransferSettings] | None = None,
    **limits: int,
) -> pl.DataFrame:
    flying = [(*link, *numbers, *[0] * (3 - len(numbers))) for link, numbers in (in_flight or {}).items()]
    return choose_sources(
        pl.DataFrame(list(rows), schema=CANDIDATES),
        pl.DataFrame(flying, schema=IN_FLIGHT, orient="row"),
        TransferLimits(**limits),
        at_sites or {},
    )


def sources(chosen: pl.DataFrame) -> dict[int, int]:
    return dict(chosen.select("subscription_id", "source_site_id").iter_rows())


@pytest.mark.parametrize(
    ("worse", "better"),
    [
        ({"is_tape": True}, {"num_failed": 2}),
        ({"num_failed": 1}, {}),
        ({"num_failed": 3}, {"num_failed": 1}),
        ({"is_doomed": True}, {"num_failed": 1}),
        ({"is_last_resort": True}, {"is_tape": True, "is_doomed": True, "num_failed": 3}),
        ({"is_last_resort": True, "is_tape": True}, {"is_last_resort": True}),
        ({"is_doubted": True}, {"is_last_resort": True, "is_tape": True, "is_doomed": True, "num_failed": 3}),
    ],
    ids=[
        "disk before tape",
        "never failed first",
        "fewer failures first",
        "not one to be deleted",
        "a site in the morgue last",
        "disk before tape in the morgue too",
        "what a check doubts last of all",
    ],
)
def test_preference(worse: dict[str, Any], better: dict[str, Any]) -> None:
    for subscription in range(20):
        assert sources(choose(candidate(subscription, 1, **worse), candidate(subscription, 2, **better))) == {
            subscription: 2
        }


def test_row_order_does_not_matter() -> None:
    rows = [candidate(subscription, site) for subscription in range(50) for site in (1, 2, 3)]
    assert choose(*rows).equals(choose(*reversed(rows)))


def test_another_attempt_draws_anew() -> None:
    first, second = (
        sources(
            choose(*[candidate(subscription, site, num_attempts=n) for subscription in range(50) for site in (1, 2, 3)])
        )
        for n in (0, 1)
    )
    assert first != second


def test_copies_are_spread_and_the_busy_site_gets_fewer() -> None:
    rows = [candidate(subscription, site) for subscription in range(3000) for site in (1, 2, 3)]
    chosen = list(sources(choose(*rows, in_flight={(3, 8): (6000, 0)})).values())
    counts = {site: chosen.count(site) for site in (1, 2, 3)}
    assert counts[1] == pytest.approx(1285, rel=0.1)  # rates 1 : 1 : 1/3
    assert counts[2] == pytest.approx(1285, rel=0.1)
    assert counts[3] == pytest.approx(428, rel=0.2)


def test_a_busy_link_gets_fewer_than_another_from_the_same_site() -> None:
    rows = [candidate(n, site, site_id=8 + n % 2) for n in range(4000) for site in (1, 2)]
    chosen = choose(*rows, in_flight={(1, 8): (4000, 0), (2, 9): (4000, 0)})
    by_link = chosen.group_by("source_site_id", "site_id").len().sort("source_site_id", "site_id")["len"].to_list()
    to_8_by_1, to_9_by_1, to_8_by_2, to_9_by_2 = by_link
    assert to_8_by_1 < to_8_by_2  # rates 1/3 : 1/2
    assert to_9_by_2 < to_9_by_1


@pytest.mark.parametrize(
    ("own", "is_tape", "expected"),
    [
        ({"files_from_site": 4}, False, {1: 3, 2: 6}),
        ({"files_from_site": 20}, False, {1: 9, 2: 0}),
        ({"files_staging_per_site": 4}, True, {1: 4, 2: 5}),
    ],
    ids=["fewer from a site", "more from a site", "fewer from a tape"],
)
def test_a_site_has_limits_of_its_own(own: dict[str, int], is_tape: bool, expected: dict[int, int]) -> None:
    """Ten files wait; nine may go to their site, one of which is under way; site 1 has limits of its own."""
    rows = [candidate(n, site, is_tape=is_tape, num_failed=site) for n in range(10) for site in (1, 2)]
    common = {"files_to_site": 5, "files_from_site": 8, "files_staging_per_site": 8}
    at_sites = {
        1: TransferSettings(**{**common, **own}),
        DESTINATION: TransferSettings(**{**common, "files_to_site": 10}),
    }
    chosen = choose(*rows, in_flight={(1, DESTINATION): (1, 0)}, at_sites=at_sites, **common)
    assert {site: chosen.filter(source_site_id=site).height for site in (1, 2)} == expected


@pytest.mark.parametrize(
    ("limits", "in_flight", "expected"),
    [
        ({"files_per_cycle": 3}, {}, 3),
        ({"files_in_flight": 8}, {(7, 8): (5, 0)}, 3),
        ({"files_in_flight": 8}, {(7, 8): (9, 0)}, 0),
        ({"files_to_site": 8}, {(7, DESTINATION): (5, 0)}, 3),
        ({"files_from_site": 8}, {(1, 8): (5, 0)}, 3),
        ({"files_per_link": 8}, {(1, DESTINATION): (5, 0)}, 3),
        ({"files_per_link": 8}, {(1, 8): (9, 0)}, 8),
        ({"files_to_site": 8}, {(7, DESTINATION): (2, 0, 3)}, 3),
        ({"files_from_site": 8, "files_per_link": 8, "files_in_flight": 8}, {(1, DESTINATION): (5, 0, 100)}, 3),
    ],
    ids=[
        "a cycle",
        "in all",
        "too many in all",
        "to a site",
        "from a site",
        "a link",
        "another link",
        "not on tape yet, to a site",
        "not on tape yet, from a site",
    ],
)
def test_limits_count_what_is_under_way(
    limits: dict[str, int], in_flight: dict[tuple[int, int], tuple[int, ...]], expected: int
) -> None:
    chosen = choose(*[candidate(subscription, 1) for subscription in range(20)], in_flight=in_flight, **limits)
    assert sorted(chosen["subscription_id"]) == list(range(expected))  # the oldest


def test_tapes_are_bounded_by_what_is_not_online_yet() -> None:
    rows = [candidate(subscription, 1, is_tape=True) for subscription in range(10)] + [
        candidate(subscription, 2) for subscription in range(10, 15)
    ]
    flying = {(1, 8): (100, 6)}  # 94 of them are online
    chosen = choose(*rows, in_flight=flying, files_staging_per_site=9)
    assert sorted(chosen["subscription_id"]) == [0, 1, 2, *range(10, 15)]


def test_a_full_link_is_in_nobodys_way() -> None:
    stuck = [candidate(subscription, 1) for subscription in range(100)]
    others = [candidate(100 + subscription, 2) for subscription in range(5)]
    chosen = choose(*stuck, *others, files_per_link=10)
    assert sorted(chosen["subscription_id"]) == [*range(10), *range(100, 105)]


def test_where_the_best_source_is_full_the_next_best_serves() -> None:
    rows = [
        row
        for subscription in range(30)
        for row in (candidate(subscription, 1), candidate(subscription, 2, num_failed=1))
    ]
    chosen = sources(choose(*rows, files_from_site=20))
    assert [chosen[subscription] for subscription in range(30)] == [1] * 20 + [2] * 10


def test_destinations_take_turns() -> None:
    rows = [candidate(n, 1, site_id=8, turn=n) for n in range(100)]
    rows += [candidate(100 + n, 1, site_id=9, turn=n) for n in range(3)]
    chosen = choose(*rows, files_per_cycle=10)
    assert chosen.group_by("site_id").len().sort("site_id").rows() == [(8, 7), (9, 3)]


def test_several_sources_only_for_what_failed_repeatedly() -> None:
    fresh = [candidate(1, site) for site in (1, 2, 3)]
    stubborn = [candidate(2, site, num_attempts=2, num_failed=site) for site in (1, 2, 3)]
    stubborn.append(candidate(2, 4, num_attempts=2, is_tape=True))
    alone = [candidate(3, 1, num_attempts=5)]
    others = dict(choose(*fresh, *stubborn, *alone).select("subscription_id", "other_source_site_ids").iter_rows())
    assert others == {1: None, 2: [2, 3], 3: None}


def test_jobs_with_several_sources_are_bounded() -> None:
    rows = [candidate(subscription, site, num_attempts=3) for subscription in range(10) for site in (1, 2)]
    assert choose(*rows, multi_source_per_cycle=4)["other_source_site_ids"].count() == 4


@given(st.data())
def test_no_limit_is_ever_passed_and_nothing_waits_that_could_go(data: st.DataObject) -> None:
    links = data.draw(st.lists(st.tuples(st.integers(1, 4), st.integers(5, 7)), max_size=60))
    rows = [candidate(n, source, site_id=site, is_tape=source == 4) for n, (source, site) in enumerate(links)]
    small = st.integers(1, 8)
    names = ("files_per_cycle", "files_to_site", "files_from_site", "files_per_link", "files_staging_per_site")
    limits = {name: data.draw(small, label=name) for name in names}
    chosen = choose(*rows, **limits)

    def most(frame: pl.DataFrame, *keys: str) -> int:
        return int(frame.group_by(keys).len()["len"].max() or 0)

    assert chosen.height <= limits["files_per_cycle"]
    assert most(chosen, "site_id") <= limits["files_to_site"]
    assert most(chosen, "source_site_id") <= limits["files_from_site"]
    assert most(chosen, "source_site_id", "site_id") <= limits["files_per_link"]
    assert most(chosen.filter("is_tape"), "source_site_id") <= limits["files_staging_per_site"]
    if chosen.height == limits["files_per_cycle"]:
        return
    for row in rows:  # whoever waits has a full site or link before him
        if row["subscription_id"] in chosen["subscription_id"]:
            continue
        source, site = row["source_site_id"], row["site_id"]
        from_site = chosen.filter(source_site_id=source)
        full = (
            from_site.height == limits["files_from_site"]
            or chosen.filter(site_id=site).height == limits["files_to_site"]
            or from_site.filter(site_id=site).height == limits["files_per_link"]
            or (row["is_tape"] and from_site.height == limits["files_staging_per_site"])
        )
        assert full, row
