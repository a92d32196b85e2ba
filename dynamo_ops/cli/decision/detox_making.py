"""Plans of Detox in the making: of the installation, or of a folder of this machine. What is decided now goes no other
way."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dynamo_ops.access.person import Person
from dynamo_ops.cli.decision import detox_view as view
from dynamo_ops.cli.decision.detox import tell_difference
from dynamo_ops.cli.terminal.inventory import database
from dynamo_ops.cli.terminal.options import who
from dynamo_ops.cli.terminal.page import say
from dynamo_ops.cli.terminal.progress import step
from dynamo_ops.cli.terminal.tables import Record, print_json
from dynamo_ops.detox import record, trial
from dynamo_ops.detox.record import PlanRecord
from dynamo_ops.detox.report import decisions_file, describe
from dynamo_ops.detox.report.difference import compare, difference_document
from dynamo_ops.detox.report.explain import explain_record
from dynamo_ops.plan.states import PlanKind
from dynamo_ops.policy.language.check import CheckedPolicy


def plan(
    partition: str | None,
    *,
    inventory: Path | None,
    policy: Path | None,
    against: Path | None,
    deletion_per_iteration: float | None,
    partitions: Path | None,
    enforcer: Path | None,
    moment: datetime | None,
    decisions: Path | None,
    out: Path | None,
    store: bool,
    by: str | None,
    as_json: bool,
) -> None:
    """Decide and tell; store it, if that is wanted."""
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
        with step("comparing", quiet=as_json):
            found = _difference(records[0], records[1], decisions)
            if out:
                record.write_folder(out / "old", records[0])
                record.write_folder(out / "new", records[1])
        tell_difference(found, decisions, as_json=as_json)
        if out and not as_json:
            say(f"frames: {out}/old and {out}/new")


def explained_now(
    inventory: Path, policy: Path, partition: str | None, dataset: str, site: str, *, quiet: bool
) -> Record:
    """Why a plan that is made now on a folder decides so of a replica."""
    at = trial.dump_now(inventory)
    tried = trial.policy_of_file(policy, at)
    name = trial.partition_of(tried, partition)
    made = _decide(_inputs(inventory, name, at, None, None, quiet=quiet), tried, name, quiet=quiet)
    return _explained(made, dataset, site)


def explained(folder: Path, dataset: str, site: str) -> Record:
    """Why the plan in a folder decides so of a replica."""
    return _explained(record.read_folder(folder), dataset, site)


def difference(old: str, new: str, decisions: Path | None) -> Record:
    """How two plans differ, of which one at least is in a folder; the decisions that differ into a file."""
    before, after = (_named(which) for which in (old, new))
    return _difference(before, after, decisions)


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
    document = describe.plan_document(plan, describe.overview(plan))
    with step("writing", quiet=as_json or not (decisions or out)):
        number = decisions_file.write_rows(decisions_file.decision_rows(plan.decisions), decisions) if decisions else 0
        if out:
            record.write_folder(out, plan)
    if as_json:
        print_json({**extra, **document})
        return
    view.show_plan(document)
    if decisions:
        say(f"decisions: {decisions} ({number:,} rows)")
    if out:
        say(f"frames: {out}")


def _difference(old: PlanRecord, new: PlanRecord, decisions: Path | None) -> Record:
    difference = compare(old, new)
    if decisions:
        decisions_file.write_rows(difference.rows.lazy(), decisions)
    return difference_document(old, new, difference)


def _explained(made: PlanRecord, dataset: str, site: str) -> Record:
    return describe.explanation_document(made, explain_record(made, dataset=dataset, site=site))


def _named(which: str) -> PlanRecord:
    """A stored plan by its number, or the plan in a folder."""
    if not which.isdigit():
        return record.read_folder(Path(which))
    from dynamo_ops.detox.report import stored
    from dynamo_ops.plan.story import load_story

    db = database()
    return stored.read_record(db, load_story(db, int(which), PlanKind.DETOX))
