"""Dealer plans on a terminal; what is computed is computed in ``dynamo_ops.dealer``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from dynamo_ops.cli.terminal.cells import count, moment, size
from dynamo_ops.cli.terminal.page import say, warn
from dynamo_ops.cli.terminal.tables import print_json, print_table
from dynamo_ops.dealer.record import DealerRecord
from dynamo_ops.dealer.report.describe import plugins_table, rejections_table, sites_table
from dynamo_ops.dealer.report.enforcer_report import EnforcerReport
from dynamo_ops.dealer.report.explain import Explanation
from dynamo_ops.plan.story import PlanStory

PLUGINS = {
    "plugin": "plugin",
    "priority": "priority",
    "num_proposals": "proposals",
    "num_copies": "copies",
    "copied_bytes": "size",
}
REJECTED = {"outcome": "rejected because", "plugin": "plugin", "num_proposals": "proposals", "size_bytes": "size"}
SITES = {
    "site": "site",
    "status": "status",
    "is_target": "target",
    "quota_bytes": "quota",
    "physical_occupancy": "on disk",
    "projected_occupancy_before": "projected\nbefore",
    "projected_occupancy_after": "projected\nafter",
    "num_copies": "copies",
    "added_bytes": "to be\nwritten",
}
COPIES = {
    "copy": "no.",
    "plugin": "plugin",
    "dataset": "dataset",
    "blocks": "blocks",
    "site": "site",
    "owner": "owner",
    "size_bytes": "size",
    "weight": "drawn\nwith",
    "reason": "reason",
}
NOT_COPIED = {
    "turn": "turn",
    "plugin": "plugin",
    "dataset": "dataset",
    "blocks": "blocks",
    "site": "asked site",
    "size_bytes": "size",
    "outcome": "rejected because",
    "reason": "it was wanted because",
}
VERDICTS = {
    "site": "site",
    "verdict": "",
    "weight": "drawn with\nprobability",
    "occupancy_after": "occupancy\nwith it",
    "why": "why not",
}
RULES = {
    "rule": "rule",
    "num_copies": "copies\nasked",
    "num_destinations": "possible\nsites",
    "num_datasets": "datasets",
    "num_enough": "complete",
    "num_en_route": "en route",
    "num_missing": "missing",
    "copies_missing": "copies\nmissing",
    "missing_bytes": "size\nmissing",
}
LACKING = {
    "rule": "rule",
    "dataset": "dataset",
    "num_complete": "complete",
    "num_en_route": "en route",
    "num_missing": "missing",
    "missing_bytes": "size",
    "at": "could go to",
}


def show_plan(record: DealerRecord) -> None:
    """Tables by plugin, reason and site, warnings, and one sentence with the totals."""
    print_table(plugins_table(record), f"{record.partition}: proposals by plugin", PLUGINS)
    print_table(rejections_table(record), "Rejected", REJECTED, wrap=["outcome"])
    print_table(sites_table(record), "Sites", SITES)
    for warning in record.warnings:
        warn(f"{warning}")
    say(sentence(record))


def sentence(record: DealerRecord) -> str:
    """The totals of a plan in one sentence."""
    accepted = record.accepted
    number = accepted["site_id"].n_unique()
    copies = f"make {count(accepted.height, 'copy').replace('copys', 'copies')} at {count(number, 'site')}"
    opening = f"{record.partition} at {moment(record.now)}, seed {record.seed}: would "
    added = int(record.site_states["added_bytes"].sum())
    action = f"{copies} ({size(int(accepted['size_bytes'].sum()))}, of which {size(added)} are to be written)"
    return (
        opening
        + (action if accepted.height else "copy nothing")
        + f"; looked at {count(record.proposals.height, 'proposal')}"
    )


def show_story(story: PlanStory) -> None:
    """What became of a stored plan."""
    stored = story.stored
    say(f"plan {stored.id}: dealer of {stored.partition}, {stored.state}, made for {moment(stored.planned_for_at)}")
    if stored.stored_by:
        say(f"  stored by {stored.stored_by}")
    if stored.approved_at:
        say(f"  approved by {stored.approved_by} at {moment(stored.approved_at)}")
    if stored.refused_at:
        say(f"  refused by {stored.refused_by} at {moment(stored.refused_at)}: {stored.refused_because}")
    if "commit" in stored.summary:
        show_commit(stored.summary["commit"])
    say()


def show_rows(proposals: pl.DataFrame, limit: int, *, rejected: bool) -> None:
    """Proposals, the first ``limit`` of them."""
    title = "Rejected proposals" if rejected else "Copies"
    print_table(proposals.head(limit), title, NOT_COPIED if rejected else COPIES, wrap=["dataset", "reason", "outcome"])
    if proposals.height > limit:
        say(f"… and {proposals.height - limit:,} more (--limit)")


def rows_document(proposals: pl.DataFrame, limit: int) -> dict[str, Any]:
    """Proposals, the first ``limit`` of them, for a program."""
    return {"num_rows": proposals.height, "rows": proposals.head(limit).to_dicts()}


def show_explanations(record: DealerRecord, dataset: str, explanations: Sequence[Explanation]) -> None:
    """Each proposal: who wanted it, what became of it, and what spoke for and against each site."""
    say(f"{dataset} in {record.name} of {record.partition}, made for {moment(record.now)}, seed {record.seed}\n")
    for explanation in explanations:
        proposal = explanation.proposal
        blocks = "the whole dataset" if proposal["block_ids"] is None else count(len(proposal["block_ids"]), "block")
        say(
            f"{proposal['plugin']} (priority {explanation.priority}) proposed {blocks} for {explanation.owner}: "
            f"{proposal['reason'] or '-'}"
        )
        say(f"  {explanation.verdict}", bold=True)
        if proposal["turn"] is not None:
            print_table(explanation.sites, "  Sites at its turn", VERDICTS, wrap=["why"])


def show_rules(report: EnforcerReport, *, missing: bool, limit: int, as_json: bool) -> None:
    """How far the enforcer's rules are met."""
    lacking = report.datasets.filter(pl.col("state") == "missing")
    if as_json:
        print_json({"rules": report.rules.to_dicts(), **({"missing": lacking.to_dicts()} if missing else {})})
        return
    print_table(report.rules, "Enforcer rules", RULES)
    if missing:
        datasets = lacking.with_columns(at=pl.col("sites").list.join(" "))
        print_table(datasets.head(limit), "Datasets that lack copies", LACKING, wrap=["dataset", "at"])
        if datasets.height > limit:
            say(f"… and {datasets.height - limit:,} more (--limit)")


def show_commit(summary: dict[str, Any]) -> None:
    """What a commit did."""
    say(
        f"  {count(summary['num_block_replicas'], 'block replica')} to be filled with "
        f"{count(summary['num_files'], 'file')} ({size(summary['size_bytes'])}); "
        f"{summary['num_ownership_changes']:,} changed owner"
    )
    for reason, number in summary["left_out"].items():
        say(f"  {number:,} left out: {reason}", colour="yellow")
