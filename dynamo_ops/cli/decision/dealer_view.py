"""Dealer plans on a terminal, from documents; what is computed is computed in ``dynamo_ops.dealer``."""

from __future__ import annotations

from dynamo_ops.cli.decision.plan_view import occupied
from dynamo_ops.cli.terminal.cells import count, moment, size
from dynamo_ops.cli.terminal.page import say, warn
from dynamo_ops.cli.terminal.tables import Record, print_table

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


def show_plan(plan: Record) -> None:
    """Tables by plugin, reason and site, warnings, and one sentence with the totals."""
    print_table(plan["plugins"], f"{plan['partition']}: proposals by plugin", PLUGINS)
    print_table(plan["rejected"], "Rejected", REJECTED, wrap=["outcome"])
    print_table(occupied(plan["sites"]), "Sites", SITES)
    for warning in plan["warnings"]:
        warn(f"{warning}")
    say(sentence(plan))


def sentence(plan: Record) -> str:
    """The totals of a plan in one sentence."""
    num_proposals, num_copies, copied_bytes = (
        sum(plugin[name] for plugin in plan["plugins"]) for name in ("num_proposals", "num_copies", "copied_bytes")
    )
    num_sites = sum(site["num_copies"] > 0 for site in plan["sites"])
    added_bytes = sum(site["added_bytes"] for site in plan["sites"])
    copies = f"make {count(num_copies, 'copy', 'copies')} at {count(num_sites, 'site')}"
    action = f"{copies} ({size(copied_bytes)}, of which {size(added_bytes)} are to be written)"
    opening = f"{plan['partition']} at {moment(plan['now'])}, seed {plan['seed']}: would "
    return f"{opening}{action if num_copies else 'copy nothing'}; looked at {count(num_proposals, 'proposal')}"


def show_story(plan: Record) -> None:
    """What became of a stored plan."""
    made_for = moment(plan["planned_for_at"])
    say(f"plan {plan['id']}: dealer of {plan['partition']}, {plan['state']}, made for {made_for}")
    if plan["stored_by"]:
        say(f"  stored by {plan['stored_by']}")
    if plan["approved_at"]:
        say(f"  approved by {plan['approved_by']} at {moment(plan['approved_at'])}")
    if plan["refused_at"]:
        say(f"  refused by {plan['refused_by']} at {moment(plan['refused_at'])}: {plan['refused_because']}")
    if "commit" in plan["summary"]:
        show_commit(plan["summary"]["commit"])
    say()


def show_rows(found: Record, *, rejected: bool) -> None:
    """Proposals, the first of them."""
    rows, title = found["rows"], "Rejected proposals" if rejected else "Copies"
    print_table(rows, title, NOT_COPIED if rejected else COPIES, wrap=["dataset", "reason", "outcome"])
    if found["num_rows"] > len(rows):
        say(f"… and {found['num_rows'] - len(rows):,} more (--limit)")


def show_explanations(found: Record, dataset: str) -> None:
    """Each proposal: who wanted it, what became of it, and what spoke for and against each site."""
    made_for = moment(found["now"])
    say(f"{dataset} in {found['plan']} of {found['partition']}, made for {made_for}, seed {found['seed']}\n")
    for proposal in found["proposals"]:
        blocks = "the whole dataset" if proposal["block_ids"] is None else count(len(proposal["block_ids"]), "block")
        say(
            f"{proposal['plugin']} (priority {proposal['priority']}) proposed {blocks} for {proposal['owner']}: "
            f"{proposal['reason'] or '-'}"
        )
        say(f"  {proposal['verdict']}", bold=True)
        if proposal["turn"] is not None:
            print_table(occupied(proposal["sites"]), "  Sites at its turn", VERDICTS, wrap=["why"])


def show_rules(report: Record, *, limit: int) -> None:
    """How far the enforcer's rules are met; ``missing``, if it is there: the datasets that lack copies."""
    print_table(report["rules"], "Enforcer rules", RULES)
    if "missing" in report:
        datasets = [{**row, "at": " ".join(row["sites"])} for row in report["missing"][:limit]]
        print_table(datasets, "Datasets that lack copies", LACKING, wrap=["dataset", "at"])
        if len(report["missing"]) > limit:
            say(f"… and {len(report['missing']) - limit:,} more (--limit)")


def show_commit(summary: Record) -> None:
    """What a commit did."""
    say(
        f"  {count(summary['num_block_replicas'], 'block replica')} to be filled with "
        f"{count(summary['num_files'], 'file')} ({size(summary['size_bytes'])}); "
        f"{summary['num_ownership_changes']:,} changed owner"
    )
    for reason, number in summary["left_out"].items():
        say(f"  {number:,} left out: {reason}", colour="yellow")
