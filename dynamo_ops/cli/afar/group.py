"""Groups over REST, and how much there is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from urllib.parse import quote

from dynamo_ops.cli.afar.server import Afar, get, whole
from dynamo_ops.cli.terminal.lists import Listed
from dynamo_ops.cli.terminal.tables import Record, Records


def names() -> list[str]:
    """Of all, for a shell that completes them."""
    return [row["name"] for row in whole("/names/groups")]


def card(name: str) -> Record:
    """All about one."""
    return get(f"/groups/{quote(name, safe='')}")


def owned(name: str, *, sites: Sequence[str], datasets: Sequence[str]) -> Listed:
    """What it owns, by dataset and site."""
    return Afar(f"/groups/{quote(name, safe='')}/datasets", {"site": sites, "dataset": datasets})


def usage(by: Sequence[str], *, since: date | None, sites: Sequence[str], groups: Sequence[str]) -> Records:
    """How much there is by what is asked for, now; or day by day from ``since`` on."""
    return whole("/usage", by=by, since=since, site=sites, group=groups)
