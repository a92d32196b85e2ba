"""``dynamo dealer``: try a configuration, read plans, explain, commit one."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated

import typer

from dynamo_ops.base.errors import PlanError
from dynamo_ops.cli.decision import dealer_view as view
from dynamo_ops.cli.decision.plan_view import told
from dynamo_ops.cli.terminal.completion import complete_partitions
from dynamo_ops.cli.terminal.confirm import ask, somebody_there
from dynamo_ops.cli.terminal.options import (
    AnySite,
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
    Store,
    Yes,
    past_or_none,
)
from dynamo_ops.cli.terminal.page import say
from dynamo_ops.cli.terminal.tables import Record, print_json
from dynamo_ops.cli.terminal.way import Way, check_core
from dynamo_ops.plan.states import PlanKind, PlanState

if TYPE_CHECKING:
    from dynamo_ops.cli.here import plan as plans
else:
    plans = Way("plan")

app = typer.Typer(no_args_is_help=True, help="Dealer: what would be copied where, and why.")

Named = Annotated[
    str | None,
    typer.Argument(
        metavar="PARTITION",
        help="Name of a partition; may be left out when a configuration is given.",
        autocompletion=complete_partitions,
    ),
]
Config = Annotated[Path | None, typer.Option(help="Configuration to try, instead of the installed one.")]
Detox = Annotated[
    Path | None, typer.Option(help="What the last Detox cycle said (CSV); or detox_decisions.csv[.gz] beside --config.")
]
Seed = Annotated[int | None, typer.Option(help="Seed of the draws; that of an earlier plan replays them.")]
Out = Annotated[Path | None, typer.Option(help="Write targets, requests, checks and copies as CSV into this folder.")]


@app.callback()
def main() -> None:
    """Dealer: what would be copied where, and why."""


@app.command("plan")
def plan_(
    partition: Named = None,
    inventory: InventoryFolder = None,
    config: Config = None,
    detox_decisions: Detox = None,
    partitions: PartitionsFile = None,
    enforcer: EnforcerFile = None,
    now: Now = None,
    seed: Seed = None,
    out: Out = None,
    store: Store = False,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """What the Dealer would decide; copies nothing, stores nothing unless told to.

    Example: dynamo dealer plan --inventory DIR --config dealer.yaml --out checks
    """
    moment = past_or_none("--now", now)
    if inventory and config is None:
        raise typer.BadParameter("--inventory needs --config FILE: a folder has no configuration of its own")
    if store:
        if any((inventory, config, detox_decisions, partitions, enforcer, out)):
            raise typer.BadParameter("--store makes the plan that a cycle would make: it takes --now and --seed only")
        _making().store(partition, moment, seed, by, as_json=as_json)
        return
    _making().plan(
        partition,
        inventory=inventory,
        config=config,
        detox_decisions=detox_decisions,
        partitions=partitions,
        enforcer=enforcer,
        moment=moment,
        seed=seed,
        out=out,
        as_json=as_json,
    )


@app.command()
def show(
    plan_id: PlanId,
    site: Site = None,
    dataset: Dataset = None,
    plugin: Annotated[str | None, typer.Option(help="Proposals of this plugin.")] = None,
    rejected: Annotated[bool, typer.Option("--rejected", help="What was rejected, with the reasons.")] = False,
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    """A stored plan: its state, figures, sites and copies; with a filter, the proposals themselves."""
    is_filtered = rejected or any(wanted is not None for wanted in (site, dataset, plugin))
    plan = (plans.story if is_filtered else plans.card)(plan_id, PlanKind.DEALER)
    found = plans.proposals(plan_id, site=site, dataset=dataset, plugin=plugin, rejected=rejected, limit=limit)
    if as_json:
        rows = {name: found[name] for name in ("num_rows", "rows")}
        print_json({**told(plan), **({} if is_filtered else {"inputs": plans.inputs(plan_id)}), **rows})
        return
    if not is_filtered:
        view.show_story(plan)
        view.show_plan(plan)
    view.show_rows(found, rejected=rejected)


@app.command()
def explain(
    dataset: Annotated[str, typer.Argument(help="Whole name of the dataset.")],
    site: AnySite = None,
    plan: Annotated[
        int | None, typer.Option(help="Number of a stored plan; without it, the newest about DATASET.")
    ] = None,
    partition: Partition = None,
    as_json: AsJson = False,
) -> None:
    """Why DATASET was copied or not: who asked, when it came to its turn, and of every site why it or why not."""
    found = plans.explained(dataset, site, engine=PlanKind.DEALER, plan_id=plan, partition=partition)
    if as_json:
        print_json(found)
    else:
        view.show_explanations(found, dataset)


@app.command()
def rules(
    partition: Named = None,
    missing: Annotated[bool, typer.Option("--missing", help="The datasets that lack copies, one a line.")] = False,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """The enforcer's rules: how many of their datasets are complete, on the way, or lack copies now."""
    report = _making().rules(partition, missing=missing, quiet=as_json)
    if as_json:
        print_json(report)
    else:
        view.show_rules(report, limit=limit)


@app.command()
def commit(
    plan_id: PlanId,
    by: By = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Commit a stored plan: gate, ask, make replicas-to-be and subscribe their files."""
    if not yes and plans.story(plan_id, PlanKind.DEALER)["state"] == PlanState.PLANNED:
        somebody_there()  # before the gate looks at it: its verdict is for good
    plan = plans.ready(plan_id, PlanKind.DEALER, by=by)
    if plan["state"] == PlanState.REFUSED:
        raise PlanError(
            f"plan {plan_id} (dealer of {plan['partition']}) is refused: {plan['refused_because']}; "
            "only an approved plan can be committed",
            plan_id=plan_id,
            state=plan["state"],
        )
    if plan["state"] == PlanState.COMMITTED:
        done: Record = {"id": plan_id, "was_committed_before": True, "commit": plan["summary"]["commit"]}
    else:
        if not yes and not as_json:
            say(view.sentence(plans.card(plan_id, PlanKind.DEALER)))
            if plan["stored_by"] == plan["person"]:
                say("You stored it yourself: nobody else has looked at it, and the audit will say so.")
        ask(f"Commit plan {plan_id}?", yes=yes, otherwise=f"nothing was committed; the plan stays {plan['state']}")
        done = plans.commit(plan_id, seen=plan["etag"], by=by)
    if as_json:
        print_json(done)
        return
    was = "was committed before; nothing was done now" if done["was_committed_before"] else "is committed"
    say(f"plan {plan_id} of {plan['partition']} {was}")
    view.show_commit(done["commit"])


@app.command()
def refuse(
    plan_id: PlanId,
    reason: Reason,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Refuse a stored plan: it can never be committed."""
    refused = plans.refuse(plan_id, PlanKind.DEALER, reason=reason, by=by)
    if as_json:
        print_json({name: refused[name] for name in ("id", "state", "reason")})
        return
    say(f"plan {plan_id} of {refused['partition']} is refused: {reason}")


def _making() -> ModuleType:
    """Deciding now, on this machine: slow to import, and not there where only the client is installed."""
    check_core()
    from dynamo_ops.cli.decision import dealer_making

    return dealer_making
