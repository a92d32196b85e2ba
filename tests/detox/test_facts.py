"""What a gate must know of the deletions of a plan: wholes, locks, last copies, last sources, who asked for it."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest

from dynamo_ops.detox.facts import deletion_facts, handover_facts
from dynamo_ops.detox.plan import DECISIONS, POLICY_LINES, SITE_STATES, DeletionPlan
from dynamo_ops.inventory.frames import InventoryFrames
from tests.detox.small import NOW, small_inventory

Row = tuple[str, str, str]
"""Dataset, block, site."""
A, B = "/A/B-v1/AOD", "/C/D-v1/AOD"
LINES = [
    (0, "Dismiss", 9),
    (1, "Delete dataset.status == INVALID", 1),
    (2, "  DeleteBlock blockreplica.is_locked", 2),
    (3, "Dismiss dataset.name == /Deleted/*/*", 3),
]


def inventory(**options: object) -> InventoryFrames:
    """Two datasets of two blocks at two sites, all complete and owned."""
    return small_inventory([(name, site) for name in (A, B) for site in ("T2_A", "T2_B")], **options)  # type: ignore[arg-type]


def deleting(frames: InventoryFrames, *rows: tuple[str, str, str], line: int = 0) -> DeletionPlan:
    """A plan that deletes these (dataset, block, site)."""
    named = (
        frames.block_replicas.join(frames.datasets.select("dataset_id", "dataset"), on="dataset_id")
        .join(frames.blocks.select("block_id", "block"), on="block_id")
        .join(frames.sites.select("site_id", "site"), on="site_id")
    )
    wanted = pl.DataFrame(rows, schema=dict.fromkeys(["dataset", "block", "site"], pl.String), orient="row")
    decisions = named.join(wanted, on=["dataset", "block", "site"]).with_columns(
        decision=pl.lit("delete"),
        line=pl.lit(line),
        delete_order=pl.lit(1),
        is_placeholder=pl.lit(False),
        new_group_id=None,
    )
    return DeletionPlan(
        "physics",
        NOW,
        decisions.select(pl.col(name).cast(kind) for name, kind in DECISIONS.items()),
        pl.DataFrame(schema=SITE_STATES),
        pl.DataFrame(LINES, schema=POLICY_LINES, orient="row"),
        (),
    )


def facts(frames: InventoryFrames, *rows: Row, line: int = 0) -> dict[Row, dict[str, object]]:
    """The facts of a plan that deletes these rows."""
    found = deletion_facts(deleting(frames, *rows, line=line), frames)
    return {(row["dataset"], row["block"], row["site"]): row for row in found.iter_rows(named=True)}


def changed(frames: InventoryFrames, expression: pl.Expr) -> InventoryFrames:
    return replace(frames, block_replicas=frames.block_replicas.with_columns(expression))


def at(site: str, frames: InventoryFrames) -> pl.Expr:
    return pl.col("site_id") == dict(frames.sites.select("site", "site_id").iter_rows())[site]


@pytest.mark.parametrize(("blocks", "whole"), [(["b0", "b1"], True), (["b0"], False)], ids=["all blocks", "one block"])
def test_whole_dataset(blocks: list[str], whole: bool) -> None:
    found = facts(inventory(), *((A, block, "T2_A") for block in blocks))
    assert {row["whole_dataset"] for row in found.values()} == {whole}


def test_a_copy_elsewhere_makes_it_no_last_copy() -> None:
    found = facts(inventory(), (A, "b0", "T2_A"))[A, "b0", "T2_A"]
    assert (found["is_last_copy"], found["is_last_source"]) == (False, False)


def test_deleting_both_copies_deletes_the_last_one() -> None:
    found = facts(inventory(), (A, "b0", "T2_A"), (A, "b0", "T2_B"))
    assert {row["is_last_copy"] for row in found.values()} == {True}


def test_a_copy_that_nobody_owns_does_not_count() -> None:
    frames = inventory()
    frames = changed(frames, pl.when(at("T2_B", frames)).then(None).otherwise(pl.col("group_id")).alias("group_id"))
    assert facts(frames, (A, "b0", "T2_A"))[A, "b0", "T2_A"]["is_last_copy"] is True


def test_an_incomplete_copy_does_not_count_and_waits_for_its_source() -> None:
    frames = inventory()
    frames = changed(frames, (pl.col("is_complete") & ~at("T2_B", frames)).alias("is_complete"))
    found = facts(frames, (A, "b0", "T2_A"))[A, "b0", "T2_A"]
    assert (found["is_last_copy"], found["is_last_source"]) == (True, True)


def test_a_replica_without_bytes_is_nobodys_last_copy() -> None:
    frames = changed(inventory(), pl.lit(0, pl.Int64).alias("size_bytes"))
    found = facts(frames, (A, "b0", "T2_A"), (A, "b0", "T2_B"))
    assert {row["is_last_copy"] for row in found.values()} == {False}


@pytest.mark.parametrize(
    ("lock", "locked"),
    [
        ((A, "", ""), True),
        ((f"{A}#b0", "", ""), True),
        (("/A/*/*", "T2_A", ""), True),
        ((f"{A}#b1", "", ""), False),
        ((A, "T2_B", ""), False),
        ((B, "", ""), False),
    ],
    ids=["dataset", "block", "glob here", "another block", "another site", "another dataset"],
)
def test_locks(lock: tuple[str, str, str], locked: bool) -> None:
    assert facts(inventory(locks=[lock]), (A, "b0", "T2_A"))[A, "b0", "T2_A"]["is_locked"] is locked


@pytest.mark.parametrize(
    ("line", "allowed"),
    [(0, False), (1, True), (2, True), (3, False)],
    ids=["default", "Delete", "DeleteBlock", "Dismiss"],
)
def test_a_last_copy_may_go_where_a_delete_line_says_so(line: int, allowed: bool) -> None:
    found = facts(inventory(), (A, "b0", "T2_A"), (A, "b0", "T2_B"), line=line)[A, "b0", "T2_A"]
    assert (found["is_last_copy"], found["is_last_copy_allowed"]) == (True, allowed)


def test_a_delete_line_does_not_mean_what_becomes_the_last_copy_later() -> None:
    found = facts(inventory(), (A, "b0", "T2_A"), line=1)[A, "b0", "T2_A"]
    assert (found["is_last_copy"], found["is_last_copy_allowed"]) == (False, False)


def test_a_plan_that_deletes_nothing_has_no_facts() -> None:
    frames = inventory()
    plan = deleting(frames)
    assert deletion_facts(plan, frames).is_empty()
    assert handover_facts(plan).columns == ["block_id", "site_id", "group_id", "from_group_id"]


def test_handovers_are_told_without_placeholders() -> None:
    frames = inventory()
    plan = deleting(frames, (A, "b0", "T2_A"), (A, "b1", "T2_A"))
    decisions = plan.decisions.with_columns(new_group_id=pl.lit(7), is_placeholder=pl.col("block") == "b1")
    assert handover_facts(replace(plan, decisions=decisions))["group_id"].to_list() == [7]
