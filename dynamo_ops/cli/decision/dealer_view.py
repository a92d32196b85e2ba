"""Dealer plans on a terminal; what is computed is computed in ``dynamo_ops.dealer``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl
import typer

from dynamo_ops.cli.terminal.output import size
from dynamo_ops.cli.terminal.tables import count, moment, print_json, print_table
from dynamo_ops.dealer.record import DealerRecord
from dynamo_ops.dealer.report.describe import plugins_table, rejections_table, sites_table
from dynamo_ops.dealer.report.enforcer_report import EnforcerReport
from dynamo_ops.dealer.report.explain import Explanation
from dynamo_ops.plan.store import StoredPlan

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
        typer.secho(f"warning: {warning}", fg="yellow")
    typer.echo(sentence(record))


def sentence(record: DealerRecord) -> str:
    """The totals of a plan in one sentence."""
    accepted = record.accepted
    number = accepted["site_id"].n_unique()
    what = f"make {count(accepted.height, 'copy').replace('copys', 'copies')} at {count(number, 'site')}"
    said = f"{record.partition} at {moment(record.now)}, seed {record.seed}: would "
    added = int(record.site_states["added_bytes"].sum())
    told = f"{what} ({size(int(accepted['size_bytes'].sum()))}, of which {size(added)} are to be written)"
    return (
        said
        + (told if accepted.height else "copy nothing")
        + f"; looked at {count(record.proposals.height, 'proposal')}"
    )


def show_story(stored: StoredPlan) -> None:
    """What became of a stored plan."""
    typer.echo(
        f"plan {stored.id}: dealer of {stored.partition}, {stored.state}, made for {moment(stored.planned_for_at)}"
    )
    if stored.approved_at:
        typer.echo(f"  approved by {stored.approved_by} at {moment(stored.approved_at)}")
    if stored.refused_at:
        typer.echo(f"  refused by {stored.refused_by} at {moment(stored.refused_at)}: {stored.refused_because}")
    if "commit" in stored.summary:
        show_commit(stored.summary["commit"])
    typer.echo()


def show_rows(rows: pl.DataFrame, limit: int, *, rejected: bool) -> None:
    """Proposals, the first ``limit`` of them."""
    title = "Rejected proposals" if rejected else "Copies"
    print_table(rows.head(limit), title, NOT_COPIED if rejected else COPIES, wrap=["dataset", "reason", "outcome"])
    if rows.height > limit:
        typer.echo(f"… and {rows.height - limit:,} more (--limit)")


def rows_document(rows: pl.DataFrame, limit: int) -> dict[str, Any]:
    """Proposals, the first ``limit`` of them, for a program."""
    return {"num_rows": rows.height, "rows": rows.head(limit).to_dicts()}


def show_explanations(record: DealerRecord, dataset: str, found: Sequence[Explanation]) -> None:
    """Each proposal: who wanted it, what became of it, and what spoke for and against each site."""
    typer.echo(f"{dataset} in {record.name} of {record.partition}, made for {moment(record.now)}, seed {record.seed}\n")
    for each in found:
        row = each.proposal
        blocks = "the whole dataset" if row["block_ids"] is None else count(len(row["block_ids"]), "block")
        typer.echo(
            f"{row['plugin']} (priority {each.priority}) proposed {blocks} for {each.owner}: {row['reason'] or '-'}"
        )
        typer.secho(f"  {each.verdict}", bold=True)
        if row["turn"] is not None:
            print_table(each.sites, "  Sites at its turn", VERDICTS, wrap=["why"])


def show_rules(found: EnforcerReport, *, missing: bool, limit: int, as_json: bool) -> None:
    """How far the enforcer's rules are met."""
    lacking = found.datasets.filter(pl.col("state") == "missing")
    if as_json:
        print_json({"rules": found.rules.to_dicts(), **({"missing": lacking.to_dicts()} if missing else {})})
        return
    print_table(found.rules, "Enforcer rules", RULES)
    if missing:
        rows = lacking.with_columns(at=pl.col("sites").list.join(" "))
        print_table(rows.head(limit), "Datasets that lack copies", LACKING, wrap=["dataset", "at"])
        if rows.height > limit:
            typer.echo(f"… and {rows.height - limit:,} more (--limit)")


def show_commit(done: dict[str, Any]) -> None:
    """What a commit did."""
    typer.echo(
        f"  {count(done['num_block_replicas'], 'block replica')} to be filled with {count(done['num_files'], 'file')} "
        f"({size(done['size_bytes'])}); {done['num_ownership_changes']:,} changed owner"
    )
    for reason, number in done["left_out"].items():
        typer.secho(f"  {number:,} left out: {reason}", fg="yellow")
