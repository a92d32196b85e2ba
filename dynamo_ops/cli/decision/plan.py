"""``dynamo plan``: the plans of Detox and Dealer, and what became of them."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import typer

from dynamo_ops.cli.terminal.output import JsonOption, database, show
from dynamo_ops.cli.terminal.tables import cell, moment, print_table
from dynamo_ops.plan import store as plan_store
from dynamo_ops.plan.states import PlanKind

app = typer.Typer(no_args_is_help=True, help="Plans of Detox and Dealer.")

PLANS = {
    "id": "id",
    "kind": "kind",
    "partition": "partition",
    "state": "state",
    "created_at": "made",
    "committed_at": "committed",
    "approved_by": "approved by",
    "refused_because": "refused because",
}


@app.command("list")
def list_(as_json: bool = JsonOption) -> None:
    """The newest plans with their states."""
    frame = plan_store.newest(database())
    if as_json:
        show(frame, title="Plans", as_json=True)
    else:
        first_line = pl.col("refused_because").str.split("\n").list.first()
        print_table(frame.with_columns(first_line), "Plans", PLANS, wrap=["approved_by", "refused_because"])


@app.command("show")
def show_(plan_id: int, as_json: bool = JsonOption) -> None:
    """One plan: its figures, what it was made of, and the state of its sites before and after.

    With --json the texts too: policy or configuration, partitions and enforcer rules as they were when it decided.
    """
    plan = plan_store.load(database(), plan_id)
    inputs = plan.inputs()
    if as_json:
        document = {"inputs": inputs.document() if inputs else None}
        typer.echo(json.dumps({"id": plan.id, "state": plan.state, **plan.summary, **document}, indent=1))
        return
    typer.echo(f"plan {plan.id}: {plan.kind} of {plan.partition}, {plan.state}, made for {moment(plan.planned_for_at)}")
    for name, figure in plan.summary.items():
        typer.echo(f"  {name.removesuffix('_bytes').replace('_', ' ')}: {_figure(name, figure)}")
    if inputs:
        _show_inputs(inputs.document())
    show(plan.frame("site_states"), title="Sites", as_json=False)
    if plan.kind == PlanKind.DETOX:
        typer.echo(f"by policy line, and every decision: dynamo detox show {plan.id}")


def _show_inputs(document: dict[str, Any]) -> None:
    """The texts that a plan was made of, a line each: file and digest."""
    for name in ("policy", "partitions", "rules"):
        source = document[name]
        typer.echo(f"  {name}: " + (f"{source['file']}, sha256 {source['sha256'][:12]}" if source else "-"))


def _figure(name: str, value: Any) -> str:
    """A figure of a summary: those within it one after the other."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {_figure(key, nested)}" for key, nested in value.items()) or "-"
    if isinstance(value, list):
        return ", ".join(str(element) for element in value) or "-"
    return cell(name, value)
