"""The choice of sources: pure, repeatable, spread."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from dynamo_ops.fileops.sources import CANDIDATES, LOADS, choose_sources, unreachable


def candidate(wish: int, site: int, **values: Any) -> dict[str, Any]:
    plain = {
        "is_last_resort": False,
        "is_tape": False,
        "is_doomed": False,
        "num_failed": 0,
        "is_refused": False,
        "is_reachable": True,
    }
    return {"subscription_id": wish, "source_site_id": site} | plain | values


def choose(*rows: dict[str, Any], loads: dict[int, int] | None = None, attempts: int = 0) -> dict[int, int]:
    candidates = pl.DataFrame(list(rows), schema=CANDIDATES)
    load = pl.DataFrame(list((loads or {}).items()), schema=LOADS, orient="row")
    wishes = candidates.select("subscription_id").unique().with_columns(num_attempts=pl.lit(attempts, dtype=pl.Int64))
    chosen = choose_sources(candidates, load, wishes)
    return dict(chosen.select("subscription_id", "source_site_id").iter_rows())


@pytest.mark.parametrize(
    ("worse", "better"),
    [
        ({"is_tape": True}, {"num_failed": 2}),
        ({"num_failed": 1}, {}),
        ({"num_failed": 3}, {"num_failed": 1}),
        ({"is_doomed": True}, {"num_failed": 1}),
        ({"is_refused": True}, {"is_tape": True}),
        ({"is_reachable": False}, {"is_tape": True}),
        ({"is_last_resort": True}, {"is_tape": True, "is_doomed": True, "num_failed": 3}),
        ({"is_refused": True}, {"is_last_resort": True}),
        ({"is_last_resort": True, "is_tape": True}, {"is_last_resort": True}),
    ],
    ids=[
        "disk before tape",
        "never failed first",
        "fewer failures first",
        "not one to be deleted",
        "refused never",
        "unreachable never",
        "a site in the morgue last",
        "a site in the morgue before none",
        "disk before tape in the morgue too",
    ],
)
def test_preference(worse: dict[str, Any], better: dict[str, Any]) -> None:
    for wish in range(20):
        assert choose(candidate(wish, 1, **worse), candidate(wish, 2, **better)) == {wish: 2}


def test_wish_without_usable_source_is_left_out() -> None:
    assert choose(candidate(1, 1, is_refused=True), candidate(2, 1)) == {2: 1}


def test_row_order_does_not_matter() -> None:
    rows = [candidate(wish, site) for wish in range(50) for site in (1, 2, 3)]
    assert choose(*rows) == choose(*reversed(rows))


def test_another_attempt_draws_anew() -> None:
    rows = [candidate(wish, site) for wish in range(50) for site in (1, 2, 3)]
    assert choose(*rows, attempts=1) != choose(*rows, attempts=2)


def test_copies_are_spread_and_the_busy_site_gets_fewer() -> None:
    rows = [candidate(wish, site) for wish in range(3000) for site in (1, 2, 3)]
    chosen = list(choose(*rows, loads={3: 6000}).values())
    counts = {site: chosen.count(site) for site in (1, 2, 3)}
    assert counts[1] == pytest.approx(1285, rel=0.1)  # rates 1 : 1 : 1/3
    assert counts[2] == pytest.approx(1285, rel=0.1)
    assert counts[3] == pytest.approx(428, rel=0.2)


def test_unreachable() -> None:
    rows = [candidate(1, 1, is_reachable=False), candidate(1, 2), candidate(2, 1, is_reachable=False)]
    assert unreachable(pl.DataFrame(rows, schema=CANDIDATES)) == [2]
