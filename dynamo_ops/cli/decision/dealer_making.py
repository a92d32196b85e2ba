"""Plans of the Dealer in the making, and its rules now: of the installation, or of a folder of this machine. What is
decided now goes no other way."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from dynamo_ops.base.settings import settings
from dynamo_ops.cli.decision import dealer_view as view
from dynamo_ops.cli.terminal.inventory import database
from dynamo_ops.cli.terminal.options import who
from dynamo_ops.cli.terminal.page import say
from dynamo_ops.cli.terminal.progress import step
from dynamo_ops.cli.terminal.tables import Record, print_json
from dynamo_ops.dealer import record
from dynamo_ops.dealer import tasks as steps
from dynamo_ops.dealer.plugins.enforcer_state import MISSING
from dynamo_ops.dealer.report import describe, trial
from dynamo_ops.plan.states import PlanKind
from dynamo_ops.plan.story import load_story


def plan(
    partition: str | None,
    *,
    inventory: Path | None,
    config: Path | None,
    detox_decisions: Path | None,
    partitions: Path | None,
    enforcer: Path | None,
    moment: datetime | None,
    seed: int | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Decide and tell."""
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
        made = trial.decide(
            inputs, dealer_config, seed=seed, name=str(config or f"configuration of {dealer_config.partition}")
        )
    written = {}
    if out:
        with step("writing", quiet=as_json):
            written = trial.write(out, inputs, dealer_config, made)
    document = describe.plan_document(made)
    if as_json:
        print_json({**document, "written": written})
        return
    view.show_plan(document)
    for name, number in written.items():
        say(f"{out / name if out else name}.csv: {number:,} rows")


def store(partition: str | None, now: datetime | None, seed: int | None, by: str | None, *, as_json: bool) -> None:
    """Decide as a cycle would, and store the plan."""
    db, person = database(), who(by)
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
            by=person,
        )
    document = describe.plan_document(record.read_record(db, load_story(db, plan_id, PlanKind.DEALER)))
    if as_json:
        print_json({"plan_id": plan_id, **document})
        return
    view.show_plan(document)
    say(f"stored as plan {plan_id}; nothing is copied yet")
    say(f"  to read it:   dynamo dealer show {plan_id}")
    say(f"  to commit it: dynamo dealer commit {plan_id}")


def rules(partition: str | None, *, missing: bool, quiet: bool) -> Record:
    """How far the enforcer's rules are met now; ``missing``: also the datasets that lack copies."""
    dealer_config = trial.installed_config(settings(), partition)
    with step("reading the inventory", quiet=quiet):
        inputs = trial.installation_inputs(database(), settings(), dealer_config, datetime.now(UTC))
    report = trial.report_rules(inputs, dealer_config)
    lacking = report.datasets.filter(pl.col("state") == MISSING).to_dicts() if missing else None
    return {"rules": report.rules.to_dicts(), **({} if lacking is None else {"missing": lacking})}
