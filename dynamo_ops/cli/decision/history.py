"""``dynamo history``: what Detox and Dealer did, and by which policy line, plugin or request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dynamo_ops.cli.terminal.options import AsJson, Partition, PartitionName, Since, Site, SiteGlob, past
from dynamo_ops.cli.terminal.tables import Records, print_json, print_table
from dynamo_ops.cli.terminal.way import Way
from dynamo_ops.plan.states import PlanKind

if TYPE_CHECKING:
    from dynamo_ops.cli.here import plan as plans
else:
    plans = Way("plan")

app = typer.Typer(no_args_is_help=True, help="What Detox and Dealer did to datasets and at sites, cycle by cycle.")

DECISIONS = {
    "at": "committed",
    "plan_id": "plan",
    "partition": "partition",
    "dataset": "dataset",
    "site": "site",
    "decision": "decision",
    "num_blocks": "block\nreplicas",
    "size_bytes": "size",
    "line": "line",
    "why": "policy line or plugin, or why it was left out",
}
DEALER_CYCLES = {
    "plan_id": "plan",
    "planned_for_at": "planned for",
    "state": "state",
    "num_copies": "copies",
    "num_files": "files\nsubscribed",
    "copied_bytes": "size",
    "num_rejected": "rejected\nproposals",
    "num_left_out": "left out\nby commit",
    "by": "approved or refused by",
    "refused_because": "because",
}
CYCLES = {
    "plan_id": "plan",
    "planned_for_at": "planned for",
    "state": "state",
    "num_triggered_sites": "triggered\nsites",
    "num_block_replicas": "deleted block\nreplicas",
    "deleted_bytes": "deleted",
    "num_reowned": "handed\nover",
    "num_left_out": "left out\nby commit",
    "by": "approved or refused by",
    "refused_because": "because",
}
SITES = {
    "at": "committed",
    "plan_id": "plan",
    "partition": "partition",
    "site": "site",
    "quota_bytes": "quota",
    "is_triggered": "triggered",
    "bytes_before": "before",
    "bytes_after": "planned\nafter",
    "protected_bytes": "protected",
    "deleted_bytes": "deleted",
}


@app.command()
def dataset(
    name: Annotated[str, typer.Argument(help="Dataset name or glob.")],
    since: Since = "1y",
    site: Site = None,
    as_json: AsJson = False,
) -> None:
    """What Detox and Dealer did to a dataset, newest first: deletions, hand-overs, copies; the rest when it changed."""
    acts = plans.acts(name, since=past("--since", since), site=site)
    shown = [{**act, "why": act["policy_line"] if act["reasons"] is None else act["reasons"]} for act in acts]
    _print(acts, shown, f"What Detox and Dealer did to {name}", DECISIONS, as_json=as_json)


@app.command()
def cycles(
    partition: PartitionName,
    dealer: Annotated[bool, typer.Option("--dealer", help="Those of the Dealer, not of Detox.")] = False,
    since: Since = "1y",
    as_json: AsJson = False,
) -> None:
    """The cycles of PARTITION, refused ones too, newest first."""
    kind = PlanKind.DEALER if dealer else PlanKind.DETOX
    found = plans.cycles(partition, kind=kind, since=past("--since", since))
    if dealer:
        _print(found, found, f"Dealer of {partition}", DEALER_CYCLES, as_json=as_json)
        return
    shown = [{**row, "by": row["approved_by"] if row["refused_by"] is None else row["refused_by"]} for row in found]
    _print(found, shown, f"Detox of {partition}", CYCLES, as_json=as_json)


@app.command()
def site(
    name: SiteGlob,
    partition: Partition = None,
    since: Since = "1y",
    as_json: AsJson = False,
) -> None:
    """A site before and after each cycle, newest first."""
    states = plans.site_states(name, since=past("--since", since), partition=partition)
    _print(states, states, f"Detox at {name}", SITES, as_json=as_json)


def _print(rows: Records, shown: Records, title: str, headings: dict[str, str], *, as_json: bool) -> None:
    """``rows`` as JSON, or ``shown`` as a table."""
    if as_json:
        print_json(rows)
    else:
        print_table(shown, title, headings, wrap=["dataset", "why", "refused_because"])
