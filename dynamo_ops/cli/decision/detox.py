"""``dynamo detox``: try a policy, compare, read plans, commit one."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated

import typer

from dynamo_ops.base.errors import PlanError
from dynamo_ops.base.text import near
from dynamo_ops.cli.decision import detox_view as view
from dynamo_ops.cli.decision.plan_view import told
from dynamo_ops.cli.terminal.completion import complete_partitions
from dynamo_ops.cli.terminal.confirm import ask, somebody_there
from dynamo_ops.cli.terminal.options import (
    AsJson,
    By,
    Dataset,
    EnforcerFile,
    InventoryFolder,
    Limit,
    Now,
    Partition,
    PartitionsFile,
    PlanId,
    Reason,
    Site,
    SiteName,
    Store,
    Yes,
    past_or_none,
)
from dynamo_ops.cli.terminal.page import say
from dynamo_ops.cli.terminal.progress import step
from dynamo_ops.cli.terminal.tables import Record, print_json
from dynamo_ops.cli.terminal.way import Way, check_core
from dynamo_ops.plan.states import DECISIONS, Decision, PlanKind, PlanState

if TYPE_CHECKING:
    from dynamo_ops.cli.here import plan as plans
else:
    plans = Way("plan")

app = typer.Typer(no_args_is_help=True, help="Detox: what would be deleted, and why.")

Named = Annotated[
    str | None,
    typer.Argument(
        metavar="PARTITION",
        help="Name of a partition; may be left out when the policy names it.",
        autocompletion=complete_partitions,
    ),
]
Policy = Annotated[Path | None, typer.Option(help="Policy to try, instead of the installed one.")]
Against = Annotated[
    Path | None, typer.Option(help="Policy of today: say what would be different, instead of what would be.")
]
PerIteration = Annotated[
    float | None,
    typer.Option(help="Fraction of a site's quota deleted before all is looked at again; or as installed, 0.01."),
]
Decisions = Annotated[Path | None, typer.Option(help="Write the decisions (with --against: those that differ) as CSV.")]
Out = Annotated[Path | None, typer.Option(help="Write all frames into this folder, for `dynamo detox diff`.")]


@app.callback()
def main() -> None:
    """Detox: what would be deleted, and why."""


@app.command("plan")
def plan_(
    partition: Named = None,
    inventory: InventoryFolder = None,
    policy: Policy = None,
    against: Against = None,
    deletion_per_iteration: PerIteration = None,
    partitions: PartitionsFile = None,
    enforcer: EnforcerFile = None,
    now: Now = None,
    decisions: Decisions = None,
    out: Out = None,
    store: Store = False,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """What Detox would decide; deletes nothing, stores nothing unless told to.

    Example: dynamo detox plan --inventory DIR --policy new.txt --against old.txt
    """
    moment = past_or_none("--now", now)
    if inventory and policy is None:
        raise typer.BadParameter("--inventory needs --policy FILE: a folder has no policy of its own")
    if decisions and not decisions.absolute().parent.is_dir():
        raise typer.BadParameter(f"--decisions: there is no folder {decisions.parent}")
    if store:
        trial_options = (inventory, against, partitions, enforcer, deletion_per_iteration)
        if any(trial_options):
            raise typer.BadParameter("--store makes the plan that a cycle would make: it takes --policy and --now only")
    _making().plan(
        partition,
        inventory=inventory,
        policy=policy,
        against=against,
        deletion_per_iteration=deletion_per_iteration,
        partitions=partitions,
        enforcer=enforcer,
        moment=moment,
        decisions=decisions,
        out=out,
        store=store,
        by=by,
        as_json=as_json,
    )


@app.command()
def show(
    plan_id: PlanId,
    site: Site = None,
    dataset: Dataset = None,
    decision: Annotated[str | None, typer.Option(help=f"One of {', '.join(DECISIONS)}.")] = None,
    line: Annotated[int | None, typer.Option(help="Decided by this policy line; 0: the default.")] = None,
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    """A stored plan: its state, figures and order of deletion; with a filter, the decisions themselves."""
    if decision is not None and decision not in (*DECISIONS, Decision.IGNORE):
        expected = f"{', '.join(DECISIONS)}.{near(decision, DECISIONS)}"
        raise typer.BadParameter(f"--decision {decision}: expected one of {expected}")
    if any(wanted is not None for wanted in (site, dataset, decision, line)):
        found = plans.decisions(plan_id, site=site, dataset=dataset, decision=decision, line=line, limit=limit)
        if as_json:
            print_json({"id": plan_id, **{name: found[name] for name in ("num_rows", "size_bytes", "rows")}})
        else:
            view.show_rows(plan_id, found)
        return
    plan, order = plans.card(plan_id, PlanKind.DETOX), plans.order(plan_id, limit)
    if as_json:
        print_json({**told(plan), "inputs": plans.inputs(plan_id), "order": order})
        return
    view.show_story(plan)
    view.show_plan(plan)
    view.show_order(order)


@app.command()
def explain(
    dataset: Annotated[str, typer.Argument(help="Whole name of the dataset.")],
    site: SiteName,
    partition: Partition = None,
    plan: Annotated[str | None, typer.Option(help="Number of a stored plan, or a folder of `plan --out`.")] = None,
    inventory: InventoryFolder = None,
    policy: Policy = None,
    as_json: AsJson = False,
) -> None:
    """Why a plan keeps or deletes DATASET at SITE: each line tried, each value seen, and what would have to change.

    Without --plan: the newest stored plan (of --partition) that knows the replica, else the last that decided of it.
    With --inventory and --policy: a plan made now.
    """
    from dynamo_ops.cli.decision import explain_view

    if inventory:
        if policy is None:
            raise typer.BadParameter("--inventory needs --policy FILE: a folder has no policy of its own")
        explanation = _making().explained_now(inventory, policy, partition, dataset, site, quiet=as_json)
    elif plan and not plan.isdigit():
        explanation = _making().explained(Path(plan), dataset, site)
    else:
        explanation = plans.explained(
            dataset, site, engine=PlanKind.DETOX, plan_id=int(plan) if plan else None, partition=partition
        )
    if as_json:
        print_json(explanation)
    else:
        explain_view.show(explanation)


@app.command()
def diff(
    old: Annotated[str, typer.Argument(help="Number of a stored plan, or a folder written by `plan --out`.")],
    new: Annotated[str, typer.Argument(help="The same, to be compared with it.")],
    table: Annotated[str | None, typer.Option("--table", help=f"Only this table, whole: {', '.join(view.BY)}.")] = None,
    decisions: Annotated[Path | None, typer.Option(help="Write the decisions that differ as CSV.")] = None,
    as_json: AsJson = False,
) -> None:
    """What is decided otherwise in plan NEW than in plan OLD, and how their policies differ."""
    if table is not None and table not in view.BY:
        raise typer.BadParameter(f"--table {table}: expected one of {', '.join(view.BY)}.{near(table, view.BY)}")
    are_stored = old.isdigit() and new.isdigit()
    with step("comparing", quiet=as_json):
        compare = plans.difference if are_stored else _making().difference
        difference = compare(old, new, decisions)
    tell_difference(difference, decisions, table=table, with_policy=True, as_json=as_json)


@app.command()
def commit(
    plan_id: PlanId,
    by: By = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Commit a stored plan: gate, ask (your yes approves what needs a person's approval), subscribe the deletions."""
    if not yes and plans.story(plan_id, PlanKind.DETOX)["state"] == PlanState.PLANNED:
        somebody_there()  # before the gate looks at it: its verdict is for good
    plan = plans.ready(plan_id, PlanKind.DETOX, by=by)
    if plan["state"] == PlanState.REFUSED:
        raise PlanError(
            f"plan {plan_id} of {plan['partition']} was refused by {plan['refused_by'] or 'unknown'}: "
            f"{plan['refused_because']}\n"
            "it can never be committed; make a new plan",
            plan_id=plan_id,
            state=plan["state"],
        )
    if plan["state"] == PlanState.COMMITTED:
        done: Record = {"id": plan_id, "was_committed_before": True, "commit": plan["summary"]["commit"]}
    else:
        if not as_json:
            say(view.sentence(plans.card(plan_id, PlanKind.DETOX)))
            if plan["needs_yes"]:
                say(f"It deletes so much that a person must approve it: that will be you, {plan['person']}.")
            if plan["stored_by"] == plan["person"]:
                say("You stored it yourself: nobody else has looked at it, and the audit will say so.")
        ask(f"Commit plan {plan_id}?", yes=yes, otherwise=f"nothing was committed; the plan stays {plan['state']}")
        done = plans.commit(plan_id, seen=plan["etag"], by=by)
    if as_json:
        print_json(done)
        return
    if done["was_committed_before"]:
        say(f"plan {plan_id} was committed before; nothing was done now")
    else:
        say(f"plan {plan_id} of {plan['partition']} is committed")
    view.show_commit(done["commit"])


@app.command()
def refuse(
    plan_id: PlanId,
    reason: Reason,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Refuse a stored plan: it can never be committed."""
    refused = plans.refuse(plan_id, PlanKind.DETOX, reason=reason, by=by)
    if as_json:
        print_json({name: refused[name] for name in ("id", "state", "reason")})
        return
    say(f"plan {plan_id} of {refused['partition']} is refused: {reason}")


def tell_difference(
    found: Record, decisions: Path | None, *, table: str | None = None, with_policy: bool = False, as_json: bool
) -> None:
    """What is decided otherwise. ``decisions``: the file that those were written to which differ."""
    if as_json:
        print_json(found)
        return
    if with_policy:
        view.show_policy_difference(found)
    view.show_difference(found, table=table)
    if decisions:
        say(f"decisions that differ: {decisions} ({found['num_rows']:,} rows)")


def _making() -> ModuleType:
    """Deciding now, on this machine: slow to import, and not there where only the client is installed."""
    check_core()
    from dynamo_ops.cli.decision import detox_making

    return detox_making
