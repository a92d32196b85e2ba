"""``dynamo plan``: the plans of Detox and Dealer, and what became of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from dynamo_ops.cli.decision.plan_view import occupied
from dynamo_ops.cli.terminal.cells import cell, moment
from dynamo_ops.cli.terminal.options import SINCE, AsJson, Limit, Partition, PlanId, past_or_none
from dynamo_ops.cli.terminal.page import say
from dynamo_ops.cli.terminal.tables import Record, print_json, print_table
from dynamo_ops.cli.terminal.way import Way
from dynamo_ops.plan.states import PlanKind, PlanState

if TYPE_CHECKING:
    from dynamo_ops.cli.here import plan as plans
else:
    plans = Way("plan")

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
FIELDS = (*PLANS, "stored_by")


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
    listed = plans.listed(
        FIELDS,
        partition=partition,
        state=state,
        kind=kind,
        since=past_or_none("--since", since),
        before=before,
        limit=limit,
    )
    if as_json:
        print_json(listed)
        return
    shown = [{**plan, "refused_because": _first_line(plan["refused_because"])} for plan in listed]
    print_table(shown, "Plans", PLANS, wrap=["approved_by", "refused_because"])
    if len(listed) == limit:
        say(f"the newest {limit:,}; --limit shows more, --before {listed[-1]['id']} the next")


@app.command("show")
def show_(plan_id: PlanId, as_json: AsJson = False) -> None:
    """One plan: its figures, what it was made of, and the state of its sites before and after.

    With --json the texts too: policy or configuration, partitions and enforcer rules as they were when it decided.
    """
    plan, inputs = plans.story(plan_id), plans.inputs(plan_id)
    if as_json:
        about = {name: plan[name] for name in ("id", "state", "stored_by")}
        print_json({**about, **plan["summary"], "inputs": inputs})
        return
    made_for = moment(plan["planned_for_at"])
    say(f"plan {plan_id}: {plan['kind']} of {plan['partition']}, {plan['state']}, made for {made_for}")
    if plan["stored_by"]:
        say(f"  stored by {plan['stored_by']}")
    for name, figure in plan["summary"].items():
        say(f"  {name.removesuffix('_bytes').replace('_', ' ')}: {_figure(name, figure)}")
    if inputs:
        _show_inputs(inputs)
    say()
    print_table(occupied(plans.sites(plan_id)), "Sites")
    if plan["kind"] == PlanKind.DETOX:
        say(f"by policy line, and every decision: dynamo detox show {plan_id}")


def _first_line(reason: str | None) -> str | None:
    return None if reason is None else reason.split("\n")[0]


def _show_inputs(document: Record) -> None:
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
