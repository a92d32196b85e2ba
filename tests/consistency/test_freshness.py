"""An orphan is only an orphan if the inventory is fresh."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from dynamo_ops.base.settings import Settings, SourceSettings
from dynamo_ops.consistency.freshness import ALL_KNOWN, ALL_MERGED, MetadataSources, knowledge, metadata_sources
from dynamo_ops.database.connection import Database
from tests.consistency.checking import check, findings, mend, plant
from tests.world import World

HOUR = timedelta(hours=1)


def merged(db: Database, source: str, ago: timedelta) -> None:
    with db.begin() as connection:
        connection.execute(
            text("""INSERT INTO source_states (source, merged_until, updated_at) VALUES (:source, :until, now())
                    ON CONFLICT (source) DO UPDATE SET merged_until = excluded.merged_until"""),
            {"source": source, "until": datetime.now(UTC) - ago},
        )


def test_the_sources_and_the_limit_are_those_of_plans() -> None:
    settings = Settings(metadata_sources=[SourceSettings(name="dbs", type="dbs")])
    assert metadata_sources(settings) == MetadataSources(("dbs",), 24)


def test_an_installation_without_sources_knows_all(database: Database) -> None:
    assert knowledge(database, MetadataSources(())) == ALL_KNOWN
    assert knowledge(database, ALL_MERGED) == ALL_KNOWN


def test_what_every_source_has_told_is_known(database: Database) -> None:
    merged(database, "dbs", 2 * HOUR)
    merged(database, "lab", HOUR)
    known = knowledge(database, ALL_MERGED)
    assert known.stale_because is None
    assert known.until is not None
    assert timedelta(hours=1.9) < datetime.now(UTC) - known.until < timedelta(hours=2.1)


@pytest.mark.parametrize(("source", "word"), [("dbs", "merged until "), ("lab", "never merged")])
def test_one_source_that_is_not_in_is_enough(database: Database, source: str, word: str) -> None:
    merged(database, "dbs", 25 * HOUR if source == "dbs" else HOUR)
    if source == "dbs":
        merged(database, "lab", HOUR)
    stale = knowledge(database, MetadataSources(("dbs", "lab"))).stale_because
    assert stale is not None
    assert stale.startswith(f"metadata are older than 24 hours: {source} ({word}")


def test_a_source_that_is_not_configured_any_more_does_not_matter(database: Database) -> None:
    merged(database, "old", 1000 * HOUR)
    merged(database, "dbs", HOUR)
    assert knowledge(database, MetadataSources(("dbs",))).stale_because is None


def put_aside(db: Database, dataset: str, source: str = "dbs") -> None:
    with db.begin() as connection:
        connection.execute(
            text("""INSERT INTO set_aside_datasets (source, dataset, reason, is_of_record, until, run_key)
                    VALUES (:source, :dataset, 'why', false, now(), 'run')"""),
            {"source": source, "dataset": dataset},
        )


def test_files_stay_while_a_dataset_that_may_have_them_is_set_aside(world: World, tmp_path: Path) -> None:
    db = world.inventory.db
    world.block("b1", "T2_A")
    orphan = plant(world, "/store/data/Run7/f")
    merged(db, "dbs", HOUR)
    put_aside(db, "/New/B/C")
    check(world, "r1", tmp_path)
    seen = check(world, "r2", tmp_path)
    assert (seen.num_orphan, seen.num_orphan_found) == (1, 0)
    assert seen.kept_because[0].startswith("a dataset is set aside, since dbs told a bad record (/New/B/C, ")
    assert mend(world, seen).num_deleted == 0
    assert orphan.exists()
    assert knowledge(db, MetadataSources(("lab",))).stale_because != seen.kept_because[0]
    world.inventory.rows("DELETE FROM set_aside_datasets")
    check(world, "r3", tmp_path)
    found = check(world, "r4", tmp_path)
    put_aside(db, "/New/B/C")
    assert mend(world, found).num_deleted == 0
    world.inventory.rows("DELETE FROM set_aside_datasets")
    check(world, "r5", tmp_path)
    assert mend(world, check(world, "r6", tmp_path)).num_deleted == 1


def test_files_stay_while_metadata_are_stale_and_go_when_these_are_in_again(world: World, tmp_path: Path) -> None:
    world.block("b1", "T2_A")
    orphan, expired = plant(world, "/store/data/Run7/f"), plant(world, "/store/unmerged/f")
    merged(world.inventory.db, "dbs", 240 * HOUR)
    check(world, "r1", tmp_path)
    stale = check(world, "r2", tmp_path)
    assert (stale.num_orphan, stale.num_orphan_found, stale.num_unmanaged_found) == (1, 0, 0)
    assert mend(world, stale, delete_unmanaged=True).num_deleted == 0
    (reason,) = stale.kept_because
    assert reason.startswith("metadata are older than 24 hours: dbs (merged until ")
    assert world.inventory.rows("SELECT DISTINCT reason FROM consistency_findings") == [(reason,)]
    merged(world.inventory.db, "dbs", HOUR)
    assert mend(world, check(world, "r3", tmp_path), delete_unmanaged=True).num_deleted == 0  # that was no sight
    assert mend(world, check(world, "r4", tmp_path), delete_unmanaged=True).num_deleted == 2
    assert (orphan.exists(), expired.exists()) == (False, False)


def test_metadata_that_are_stale_when_the_repair_comes_keep_the_files(world: World, tmp_path: Path) -> None:
    world.block("b1", "T2_A")
    orphan = plant(world, "/store/x")
    merged(world.inventory.db, "dbs", HOUR)
    check(world, "r1", tmp_path)
    summary = check(world, "r2", tmp_path)
    assert summary.num_orphan_found == 1
    merged(world.inventory.db, "dbs", 25 * HOUR)
    done = mend(world, summary)
    assert (done.num_deleted, done.num_skipped, orphan.exists()) == (0, 1, True)
    assert findings(world, summary.check_id) == {"/store/x": "orphan/failed"}
    reason = world.inventory.scalar("SELECT reason FROM consistency_findings WHERE state = 'failed'")
    assert reason.startswith("nothing is deleted: metadata are older than 24 hours: dbs")


def test_a_file_younger_than_what_is_merged_stays(world: World, tmp_path: Path) -> None:
    """Two and a half days old, and metadata are in until twenty hours ago: ignore_age has not passed since."""
    world.block("b1", "T2_A")
    orphan = plant(world, "/store/x")
    os.utime(orphan, (time.time() - 60 * 3600,) * 2)
    merged(world.inventory.db, "dbs", 20 * HOUR)
    check(world, "r1", tmp_path)
    summary = check(world, "r2", tmp_path)
    assert (mend(world, summary).num_deleted, summary.num_orphan) == (0, 1)
    reason = world.inventory.scalar("SELECT max(reason) FROM consistency_findings")
    assert "it may not have been told yet" in reason
    merged(world.inventory.db, "dbs", HOUR)
    assert mend(world, check(world, "r3", tmp_path)).num_deleted == 0
    assert mend(world, check(world, "r4", tmp_path)).num_deleted == 1


def test_a_merge_of_the_future_knows_nothing_of_what_was_made_since(world: World, tmp_path: Path) -> None:
    world.block("b1", "T2_A")
    orphan = plant(world, "/store/x")
    merged(world.inventory.db, "dbs", -24 * 365 * HOUR)
    world.inventory.rows("UPDATE source_states SET updated_at = now() - interval '10 days'")
    check(world, "r1", tmp_path)
    summary = check(world, "r2", tmp_path)
    assert mend(world, summary).num_deleted == 0
    assert orphan.exists()
    (reason,) = summary.kept_because
    assert reason.startswith("metadata are older than 24 hours: dbs (merged until ")
