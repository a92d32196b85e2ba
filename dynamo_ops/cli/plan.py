"""``dynamo plan``: the plans of Detox and Dealer, and what became of them."""

from __future__ import annotations

import json

import typer

from dynamo_ops.cli.output import JsonOption, database, show
from dynamo_ops.inventory import plan_store

app = typer.Typer(no_args_is_help=True, help="Plans of Detox and Dealer.")


@app.command("list")
def list_(as_json: bool = JsonOption) -> None:
    """The newest plans with their states."""
    frame = database().frame("""
        SELECT id, kind, partition, state, created_at, committed_at, approved_by, refused_because
        FROM plans ORDER BY id DESC LIMIT 50""")
    show(frame, title="Plans", as_json=as_json)


@app.command("show")
def show_(plan_id: int, as_json: bool = JsonOption) -> None:
    """One plan: its figures, and the state of its sites before and after."""
    plan = plan_store.load(database(), plan_id)
    if as_json:
        typer.echo(json.dumps({"id": plan.id, "state": plan.state, **plan.summary}, indent=1))
        return
    typer.echo(
        f"plan {plan.id}: {plan.kind} of {plan.partition}, {plan.state}, "
        f"made for {plan.planned_for_at:%Y-%m-%d %H:%M} UTC"
    )
    for name, value in plan.summary.items():
        typer.echo(f"  {name}: {value}")
    show(plan.frame("site_states"), title="Sites", as_json=False)
