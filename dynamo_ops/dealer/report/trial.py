"""A Dealer plan made to be looked at: from a folder in the golden format or an installation. Nothing is changed."""

from __future__ import annotations

import secrets
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from dynamo_ops.base.errors import SettingsError
from dynamo_ops.base.settings import Settings
from dynamo_ops.base.text import near
from dynamo_ops.database.connection import Database
from dynamo_ops.dealer import tasks as steps
from dynamo_ops.dealer.detox_cycle import cycle_of_file
from dynamo_ops.dealer.engine.config import DealerConfig, load_config
from dynamo_ops.dealer.engine.plugin import ProposalInputs, make_plugins
from dynamo_ops.dealer.plugins.enforcer import EnforcerPlugin
from dynamo_ops.dealer.record import DealerRecord, new_record
from dynamo_ops.dealer.report.checks_file import write_checks
from dynamo_ops.dealer.report.describe import select_proposals
from dynamo_ops.dealer.report.enforcer_report import EnforcerReport, enforcer_report
from dynamo_ops.detox import trial as detox_trial
from dynamo_ops.plan.inputs import read_dealer_inputs
from dynamo_ops.policy.language.enforcement import load_rules
from dynamo_ops.policy.language.source import read_source
from dynamo_ops.policy.partition import load_partitions

DETOX_FILES = ("detox_decisions.csv.gz", "detox_decisions.csv")
"""Beside a configuration: what the last Detox cycle said."""
UNUSED = 0
"""The seed where only proposals' inputs are read: ``decide`` is given its own."""


def config_of_file(file: Path) -> DealerConfig:
    """The configuration in ``file``. Raises SettingsError when it cannot be read or has an error."""
    return load_config(read_source(file).text, file=str(file))


def installed_config(settings: Settings, partition: str | None) -> DealerConfig:
    """The configuration that the installation has for ``partition``. Raises SettingsError, with near names."""
    folder = settings.config_dir / "dealer"
    installed = sorted(file.stem for file in folder.glob("*.yaml"))
    if partition in installed:
        return config_of_file(folder / f"{partition}.yaml")
    choice = f"configurations are installed for {', '.join(installed) or 'none'}"
    if partition is None:
        reason = f"name a partition, or a configuration by --config; {choice}"
    else:
        reason = (
            f"there is no dealer configuration for {partition!r}.{near(partition, installed)} {choice.capitalize()}"
        )
    raise SettingsError(reason, file=str(folder), key="", reason=reason)


def dump_inputs(
    folder: Path,
    config_file: Path,
    *,
    now: datetime | None = None,
    partitions: Path | None = None,
    enforcer: Path | None = None,
    detox: Path | None = None,
) -> ProposalInputs:
    """What the plugins work on, from a folder in the golden format; files given replace what it says itself.

    ``detox``: what the last Detox cycle said (``detox_cycle.FILE_COLUMNS``); without it, the file ``DETOX_FILES``
    beside the configuration, if there is one. A folder has no copy requests. Raises InventoryError, PolicyError,
    SettingsError.
    """
    inputs = detox_trial.dump_inputs(folder, now=now, partitions=partitions, enforcer=enforcer)
    beside = [config_file.parent / name for name in DETOX_FILES]
    file = detox or next((path for path in beside if path.is_file()), None)
    return ProposalInputs(
        frames=inputs.frames,
        partitions=inputs.partitions,
        now=inputs.now,
        enforcer_rules=inputs.rules,
        detox=cycle_of_file(file, inputs.frames) if file else None,
    )


def installation_inputs(
    database: Database,
    settings: Settings,
    config: DealerConfig,
    now: datetime,
    *,
    partitions: Path | None = None,
    enforcer: Path | None = None,
    detox: Path | None = None,
) -> ProposalInputs:
    """What the plugins work on in this installation; files given replace what it says itself."""
    inputs = read_dealer_inputs(settings, config.partition, now, seed=UNUSED, config=config.source)
    plugin_inputs = steps.proposal_inputs(database, config, inputs)
    if partitions:
        text = read_source(partitions).text
        plugin_inputs = replace(plugin_inputs, partitions=load_partitions(text, now=now, file=str(partitions)))
    if enforcer:
        rules = load_rules(read_source(enforcer).text, now=now, file=str(enforcer))
        plugin_inputs = replace(plugin_inputs, enforcer_rules=rules)
    return replace(plugin_inputs, detox=cycle_of_file(detox, plugin_inputs.frames)) if detox else plugin_inputs


def decide(inputs: ProposalInputs, config: DealerConfig, *, seed: int | None, name: str) -> DealerRecord:
    """The plan of one cycle on these inputs. Without ``seed`` one is drawn; the record says which."""
    drawn = secrets.randbelow(2**32) if seed is None else seed
    plan = steps.decide(make_plugins(config), inputs, config, seed=drawn)
    return new_record(plan, inputs.frames, config, name=name)


def write(folder: Path, inputs: ProposalInputs, config: DealerConfig, made: DealerRecord) -> dict[str, int]:
    """Write the checks (``checks_file``), and the plan as ``copies`` and ``rejected``, as CSV. Returns their rows."""
    written = write_checks(folder, make_plugins(config), inputs, config, seed=made.seed)
    for name, is_rejected in (("copies", False), ("rejected", True)):
        proposals = select_proposals(made, rejected=is_rejected)
        proposals.write_csv(folder / f"{name}.csv")
        written[name] = proposals.height
    return written


def report_rules(inputs: ProposalInputs, config: DealerConfig) -> EnforcerReport:
    """How far the rules of the configuration's enforcer are met. SettingsError when it has none."""
    plugin = make_plugins(config).get("enforcer")
    if not isinstance(plugin, EnforcerPlugin):
        reason = f"the dealer configuration of {config.partition} does not name the plugin enforcer"
        raise SettingsError(reason, file="", key="plugins.enforcer", reason=reason)
    context = inputs.context(config, "enforcer", 0)
    return enforcer_report(inputs.seen, context, plugin.rules(context))
