"""A plan in figures and tables."""

from __future__ import annotations

import json
from dataclasses import replace

import polars as pl
import pytest

from dynamo_ops.detox.record import PlanRecord
from dynamo_ops.detox.report.describe import (
    Amount,
    deletion_order,
    first_rows,
    overview,
    plan_document,
    rows_document,
    select_decisions,
)
from tests.detox.told import LINES, SIZE, told


@pytest.fixture
def plan() -> PlanRecord:
    return told(
        "/A X b1 delete 2",
        "/A X b2 keep 0 ops",
        "/A Y b1 delete 2",
        "/B X b1 delete 0",
        "/B Y b1 protect 1",
        "/C Z b1 ignore 1",
        last_copies=["b1"],
        warnings=("mind the gap",),
    )


def test_figures_count_dataset_replicas_once(plan: PlanRecord) -> None:
    found = overview(plan)
    assert found.image == Amount(5, 6, 6 * SIZE)
    assert found.deleted == Amount(3, 3, 3 * SIZE)
    assert (found.num_sites, found.num_handovers, found.num_last_copy_datasets) == (2, 1, 2)


def test_lines_come_with_their_text_deletions_first(plan: PlanRecord) -> None:
    assert overview(plan).lines.rows() == [
        ("delete", 0, LINES[0], 1, 1, SIZE),
        ("delete", 2, LINES[2], 2, 2, 2 * SIZE),
        ("keep", 0, LINES[0], 1, 1, SIZE),
        ("protect", 1, LINES[1], 1, 1, SIZE),
        ("ignored", 1, LINES[1], 1, 1, SIZE),
    ]


def test_sites_are_all_there_with_what_they_lose(plan: PlanRecord) -> None:
    assert overview(plan).sites.select("site", "deleted_bytes").rows() == [("X", 200), ("Y", 100), ("Z", 0)]


@pytest.mark.parametrize(("quota", "fraction"), [(1000, 0.25), (0, None), (-1, None), (None, None)])
def test_the_protected_fraction_is_one_of_a_real_quota(
    plan: PlanRecord, quota: int | None, fraction: float | None
) -> None:
    states = plan.site_states.with_columns(quota_bytes=pl.lit(quota, dtype=pl.Int64), protected_bytes=pl.lit(250))
    assert overview(replace(plan, site_states=states)).sites["protected_fraction"].to_list() == [fraction] * 3


def test_a_plan_of_nothing_has_figures_too() -> None:
    found = overview(told())
    assert (found.image, found.deleted, found.num_sites) == (Amount(0, 0, 0), Amount(0, 0, 0), 0)
    assert found.lines.is_empty()
    assert deletion_order(told()).is_empty()


def test_a_plan_is_a_json_document(plan: PlanRecord) -> None:
    states = plan.site_states.with_columns(quota_bytes=pl.lit(0), occupancy_before=pl.lit(float("inf")))
    plan = replace(plan, site_states=states)
    found = json.loads(json.dumps(plan_document(plan, overview(plan)), allow_nan=False, default=str))
    assert found["now"] == "2018-01-15 12:00:00+00:00"
    assert found["deleted"] == {"num_dataset_replicas": 3, "num_block_replicas": 3, "size_bytes": 300}
    assert found["sites"][0]["occupancy_before"] is None
    assert found["warnings"] == ["mind the gap"]


def test_deletions_come_in_the_order_of_the_plan(plan: PlanRecord) -> None:
    turned = plan.decisions.with_columns(delete_order=10 - pl.col("delete_order"))
    plan = replace(plan, decisions=turned)
    order = deletion_order(plan)
    assert order.select("delete_order", "dataset", "site", "line").rows() == [
        (6, "/B", "X", 0),
        (7, "/A", "Y", 2),
        (9, "/A", "X", 2),
    ]
    assert deletion_order(plan, 2).equals(order.head(2))


@pytest.mark.parametrize(
    ("wanted", "rows"),
    [
        ({}, 6),
        ({"site": "X"}, 3),
        ({"site": "[XY]*"}, 5),
        ({"dataset": "/A"}, 3),
        ({"dataset": "/?", "site": "Z"}, 1),
        ({"dataset": "A"}, 0),
        ({"decision": "delete"}, 3),
        ({"decision": "ignore"}, 1),
        ({"decision": "ignored"}, 1),
        ({"line": 0}, 2),
        ({"line": 1, "decision": "protect"}, 1),
    ],
)
def test_decisions_are_found(plan: PlanRecord, wanted: dict[str, str], rows: int) -> None:
    found = first_rows(select_decisions(plan, **wanted), 2)  # type: ignore[arg-type]
    assert (found.num_rows, found.size_bytes, found.rows.height) == (rows, rows * SIZE, min(2, rows))
    assert rows_document(found)["num_rows"] == rows


def test_a_star_means_all_blocks_whatever_is_looked_for(plan: PlanRecord) -> None:
    """Block b1 of /A at X is deleted, b2 is not: looking for deletions alone must not make a star of it."""
    found = select_decisions(plan, decision="delete", dataset="/A").collect()
    assert found.select("site", "block").rows() == [("X", "b1"), ("Y", "*")]
