"""Sites over REST."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from urllib.parse import quote

from dynamo_ops.cli.afar.server import Afar, delete, get, post, put, whole
from dynamo_ops.cli.terminal.lists import Listed
from dynamo_ops.cli.terminal.tables import Record, Records


def names() -> list[str]:
    """Of all, for a shell that completes them."""
    return [row["name"] for row in whole("/names/sites")]


def listed() -> Records:
    """All, with their status and why, and what waits."""
    return whole("/sites")


def card(name: str) -> Record:
    """All about one."""
    return get(_at(name))


def only_here(name: str, datasets: Sequence[str]) -> Listed:
    """Blocks with files of which no other site has a good copy."""
    return Afar(_at(name, "only-here"), {"dataset": datasets})


def only_here_in_figures(name: str) -> Record:
    """How much that is in all."""
    left = get(_at(name, "evacuation"))
    return {figure: number for figure, number in left.items() if figure != "site"}


def set_status(name: str, status: str, *, until: datetime | None, reason: str, by: str | None) -> Record:
    """It has this status from now on, whatever its source says."""
    return put(_at(name, "status"), {"status": status, "reason": reason, "until": _text(until)}, by=by)


def unset_status(name: str, *, by: str | None) -> Record:
    """It is what its source says again: ``site``, ``status``."""
    return delete(_at(name, "status"), by=by)


def evacuate(name: str, *, reason: str, by: str | None) -> Record:
    """Give it up: as ``set_status``, and the ``quotas`` that were taken."""
    return post(_at(name, "evacuation"), {"reason": reason}, by=by)


def overrides(name: str | None, *, over: bool) -> Records:
    """Statuses that people gave, newest first. ``name``: or a glob."""
    return whole("/overrides", site=name, over=over)


def drain(name: str, *, begin: datetime | None, until: datetime | None, reason: str, by: str | None) -> Record:
    """Put it into a downtime."""
    body = {"reason": reason, "begin": _text(begin), "until": _text(until)}
    return post(_at(name, "downtimes"), body, by=by)


def resume(name: str, *, planned: bool, by: str | None) -> Record:
    """Its downtimes end: ``site``, ``ended``."""
    return delete(_at(name, "downtimes"), by=by, planned=planned)


def downtimes(name: str | None, *, over: bool) -> Records:
    """Those that last or are to come. ``name``: or a glob."""
    return whole("/downtimes", site=name, over=over)


def shared() -> Records:
    """Pairs that are one storage."""
    return whole("/shared-storages")


def mappings() -> Records:
    """Mappings that cannot be shown to be one-to-one."""
    return whole("/doubtful-mappings")


def _at(name: str, *what: str) -> str:
    return "/".join(["/sites", quote(name, safe=""), *what])


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
