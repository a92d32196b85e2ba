"""What a gate must know of the deletions of a plan: wholes, locks, last copies, last sources, who asked for it."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest

from dynamo_ops.detox.enforced import ENFORCED, enforced_copies
from dynamo_ops.detox.engine.plan import DECISIONS, SITE_STATES, DeletionPlan, policy_lines
from dynamo_ops.detox.facts import deletion_facts, handover_facts, replica_decisions
from dynamo_ops.inventory.frames import InventoryFrames, empty
from dynamo_ops.policy.language.check import load_policy
from dynamo_ops.policy.language.enforcement import load_rules
from tests.detox.small import NOW, small_inventory

Row = tuple[str, str, str]
"""Dataset, block, site."""
A, B = "/A/B-v1/AOD", "/C/D-v1/AOD"
LINES = policy_lines(
    load_policy(
        "\ufeff \tDelete\tdataset.status  ==  INVALID\r\n"
        "\t DeleteBlock \t blockreplica.is_locked\n"
        "Dismiss dataset.name == /Deleted/*/*\n"
        "\tDismiss \t\n"
        "On always\nWhen always\nUntil never\n",
        now=NOW,
    )
)
"""Spelt as oddly as the language allows."""


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
        set_aside=None,
    )
    kept = (
        named.join(wanted, on=["dataset", "block", "site"], how="anti")
        .with_columns(decision=pl.lit("keep"), line=pl.lit(0), is_placeholder=pl.lit(False))
        .with_columns(delete_order=None, new_group_id=None, set_aside=None)
    )
    return DeletionPlan(
        "physics",
        NOW,
        pl.concat(
            [frame.select(pl.col(name).cast(kind) for name, kind in DECISIONS.items()) for frame in (decisions, kept)]
        ),
        pl.DataFrame(schema=SITE_STATES),
        LINES,
        (),
    )


def facts(frames: InventoryFrames, *rows: Row, line: int = 0) -> dict[Row, dict[str, object]]:
    """The facts of a plan that deletes these rows."""
    found = deletion_facts(deleting(frames, *rows, line=line), frames, empty(ENFORCED))
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


def test_a_copy_counts_whoever_owns_it() -> None:
    frames = inventory()
    frames = changed(frames, pl.when(at("T2_B", frames)).then(None).otherwise(pl.col("group_id")).alias("group_id"))
    assert facts(frames, (A, "b0", "T2_A"))[A, "b0", "T2_A"]["is_last_copy"] is False


@pytest.mark.parametrize("what", ["doomed", "doubted", "refused", "waitroom", "morgue", "unknown"])
def test_a_copy_that_is_not_good_does_not_count(what: str) -> None:
    """The first block's at T2_B (id 0 at site 1), one of its two files; or all that T2_B has."""
    file = pl.DataFrame({"block_id": [0], "site_id": [1], "file_id": [7], "size_bytes": [50]})
    frames = inventory()
    if what in ("doomed", "doubted"):
        frames = replace(frames, **{f"{what}_files": file})
    elif what == "refused":
        frames = replace(frames, refused_sites=pl.DataFrame({"site_id": [1]}))
    else:
        status = pl.when(at("T2_B", frames)).then(pl.lit(what)).otherwise("status")
        frames = replace(frames, sites=frames.sites.with_columns(status=status))
    found = facts(frames, (A, "b0", "T2_A"), (A, "b1", "T2_A"))
    lost = {block: found[A, block, "T2_A"]["is_last_copy"] for block in ("b0", "b1")}
    assert lost == {"b0": True, "b1": what not in ("doomed", "doubted")}


def test_a_copy_that_is_subscribed_elsewhere_waits_for_its_last_source() -> None:
    """Of the first block, to T2_C (site 2); the second has another good copy."""
    frames = replace(inventory(), awaited=pl.DataFrame({"block_id": [0, 1], "site_id": [2, 2]}))
    found = facts(frames, (A, "b0", "T2_A"), (A, "b0", "T2_B"), (A, "b1", "T2_A"))
    assert {key[1:]: row["is_last_source"] for key, row in found.items()} == {
        ("b0", "T2_A"): True,
        ("b0", "T2_B"): True,
        ("b1", "T2_A"): False,
    }


def test_bytes_are_those_of_the_inventory_with_what_is_doomed() -> None:
    """A commit compares them."""
    file = pl.DataFrame({"block_id": [0], "site_id": [0], "file_id": [7], "size_bytes": [50]})
    frames = replace(inventory(), doomed_files=file)
    assert facts(frames, (A, "b0", "T2_A"))[A, "b0", "T2_A"]["size_bytes"] == 100


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


def test_who_asks_is_known_from_the_checked_line_whatever_its_text_looks_like() -> None:
    frames = inventory()
    for line, allowed in ((1, True), (3, False)):
        plan = deleting(frames, (A, "b0", "T2_A"), (A, "b0", "T2_B"), line=line)
        misleading = LINES.with_columns(text=pl.lit("Protect it all" if allowed else "Delete it all"))
        found = deletion_facts(replace(plan, policy_lines=misleading), frames, empty(ENFORCED))
        assert found["is_last_copy_allowed"].to_list() == [allowed, allowed]


def test_a_delete_line_does_not_mean_what_becomes_the_last_copy_later() -> None:
    found = facts(inventory(), (A, "b0", "T2_A"), line=1)[A, "b0", "T2_A"]
    assert (found["is_last_copy"], found["is_last_copy_allowed"]) == (False, False)


def test_a_plan_that_deletes_nothing_has_no_facts() -> None:
    frames = inventory()
    plan = deleting(frames)
    assert deletion_facts(plan, frames, enforced_copies(plan, frames, ())).is_empty()
    assert handover_facts(plan).is_empty()


def test_handovers_are_told_without_placeholders() -> None:
    frames = inventory()
    plan = deleting(frames, (A, "b0", "T2_A"), (A, "b1", "T2_A"))
    decisions = plan.deletions.with_columns(new_group_id=pl.lit(7), is_placeholder=pl.col("block") == "b1")
    assert handover_facts(replace(plan, decisions=decisions))["group_id"].to_list() == [7]


RULE = """rules:
  two_copies: {num_copies: 2, protect: %s, sources: [site.name == T2_A], destinations: [site.name == T2_*],
               replicas: [dataset.name == /A/*/*]}"""


def needed(frames: InventoryFrames, *rows: Row, protect: str = "true") -> set[Row]:
    """The deletions of these rows that the rule does without less easily than with them."""
    plan = deleting(frames, *rows)
    enforced = enforced_copies(plan, frames, load_rules(RULE % protect, now=NOW))
    found = deletion_facts(plan, frames, enforced).filter("is_enforcer_needed")
    return set(found.select("dataset", "block", "site").iter_rows())


def everywhere(*names: str, sites: tuple[str, ...] = ("T2_A", "T2_B", "T2_C")) -> InventoryFrames:
    return small_inventory([(name, site) for name in names for site in sites])


def at_sites(dataset: str, *sites: str) -> list[Row]:
    return [(dataset, block, site) for site in sites for block in ("b0", "b1")]


def test_a_rule_needs_the_copies_that_go_below_its_number() -> None:
    frames = everywhere(A, B)
    assert needed(frames, *at_sites(A, "T2_C")) == set()
    assert needed(frames, *at_sites(A, "T2_B", "T2_C")) == set(at_sites(A, "T2_B", "T2_C"))
    assert needed(frames, *at_sites(B, "T2_B", "T2_C")) == set()  # the rule is for /A
    assert needed(frames, *at_sites(A, "T2_B", "T2_C"), protect="false") == set()


def test_a_copy_is_gone_for_a_rule_when_all_its_blocks_in_the_image_go() -> None:
    frames = everywhere(A)
    assert needed(frames, *at_sites(A, "T2_C"), (A, "b0", "T2_B")) == set()


def test_where_copies_are_few_already_no_block_of_them_goes() -> None:
    frames = everywhere(A, sites=("T2_A",))
    assert needed(frames, (A, "b0", "T2_A")) == {(A, "b0", "T2_A")}


def test_a_rule_without_a_matching_source_needs_nothing() -> None:
    frames = everywhere(A, sites=("T2_B", "T2_C"))
    assert needed(frames, *at_sites(A, "T2_B", "T2_C")) == set()


def test_the_rule_is_judged_on_the_image_before_the_plan() -> None:
    frames = everywhere(A, sites=("T2_A", "T2_B"))
    assert needed(frames, *at_sites(A, "T2_A")) == set(at_sites(A, "T2_A"))  # its source goes in this plan


def test_copies_of_any_owner_and_completeness_count() -> None:
    frames = everywhere(A)
    broken = changed(frames, (pl.col("is_complete") & ~at("T2_B", frames)).alias("is_complete"))
    nobodys = changed(broken, pl.when(at("T2_A", frames)).then(None).otherwise("group_id").alias("group_id"))
    assert needed(nobodys, *at_sites(A, "T2_C")) == set()


def test_what_is_said_of_a_dataset_replica_is_counted_by_line() -> None:
    frames = inventory()
    plan = deleting(frames, (A, "b0", "T2_A"), line=1)
    rows = replica_decisions(plan).filter(pl.col("dataset_id") == 0).sort("site_id", "decision")
    assert rows.select("site_id", "decision", "line", "num_blocks", "size_bytes").rows() == [
        (0, "delete", 1, 1, 100),
        (0, "keep", 0, 1, 100),
        (1, "keep", 0, 2, 200),
    ]
