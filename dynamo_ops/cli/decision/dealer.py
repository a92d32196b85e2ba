"""``dynamo dealer``: try a configuration, read plans, explain, commit one."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from dynamo_ops.access.person import Person
from dynamo_ops.base.settings import settings
from dynamo_ops.cli.decision import dealer_view as view
from dynamo_ops.cli.terminal.completion import complete_partitions
from dynamo_ops.cli.terminal.confirm import ask, somebody_there
from dynamo_ops.cli.terminal.inventory import database
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
    who,
)
from dynamo_ops.cli.terminal.page import say
from dynamo_ops.cli.terminal.progress import step
from dynamo_ops.cli.terminal.tables import print_json
from dynamo_ops.dealer.report import describe, trial
from dynamo_ops.plan.states import PlanKind, PlanState
from dynamo_ops.plan.story import load_story

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
        _store(partition, moment, seed, who(by), as_json=as_json)
        return
    dealer_config = trial.config_of_file(config) if config else trial.installed_config(settings(), partition)
    if partition is not None:
        dealer_config.check_partition(partition)
    with step("reading the inventory", quiet=as_json):
        if inventory and config:
            inputs = trial.dump_inputs(
                inventory, config, now=moment, partitions=partitions, enforcer=enforcer, detox=detox_decisions
            )
        else:
            inputs = trial.installation_inputs(
                database(),
                settings(),
                dealer_config,
                moment or datetime.now(UTC),
                partitions=partitions,
                enforcer=enforcer,
                detox=detox_decisions,
            )
    with step("asking the plugins, deciding", quiet=as_json):
        plan = trial.decide(
            inputs, dealer_config, seed=seed, name=str(config or f"configuration of {dealer_config.partition}")
        )
    written = {}
    if out:
        with step("writing", quiet=as_json):
            written = trial.write(out, inputs, dealer_config, plan)
    if as_json:
        print_json({**describe.plan_document(plan), "written": written})
        return
    view.show_plan(plan)
    for name, number in written.items():
        say(f"{out / name if out else name}.csv: {number:,} rows")


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
    from dynamo_ops.dealer import record

    db = database()
    story = load_story(db, plan_id, PlanKind.DEALER)
    plan = record.read_record(db, story)
    is_filtered = rejected or any(wanted is not None for wanted in (site, dataset, plugin))
    proposals = describe.select_proposals(plan, site=site, dataset=dataset, plugin=plugin, rejected=rejected)
    if as_json:
        document = {} if is_filtered else {**describe.plan_document(plan), "inputs": story.inputs_document()}
        print_json({**story.document(), **document, **view.rows_document(proposals, limit)})
        return
    if not is_filtered:
        view.show_story(story)
        view.show_plan(plan)
    view.show_rows(proposals, limit, rejected=rejected)


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
    from dynamo_ops.dealer import record
    from dynamo_ops.dealer.report.explain import explain_dataset

    db = database()
    if plan is None:
        asked = record.newest_about(db, dataset, partition)
    else:
        asked = record.read_record(db, load_story(db, plan, PlanKind.DEALER))
    explanations = explain_dataset(asked, dataset, site)
    if as_json:
        print_json(describe.explain_document(asked, explanations))
    else:
        view.show_explanations(asked, dataset, explanations)


@app.command()
def rules(
    partition: Named = None,
    missing: Annotated[bool, typer.Option("--missing", help="The datasets that lack copies, one a line.")] = False,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """The enforcer's rules: how many of their datasets are complete, on the way, or lack copies now."""
    dealer_config = trial.installed_config(settings(), partition)
    with step("reading the inventory", quiet=as_json):
        inputs = trial.installation_inputs(database(), settings(), dealer_config, datetime.now(UTC))
    view.show_rules(trial.report_rules(inputs, dealer_config), missing=missing, limit=limit, as_json=as_json)


@app.command()
def commit(
    plan_id: PlanId,
    by: By = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Commit a stored plan: gate, ask, make replicas-to-be and subscribe their files."""
    from dynamo_ops.dealer import record
    from dynamo_ops.dealer import tasks as steps

    db = database()
    story = load_story(db, plan_id, PlanKind.DEALER)
    if story.stored.state == PlanState.PLANNED:
        if not yes:
            somebody_there()  # before the gate looks at it: its verdict is for good
        steps.gate_plan(db, settings(), plan_id, run_key=story.stored.run_key)
        story = load_story(db, plan_id, PlanKind.DEALER)
    stored = story.stored
    is_new = stored.state != PlanState.COMMITTED
    person = who(by)
    if is_new and not yes:
        if not as_json:
            say(view.sentence(record.read_record(db, story)))
            if stored.stored_by == person.name:
                say("You stored it yourself: nobody else has looked at it, and the audit will say so.")
        ask(f"Commit plan {plan_id}?", yes=yes, otherwise=f"nothing was committed; the plan stays {stored.state}")
    summary = steps.commit_plan(db, plan_id, by=person)
    if as_json:
        print_json({"id": plan_id, "was_committed_before": not is_new, "commit": summary})
        return
    was = "is committed" if is_new else "was committed before; nothing was done now"
    say(f"plan {plan_id} of {stored.partition} {was}")
    view.show_commit(summary)


@app.command()
def refuse(
    plan_id: PlanId,
    reason: Reason,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Refuse a stored plan: it can never be committed."""
    from dynamo_ops.plan import verdict

    db = database()
    story = load_story(db, plan_id, PlanKind.DEALER)
    verdict.refuse(db, plan_id, reason, by=who(by))
    if as_json:
        print_json({"id": plan_id, "state": str(PlanState.REFUSED), "reason": reason})
        return
    say(f"plan {plan_id} of {story.stored.partition} is refused: {reason}")


def _store(partition: str | None, now: datetime | None, seed: int | None, by: Person, *, as_json: bool) -> None:
    from dynamo_ops.dealer import record
    from dynamo_ops.dealer import tasks as steps

    db = database()
    dealer_config = trial.installed_config(settings(), partition)
    at = datetime.now(UTC)
    run_key = f"cli-{getpass.getuser()}-{at.isoformat(timespec='milliseconds')}"
    with step("reading the inventory, asking the plugins, deciding, storing", quiet=as_json):
        plan_id = steps.plan_now(
            db,
            settings(),
            dealer_config.partition,
            run_key=run_key,
            now=now or at,
            seed=seed,
            config=dealer_config.source,
            by=by,
        )
    plan = record.read_record(db, load_story(db, plan_id, PlanKind.DEALER))
    if as_json:
        print_json({"plan_id": plan_id, **describe.plan_document(plan)})
        return
    view.show_plan(plan)
    say(f"stored as plan {plan_id}; nothing is copied yet")
    say(f"  to read it:   dynamo dealer show {plan_id}")
    say(f"  to commit it: dynamo dealer commit {plan_id}")
