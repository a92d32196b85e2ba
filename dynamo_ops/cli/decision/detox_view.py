"""Detox plans and their differences on a terminal, from documents; what is computed is computed in
``dynamo_ops.detox``."""

from __future__ import annotations

from collections.abc import Mapping

from dynamo_ops.cli.decision.plan_view import occupied
from dynamo_ops.cli.terminal.cells import count, moment, signed_size, size
from dynamo_ops.cli.terminal.page import say, warn
from dynamo_ops.cli.terminal.tables import Record, Records, print_table
from dynamo_ops.plan.states import PlanState

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


def show_plan(plan: Record) -> None:
    """Tables by policy line and by site, warnings, and one sentence with the totals."""
    print_table(plan["lines"], f"{plan['partition']}: decisions by policy line", LINES, wrap=["text"])
    print_table(occupied(plan["sites"]), "Sites", SITES)
    for warning in plan["warnings"]:
        warn(f"{warning}")
    say(sentence(plan))


def sentence(plan: Record) -> str:
    """The totals of a plan in one sentence."""
    num_sites, num_handovers, num_lost = (
        plan[name] for name in ("num_sites", "num_handovers", "num_last_copy_datasets")
    )
    deletion = f"{_amount(plan['deleted'])}, at {count(num_sites, 'site')}" if num_sites else "nothing"
    opening = f"{plan['partition']} at {moment(plan['now'])}: would delete {deletion}"
    totals = f"{opening}; looked at {_amount(plan['image'])}"
    if num_handovers:
        totals += f"; {count(num_handovers, 'block replica')} would change owner"
    if num_lost:
        totals += f"; {count(num_lost, 'dataset')} would lose a last copy"
    return totals + "."


def _amount(amount: Record) -> str:
    return (
        f"{count(amount['num_block_replicas'], 'block replica')} of "
        f"{count(amount['num_dataset_replicas'], 'dataset replica')}, {size(amount['size_bytes'])}"
    )


def show_story(plan: Record) -> None:
    """Whose plan it is, its state, and who moved it there."""
    made_for = moment(plan["planned_for_at"])
    say(f"plan {plan['id']} of {plan['partition']}: {plan['state']}, made for {made_for} ({plan['run_key']})")
    say(f"  policy version {plan['policy_version']}, sha256 {plan['policy_sha256'][:12]}")
    if plan["stored_by"]:
        say(f"  stored by {plan['stored_by']}")
    if plan["approved_by"] and plan["approved_at"]:
        say(f"  approved by {plan['approved_by']}, {moment(plan['approved_at'])}")
    if plan["state"] == PlanState.REFUSED:
        when = f", {moment(plan['refused_at'])}" if plan["refused_at"] else ""
        say(f"  refused by {plan['refused_by'] or 'unknown'}{when}: {plan['refused_because']}", colour="red")
    if plan["committed_at"]:
        say(f"  committed {moment(plan['committed_at'])}")
        show_commit(plan["summary"]["commit"])
    say()


def show_order(deletions: Records) -> None:
    """The first deletions, in the order in which the plan makes them."""
    if deletions:
        say()
        print_table(deletions, f"Order of deletion, the first {len(deletions):,}", ORDER, wrap=["dataset"])


def show_rows(plan_id: int, found: Record) -> None:
    """Rows of decisions, what their lines say, and how many there are in all."""
    rows = found["rows"]
    print_table(rows, f"Decisions of plan {plan_id}", ROWS, wrap=["dataset", "block"])
    shown = {row["line"] for row in rows}
    for line in found["lines"]:
        if line["line"] in shown:
            say(f"line {line['line']}: {line['text']}")
    say(f"shown {len(rows):,} of {count(found['num_rows'], 'row')}, {size(found['size_bytes'])} in all")


def show_commit(summary: Record) -> None:
    """What a commit did, and what it left out, with the reasons."""
    say(
        f"deletion is asked for {count(summary['num_block_replicas'], 'block replica')} "
        f"({count(summary['num_files'], 'file')}, {size(summary['size_bytes'])}), "
        f"{count(summary['num_dataset_replicas'], 'dataset replica')} as a whole; "
        f"{count(summary['num_reowned'], 'block replica')} changed owner"
    )
    for reason, number in sorted(summary["left_out"].items()):
        say(f"left out {count(number, 'block replica')}: {reason}", colour="yellow")


def show_difference(found: Record, *, table: str | None = None, limit: int = 20) -> None:
    """What differs: tables by site, line and dataset (or ``table`` alone, whole), last copies, one sentence."""
    say(f"{found['partition']}: old is {found['old']}, new is {found['new']}\n")
    if table in (None, "site"):
        print_table(occupied(found["sites"]), "By site", OTHER_SITES)
    if table in (None, "line"):
        print_table(_pairs(found["lines"]), "By policy line", OTHER_LINES, wrap=["old", "new"])
    if table in (None, "dataset"):
        _show_first(found["datasets"], "By dataset", OTHER_DATASETS, limit if table is None else None)
    if found["last_copies"]:
        _show_first(found["last_copies"], "Last copies lost under new, not under old", LAST_COPIES, limit)
    if found["handovers"]:
        _show_first(found["handovers"], "Handed over otherwise", HANDOVERS, limit)
    if not found["is_same_moment"] and found["num_only_old"] + found["num_only_new"]:
        say(
            f"old was made for {moment(found['old_now'])}, new for {moment(found['new_now'])}: "
            f"{count(found['num_only_old'], 'block replica')} only in the image of old, "
            f"{found['num_only_new']:,} only in that of new; they may have gone or come in between",
            colour="yellow",
        )
    say(difference_sentence(found))


def show_policy_difference(found: Record) -> None:
    """The unified difference of the policy texts, if there is one."""
    say(f"{found['policy']}\n" if found["policy"] else "the policy text is the same\n")


def difference_sentence(found: Record) -> str:
    """The totals of a difference in one or two sentences."""
    newly_deleted, newly_kept, lost = found["newly_deleted"], found["newly_kept"], len(found["last_copies"])
    if newly_deleted["num_block_replicas"] == newly_kept["num_block_replicas"] == 0:
        return f"Old and new delete the same: {_amount(found['old_deleted'])}."
    parts = [f"delete {_amount(newly_deleted)}, which old keeps"] if newly_deleted["num_block_replicas"] else []
    parts += [f"keep {_amount(newly_kept)}, which old deletes"] if newly_kept["num_block_replicas"] else []
    old_size, new_size = (size(found[f"{side}_deleted"]["size_bytes"]) for side in ("old", "new"))
    lose = (
        f"{count(lost, 'dataset')} would lose a last copy by it" if lost else "no dataset would lose a last copy by it"
    )
    return (
        f"New would {'; and would '.join(parts)}. It frees {new_size} instead of {old_size} "
        f"({signed_size(found['freed_bytes'])}); {lose}."
    )


def _pairs(lines: Records) -> Records:
    """The pairs of lines with decision, number and text in one column each."""
    return [{**line, **{side: _side(line, side) for side in ("old", "new")}} for line in lines]


def _side(line: Record, side: str) -> str:
    decision, number, text = (line[f"{side}_{name}"] for name in ("decision", "line", "text"))
    return str(decision) if number is None else f"{decision} {number}: {'?' if text is None else text}"


def _show_first(rows: Records, title: str, headings: Mapping[str, str], limit: int | None) -> None:
    shown = rows if limit is None else rows[:limit]
    count = f" (the first {len(shown):,} of {len(rows):,})" if len(shown) < len(rows) else ""
    print_table(shown, title + count, headings, wrap=["dataset", "sites"])
