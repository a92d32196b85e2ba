"""``dynamo plan``: the plans of Detox and Dealer, and what became of them."""

from __future__ import annotations

from typing import Annotated, Any

import polars as pl
import typer

from dynamo_ops.cli.terminal.cells import cell, moment
from dynamo_ops.cli.terminal.inventory import database
from dynamo_ops.cli.terminal.options import SINCE, AsJson, Limit, Partition, PlanId, past_or_none
from dynamo_ops.cli.terminal.page import say
from dynamo_ops.cli.terminal.tables import print_json, print_table
from dynamo_ops.plan import store as plan_store
from dynamo_ops.plan.states import PlanKind, PlanState

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
def list_(
    partition: Partition = None,
    state: Annotated[str | None, typer.Option("--state", help=f"{', '.join(PlanState)}.")] = None,
    kind: Annotated[str | None, typer.Option("--kind", help=f"{' or '.join(PlanKind)}.")] = None,
    since: Annotated[str | None, SINCE] = None,
    limit: Limit = 50,
    before: Annotated[
        int | None, typer.Option("--before", help="Only plans older than this one: the next page.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """The newest plans with their states."""
    plans = plan_store.newest(
        database(),
        limit,
        partition=partition,
        state=state,
        kind=kind,
        since=past_or_none("--since", since),
        before=before,
    )
    if as_json:
        print_json(plans.to_dicts())
        return
    first_line = pl.col("refused_because").str.split("\n").list.first()
    print_table(plans.with_columns(first_line), "Plans", PLANS, wrap=["approved_by", "refused_because"])
    if plans.height == limit:
        say(f"the newest {limit:,}; --limit shows more, --before {plans['id'][-1]} the next")


@app.command("show")
def show_(plan_id: PlanId, as_json: AsJson = False) -> None:
    """One plan: its figures, what it was made of, and the state of its sites before and after.

    With --json the texts too: policy or configuration, partitions and enforcer rules as they were when it decided.
    """
    plan = plan_store.load(database(), plan_id)
    inputs = plan.inputs()
    if as_json:
        document = {"inputs": inputs.document() if inputs else None}
        print_json({"id": plan.id, "state": plan.state, "stored_by": plan.stored_by, **plan.summary, **document})
        return
    say(f"plan {plan.id}: {plan.kind} of {plan.partition}, {plan.state}, made for {moment(plan.planned_for_at)}")
    if plan.stored_by:
        say(f"  stored by {plan.stored_by}")
    for name, figure in plan.summary.items():
        say(f"  {name.removesuffix('_bytes').replace('_', ' ')}: {_figure(name, figure)}")
    if inputs:
        _show_inputs(inputs.document())
    say()
    print_table(plan.frame("site_states"), "Sites")
    if plan.kind == PlanKind.DETOX:
        say(f"by policy line, and every decision: dynamo detox show {plan.id}")


def _show_inputs(document: dict[str, Any]) -> None:
    """The texts that a plan was made of, a line each: file and digest."""
    for name in ("policy", "partitions", "rules"):
        source = document[name]
        say(f"  {name}: " + (f"{source['file']}, sha256 {source['sha256'][:12]}" if source else "-"))


def _figure(name: str, value: Any) -> str:
    """A figure of a summary: those within it one after the other."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {_figure(key, nested)}" for key, nested in value.items()) or "-"
    if isinstance(value, list):
        return ", ".join(str(element) for element in value) or "-"
    return cell(name, value)
