"""The gate of what Detox and Dealer know when they plan."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from sqlalchemy import text

from dynamo_ops.base.errors import GateError
from dynamo_ops.base.settings import Settings, SourceSettings
from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.staging.pull import stage_accesses
from dynamo_ops.popularity.aggregate import replace_day
from dynamo_ops.popularity.attributes import produce_attributes
from dynamo_ops.popularity.ranks import UsageProducer
from dynamo_ops.quality.suites.freshness import check_freshness
from dynamo_ops.quality.thresholds import DataDocs, FreshnessThresholds, Gates
from dynamo_ops.sources.usage.source import ACCESSES
from tests.inventory.told import accept, dataset, merge, site, sync_sites

SETTINGS = Settings(
    metadata_sources=[SourceSettings(name="dbs", type="dbs"), SourceSettings(name="lab", type="files")],
    access_sources=[SourceSettings(name="monit", type="json"), SourceSettings(name="batch", type="htcondor")],
)


@pytest.fixture
def known(database: Database) -> Database:
    """All is fresh: metadata of an hour ago, days 1 to 5 of both sources, and what was made of them."""
    sync_sites(database, site("T2_A"))
    merge(database, [dataset()], [], [])
    for source in ("dbs", "lab"):
        merged(database, source, datetime.now(UTC) - timedelta(hours=1))
    for source in ("monit", "batch"):
        for day in range(1, 6):
            aggregate(database, source, day)
    produce_attributes(database, [UsageProducer()])
    return database


def merged(db: Database, source: str, until: datetime | None) -> None:
    with db.begin() as connection:
        connection.execute(
            text("""INSERT INTO source_states (source, merged_until, updated_at) VALUES (:source, :until, now())
                    ON CONFLICT (source) DO UPDATE SET merged_until = excluded.merged_until"""),
            {"source": source, "until": until},
        )


def aggregate(db: Database, source: str, day: int) -> None:
    stage_accesses(db, f"{source} {day}", source, pl.DataFrame(schema=dict(ACCESSES)))
    accept(db, f"{source} {day}", source, "accesses")
    replace_day(db, f"{source} {day}", date(2026, 2, day), source)


def lose(db: Database, source: str, *days: int) -> None:
    with db.begin() as connection:
        for day in days:
            connection.execute(
                text("DELETE FROM aggregated_days WHERE source = :source AND day = :day"),
                {"source": source, "day": date(2026, 2, day)},
            )


def check(db: Database, *attributes: str, **thresholds: object) -> list[str]:
    """The warnings."""
    limits = FreshnessThresholds.model_validate({"popularity_max_age_h": 10**6, **thresholds})
    gates = Gates(freshness=limits, data_docs=DataDocs(keep=0))
    return check_freshness(db, SETTINGS, "run", "the plan", attributes, gates).warnings


def test_what_is_fresh_passes(known: Database) -> None:
    assert check(known, "usage_rank") == []


@pytest.mark.parametrize(
    ("until", "words"),
    [
        pytest.param(datetime(2026, 1, 3, 4, 5, tzinfo=UTC), "lab merged_until=2026-01-03T04:05Z", id="long ago"),
        pytest.param(None, "in 1 source: ", id="never"),
    ],
)
def test_a_source_whose_metadata_are_old_is_named(known: Database, until: datetime | None, words: str) -> None:
    merged(known, "lab", until)
    with pytest.raises(GateError, match="metadata were merged last more than 24 hours ago") as caught:
        check(known)
    assert words in str(caught.value)
    assert "source=lab" in str(caught.value) or "lab merged_until" in str(caught.value)
    assert "dbs" not in str(caught.value)


def test_days_that_lack_are_named(known: Database) -> None:
    lose(known, "batch", 2, 4)
    with pytest.raises(GateError, match="more than 0 days of accesses lack") as caught:
        check(known, "num_access", "latest_production_release")
    assert "batch" in str(caught.value)
    assert "first_missing=2026-02-02 last_missing=2026-02-04" in str(caught.value)
    assert "monit" not in str(caught.value)


def test_accesses_that_stopped_coming_are_stale(known: Database) -> None:
    with pytest.raises(GateError, match="the last day of accesses ended more than 36 hours ago") as caught:
        check(known, "usage_rank", popularity_max_age_h=36)
    assert "newest_day=2026-02-05" in str(caught.value)
    assert check(known, popularity_max_age_h=36) == []


def test_a_source_of_accesses_that_never_told_anything_is_stale(known: Database) -> None:
    lose(known, "batch", *range(1, 6))
    with pytest.raises(GateError, match="source=batch newest_day=never"):
        check(known, "usage_rank", max_missing_days=99)


def test_who_uses_no_accesses_needs_no_days(known: Database) -> None:
    lose(known, "monit", 2, 3)
    assert check(known) == []
    assert check(known, "latest_production_release", "request_weight") == []


def test_some_days_may_lack_where_that_is_allowed(known: Database) -> None:
    lose(known, "monit", 2)
    assert check(known, "usage_rank", max_missing_days=1) == []
    lose(known, "monit", 3)
    (warning,) = check(known, "usage_rank", max_missing_days=1, warn_only=["popularity_gap"])
    assert "days of accesses lack" in warning


def test_days_that_a_person_gave_up_are_not_looked_for(known: Database) -> None:
    lose(known, "monit", 2, 3)
    assert check(known, "usage_rank", gaps_accepted_before=date(2026, 2, 4)) == []
    with pytest.raises(GateError, match="first_missing=2026-02-03"):
        check(known, "usage_rank", gaps_accepted_before=date(2026, 2, 3))


def test_an_installation_without_sources_has_nothing_to_be_stale(database: Database) -> None:
    gates = Gates(data_docs=DataDocs(keep=0))
    assert check_freshness(database, Settings(), "run", "the plan", ["usage_rank"], gates).warnings == []
