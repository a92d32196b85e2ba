"""Sites of the database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

from dynamo_ops.base.settings import settings
from dynamo_ops.cli.here.listed import Here
from dynamo_ops.cli.terminal.inventory import database
from dynamo_ops.cli.terminal.lists import Listed
from dynamo_ops.cli.terminal.options import who
from dynamo_ops.cli.terminal.tables import Record, Records
from dynamo_ops.database.connect import running
from dynamo_ops.inventory.site import ambiguous, downtime, endpoint, evacuation, override
from dynamo_ops.inventory.site import shared as shared_storage
from dynamo_ops.query.names import site_names
from dynamo_ops.query.only_here import ONLY_HERE, OnlyHereFilter, only_here_in_all
from dynamo_ops.query.site_card import site_card


def names() -> list[str]:
    """Of all, for a shell that completes them."""
    return site_names(running(settings()))


def listed() -> Records:
    """All, with their status and why, and what waits."""
    return downtime.site_states(database()).to_dicts()


def card(name: str) -> Record:
    """All about one."""
    return asdict(site_card(database(), name))


def only_here(name: str, datasets: Sequence[str]) -> Listed:
    """Blocks with files of which no other site has a good copy."""
    return Here(database(), ONLY_HERE, OnlyHereFilter(name, datasets))


def only_here_in_figures(name: str) -> Record:
    """How much that is in all."""
    return asdict(only_here_in_all(database(), name))


def set_status(name: str, status: str, *, until: datetime | None, reason: str, by: str | None) -> Record:
    """It has this status from now on, whatever its source says."""
    return asdict(override.set_status(database(), name, status, by=who(by), reason=reason, ends_at=until))


def unset_status(name: str, *, by: str | None) -> Record:
    """It is what its source says again: ``site``, ``status``."""
    status = override.unset_status(database(), name, by=who(by), stable_h=settings().site_status.stable_h)
    return {"site": name, "status": status}


def evacuate(name: str, *, reason: str, by: str | None) -> Record:
    """Give it up: as ``set_status``, and the ``quotas`` that were taken."""
    return evacuation.evacuate(database(), name, by=who(by), reason=reason).document


def overrides(name: str | None, *, over: bool) -> Records:
    """Statuses that people gave, newest first. ``name``: or a glob."""
    return override.overrides(database(), name, over=over).to_dicts()


def drain(name: str, *, begin: datetime | None, until: datetime | None, reason: str, by: str | None) -> Record:
    """Put it into a downtime."""
    return asdict(downtime.drain(database(), name, by=who(by), reason=reason, begins_at=begin, ends_at=until))


def resume(name: str, *, planned: bool, by: str | None) -> Record:
    """Its downtimes end: ``site``, ``ended``."""
    return {"site": name, "ended": downtime.resume(database(), name, by=who(by), planned=planned)}


def downtimes(name: str | None, *, over: bool) -> Records:
    """Those that last or are to come. ``name``: or a glob."""
    return downtime.downtimes(database(), name, over=over).to_dicts()


def shared() -> Records:
    """Pairs that are one storage."""
    return shared_storage.shared_storages(database()).to_dicts()


def mappings() -> Records:
    """Mappings that cannot be shown to be one-to-one."""
    return ambiguous.ambiguous_mappings(database()).to_dicts()


def proposed(name: str) -> Records:
    """Its endpoints, where its source reports others."""
    return endpoint.proposed(database(), name).to_dicts()


def accept(name: str) -> Record:
    """They are as its source reports: ``site``, ``num_endpoints``."""
    return {"site": name, "num_endpoints": endpoint.accept(database(), name)}


def share(name: str, other: str, *, reason: str, by: str | None) -> None:
    """Two share a storage on purpose."""
    shared_storage.declare(database(), name, other, by=who(by), reason=reason)


def in_common(name: str, other: str) -> Record:
    """What both have, and whether they are known to share a storage."""
    return asdict(shared_storage.common(database(), name, other))


def unshare(name: str, other: str, *, by: str | None) -> bool:
    """They do not share it on purpose any more; whether that was declared."""
    return shared_storage.withdraw(database(), name, other, by=who(by))
