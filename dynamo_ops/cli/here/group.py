"""Groups of the database, and how much there is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import date

from dynamo_ops.base.settings import settings
from dynamo_ops.cli.here.listed import Here
from dynamo_ops.cli.terminal.inventory import database
from dynamo_ops.cli.terminal.lists import Listed
from dynamo_ops.cli.terminal.tables import Record, Records
from dynamo_ops.database.connect import running
from dynamo_ops.query.group import OWNED, OwnedFilter, group_card
from dynamo_ops.query.names import group_names
from dynamo_ops.query.usage import usage_by_day, usage_now


def names() -> list[str]:
    """Of all, for a shell that completes them."""
    return group_names(running(settings()))


def card(name: str) -> Record:
    """All about one."""
    return asdict(group_card(database(), name))


def owned(name: str, *, sites: Sequence[str], datasets: Sequence[str]) -> Listed:
    """What it owns, by dataset and site."""
    return Here(database(), OWNED, OwnedFilter(name, sites, datasets))


def usage(by: Sequence[str], *, since: date | None, sites: Sequence[str], groups: Sequence[str]) -> Records:
    """How much there is by what is asked for, now; or day by day from ``since`` on."""
    if since is None:
        return usage_now(database(), by, sites=sites, groups=groups).to_dicts()
    return usage_by_day(database(), since, by, sites=sites, groups=groups).to_dicts()
