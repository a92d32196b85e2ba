"""``dynamo history``: what Detox and Dealer did, and by which policy line, plugin or request."""

from __future__ import annotations

from typing import Annotated

import polars as pl
import typer

from dynamo_ops.cli.terminal.inventory import database
from dynamo_ops.cli.terminal.options import AsJson, Partition, PartitionName, Since, Site, SiteGlob, past
from dynamo_ops.cli.terminal.tables import print_json, print_table
from dynamo_ops.dealer import history as dealer_history
from dynamo_ops.detox import history
from dynamo_ops.plan import store as plan_store

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
    db, moment = database(), past("--since", since)
    decisions = history.dataset_history(db, name, since=moment, site=site)
    copied = dealer_history.dataset_history(db, name, since=moment, site=site)
    both = pl.concat([decisions, _as_decisions(copied)], how="diagonal_relaxed").sort("at", descending=True)
    why = pl.coalesce("reasons", "policy_line")
    title = f"What Detox and Dealer did to {name}"
    _print(both, both.with_columns(why=why), title, DECISIONS, as_json=as_json)


@app.command()
def cycles(
    partition: PartitionName,
    dealer: Annotated[bool, typer.Option("--dealer", help="Those of the Dealer, not of Detox.")] = False,
    since: Since = "1y",
    as_json: AsJson = False,
) -> None:
    """The cycles of PARTITION, refused ones too, newest first."""
    db = database()
    plan_store.check_partition(db, partition)
    if dealer:
        dealer_cycles = dealer_history.cycle_history(db, partition, since=past("--since", since))
        _print(dealer_cycles, dealer_cycles, f"Dealer of {partition}", DEALER_CYCLES, as_json=as_json)
        return
    detox_cycles = history.cycle_history(db, partition, since=past("--since", since))
    by = pl.coalesce("refused_by", "approved_by")
    _print(detox_cycles, detox_cycles.with_columns(by=by), f"Detox of {partition}", CYCLES, as_json=as_json)


@app.command()
def site(
    name: SiteGlob,
    partition: Partition = None,
    since: Since = "1y",
    as_json: AsJson = False,
) -> None:
    """A site before and after each cycle, newest first."""
    db = database()
    if partition is not None:
        plan_store.check_partition(db, partition)
    states = history.site_history(db, name, since=past("--since", since), partition=partition)
    _print(states, states, f"Detox at {name}", SITES, as_json=as_json)


def _as_decisions(copied: pl.DataFrame) -> pl.DataFrame:
    """What the Dealer did, in the columns of what Detox did: decision ``copy``, the plugin's reason, what was left."""
    left = pl.format("; left out: {} of {} blocks: {}", "num_left_out", "num_blocks", "left_out").fill_null("")
    return copied.select(
        "at",
        "partition",
        "dataset",
        "site",
        "num_blocks",
        "size_bytes",
        "plan_id",
        decision=pl.lit("copy"),
        reasons=pl.format("{}: {}", "plugin", "reason") + left,
    )


def _print(frame: pl.DataFrame, shown: pl.DataFrame, title: str, headings: dict[str, str], *, as_json: bool) -> None:
    """``frame`` as JSON, or ``shown`` as a table."""
    if as_json:
        print_json(frame.to_dicts())
    else:
        print_table(shown, title, headings, wrap=["dataset", "why", "refused_because"])
