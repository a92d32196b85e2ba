"""What gates found, and the digest, by the database."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime

from dynamo_ops.alerts.digest import MORNING, Digest, read_digest
from dynamo_ops.alerts.digest_text import digest_text
from dynamo_ops.base.settings import settings
from dynamo_ops.cli.terminal.inventory import database
from dynamo_ops.cli.terminal.tables import Record, Records
from dynamo_ops.quality import results


def found(*, gate: str | None, run: str | None, subject: str | None, failed: bool, limit: int) -> Records:
    """What single checks found, the newest so many. ``run``, ``subject``: a part of the name."""
    frame = results.results(database(), gate=gate, run_key=run, subject=subject, failed=failed, limit=limit)
    return [{**check, "examples": json.loads(check["examples"])} for check in frame.to_dicts()]


def trend(gate: str, subject: str, metric: str, days: int) -> Records:
    """One figure of a source over time, oldest first."""
    return results.trend(database(), gate, subject, metric, days).to_dicts()


def digest(day: date | None) -> Record:
    """What the message of a morning says, or of now."""
    return _read(day).document()


def told(day: date | None) -> str:
    """The same in lines."""
    return digest_text(_read(day))


def _read(day: date | None) -> Digest:
    until = datetime.combine(day, MORNING) if day else datetime.now(UTC)
    return read_digest(database(), settings(), until)
