"""Pauses, and downtimes of sites, over REST."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from urllib.parse import quote

from dynamo_ops.cli.afar.server import delete, nobody_else, post, whole
from dynamo_ops.cli.terminal.tables import Record, Records
from dynamo_ops.pause.pause import PauseKind


def stop(
    kind: PauseKind | None, *, partition: str | None, reason: str, until: datetime | None, by: str | None
) -> Record:
    """Let acts stand still: the pause, and ``at_fts``."""
    end = until.isoformat() if until else None
    return post("/pauses", {"kind": kind, "partition": partition, "reason": reason, "until": end}, by=by)


def stop_sites(pattern: str, *, reason: str, until: datetime | None, by: str | None) -> Records:
    """Put the sites that a name or glob means into a downtime each."""
    nobody_else(by)
    names = [site["site"] for site in whole("/sites", site=pattern)]
    body = {"reason": reason, "until": until.isoformat() if until else None}
    return [post(f"/sites/{quote(name, safe='')}/downtimes", body, by=by) for name in names]


def resume(numbers: Sequence[int], *, by: str | None) -> Records:
    """End these, or all."""
    ended: Records = delete("/pauses", by=by, pause=list(numbers))["ended"]
    return ended


def listed(limit: int) -> Records:
    """The newest so many."""
    return whole("/pauses", limit=limit)
