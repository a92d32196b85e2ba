"""What holds for every inventory under every policy: random cases, judged by the plain-Python oracle.

``make test-long`` runs the long profile: some 100,000 inventories × policies.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamo_ops.detox.engine import cycle
from dynamo_ops.detox.engine.plan import DeletionPlan
from dynamo_ops.policy.language.check import load_policy
from dynamo_ops.policy.language.enforcement import load_rules
from tests.detox.oracle import Decided, Oracle, Row
from tests.detox.random_case import GROUPS, PREDICATES, VERBS, RandomCase, random_case
from tests.detox.small import NOW

SEEDS = st.integers(min_value=0, max_value=2**48)
TABLES = ("sites", "groups", "datasets", "blocks", "dataset_replicas", "block_replicas", "quotas", "attribute_values")
COPY_COUNTS = (*(p for p in PREDICATES if "copy" in p), "dataset.usage_rank > 1", "replica.size > 100")
OWNERS = tuple(p for p in PREDICATES if "owner" in p)
KEYS = ["block_id", "site_id"]
DATASET_LEVEL = {name for name, level in GROUPS if level == "dataset"}


class Replay:
    """The deletions of a plan, one after the other, on an image that shrinks."""

    def __init__(self, case: RandomCase, plan: DeletionPlan) -> None:
        self.case, self.plan = case, plan
        self.policy = load_policy(case.policy_text, now=NOW)
        self.oracle = Oracle(case, self.policy, load_rules(case.rules_text, now=NOW))
        owners = {row["group_id"]: row["group"] for row in case.frames.groups.to_dicts()}
        rows = plan.decisions.filter(~pl.col("is_placeholder")).join(case.frames.block_replicas, on=KEYS, how="left")
        self.rows: dict[Row, dict[str, object]] = {
            Row(
                row["dataset"],
                row["site"],
                row["block"],
                owners.get(row["group_id"], "None"),
                row["size_bytes"],
                row["is_complete"],
                row["last_update_at"],
            ): row
            for row in rows.to_dicts()
        }
        self.left = set(self.rows)
        self.oracle.at_start = tuple(self.rows)
        states = plan.site_states.to_dicts()
        self.quota = {state["site"]: state["quota_bytes"] for state in states}
        self.bytes = {state["site"]: state["bytes_before"] for state in states}

    def mixed_datasets(self) -> set[str]:
        """Those with a replica that has owners of both levels: hand-overs are possible."""
        levels: dict[tuple[str, str], set[bool]] = {}
        for row in self.rows:
            levels.setdefault((row.dataset, row.site), set()).add(row.owner in DATASET_LEVEL)
        return {dataset for (dataset, _), found in levels.items() if len(found) > 1}

    def said(self, dataset: str) -> Decided:
        """What the oracle says now of all that is left of a dataset."""
        return self.oracle.decide(sorted((r for r in self.left if r.dataset == dataset), key=str))

    def deletions(self) -> list[list[Row]]:
        """The block replicas of each deletion, in order."""
        found: dict[int, list[Row]] = {}
        for row, decision in self.rows.items():
            if decision["delete_order"] is not None:
                found.setdefault(int(str(decision["delete_order"])), []).append(row)
        return [found[number] for number in sorted(found)]

    def delete(self, rows: list[Row]) -> None:
        self.left -= set(rows)
        for row in rows:
            self.bytes[row.site] -= row.size

    def occupancy(self, site: str) -> float | None:
        quota = self.quota[site]
        if quota is None:
            return None
        return float("inf") if quota == 0 else 0.0 if quota < 0 else self.bytes[site] / quota

    def stops(self, site: str) -> bool:
        """``Until`` holds: in these policies a limit on the occupancy, or never."""
        (condition,) = self.policy.stops
        (predicate,) = condition.predicates
        occupancy = self.occupancy(site)
        return predicate.variable.name != "never" and occupancy is not None and occupancy < predicate.values[0]


@given(seed=SEEDS)
def test_every_plan_holds_what_policies_promise(seed: int) -> None:
    """It terminates; each block replica has one decision; the order of rows does not matter; and, replayed:"""
    case = random_case(seed)
    plan = case.plan()
    check_decisions(case, plan)
    check_order_of_rows(case, plan, seed)
    check_replay(case, plan)


@given(seed=SEEDS)
def test_a_copy_count_holds_at_the_moment_of_each_deletion(seed: int) -> None:
    """Policies that count copies in nearly every line."""
    case = random_case(
        seed, predicates=COPY_COUNTS, verbs=("Protect", "Delete", "ProtectBlock", "DeleteBlock", "Dismiss")
    )
    plan = case.plan()
    check_decisions(case, plan)
    check_replay(case, plan)


@given(seed=SEEDS)
def test_hand_overs_do_not_depend_on_the_order_of_rows(seed: int) -> None:
    """Policies that take blocks by owner, where datasets have several."""
    case = random_case(seed, predicates=OWNERS, verbs=("DeleteBlock", "DismissBlock", "ProtectBlock"))
    plan = case.plan()
    check_decisions(case, plan)
    check_order_of_rows(case, plan, seed)
    check_replay(case, plan)


@pytest.mark.thorough
def test_policies_that_take_blocks_by_owner_hand_over() -> None:
    cases = [random_case(seed, predicates=OWNERS, verbs=("DeleteBlock", "DismissBlock")) for seed in range(300)]
    moved = [plan.evidence.handovers for plan in (case.plan() for case in cases) if plan.evidence]
    assert sum(frame.height > 0 for frame in moved) > 10


def check_decisions(case: RandomCase, plan: DeletionPlan) -> None:
    found = plan.decisions
    assert found.select(KEYS).is_unique().all()
    assert set(found["decision"]) <= {"delete", "keep", "protect", "ignore", "reowned"}
    assert found["delete_order"].is_not_null().equals(found["decision"] == "delete", check_names=False)
    assert not found.filter((pl.col("decision") == "delete") & pl.col("is_placeholder")).height
    real = found.filter(~pl.col("is_placeholder"))
    image = case.frames.block_replicas.join(plan.site_states, on="site_id", how="semi")
    if case.partition == "All":
        assert real.select(KEYS).sort(KEYS).equals(image.select(KEYS).sort(KEYS))
    else:
        assert real.join(image.filter(pl.col("group_id").ne_missing(2)), on=KEYS, how="anti").is_empty()
    # A whole replica of known quota only: what has no quota loses nothing.
    unknown = plan.site_states.filter(pl.col("quota_bytes").is_null())
    assert plan.deletions.join(unknown, on="site_id", how="semi").is_empty()
    gone = plan.deletions.group_by("site_id").agg(gone=pl.col("size_bytes").sum())
    states = plan.site_states.join(gone, on="site_id", how="left").with_columns(pl.col("gone").fill_null(0))
    left = states["bytes_before"] - states["gone"] - states["bytes_after"]
    assert (left == 0).all() if plan.handovers.is_empty() else (left >= 0).all()


def check_order_of_rows(case: RandomCase, plan: DeletionPlan, seed: int) -> None:
    shuffled = {n: getattr(case.frames, n).sample(fraction=1, shuffle=True, seed=seed % 2**32) for n in TABLES}
    other = case.plan(replace(case.frames, **shuffled))
    assert plan.decisions.equals(other.decisions)
    assert plan.site_states.equals(other.site_states)


def check_replay(case: RandomCase, plan: DeletionPlan) -> None:
    """Each deletion was what its line asks for at that moment; no dismissed replica went where Until held; what is
    left is what its line says at the end. Of datasets where blocks may change owner, at moments that a plan does not
    tell, the lines are not judged."""
    if plan.decisions["is_placeholder"].any():
        return
    replay = Replay(case, plan)
    mixed = replay.mixed_datasets()
    is_static = replay.policy.is_static
    for rows in replay.deletions():
        site, said = rows[0].site, replay.said(rows[0].dataset)
        assert {row.site for row in rows} == {site}
        lines = {row: said[row] for row in rows}
        verbs = {line.verb for line in lines.values()}
        if not is_static and rows[0].dataset not in mixed:
            assert all(line.number == replay.rows[row]["line"] for row, line in lines.items())
            assert verbs in ({"Delete"}, {"Dismiss"})
        if verbs == {"Dismiss"} and not mixed:
            assert not replay.stops(site)
            assert plan.site_states.filter((pl.col("site") == site) & pl.col("is_triggered")).height
        replay.delete(rows)
    check_end(replay, mixed)


def check_end(replay: Replay, mixed: set[str]) -> None:
    verbs = {"Dismiss": "keep", "Ignore": "ignore", "Protect": "protect"}
    lines = {line.number: line.verb for line in (replay.policy.default, *replay.policy.lines)}
    for dataset in {row.dataset for row in replay.left} - mixed:
        for row, line in replay.said(dataset).items():
            found = replay.rows[row]
            if found["decision"] == "protect":  # final ones keep the line that protected them first
                assert lines[int(str(found["line"]))] == "Protect"
            elif replay.quota[row.site] is None and line.verb == "Delete":
                assert found["decision"] == "keep"
            else:
                assert found["decision"] == verbs[line.verb]
                assert found["line"] == line.number


@pytest.mark.thorough
def test_the_random_cases_are_not_all_trivial() -> None:
    """They delete by lines of each verb, hand over, meet Until, and use nearly every predicate."""
    plans = [(case, case.plan()) for case in map(random_case, np.arange(200).tolist())]
    decisions = pl.concat(plan.decisions for _, plan in plans)
    assert set(decisions["decision"]) == {"delete", "keep", "protect", "ignore", "reowned"}
    texts = " ".join(case.policy_text for case, _ in plans)
    assert [verb for verb in VERBS if verb not in texts] == []
    assert sum(predicate not in texts for predicate in PREDICATES) < 3


@pytest.mark.thorough
def test_how_candidates_are_kept_in_order_never_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looked at one by one, and mended in their queues: small cases would else be sorted anew each time."""
    cases = [random_case(seed) for seed in range(150)]
    before = [case.plan() for case in cases]
    monkeypatch.setattr(cycle, "CHUNK", 1)
    monkeypatch.setattr(cycle, "SORT_AGAIN", 0)
    for case, plan in zip(cases, before, strict=True):
        again = case.plan()
        assert again.decisions.equals(plan.decisions)
        assert again.site_states.equals(plan.site_states)


@pytest.mark.parametrize("until", ["0.15", "0.5"])
def test_no_site_goes_below_until_by_more_than_one_replica(until: str) -> None:
    """Whatever iteration deletes: without the last deletion at a site, Until did not hold."""
    for seed in range(40):
        case = random_case(seed)
        text = f"On site.storage_type == DISK\nWhen site.occupancy > 0.6\nUntil site.occupancy < {until}\nDismiss\n"
        plan = replace(case, policy_text=text).plan()
        for state in plan.site_states.filter(pl.col("quota_bytes") > 0).iter_rows(named=True):
            gone = plan.deletions.filter(pl.col("site") == state["site"])
            if gone.height:
                last = gone.filter(pl.col("delete_order") == gone["delete_order"].max())["size_bytes"].sum()
                assert (state["bytes_after"] + last) / state["quota_bytes"] >= float(until)
