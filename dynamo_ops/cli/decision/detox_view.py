"""Detox plans and their differences on a terminal; what is computed is computed in ``dynamo_ops.detox``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl
import typer

from dynamo_ops.cli.terminal.output import size
from dynamo_ops.cli.terminal.tables import count, moment, print_table, signed_size
from dynamo_ops.detox.record import PlanRecord
from dynamo_ops.detox.report.describe import Amount, FoundRows, PlanOverview
from dynamo_ops.detox.report.difference import PlanDifference, policy_difference
from dynamo_ops.detox.report.stored import PlanStory

LINES = {
    "decision": "decision",
    "line": "line",
    "text": "policy line",
    "num_dataset_replicas": "dataset\nreplicas",
    "num_block_replicas": "block\nreplicas",
    "size_bytes": "size",
}
SITES = {
    "site": "site",
    "quota_bytes": "quota",
    "is_triggered": "triggered",
    "bytes_before": "before",
    "bytes_after": "after",
    "occupancy_before": "occupancy\nbefore",
    "occupancy_after": "occupancy\nafter",
    "protected_fraction": "protected\nof quota",
    "deleted_bytes": "deleted",
}
ORDER = {
    "delete_order": "no.",
    "dataset": "dataset",
    "site": "site",
    "line": "line",
    "num_block_replicas": "block\nreplicas",
    "size_bytes": "size",
}
ROWS = {
    "dataset": "dataset",
    "site": "site",
    "block": "block",
    "decision": "decision",
    "line": "line",
    "size_bytes": "size",
}
OTHER_SITES = {
    "site": "site",
    "quota_bytes": "quota",
    "old_deleted_bytes": "deleted\nold",
    "new_deleted_bytes": "deleted\nnew",
    "newly_deleted_replicas": "newly deleted\nreplicas",
    "newly_deleted_bytes": "newly\ndeleted",
    "newly_kept_replicas": "newly kept\nreplicas",
    "newly_kept_bytes": "newly\nkept",
    "freed_bytes": "freed, new\nless old",
    "old_occupancy_after": "occupancy\nafter, old",
    "new_occupancy_after": "occupancy\nafter, new",
}
OTHER_LINES = {
    "old": "old decision and line",
    "new": "new decision and line",
    "num_dataset_replicas": "dataset\nreplicas",
    "num_block_replicas": "block\nreplicas",
    "size_bytes": "size",
}
OTHER_DATASETS = {
    "dataset": "dataset",
    "newly_deleted_replicas": "newly deleted\nreplicas",
    "newly_deleted_bytes": "newly\ndeleted",
    "newly_kept_replicas": "newly kept\nreplicas",
    "newly_kept_bytes": "newly\nkept",
    "freed_bytes": "freed, new\nless old",
    "old_copies": "copies\nleft, old",
    "new_copies": "copies\nleft, new",
}
LAST_COPIES = {"dataset": "dataset", "num_blocks": "blocks", "size_bytes": "size", "sites": "deleted at"}
HANDOVERS = {
    "dataset": "dataset",
    "site": "site",
    "old_owner": "handed to\nold",
    "new_owner": "handed to\nnew",
    "num_block_replicas": "block\nreplicas",
    "size_bytes": "size",
}
BY = ("site", "line", "dataset")


def show_plan(record: PlanRecord, found: PlanOverview) -> None:
    """Tables by policy line and by site, warnings, and one sentence with the totals."""
    print_table(found.lines, f"{record.partition}: decisions by policy line", LINES, wrap=["text"])
    print_table(found.sites, "Sites", SITES)
    for warning in record.warnings:
        typer.secho(f"warning: {warning}", fg="yellow")
    typer.echo(sentence(record, found))


def sentence(record: PlanRecord, found: PlanOverview) -> str:
    """The totals of a plan in one sentence."""
    what = f"{_amount(found.deleted)}, at {count(found.num_sites, 'site')}" if found.num_sites else "nothing"
    said = f"{record.partition} at {moment(record.now)}: would delete {what}; looked at {_amount(found.image)}"
    if found.num_handovers:
        said += f"; {count(found.num_handovers, 'block replica')} would change owner"
    if found.num_last_copy_datasets:
        said += f"; {count(found.num_last_copy_datasets, 'dataset')} would lose a last copy"
    return said + "."


def _amount(amount: Amount) -> str:
    return (
        f"{count(amount.num_block_replicas, 'block replica')} of "
        f"{count(amount.num_dataset_replicas, 'dataset replica')}, {size(amount.size_bytes)}"
    )


def show_story(story: PlanStory) -> None:
    """Whose plan it is, its state, and who moved it there."""
    plan = story.stored
    typer.echo(
        f"plan {plan.id} of {plan.partition}: {plan.state}, made for {moment(plan.planned_for_at)} ({plan.run_key})"
    )
    typer.echo(f"  policy version {plan.policy_version_id}, sha256 {story.policy_sha256[:12]}")
    if plan.approved_by and plan.approved_at:
        typer.echo(f"  approved by {plan.approved_by}, {moment(plan.approved_at)}")
    if plan.state == "refused":
        when = f", {moment(plan.refused_at)}" if plan.refused_at else ""
        typer.secho(f"  refused by {plan.refused_by or 'unknown'}{when}: {plan.refused_because}", fg="red")
    if story.committed_at:
        typer.echo(f"  committed {moment(story.committed_at)}")
        show_commit(plan.summary["commit"])
    typer.echo()


def show_order(rows: pl.DataFrame) -> None:
    """The first deletions, in the order in which the plan makes them."""
    if not rows.is_empty():
        typer.echo()
        print_table(rows, f"Order of deletion, the first {rows.height:,}", ORDER, wrap=["dataset"])


def show_rows(record: PlanRecord, found: FoundRows) -> None:
    """Rows of decisions, what their lines say, and how many there are in all."""
    print_table(found.rows, f"Decisions of {record.name}", ROWS, wrap=["dataset", "block"])
    said = record.policy_lines.filter(pl.col("line").is_in(found.rows["line"].unique().implode())).sort("line")
    for line, text in said.select("line", "text").iter_rows():
        typer.echo(f"line {line}: {text}")
    typer.echo(f"shown {found.rows.height:,} of {count(found.num_rows, 'row')}, {size(found.size_bytes)} in all")


def show_commit(done: Mapping[str, Any]) -> None:
    """What a commit did, and what it left out, with the reasons. ``done``: a ``CommitSummary`` as a mapping."""
    typer.echo(
        f"deletion is asked for {count(done['num_block_replicas'], 'block replica')} "
        f"({count(done['num_files'], 'file')}, {size(done['size_bytes'])}), "
        f"{count(done['num_dataset_replicas'], 'dataset replica')} as a whole; "
        f"{count(done['num_reowned'], 'block replica')} changed owner"
    )
    for reason, number in sorted(done["left_out"].items()):
        typer.secho(f"left out {count(number, 'block replica')}: {reason}", fg="yellow")


def show_difference(
    old: PlanRecord, new: PlanRecord, found: PlanDifference, *, by: str | None = None, limit: int = 20
) -> None:
    """What differs: tables by site, line and dataset (or that of ``by`` alone, whole), last copies, one sentence."""
    typer.echo(f"{new.partition}: old is {old.name}, new is {new.name}\n")
    if by in (None, "site"):
        print_table(found.sites, "By site", OTHER_SITES)
    if by in (None, "line"):
        print_table(_pairs(found.lines), "By policy line", OTHER_LINES, wrap=["old", "new"])
    if by in (None, "dataset"):
        _show_first(found.datasets, "By dataset", OTHER_DATASETS, limit if by is None else None)
    if not found.last_copies.is_empty():
        _show_first(found.last_copies, "Last copies lost under new, not under old", LAST_COPIES, limit)
    if not found.handovers.is_empty():
        _show_first(found.handovers, "Handed over otherwise", HANDOVERS, limit)
    if not found.is_same_moment and found.num_only_old + found.num_only_new:
        typer.secho(
            f"old was made for {moment(old.now)}, new for {moment(new.now)}: "
            f"{count(found.num_only_old, 'block replica')} only in the image of old, {found.num_only_new:,} only in "
            "that of new; they may have gone or come in between",
            fg="yellow",
        )
    typer.echo(difference_sentence(found))


def show_policy_difference(old: PlanRecord, new: PlanRecord) -> None:
    """The unified difference of the policy texts, if there is one."""
    text = policy_difference(old, new)
    typer.echo(f"{text}\n" if text else "the policy text is the same\n")


def difference_sentence(found: PlanDifference) -> str:
    """The totals of a difference in one or two sentences."""
    more, less, lost = found.newly_deleted, found.newly_kept, found.last_copies.height
    if more.num_block_replicas == less.num_block_replicas == 0:
        return f"Old and new delete the same: {_amount(found.old_deleted)}."
    parts = [f"delete {_amount(more)}, which old keeps"] if more.num_block_replicas else []
    parts += [f"keep {_amount(less)}, which old deletes"] if less.num_block_replicas else []
    old_size, new_size = size(found.old_deleted.size_bytes), size(found.new_deleted.size_bytes)
    lose = (
        f"{count(lost, 'dataset')} would lose a last copy by it" if lost else "no dataset would lose a last copy by it"
    )
    return (
        f"New would {'; and would '.join(parts)}. It frees {new_size} instead of {old_size} "
        f"({signed_size(found.freed_bytes)}); {lose}."
    )


def _pairs(lines: pl.DataFrame) -> pl.DataFrame:
    """The pairs of lines with decision, number and text in one column each."""
    sides = [
        pl.when(pl.col(f"{side}_line").is_null())
        .then(f"{side}_decision")
        .otherwise(pl.format("{} {}: {}", f"{side}_decision", f"{side}_line", pl.col(f"{side}_text").fill_null("?")))
        .alias(side)
        for side in ("old", "new")
    ]
    return lines.with_columns(sides)


def _show_first(frame: pl.DataFrame, title: str, headings: dict[str, str], limit: int | None) -> None:
    shown = frame if limit is None else frame.head(limit)
    count = f" (the first {shown.height:,} of {frame.height:,})" if shown.height < frame.height else ""
    print_table(shown, title + count, headings, wrap=["dataset", "sites"])
