"""What must stay is set aside: held against SEMANTICS §10 in plain words, in random worlds."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import pytest

from dynamo_ops.detox.enforced import enforced_copies
from dynamo_ops.detox.engine import cycle
from dynamo_ops.detox.engine.plan import DeletionPlan, plan_deletions
from dynamo_ops.detox.facts import deletion_facts
from dynamo_ops.inventory.frames import SHARED_STORAGES, InventoryFrames
from dynamo_ops.policy.language.check import load_policy
from dynamo_ops.policy.language.enforcement import load_rules
from dynamo_ops.policy.partition import load_partitions
from dynamo_ops.quality.thresholds import LastCopies
from tests.detox.random_case import PARTITIONS as PARTITIONS_OF_CASES
from tests.detox.random_case import RandomCase, first_and_more, random_case
from tests.detox.small import NOW, PARTITIONS, small_inventory

MODES: tuple[LastCopies, ...] = ("never", "delete_lines", "always")


@dataclass(frozen=True)
class Troubled:
    """A random case in which some copies are doomed, doubted, awaited, at a site whose check was refused, or on a
    storage that two sites share. Each block has one file of the same number."""

    case: RandomCase
    frames: InventoryFrames
    mode: LastCopies

    @classmethod
    def of(cls, seed: int) -> Troubled:
        case, draw = random_case(seed), np.random.default_rng(seed + 1)
        complete = case.frames.block_replicas.filter("is_complete").select(
            "block_id", "site_id", "size_bytes", file_id="block_id"
        )
        doomed, doubted = (complete.filter(pl.Series(draw.random(complete.height) < 0.1)) for _ in range(2))
        pairs = [(int(block), int(draw.integers(5))) for block in case.frames.blocks["block_id"] if draw.random() < 0.1]
        shared = [(0, 1), (1, 0)] if draw.random() < 0.3 else []
        is_declared = draw.random() < 0.6
        frames = replace(
            case.frames,
            doomed_files=doomed.select("block_id", "site_id", "file_id", "size_bytes"),
            doubted_files=doubted.select("block_id", "site_id", "file_id"),
            refused_sites=pl.DataFrame({"site_id": [0] if draw.random() < 0.2 else []}, schema={"site_id": pl.Int64}),
            awaited=pl.DataFrame(pairs, schema={"block_id": pl.Int64, "site_id": pl.Int64}, orient="row"),
            shared_storages=pl.DataFrame([(*pair, is_declared) for pair in shared], SHARED_STORAGES, orient="row"),
        )
        return cls(case, frames, MODES[int(draw.integers(3))])

    def plan(self) -> DeletionPlan:
        return plan_deletions(
            self.frames,
            load_policy(self.case.policy_text, now=NOW),
            load_partitions(PARTITIONS_OF_CASES, now=NOW),
            now=NOW,
            partition=self.case.partition,
            enforcer_rules=load_rules(self.case.rules_text, now=NOW),
            protected_sites=self.case.protected_sites,
            deletion_per_iteration=self.case.deletion_per_iteration,
            last_copies=self.mode,
        )

    def good_sites(self, block: int, plan: DeletionPlan) -> set[int]:
        """Sites with a good copy of the block that the plan leaves: present, ready, not refused, no doom, no doubt."""
        gone = set(plan.deletions.select("block_id", "site_id").iter_rows())
        bad = set(self.frames.doomed_files.select("block_id", "site_id").iter_rows())
        bad |= set(self.frames.doubted_files.select("block_id", "site_id").iter_rows())
        ready = set(self.frames.sites.filter(pl.col("status") == "ready")["site_id"])
        ready -= set(self.frames.refused_sites["site_id"])
        holders = self.frames.block_replicas.filter("is_complete", pl.col("block_id") == block)["site_id"]
        return {site for site in holders if site in ready and (block, site) not in bad | gone}

    def waits_elsewhere(self, block: int, site: int, gone: DeletionPlan | None = None) -> bool:
        """A copy is subscribed to another site, or an owned replica there is incomplete; and ``gone`` leaves it."""
        waiting = set(self.frames.awaited.iter_rows())
        owned = self.frames.block_replicas.filter(~pl.col("is_complete"), pl.col("group_id").is_not_null())
        waiting |= set(owned.select("block_id", "site_id").iter_rows())
        waiting -= set(gone.deletions.select("block_id", "site_id").iter_rows()) if gone else set()
        return any(other == block and there != site for other, there in waiting)

    def is_shared(self, block: int, site: int) -> bool:
        """What goes there is gone at the other site too: nobody declared it, or the other has the block too."""
        doomed = set(self.frames.doomed_files.select("block_id", "site_id").iter_rows())
        held = set(self.frames.block_replicas.select("block_id", "site_id").iter_rows()) - doomed
        pairs = self.frames.shared_storages.filter(site_id=site)
        return any(not declared or (block, other) in held for _, other, declared in pairs.iter_rows())


@pytest.mark.parametrize("first", first_and_more(range(0, 600, 60)))
def test_nothing_goes_that_must_stay_and_only_that_is_set_aside(first: int) -> None:
    for seed in range(first, first + 60):
        troubled = Troubled.of(seed)
        plan = troubled.plan()
        check_deletions(troubled, plan)
        check_set_aside(troubled, plan)
        check_turns(troubled, plan)


def check_deletions(troubled: Troubled, plan: DeletionPlan) -> None:
    """As the gate judges them, and in plain words."""
    frames = troubled.frames
    enforced = enforced_copies(plan, frames, load_rules(troubled.case.rules_text, now=NOW))
    facts = deletion_facts(plan, frames, enforced)
    assert not facts["is_locked"].any()
    assert not facts["is_last_source"].any()
    assert not facts["is_enforcer_needed"].any()
    verbs = dict(plan.policy_lines.select("line", "verb").iter_rows())
    doomed = set(frames.doomed_files.select("block_id", "site_id").iter_rows())
    for block, site, line, size in plan.deletions.select("block_id", "site_id", "line", "size_bytes").iter_rows():
        assert (block, site) not in doomed
        assert not troubled.is_shared(block, site)
        if troubled.good_sites(block, plan) or not size:
            continue
        assert troubled.mode == "always" or (troubled.mode == "delete_lines" and verbs[line] == "Delete")
        assert not troubled.waits_elsewhere(block, site, plan)


def check_set_aside(troubled: Troubled, plan: DeletionPlan) -> None:
    """Each for its reason, as things stand in the end."""
    aside = plan.decisions.filter(pl.col("set_aside").is_not_null())
    assert set(aside["decision"]) <= {"keep"}
    for block, site, reason in aside.select("block_id", "site_id", "set_aside").iter_rows():
        is_alone = not troubled.good_sites(block, plan) - {site}
        if reason == "it is the last copy":
            assert is_alone
            assert troubled.mode != "always"
        elif reason == "it is the only source of a copy that is still pending":
            assert is_alone
            assert troubled.waits_elsewhere(block, site)
        elif reason == "its storage is that of another site too":
            assert troubled.is_shared(block, site)
        else:
            assert reason in ("it is locked", "an enforcer rule needs it")
    by_site = plan.site_states.select("site", "set_aside_bytes").filter(pl.col("set_aside_bytes") > 0)
    counted = aside.group_by("site").agg(set_aside_bytes=pl.col("size_bytes").sum())
    assert by_site.equals(counted.filter(pl.col("set_aside_bytes") > 0).sort("site"))


def check_turns(troubled: Troubled, plan: DeletionPlan) -> None:
    """Where nothing ever ends deletion, what is left over was set aside, or may never go."""
    if "Until never" not in troubled.case.policy_text:
        return
    triggered = plan.site_states.filter(pl.col("is_triggered") & pl.col("quota_bytes").is_not_null())
    kept = plan.decisions.filter((pl.col("decision") == "keep") & ~pl.col("is_placeholder"))
    kept = kept.join(triggered, on="site_id", how="semi")
    assert kept.filter(pl.col("set_aside").is_null()).is_empty()


@pytest.mark.thorough
def test_the_random_cases_are_not_all_trivial() -> None:
    plans = [Troubled.of(seed).plan() for seed in range(120)]
    reasons = pl.concat([plan.decisions for plan in plans])["set_aside"].drop_nulls()
    assert reasons.n_unique() == 5
    assert sum(plan.deletions.height for plan in plans) > 200


@pytest.mark.thorough
def test_how_candidates_are_kept_in_order_never_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    cases = [Troubled.of(seed) for seed in range(120)]
    before = [case.plan() for case in cases]
    monkeypatch.setattr(cycle, "CHUNK", 1)
    monkeypatch.setattr(cycle, "SORT_AGAIN", 0)
    for case, plan in zip(cases, before, strict=True):
        assert case.plan().decisions.equals(plan.decisions)


def test_the_next_in_order_takes_the_turn() -> None:
    """/a is nowhere else: /b and /c go instead, as far as Until asks."""
    frames = small_inventory(
        [("/a", "T2_A"), ("/b", "T2_A"), ("/b", "T2_B"), ("/c", "T2_A"), ("/c", "T2_B")], quotas={"T2_A": 600}
    )
    policy = "Partition Disk\nOn always\nWhen site.occupancy > 0.9\nUntil site.occupancy < 0.7\nDismiss\nOrder none\n"
    decided = {}
    for last_copies in (None, "never"):
        plan = plan_deletions(
            frames,
            load_policy(policy, now=NOW),
            load_partitions(PARTITIONS, now=NOW),
            now=NOW,
            last_copies=last_copies,  # type: ignore[arg-type]
        )
        decided[last_copies] = sorted(set(plan.deletions["dataset"]))
    assert decided == {None: ["/a"], "never": ["/b"]}
