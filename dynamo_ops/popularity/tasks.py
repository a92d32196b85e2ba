"""The steps of a day's popularity: pull days into staging, replace them by what a gate let in, then the attributes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date

from dynamo_ops.base.settings import Settings
from dynamo_ops.base.text import counts_text
from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.freshness import refuse_day_to_come
from dynamo_ops.inventory.kinds import PullKind
from dynamo_ops.inventory.staging import pull as staging
from dynamo_ops.pause.pauses import PauseKind, look
from dynamo_ops.popularity import aggregate
from dynamo_ops.popularity.attributes import produce_all
from dynamo_ops.popularity.days import DayOfSource, all_missing, make_source

log = logging.getLogger(__name__)


def staging_key(run_key: str, day: str) -> str:
    """Under which key a run stages one of the days that it pulls."""
    return f"{run_key}@{day}"


def pull(db: Database, settings: Settings, run_key: str, what: DayOfSource) -> int:
    """Stage one day of one source; returns the number of records. InventoryError for a day to come.

    The fingerprint is asked for before the data: what comes in between makes the day be pulled once more, not missed.
    """
    look(db, PauseKind.POPULARITY)
    asked_at = db.clock()
    day, key = date.fromisoformat(what.day), staging_key(run_key, what.day)
    refuse_day_to_come(db, day)
    source = make_source(settings, what.source, what.kind)
    fingerprint = source.fingerprint(day)
    if what.kind == PullKind.DEMAND:
        records = source.demand(day)  # type: ignore[union-attr]
        staging.stage_demand(db, key, what.source, records, fingerprint, asked_at)
    else:
        records = source.accesses(day)  # type: ignore[union-attr]
        staging.stage_accesses(db, key, what.source, records, fingerprint, asked_at)
    log.info("%s of %s on %s: %s records staged", what.kind, what.source, what.day, f"{records.height:,}")
    return int(records.height)


def replace_day(db: Database, run_key: str, what: DayOfSource) -> dict[str, object]:
    """Replace one day of one source by what the run staged of it; returns the summary. InventoryError for a day to
    come."""
    look(db, PauseKind.POPULARITY)
    day = date.fromisoformat(what.day)
    refuse_day_to_come(db, day)
    counts = asdict(aggregate.replace_day(db, staging_key(run_key, what.day), day, what.source, what.kind))
    log.info("%s of %s on %s: %s", what.kind, what.source, what.day, counts_text(counts))
    return counts


def tell_missing(
    db: Database, settings: Settings, day: date, pulled: Sequence[DayOfSource], given_up_before: date | None = None
) -> dict[str, list[str]]:
    """What came of the days of ``pulled`` that were missing, and which of those before ``day`` still are.

    ``healed``: in now. ``missing``: not, with their age in days at the end of ``day``; nobody may use what is computed
    from accesses until they are (docs/gates.md).
    """
    missing = all_missing(db, settings, day, given_up_before)
    healed = [what.label for what in pulled if what.is_missing and what not in missing]
    ages = [f"{what.label}, for {(day - date.fromisoformat(what.day)).days} d" for what in missing]
    if healed:
        log.info("missing days that are in now: %s", "; ".join(healed))
    if ages:
        log.warning("days still missing, which later runs pull again: %s", "; ".join(ages))
    return {"healed": healed, "missing": ages}


def rank(db: Database, settings: Settings) -> dict[str, int]:
    """Count what is known by now, forget what was unknown for too long, then produce all attributes.

    Returns how many datasets have a value, by attribute.
    """
    look(db, PauseKind.POPULARITY)
    aggregate.resolve_unknown(db)
    aggregate.prune_unknown(db, settings.popularity.keep_unknown_days)
    counts = produce_all(db)
    log.info("datasets with a value: %s", counts_text(counts))
    return counts
