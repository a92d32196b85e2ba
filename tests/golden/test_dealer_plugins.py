"""The Dealer's plugins against the golden cases: all rows of ``requests_*.csv``, in their order.

Recorded from the unchanged original; where SEMANTICS §8.8 says otherwise is named here.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from random import Random

import polars as pl
import pytest

from dynamo_ops.dealer.detox_cycle import cycle_of_file
from dynamo_ops.dealer.engine.config import DealerConfig, load_config
from dynamo_ops.dealer.engine.plugin import ProposalContext, load_plugin
from dynamo_ops.dealer.report.enforcer_report import enforcer_table, possible_requests
from dynamo_ops.inventory.folder import InventoryFolder, read_folder
from dynamo_ops.policy.language.enforcement import EnforcerRule, load_rules
from dynamo_ops.policy.partition import load_partitions

CASES = sorted(path.parent.parent for path in (Path(__file__).parent / "cases").glob("*/dealer/config.json"))
TWICE = "draws_with_same_site_twice"
Request = dict[str, str]

pytestmark = pytest.mark.golden


class Case:
    """The folder, and what its plugins are asked with."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder: InventoryFolder = read_folder(path)
        frames, now = self.folder.frames, self.folder.now
        self.config: DealerConfig = load_config((path / "dealer" / "config.json").read_text())
        self.rules: tuple[EnforcerRule, ...] = load_rules(self.folder.enforcer_text, now=now)
        self.context = ProposalContext(
            partition=self.config.partition,
            partitions=load_partitions(self.folder.partitions_text, now=now),
            group=self.config.group,
            now=now,
            random=Random(1),
            enforcer_rules=self.rules,
            detox=cycle_of_file(path / "dealer" / "detox_decisions.csv.gz", frames),
        )
        self.datasets = dict(frames.datasets.select("dataset_id", "dataset").iter_rows())
        self.sites = dict(frames.sites.select("site_id", "site").iter_rows())
        self.blocks = {
            i: (name, size) for i, name, size in frames.blocks.select("block_id", "block", "size_bytes").rows()
        }
        sizes = frames.blocks.group_by("dataset_id").agg(pl.col("size_bytes").sum())
        self.sizes = dict(sizes.iter_rows())

    def proposed(self, plugin: str) -> list[Request]:
        """What a plugin proposes, as the recorded program lists it."""
        made = load_plugin(plugin)(self.config.plugins[plugin].settings)
        return list(self._requests(plugin, made.propose(self.folder.frames, self.context)))

    def _requests(self, plugin: str, proposals: pl.DataFrame) -> Iterator[Request]:
        assert proposals["refused"].null_count() == proposals.height
        for number, row in enumerate(proposals.iter_rows(named=True)):
            parts = [self.blocks[block_id] for block_id in row["block_ids"] or ()]
            yield {
                "request": f"{plugin}-{number:04}",
                "dataset": self.datasets[row["dataset_id"]],
                "blocks": ";".join(sorted(name for name, _ in parts)) or "*",
                "destination": self.sites.get(row["site_id"], ""),
                "item_size": str(sum(size for _, size in parts) or self.sizes[row["dataset_id"]]),
            }

    def recorded(self, name: str) -> list[dict[str, str]]:
        with (self.path / "dealer" / name).open(newline="") as lines:
            return list(csv.DictReader(lines))


@pytest.fixture(scope="module", params=CASES, ids=lambda path: path.name)
def case(request: pytest.FixtureRequest) -> Case:
    return Case(request.param)


@pytest.mark.parametrize("plugin", ["popularity", "balancer", "undertaker"])
def test_requests(case: Case, plugin: str) -> None:
    assert case.proposed(plugin) == case.recorded(f"requests_{plugin}.csv")


ONLY_THEIR_BLOCKS = {
    ("/Own/Mixed-v1/MINIAOD", "T2_A"): ("949abf44-0001", "73000000000"),
    ("/Own/MixedPartial-v1/AOD", "T2_B"): ("32d238f5-0000", "74000000000"),
}
"""Replicas of which only some blocks are of ``from_groups``: the original lists them all (SEMANTICS §8.8)."""


def test_requests_of_the_group_reassigner(case: Case) -> None:
    wanted = case.recorded("requests_groupreassign.csv")
    for row in wanted:
        replica = (row["dataset"], row["destination"])
        if replica in ONLY_THEIR_BLOCKS:
            row["blocks"], row["item_size"] = ONLY_THEIR_BLOCKS[replica]
    assert case.proposed("groupreassign") == wanted


def test_requests_of_the_enforcer(case: Case) -> None:
    """Ours never asks the same site twice (SEMANTICS §8.8)."""
    wanted = [{**row, TWICE: "0"} for row in case.recorded("requests_enforcer.csv")]
    found = enforcer_table(case.folder.frames, case.context, case.rules)
    assert [{name: str(value) for name, value in row.items()} for row in found.iter_rows(named=True)] == wanted


def asked(case: Case, pairs: pl.DataFrame) -> set[str]:
    rows = pairs.select("dataset_id", "site_id").iter_rows()
    return {f"enforcer:{case.datasets[dataset]}@{case.sites[site]}" for dataset, site in rows}


def test_every_request_that_the_enforcer_could_make(case: Case) -> None:
    requests = [row["request"] for row in case.recorded("source_checks.csv")]
    wanted = {request for request in requests if request.startswith("enforcer:")}
    found = possible_requests(case.folder.frames, case.context, case.rules)
    assert (asked(case, found), found.height) == (wanted, len(wanted))


def test_what_the_enforcer_asks_is_what_its_table_says(case: Case) -> None:
    found = load_plugin("enforcer")({}).propose(case.folder.frames, case.context)
    table = enforcer_table(case.folder.frames, case.context, case.rules)
    assert found.height == table["n_requests"].sum()
    assert asked(case, found) <= asked(case, possible_requests(case.folder.frames, case.context, case.rules))
