"""``dynamo detox``: try a policy without doing anything."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import typer

from dynamo_ops.cli.output import JsonOption, database, show, size
from dynamo_ops.detox.steps import make_plan
from dynamo_ops.inventory.read import read_inventory
from dynamo_ops.settings import settings

app = typer.Typer(no_args_is_help=True, help="Detox: what would be deleted, and why.")


@app.callback()
def main() -> None:
    """Detox: what would be deleted, and why."""


@app.command("plan")
def plan_(partition: str, as_json: bool = JsonOption) -> None:
    """What Detox would decide now for PARTITION; stores nothing, deletes nothing."""
    plan = make_plan(read_inventory(database()), settings(), partition, datetime.now(UTC))
    by_line = (
        plan.decisions.group_by("decision", "line")
        .agg(block_replicas=pl.len(), size_bytes=pl.col("size_bytes").sum())
        .join(plan.policy_lines.select("line", policy_line="text"), on="line", how="left")
        .sort("decision", "line")
    )
    show(by_line, title=f"Decisions for {partition}", as_json=as_json)
    if not as_json:
        show(plan.site_states, title="Sites", as_json=False)
        typer.echo(
            f"would delete {plan.deletions.height:,} block replicas, {size(int(plan.deletions['size_bytes'].sum()))}"
        )
        for warning in plan.warnings:
            typer.secho(f"warning: {warning}", fg="yellow")
