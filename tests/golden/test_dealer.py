"""Dealer against the golden case k01: target sites, enforcer, sources, and the sequence of requests with a destination.

Recorded from the unchanged original; rows where SEMANTICS §8.8 says otherwise are named here. The other plugins are
tested in test_dealer_plugins.py, the files that the command writes in test_dealer_cli.py.
"""

from __future__ import annotations

import csv
from pathlib import Path
from random import Random

import polars as pl
import pytest

from dynamo_ops.dealer.engine.config import DealerConfig, load_config
from dynamo_ops.dealer.engine.plan import CopyPlan, plan_copies
from dynamo_ops.dealer.engine.plugin import ProposalContext, proposals_frame
from dynamo_ops.dealer.plugins.enforcer_state import rule_states
from dynamo_ops.inventory.folder import InventoryFolder, read_folder
from dynamo_ops.policy.language.enforcement import load_rules
from dynamo_ops.policy.partition import Partitions, load_partitions

CASE = Path(__file__).parent / "cases" / "k01_dealer"
REASONS = {
    "not a target site": "Not a target site",
    "source files missing": "Source files missing",
    "destination full": "Destination is full",
    "already there and owned by the group": "Replica exists",
    "dataset is neither valid nor in production": "Dataset is not valid",
}
PARTIAL_SOURCE = "/Src/SubsetOnly-v1/MINIAOD"
"""Only a complete but partial replica exists: no sufficient source for us, one for the original (SEMANTICS §8.8)."""

pytestmark = pytest.mark.golden


class Case:
    """The folder and what it is asked with."""

    def __init__(self) -> None:
        self.folder: InventoryFolder = read_folder(CASE)
        self.partitions: Partitions = load_partitions(self.folder.partitions_text, now=self.folder.now)
        self.config: DealerConfig = load_config((CASE / "dealer" / "config.json").read_text())
        self.datasets = dict(self.folder.frames.datasets.select("dataset", "dataset_id").iter_rows())
        self.sites = dict(self.folder.frames.sites.select("site", "site_id").iter_rows())
        blocks = self.folder.frames.blocks.join(self.folder.frames.datasets, on="dataset_id")
        self.blocks = {(d, b): i for d, b, i in blocks.select("dataset", "block", "block_id").iter_rows()}

    def plan(self, items: list[tuple[str, str, str]]) -> CopyPlan:
        """The plan for (dataset, blocks, site); the request id is the place in the list."""
        rows = [
            {
                "request_id": number,
                "dataset_id": self.datasets[dataset],
                "block_ids": None if blocks == "*" else [self.blocks[dataset, block] for block in blocks.split(";")],
                "site_id": self.sites[site],
            }
            for number, (dataset, blocks, site) in enumerate(items)
        ]
        proposals = proposals_frame(rows).with_columns(plugin=pl.lit("enforcer"))
        return plan_copies(self.folder.frames, proposals, self.config, self.partitions, now=self.folder.now, seed=1)

    def results(self, items: list[tuple[str, str, str]]) -> list[str]:
        """For each item the recorded program's word for what became of it."""
        plan = self.plan(items)
        found = {
            n: REASONS.get(reason, reason) for n, reason in plan.rejected.select("request_id", "reason").iter_rows()
        }
        found |= dict.fromkeys(plan.copies["request_id"].to_list(), "COPY")
        return [found[n] for n in range(len(items))]


@pytest.fixture(scope="module")
def case() -> Case:
    return Case()


def rows(name: str) -> list[dict[str, str]]:
    with (CASE / "dealer" / name).open(newline="") as lines:
        return list(csv.DictReader(lines))


REASSIGNED = {r["request"]: r for r in rows("requests_groupreassign.csv")}


def item_of(request: str) -> tuple[str, str, str]:
    if request.startswith("enforcer:"):
        dataset, site = request.removeprefix("enforcer:").rsplit("@", 1)
        return dataset, "*", site
    row = REASSIGNED[request]
    return row["dataset"], row["blocks"], row["destination"]


def test_target_sites(case: Case) -> None:
    states = {row["site"]: row for row in case.plan([]).site_states.iter_rows(named=True)}
    for row in rows("target_sites.csv"):
        mine = states[row["site"]]
        assert (mine["is_target"], mine["quota_bytes"]) == (row["is_target"] == "1", int(row["quota"]))
        for ours, theirs in (("physical_occupancy", "physical"), ("projected_occupancy_before", "projected")):
            recorded = float(row[f"occupancy_{theirs}"])
            assert mine[ours] == (pytest.approx(recorded) if recorded < 1e300 else float("inf"))


def test_enforcer_states(case: Case) -> None:
    context = ProposalContext("Physics", case.partitions, "AnalysisOps", case.folder.now, Random(1))
    rules = load_rules(case.folder.enforcer_text, now=case.folder.now)
    found = {
        (state.rule.name, dataset, word, str(missing))
        for state in rule_states(case.folder.frames, context, rules)
        for dataset, word, missing in state.datasets.select("dataset", "state", "num_missing").iter_rows()
    }
    wanted = rows("requests_enforcer.csv")
    assert found == {(r["rule"], r["dataset"], r["state"], r["n_requests"]) for r in wanted}


def test_sources(case: Case) -> None:
    wanted = [r for r in rows("source_checks.csv") if r["request"].startswith("enforcer:")]
    items = [item_of(r["request"]) for r in wanted]
    for (dataset, _, _), row, found in zip(items, wanted, case.results(items), strict=True):
        if row["collect_reject"]:
            assert found == row["collect_reject"]
        else:
            suffices = row["validate_source"] == "1" and dataset != PARTIAL_SOURCE
            assert (found != "Source files missing") == suffices, dataset


def test_destinations_one_by_one(case: Case) -> None:
    for row in rows("fixed_destination_checks.csv"):
        item = item_of(row["request"])
        if item[0] in (PARTIAL_SOURCE, "/Src/Invalid-v1/MINIAOD", "/Src/Production-v1/MINIAOD"):
            continue
        assert case.results([item])[0] == row["check_destination"].replace("OK", "COPY"), item


def test_destinations_in_sequence(case: Case) -> None:
    """Without the partial source, which the original copied, the later request to the same site still finds room."""
    wanted = rows("determine_copies_fixed.csv")
    items = [item_of(r["request"]) for r in wanted]
    differing = {
        (item[0], item[2], row["result"], found)
        for item, row, found in zip(items, wanted, case.results(items), strict=True)
        if found != row["result"]
    }
    assert differing == {
        (PARTIAL_SOURCE, "T1_AA_Disk", "COPY", "Source files missing"),
        (PARTIAL_SOURCE, "T2_A", "Not a target site", "Source files missing"),
        (PARTIAL_SOURCE, "T2_B", "Not a target site", "Source files missing"),
        ("/Src/TapeOnly-v1/MINIAOD", "T1_AA_Disk", "Not a target site", "COPY"),
    }
