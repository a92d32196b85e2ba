"""``dynamo detox``: try a policy, compare, read plans, commit one.

The commands of one plan in the making are here, and of those that are stored.
"""

from __future__ import annotations

import getpass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from dynamo_ops.access.person import Person
from dynamo_ops.base.text import near
from dynamo_ops.cli.decision import detox_view as view
from dynamo_ops.cli.terminal.completion import complete_partitions
from dynamo_ops.cli.terminal.confirm import ask, somebody_there
from dynamo_ops.cli.terminal.inventory import database
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
    who,
)
from dynamo_ops.cli.terminal.page import say
from dynamo_ops.cli.terminal.progress import step
from dynamo_ops.cli.terminal.tables import print_json
from dynamo_ops.detox import record, trial
from dynamo_ops.detox.record import PlanRecord
from dynamo_ops.detox.report import decisions_file, describe, difference
from dynamo_ops.plan.states import DECISIONS, Decision, PlanKind, PlanState
from dynamo_ops.policy.language.check import CheckedPolicy

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
    at = moment or (trial.dump_now(inventory) if inventory else datetime.now(UTC))
    tried = trial.policy_of_file(policy, at) if policy else _installed_policy(partition, at)
    name = trial.partition_of(tried, partition)
    if store:
        _store(tried, name, at, decisions, out, who(by), as_json=as_json)
        return
    policies = [tried] if against is None else [trial.policy_of_file(against, at), tried]
    for candidate in policies:
        trial.partition_of(candidate, name)
    inputs = _inputs(inventory, name, at, partitions, enforcer, quiet=as_json)
    records = [_decide(inputs, candidate, name, deletion_per_iteration, quiet=as_json) for candidate in policies]
    if against is None:
        _tell_plan(records[0], decisions, out, {}, as_json=as_json)
    else:
        _tell_difference(records[0], records[1], decisions, out, as_json=as_json)


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
    from dynamo_ops.detox.report import stored
    from dynamo_ops.plan.story import load_story

    if decision is not None and decision not in (*DECISIONS, Decision.IGNORE):
        expected = f"{', '.join(DECISIONS)}.{near(decision, DECISIONS)}"
        raise typer.BadParameter(f"--decision {decision}: expected one of {expected}")
    db = database()
    story = load_story(db, plan_id, PlanKind.DETOX)
    plan = stored.read_record(db, story)
    if any(wanted is not None for wanted in (site, dataset, decision, line)):
        decisions = describe.select_decisions(plan, site=site, dataset=dataset, decision=decision, line=line)
        shown = describe.first_rows(decisions, limit)
        if as_json:
            print_json({"id": plan_id, **describe.rows_document(shown)})
        else:
            view.show_rows(plan, shown)
        return
    figures = describe.overview(plan)
    order = describe.deletion_order(plan, limit)
    if as_json:
        document = describe.plan_document(plan, figures)
        more = {"inputs": story.inputs_document(), "order": describe.json_rows(order)}
        print_json({**story.document(), **document, **more})
        return
    view.show_story(story)
    view.show_plan(plan, figures)
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
    from dynamo_ops.detox.report.explain import explain_record

    if inventory:
        if policy is None:
            raise typer.BadParameter("--inventory needs --policy FILE: a folder has no policy of its own")
        at = trial.dump_now(inventory)
        tried = trial.policy_of_file(policy, at)
        name = trial.partition_of(tried, partition)
        asked = _decide(_inputs(inventory, name, at, None, None, quiet=as_json), tried, name, quiet=as_json)
    elif plan:
        asked = _named(plan)
    else:
        from dynamo_ops.detox.report import stored

        asked = stored.newest_with(database(), dataset, site, partition)
    explanation = explain_record(asked, dataset=dataset, site=site)
    if as_json:
        print_json(describe.explanation_document(asked, explanation))
    else:
        explain_view.show(asked, explanation)


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
    before, after = (_named(which) for which in (old, new))
    _tell_difference(before, after, decisions, None, table=table, with_policy=True, as_json=as_json)


@app.command()
def commit(
    plan_id: PlanId,
    by: By = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Commit a stored plan: gate, ask (your yes approves what needs a person's approval), subscribe the deletions."""
    from dynamo_ops.base.settings import settings
    from dynamo_ops.detox import tasks as steps
    from dynamo_ops.detox.report import stored
    from dynamo_ops.plan.story import load_story

    db = database()
    if not yes and load_story(db, plan_id, PlanKind.DETOX).stored.state == PlanState.PLANNED:
        somebody_there()  # before the gate looks at it: its verdict is for good
    story = stored.ready_to_commit(db, settings(), plan_id)
    if story.stored.state == PlanState.COMMITTED:
        if as_json:
            print_json(view.commit_document(plan_id, story.stored.summary["commit"], is_new=False))
            return
        say(f"plan {plan_id} was committed before; nothing was done now")
        view.show_commit(story.stored.summary["commit"])
        return
    plan = stored.read_record(db, story)
    is_asked = story.stored.state == PlanState.PLANNED
    person = who(by)
    if not as_json:
        say(view.sentence(plan, describe.overview(plan)))
        if is_asked:
            say(f"It deletes so much that a person must approve it: that will be you, {person.name}.")
        if story.stored.stored_by == person.name:
            say("You stored it yourself: nobody else has looked at it, and the audit will say so.")
    ask(f"Commit plan {plan_id}?", yes=yes, otherwise=f"nothing was committed; the plan stays {story.stored.state}")
    summary = steps.commit_plan(db, settings(), plan_id, by=person, approved_by=person if is_asked else None)
    if as_json:
        print_json(view.commit_document(plan_id, summary, is_new=True))
        return
    say(f"plan {plan_id} of {plan.partition} is committed")
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
    from dynamo_ops.plan.story import load_story

    db = database()
    story = load_story(db, plan_id, PlanKind.DETOX)
    verdict.refuse(db, plan_id, reason, by=who(by))
    if as_json:
        print_json({"id": plan_id, "state": str(PlanState.REFUSED), "reason": reason})
        return
    say(f"plan {plan_id} of {story.stored.partition} is refused: {reason}")


def _installed_policy(partition: str | None, at: datetime) -> CheckedPolicy:
    from dynamo_ops.base.settings import settings  # a folder and a policy of one's own need none

    return trial.installed_policy(settings(), partition, at)


def _inputs(
    inventory: Path | None,
    partition: str,
    now: datetime,
    partitions: Path | None,
    enforcer: Path | None,
    *,
    quiet: bool,
) -> trial.TrialInputs:
    with step("reading the inventory", quiet=quiet):
        if inventory:
            return trial.dump_inputs(inventory, now=now, partitions=partitions, enforcer=enforcer)
        from dynamo_ops.base.settings import settings
        from dynamo_ops.inventory.replica.read import read_inventory

        frames = read_inventory(database())
        return trial.installation_inputs(frames, settings(), partition, now, partitions=partitions, enforcer=enforcer)


def _decide(
    inputs: trial.TrialInputs,
    policy: CheckedPolicy,
    partition: str,
    deletion_per_iteration: float | None = None,
    *,
    quiet: bool,
) -> PlanRecord:
    with step(f"deciding by {policy.source.file}", quiet=quiet):
        plan = trial.decide(inputs, policy, partition, deletion_per_iteration=deletion_per_iteration)
        return record.new_record(
            plan, inputs.frames, inputs.rules, name=policy.source.file, policy_text=policy.source.text
        )


def _store(
    policy: CheckedPolicy,
    partition: str,
    now: datetime,
    decisions: Path | None,
    out: Path | None,
    by: Person,
    *,
    as_json: bool,
) -> None:
    from dynamo_ops.base.settings import settings
    from dynamo_ops.detox import tasks as steps
    from dynamo_ops.detox.report import stored
    from dynamo_ops.plan.story import load_story

    db = database()
    run_key = f"cli-{getpass.getuser()}-{datetime.now(UTC).isoformat(timespec='milliseconds')}"
    with step("reading the inventory, deciding, storing", quiet=as_json):
        plan_id = steps.plan_cycle(db, settings(), partition, run_key=run_key, now=now, policy=policy.source, by=by)
    plan = stored.read_record(db, load_story(db, plan_id, PlanKind.DETOX))
    _tell_plan(plan, decisions, out, {"plan_id": plan_id}, as_json=as_json)
    if not as_json:
        say(f"stored as plan {plan_id}; nothing is deleted yet")
        say(f"  to read it:   dynamo detox show {plan_id}")
        say(f"  to commit it: dynamo detox commit {plan_id}")


def _tell_plan(
    plan: PlanRecord, decisions: Path | None, out: Path | None, extra: dict[str, Any], *, as_json: bool
) -> None:
    figures = describe.overview(plan)
    with step("writing", quiet=as_json or not (decisions or out)):
        number = decisions_file.write_rows(decisions_file.decision_rows(plan.decisions), decisions) if decisions else 0
        if out:
            record.write_folder(out, plan)
    if as_json:
        print_json({**extra, **describe.plan_document(plan, figures)})
        return
    view.show_plan(plan, figures)
    if decisions:
        say(f"decisions: {decisions} ({number:,} rows)")
    if out:
        say(f"frames: {out}")


def _tell_difference(
    old: PlanRecord,
    new: PlanRecord,
    decisions: Path | None,
    out: Path | None,
    *,
    table: str | None = None,
    with_policy: bool = False,
    as_json: bool,
) -> None:
    with step("comparing", quiet=as_json):
        plan_difference = difference.compare(old, new)
        number = decisions_file.write_rows(plan_difference.rows.lazy(), decisions) if decisions else 0
        if out:
            record.write_folder(out / "old", old)
            record.write_folder(out / "new", new)
    if as_json:
        print_json(difference.difference_document(old, new, plan_difference))
        return
    if with_policy:
        view.show_policy_difference(old, new)
    view.show_difference(old, new, plan_difference, table=table)
    if decisions:
        say(f"decisions that differ: {decisions} ({number:,} rows)")
    if out:
        say(f"frames: {out}/old and {out}/new")


def _named(which: str) -> PlanRecord:
    """A stored plan by its number, or the plan in a folder."""
    if not which.isdigit():
        return record.read_folder(Path(which))
    from dynamo_ops.detox.report import stored
    from dynamo_ops.plan.story import load_story

    db = database()
    return stored.read_record(db, load_story(db, int(which), PlanKind.DETOX))
