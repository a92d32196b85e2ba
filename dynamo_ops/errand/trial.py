"""The errand of trying a policy that is not installed: what a cycle of Detox would decide by it now. It is no plan, so
that nobody can commit it."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import fsspec

from dynamo_ops.access.actions import AccessError, Action, Target, may
from dynamo_ops.access.audit import acting
from dynamo_ops.access.person import Person
from dynamo_ops.base.errors import PlanError
from dynamo_ops.base.settings import Settings
from dynamo_ops.database.connection import Database
from dynamo_ops.detox import trial
from dynamo_ops.detox.record import new_record
from dynamo_ops.detox.report import describe, stored
from dynamo_ops.detox.report.decisions_file import decision_rows
from dynamo_ops.detox.report.difference import short_document
from dynamo_ops.errand import store
from dynamo_ops.errand.states import ErrandKind
from dynamo_ops.errand.store import Errand
from dynamo_ops.inventory.replica.read import read_inventory
from dynamo_ops.plan.states import PlanKind
from dynamo_ops.plan.story import load_story
from dynamo_ops.policy.files import read_partitions
from dynamo_ops.policy.language.check import CheckedPolicy, load_policy

NAME = "policy"
"""What messages call the text."""
ROWS = 100
"""Of each table of a difference."""


def ask_trial(
    database: Database, settings: Settings, *, partition: str, policy: str, against: int | None, by: Person
) -> int:
    """Ask what the text ``policy`` would decide for a partition; ``against``: also what otherwise than a stored plan.
    Returns the errand's id. Raises AccessError, PolicyError (with line and column) and PlanError, all at once."""
    with acting(database, by, Action.TRY_POLICY, f"asked to try a policy for {partition}") as act:
        act.check(Target(partitions=(partition,)))
        now = datetime.now(UTC)
        read_partitions(settings, now).leaves(partition)
        _checked(policy, partition, now)
        if against is not None:
            other = load_story(database, against, PlanKind.DETOX).stored
            if other.partition != partition:
                raise PlanError(
                    f"plan {against} is one of {other.partition}, not of {partition}",
                    plan_id=against,
                    state=other.state,
                )
        arguments = {"partition": partition, "policy": policy, "against": against}
        return store.add(act.connection, ErrandKind.TRIAL, f"a policy for {partition}", arguments, by=by)


def decide(database: Database, settings: Settings, errand: Errand, by: Person) -> dict[str, Any] | None:
    """What it decides on the inventory of now, with its figures; the decisions go into a file. None: they may not, as
    ``answer`` says."""
    partition, against = errand.arguments["partition"], errand.arguments["against"]
    try:
        may(by, Action.TRY_POLICY, Target(partitions=(partition,)))
    except AccessError:
        return None
    now = datetime.now(UTC)
    policy = _checked(errand.arguments["policy"], partition, now)
    inputs = trial.installation_inputs(read_inventory(database), settings, partition, now)
    plan = trial.decide(inputs, policy, partition)
    tried = new_record(plan, inputs.frames, inputs.rules, name=f"trial {errand.id}", policy_text=policy.source.text)
    with fsspec.open(f"{_folder(settings, errand.id)}/decisions.parquet", "wb", auto_mkdir=True) as handle:
        decision_rows(tried.decisions).collect().write_parquet(handle)
    document = describe.plan_document(tried, describe.overview(tried))
    if against is None:
        return document
    other = stored.read_record(database, load_story(database, against, PlanKind.DETOX))
    return {**document, "difference": short_document(other, tried, ROWS)}


def answer(
    database: Database, _settings: Settings, errand: Errand, by: Person, decided: dict[str, Any] | None
) -> dict[str, Any]:
    """What was decided, which is in the audit. Raises AccessError."""
    with acting(database, by, Action.TRY_POLICY, errand.what) as act:
        act.check(Target(partitions=(errand.arguments["partition"],)))
        assert decided is not None
        return decided


def forget_old(database: Database, settings: Settings, before: datetime | None = None) -> int:
    """Forget all errands that ended long ago (``store.over``), the files of trials first; how many."""
    errand_ids = store.over(database, before)
    for errand_id in errand_ids:
        with suppress(FileNotFoundError):  # it was none of a trial
            filesystem, path = fsspec.url_to_fs(_folder(settings, errand_id))
            filesystem.rm(path, recursive=True)
    return store.forget(database, errand_ids)


def _checked(text: str, partition: str, now: datetime) -> CheckedPolicy:
    policy = load_policy(text, now=now, file=NAME)
    trial.partition_of(policy, partition)
    return policy


def _folder(settings: Settings, errand_id: int) -> str:
    return f"{settings.files_at('plans')}/trials/{errand_id}"
