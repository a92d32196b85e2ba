"""Detox plans and their differences on a terminal; what is computed is computed in ``dynamo_ops.detox``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import polars as pl

from dynamo_ops.cli.terminal.cells import count, moment, signed_size, size
from dynamo_ops.cli.terminal.page import say, warn
from dynamo_ops.cli.terminal.tables import print_table
from dynamo_ops.detox.record import PlanRecord
from dynamo_ops.detox.report.describe import Amount, FoundRows, PlanOverview
from dynamo_ops.detox.report.difference import PlanDifference, policy_difference
from dynamo_ops.plan.states import PlanState

if TYPE_CHECKING:
    from dynamo_ops.plan.story import PlanStory

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
    "set_aside_bytes": "set\naside",
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


def show_plan(record: PlanRecord, overview: PlanOverview) -> None:
    """Tables by policy line and by site, warnings, and one sentence with the totals."""
    print_table(overview.lines, f"{record.partition}: decisions by policy line", LINES, wrap=["text"])
    print_table(overview.sites, "Sites", SITES)
    for warning in record.warnings:
        warn(f"{warning}")
    say(sentence(record, overview))


def sentence(record: PlanRecord, overview: PlanOverview) -> str:
    """The totals of a plan in one sentence."""
    deletion = (
        f"{_amount(overview.deleted)}, at {count(overview.num_sites, 'site')}" if overview.num_sites else "nothing"
    )
    totals = f"{record.partition} at {moment(record.now)}: would delete {deletion}; looked at {_amount(overview.image)}"
    if overview.num_handovers:
        totals += f"; {count(overview.num_handovers, 'block replica')} would change owner"
    if overview.num_last_copy_datasets:
        totals += f"; {count(overview.num_last_copy_datasets, 'dataset')} would lose a last copy"
    return totals + "."


def _amount(amount: Amount) -> str:
    return (
        f"{count(amount.num_block_replicas, 'block replica')} of "
        f"{count(amount.num_dataset_replicas, 'dataset replica')}, {size(amount.size_bytes)}"
    )


def show_story(story: PlanStory) -> None:
    """Whose plan it is, its state, and who moved it there."""
    plan = story.stored
    say(f"plan {plan.id} of {plan.partition}: {plan.state}, made for {moment(plan.planned_for_at)} ({plan.run_key})")
    say(f"  policy version {plan.policy_version_id}, sha256 {story.policy_sha256[:12]}")
    if plan.stored_by:
        say(f"  stored by {plan.stored_by}")
    if plan.approved_by and plan.approved_at:
        say(f"  approved by {plan.approved_by}, {moment(plan.approved_at)}")
    if plan.state == PlanState.REFUSED:
        when = f", {moment(plan.refused_at)}" if plan.refused_at else ""
        say(f"  refused by {plan.refused_by or 'unknown'}{when}: {plan.refused_because}", colour="red")
    if story.committed_at:
        say(f"  committed {moment(story.committed_at)}")
        show_commit(plan.summary["commit"])
    say()


def show_order(deletions: pl.DataFrame) -> None:
    """The first deletions, in the order in which the plan makes them."""
    if not deletions.is_empty():
        say()
        print_table(deletions, f"Order of deletion, the first {deletions.height:,}", ORDER, wrap=["dataset"])


def show_rows(record: PlanRecord, decisions: FoundRows) -> None:
    """Rows of decisions, what their lines say, and how many there are in all."""
    print_table(decisions.rows, f"Decisions of {record.name}", ROWS, wrap=["dataset", "block"])
    lines = record.policy_lines.filter(pl.col("line").is_in(decisions.rows["line"].unique().implode())).sort("line")
    for line, text in lines.select("line", "text").iter_rows():
        say(f"line {line}: {text}")
    say(f"shown {decisions.rows.height:,} of {count(decisions.num_rows, 'row')}, {size(decisions.size_bytes)} in all")


def show_commit(summary: Mapping[str, Any]) -> None:
    """What a commit did, and what it left out, with the reasons. ``summary``: a ``CommitSummary`` as a mapping."""
    say(
        f"deletion is asked for {count(summary['num_block_replicas'], 'block replica')} "
        f"({count(summary['num_files'], 'file')}, {size(summary['size_bytes'])}), "
        f"{count(summary['num_dataset_replicas'], 'dataset replica')} as a whole; "
        f"{count(summary['num_reowned'], 'block replica')} changed owner"
    )
    for reason, number in sorted(summary["left_out"].items()):
        say(f"left out {count(number, 'block replica')}: {reason}", colour="yellow")


def commit_document(plan_id: int, summary: Mapping[str, Any], *, is_new: bool) -> dict[str, Any]:
    """What a commit did, for programs."""
    return {"id": plan_id, "was_committed_before": not is_new, "commit": dict(summary)}


def show_difference(
    old: PlanRecord, new: PlanRecord, difference: PlanDifference, *, table: str | None = None, limit: int = 20
) -> None:
    """What differs: tables by site, line and dataset (or ``table`` alone, whole), last copies, one sentence."""
    say(f"{new.partition}: old is {old.name}, new is {new.name}\n")
    if table in (None, "site"):
        print_table(difference.sites, "By site", OTHER_SITES)
    if table in (None, "line"):
        print_table(_pairs(difference.lines), "By policy line", OTHER_LINES, wrap=["old", "new"])
    if table in (None, "dataset"):
        _show_first(difference.datasets, "By dataset", OTHER_DATASETS, limit if table is None else None)
    if not difference.last_copies.is_empty():
        _show_first(difference.last_copies, "Last copies lost under new, not under old", LAST_COPIES, limit)
    if not difference.handovers.is_empty():
        _show_first(difference.handovers, "Handed over otherwise", HANDOVERS, limit)
    if not difference.is_same_moment and difference.num_only_old + difference.num_only_new:
        say(
            f"old was made for {moment(old.now)}, new for {moment(new.now)}: "
            f"{count(difference.num_only_old, 'block replica')} only in the image of old, "
            f"{difference.num_only_new:,} only in that of new; they may have gone or come in between",
            colour="yellow",
        )
    say(difference_sentence(difference))


def show_policy_difference(old: PlanRecord, new: PlanRecord) -> None:
    """The unified difference of the policy texts, if there is one."""
    text = policy_difference(old, new)
    say(f"{text}\n" if text else "the policy text is the same\n")


def difference_sentence(difference: PlanDifference) -> str:
    """The totals of a difference in one or two sentences."""
    newly_deleted, newly_kept, lost = difference.newly_deleted, difference.newly_kept, difference.last_copies.height
    if newly_deleted.num_block_replicas == newly_kept.num_block_replicas == 0:
        return f"Old and new delete the same: {_amount(difference.old_deleted)}."
    parts = [f"delete {_amount(newly_deleted)}, which old keeps"] if newly_deleted.num_block_replicas else []
    parts += [f"keep {_amount(newly_kept)}, which old deletes"] if newly_kept.num_block_replicas else []
    old_size, new_size = size(difference.old_deleted.size_bytes), size(difference.new_deleted.size_bytes)
    lose = (
        f"{count(lost, 'dataset')} would lose a last copy by it" if lost else "no dataset would lose a last copy by it"
    )
    return (
        f"New would {'; and would '.join(parts)}. It frees {new_size} instead of {old_size} "
        f"({signed_size(difference.freed_bytes)}); {lose}."
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
