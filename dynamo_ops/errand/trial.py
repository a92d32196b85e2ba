"""The errand of trying what is not installed: what a cycle would decide now by another policy of Detox, or by another
configuration of the Dealer. It is no plan, so that nobody can commit it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import fsspec
import polars as pl

from dynamo_ops.access.actions import AccessError, Action, Target, may
from dynamo_ops.access.audit import acting
from dynamo_ops.access.person import Person
from dynamo_ops.base.errors import InventoryError, PlanError, SettingsError
from dynamo_ops.base.settings import Settings
from dynamo_ops.database.connection import Database
from dynamo_ops.dealer.engine.config import DealerConfig, load_config
from dynamo_ops.dealer.engine.placement import make_rules
from dynamo_ops.dealer.engine.plugin import make_plugins
from dynamo_ops.dealer.report import describe as dealt
from dynamo_ops.dealer.report import trial as dealer_trial
from dynamo_ops.dealer.report.describe import select_proposals
from dynamo_ops.detox import trial as detox_trial
from dynamo_ops.detox.record import new_record
from dynamo_ops.detox.report import describe, stored
from dynamo_ops.detox.report.decisions_file import decision_rows
from dynamo_ops.detox.report.difference import short_document
from dynamo_ops.errand import store
from dynamo_ops.errand.states import ErrandKind
from dynamo_ops.errand.store import Errand
from dynamo_ops.inventory.replica.read import read_inventory
from dynamo_ops.plan.states import PlanKind
from dynamo_ops.plan.store import StoredPlan
from dynamo_ops.plan.story import load_story
from dynamo_ops.policy.files import read_partitions
from dynamo_ops.policy.language.check import CheckedPolicy, load_policy

DEALER = "dealer"
"""What messages call the text of a configuration."""
ROWS = 100
"""Of each table of a difference."""


@dataclass(frozen=True)
class Tried:
    """What is tried: one of ``policy`` (a text for Detox, with a stored plan ``against`` which it is compared) and
    ``dealer`` (a configuration of the Dealer)."""

    policy: str | None = None
    dealer: str | None = None
    against: int | None = None

    @property
    def noun(self) -> str:
        """What messages call it."""
        return "a dealer configuration" if self.policy is None else "a policy"


def ask_trial(database: Database, settings: Settings, *, partition: str, tried: Tried, by: Person) -> int:
    """Ask what would be decided by it for a partition. Returns the errand's id. Raises AccessError; PolicyError (with
    line and column), SettingsError (with the key) and PlanError, all at once."""
    with acting(database, by, Action.TRY_POLICY, f"asked to try {tried.noun} for {partition}") as act:
        act.check(Target(partitions=(partition,)))
        now = datetime.now(UTC)
        read_partitions(settings, now).leaves(partition)
        if (tried.policy is None) == (tried.dealer is None):
            raise InventoryError("policy, dealer: expected one of them", parameter="policy, dealer")
        if tried.policy is not None:
            _checked(tried.policy, partition, now)
        else:
            _configured(tried, partition)
        if tried.against is not None:
            _check_same(load_story(database, tried.against, PlanKind.DETOX).stored, partition)
        arguments = {"partition": partition, **asdict(tried)}
        return store.add(act.connection, ErrandKind.TRIAL, f"{tried.noun} for {partition}", arguments, by=by)


def decide(database: Database, settings: Settings, errand: Errand, by: Person) -> dict[str, Any] | None:
    """What it decides on the inventory of now, with its figures; the decisions go into files. None: they may not, as
    ``answer`` says."""
    arguments = dict(errand.arguments)
    partition, tried = arguments.pop("partition"), Tried(**arguments)
    try:
        may(by, Action.TRY_POLICY, Target(partitions=(partition,)))
    except AccessError:
        return None
    decide_it = _dealt if tried.policy is None else _detoxed
    return decide_it(database, settings, errand.id, partition, tried)


def _detoxed(database: Database, settings: Settings, errand_id: int, partition: str, tried: Tried) -> dict[str, Any]:
    now = datetime.now(UTC)
    assert tried.policy is not None
    policy = _checked(tried.policy, partition, now)
    inputs = detox_trial.installation_inputs(read_inventory(database), settings, partition, now)
    plan = detox_trial.decide(inputs, policy, partition)
    made = new_record(plan, inputs.frames, inputs.rules, name=_name(errand_id), policy_text=policy.source.text)
    _keep(settings, errand_id, "decisions", decision_rows(made.decisions).collect())
    document = describe.plan_document(made, describe.overview(made))
    if tried.against is None:
        return document
    other = stored.read_record(database, load_story(database, tried.against, PlanKind.DETOX))
    return {**document, "difference": short_document(other, made, ROWS)}


def _dealt(database: Database, settings: Settings, errand_id: int, partition: str, tried: Tried) -> dict[str, Any]:
    config = _configured(tried, partition)
    inputs = dealer_trial.installation_inputs(database, settings, config, datetime.now(UTC))
    with _of_the_sender():
        made = dealer_trial.decide(inputs, config, seed=errand_id, name=_name(errand_id))
    _keep(settings, errand_id, "copies", select_proposals(made))
    _keep(settings, errand_id, "rejected", select_proposals(made, rejected=True))
    document = {"plan": made.name, **dealt.plan_document(made)}
    if "enforcer" in config.plugins:
        document["rules"] = dealer_trial.report_rules(inputs, config).rules.to_dicts()
    return document


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
    policy = load_policy(text, now=now, file="policy")
    detox_trial.partition_of(policy, partition)
    return policy


def _configured(tried: Tried, partition: str) -> DealerConfig:
    """InventoryError also where it would have the run read a file that whoever sent it may not read."""
    assert tried.dealer is not None
    if tried.against is not None:
        raise PlanError("against: only a policy of Detox is compared with a plan", plan_id=tried.against)
    with _of_the_sender():
        config = load_config(tried.dealer, file=DEALER)
        config.check_partition(partition)
        make_rules(config)
        plugins = make_plugins(config)
    for name, plugin in plugins.items():
        for setting in sorted(getattr(plugin, "FILES", frozenset()) & config.plugins[name].settings.keys()):
            raise InventoryError(
                f"{DEALER}: plugins.{name}.{setting}: what is sent names no file; without it the installed one counts",
                parameter=DEALER,
            )
    return config


@contextmanager
def _of_the_sender() -> Iterator[None]:
    """What is wrong with the configuration is so with what was sent, not with the installation."""
    try:
        yield
    except SettingsError as error:
        if any(fault.file not in ("", DEALER) for fault in error.all_faults()):
            raise
        raise InventoryError(str(error), parameter=DEALER) from error


def _check_same(other: StoredPlan, partition: str) -> None:
    if other.partition != partition:
        raise PlanError(
            f"plan {other.id} is one of {other.partition}, not of {partition}", plan_id=other.id, state=other.state
        )


def _name(errand_id: int) -> str:
    return f"trial {errand_id}"


def _keep(settings: Settings, errand_id: int, name: str, rows: pl.DataFrame) -> None:
    with fsspec.open(f"{_folder(settings, errand_id)}/{name}.parquet", "wb", auto_mkdir=True) as handle:
        rows.write_parquet(handle)


def _folder(settings: Settings, errand_id: int) -> str:
    return f"{settings.files_at('plans')}/trials/{errand_id}"
