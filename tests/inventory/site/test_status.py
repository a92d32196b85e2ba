"""Sites, as their sources tell of them and as people say."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.database.connection import Database
from dynamo_ops.database.embedded import EmbeddedPostgres
from dynamo_ops.inventory.site.override import overrides, set_status, unset_status
from dynamo_ops.inventory.site.status import SiteSummary, merge_sites, refresh_statuses
from tests.conftest import TEMPLATE
from tests.inventory.told import RUN, accept, site, stage_sites, sync_sites
from tests.people import ADA, BOB

TABLES = "sites, site_sources, site_overrides, site_endpoints, staged_sites, staged_pulls, source_states"


@pytest.fixture(scope="module")
def shared(postgres: EmbeddedPostgres) -> Iterator[Database]:
    postgres.create_database("sites", template=TEMPLATE)
    database = Database(postgres.url("sites"))
    yield database
    database.dispose()
    postgres.drop_database("sites")


@pytest.fixture
def database(shared: Database) -> Database:
    """One that has no rows; the same for all tests here, since they touch few tables."""
    with shared.begin() as connection:
        connection.execute(text(f"TRUNCATE {TABLES} CASCADE"))
    return shared


LATER = datetime.now(UTC) + timedelta(days=100)


def site_rows(db: Database) -> list[tuple[object, ...]]:
    return db.frame("SELECT name, storage_type, status FROM sites ORDER BY name").rows()


def status(db: Database, name: str = "T2_A") -> Any:
    return db.frame("SELECT status FROM sites WHERE name = $1", (name,)).item()


def pass_time(db: Database, **time: float) -> None:
    """What has been told and said was told and said that much earlier."""
    with db.begin() as connection:
        for change in (
            """UPDATE site_sources SET told_since_at = told_since_at - CAST(:time AS interval),
                                       told_last_at = told_last_at - CAST(:time AS interval)""",
            "UPDATE site_overrides SET ends_at = ends_at - CAST(:time AS interval)",
        ):
            connection.execute(text(change), {"time": timedelta(**time)})


def test_merging_what_was_not_staged_is_refused(database: Database) -> None:
    with pytest.raises(InventoryError, match="staged no sites of source 'cric'"):
        merge_sites(database, RUN, "cric")


def test_sites_come_change_and_are_lost(database: Database) -> None:
    assert sync_sites(database, site("T2_A"), site("T2_B"), site("T1_M", storage_type="mss")) == SiteSummary(3, 0, 0)
    assert merge_sites(database, RUN, "cric") == SiteSummary(0, 0, 0)
    assert sync_sites(database, site("T2_A", "waitroom"), site("T1_M", storage_type="mss")) == SiteSummary(0, 1, 1)
    assert site_rows(database) == [("T1_M", "mss", "ready"), ("T2_A", "disk", "waitroom"), ("T2_B", "disk", "unknown")]
    assert sync_sites(database, site("T2_B")) == SiteSummary(0, 1, 2)
    assert sync_sites(database, site("T2_B")) == SiteSummary(0, 0, 0)


def test_the_time_of_a_status_changes_with_the_status_only(database: Database) -> None:
    query = "SELECT status_changed_at FROM sites"
    sync_sites(database, site("T2_A"))
    first = database.frame(query).item()
    sync_sites(database, site("T2_A", storage_type="buffer"))
    assert database.frame(query).item() == first
    sync_sites(database, site("T2_A", "morgue"))
    assert database.frame(query).item() > first


def test_a_site_is_lost_by_the_source_that_told_of_it_only(database: Database) -> None:
    sync_sites(database, site("T2_A"))
    assert sync_sites(database, site("T2_B"), source="lab") == SiteSummary(1, 0, 0)
    assert site_rows(database) == [("T2_A", "disk", "ready"), ("T2_B", "disk", "ready")]


def test_endpoints_follow_the_source(database: Database) -> None:
    query = "SELECT protocol, prefix FROM site_endpoints"
    sync_sites(database, site("T2_A", prefix="davs://one/"))
    sync_sites(database, site("T2_A", prefix="davs://two/"))
    assert database.frame(query).rows() == [("davs", "davs://two/")]
    with database.begin() as connection:
        connection.execute(
            text("INSERT INTO site_endpoints (site_id, protocol, prefix) SELECT id, 'root', 'root://a/' FROM sites")
        )
    sync_sites(database, site("T2_A", prefix="davs://two/"))
    assert database.frame(query).rows() == [("davs", "davs://two/")], "one that is not told any more goes"
    sync_sites(database, site("T2_A", prefix=None))
    assert database.frame(query).rows() == [("davs", "davs://two/")], "told without any, it keeps what it has"


def tell(db: Database, *statuses: str) -> Any:
    """What the site has after its source told these, one merge each, with two hours of patience."""
    for each in statuses:
        sync_sites(db, site("T2_A", each), stable_h=2)
    return status(db)


@pytest.mark.parametrize("told", ["ready", "waitroom", "morgue", "unknown"])
def test_a_site_seen_first_follows_at_once_and_stays(database: Database, told: str) -> None:
    assert tell(database, told, told) == told


@pytest.mark.parametrize("told", ["waitroom", "unknown"])
def test_bad_news_count_at_once(database: Database, told: str) -> None:
    assert tell(database, "ready", told) == told


@pytest.mark.parametrize(("before", "told"), [("waitroom", "ready"), ("ready", "morgue"), ("morgue", "ready")])
def test_ready_and_morgue_must_be_told_for_a_while(database: Database, before: str, told: str) -> None:
    assert tell(database, before, *[told] * 5) == "waitroom", "many runs are no time"
    pass_time(database, hours=1.9)
    assert tell(database, told) == "waitroom"
    pass_time(database, hours=0.2)
    assert tell(database, told) == told


def test_a_break_starts_the_time_again(database: Database) -> None:
    tell(database, "waitroom", "ready")
    pass_time(database, hours=1.5)
    assert tell(database, "waitroom", "ready") == "waitroom"
    pass_time(database, hours=1.5)
    assert tell(database, "ready") == "waitroom"


def test_a_flapping_site_stays_in_the_waitroom(database: Database) -> None:
    tell(database, "ready")
    for _ in range(3):
        pass_time(database, hours=1)
        assert tell(database, "morgue") == "waitroom"
        pass_time(database, hours=1)
        assert tell(database, "ready") == "waitroom"


def test_a_site_that_was_not_listed_for_a_while_is_trusted_late(database: Database) -> None:
    tell(database, "ready")
    sync_sites(database, site("T2_B"), stable_h=2)
    assert status(database) == "unknown"
    assert sync_sites(database, site("T2_A"), site("T2_B"), stable_h=2) == SiteSummary(0, 1, 0, damped=1)
    assert status(database) == "waitroom"
    pass_time(database, hours=2)
    assert tell(database, "ready") == "ready"


def test_sites_known_before_anybody_noted_what_was_told_are_as_they_are(database: Database) -> None:
    sync_sites(database, site("T2_A"), site("T2_B", "waitroom"))
    with database.begin() as connection:
        connection.execute(text("UPDATE site_sources SET told_status = NULL, told_since_at = NULL"))
    sync_sites(database, site("T2_A"), site("T2_B"), stable_h=2)
    assert (status(database), status(database, "T2_B")) == ("ready", "waitroom")


def test_a_silent_source_has_not_told_for_long(database: Database) -> None:
    tell(database, "morgue", "ready")
    pass_time(database, hours=7)
    assert (refresh_statuses(database, stable_h=2), status(database)) == (0, "waitroom")
    assert tell(database, "ready") == "waitroom", "what it was meanwhile nobody knows"
    pass_time(database, hours=2)
    assert (refresh_statuses(database, stable_h=2), status(database)) == (0, "waitroom")
    assert tell(database, "ready") == "ready"


def test_silence_is_no_news_of_a_site_that_is_ready(database: Database) -> None:
    tell(database, "waitroom", "ready")
    pass_time(database, hours=2)
    assert tell(database, "ready") == "ready"
    pass_time(database, days=3)
    assert (refresh_statuses(database, stable_h=2), tell(database, "ready")) == (0, "ready")


@pytest.mark.parametrize(("silent_h", "after"), [(25, "ready"), (49, "waitroom")])
def test_a_source_that_is_asked_once_a_day_is_trusted_too(database: Database, silent_h: int, after: str) -> None:
    tell(database, "waitroom", "ready")
    pass_time(database, hours=silent_h)
    stage_sites(database, site("T2_A"))
    accept(database, RUN, "cric", "sites")
    merge_sites(database, RUN, "cric", stable_h=2, every=timedelta(days=1))
    assert status(database) == after


@pytest.mark.parametrize(("told_h", "after"), [(0, "waitroom"), (1.9, "waitroom"), (2, "ready")])
@pytest.mark.parametrize("by_itself", [True, False], ids=["by itself", "taken back"])
def test_what_a_person_said_does_not_count_as_told(
    database: Database, told_h: float, after: str, by_itself: bool
) -> None:
    tell(database, "morgue")
    end = datetime.now(UTC) + timedelta(hours=5) if by_itself else None
    set_status(database, "T2_A", "ready", by=ADA, reason="x", ends_at=end)
    pass_time(database, hours=4.95 - told_h)
    assert tell(database, "ready") == "ready"
    pass_time(database, hours=told_h + 0.05)
    if not by_itself:
        assert tell(database, "ready") == "ready"
        assert unset_status(database, "T2_A", by=ADA, stable_h=2) == after
        return
    assert tell(database, "ready") == after


def test_what_a_person_said_and_is_over_does_not_count_as_told(database: Database) -> None:
    tell(database, "morgue")
    set_status(database, "T2_A", "ready", by=ADA, reason="x", ends_at=datetime.now(UTC) + timedelta(hours=1))
    pass_time(database, hours=1)
    assert tell(database, "ready") == "waitroom"


def test_a_person_is_followed_at_once_and_survives_merges(database: Database) -> None:
    tell(database, "ready")
    made = set_status(database, "T2_A", "morgue", by=ADA, reason="its disks burn")
    assert (made.status_before, made.told_status, status(database)) == ("ready", "ready", "morgue")
    assert tell(database, "ready", "waitroom", "ready") == "morgue"
    assert sync_sites(database, site("T2_A"), stable_h=2) == SiteSummary(0, 0, 0, overridden=1)
    sync_sites(database, site("T2_B"), stable_h=2)
    assert status(database) == "morgue", "though its source does not list it any more"
    (row,) = overrides(database).to_dicts()
    assert (row["site"], row["status"], row["reason"], row["created_by"]) == ("T2_A", "morgue", "its disks burn", "ada")


def test_it_ends_by_itself_with_the_next_merge(database: Database) -> None:
    sync_sites(database, site("T2_A"))
    set_status(database, "T2_A", "waitroom", by=ADA, reason="x", ends_at=datetime.now(UTC) + timedelta(hours=1))
    assert tell(database, "ready") == "waitroom"
    pass_time(database, hours=1)
    assert tell(database, "ready") == "ready"
    assert overrides(database).is_empty()
    (row,) = overrides(database, over=True).to_dicts()
    assert (row["is_in_force"], row["ended_by"]) == (False, None)


def test_it_ends_by_itself_without_a_merge_too(database: Database) -> None:
    sync_sites(database, site("T2_A", "morgue"))
    set_status(database, "T2_A", "ready", by=ADA, reason="x", ends_at=datetime.now(UTC) + timedelta(hours=1))
    pass_time(database, hours=1)
    assert (refresh_statuses(database, stable_h=2), status(database)) == (1, "morgue")


def test_taken_back_the_site_is_what_its_source_tells(database: Database) -> None:
    tell(database, "waitroom")
    set_status(database, "T2_A", "ready", by=ADA, reason="x")
    tell(database, "morgue")
    assert unset_status(database, "T2_A", by=BOB, stable_h=2) == "waitroom", "it has been in the morgue since now"
    assert overrides(database, "T2_A", over=True)["ended_by"].to_list() == ["bob"]
    with pytest.raises(InventoryError, match="is what its source tells; nothing to end"):
        unset_status(database, "T2_A", by=BOB, stable_h=2)


def test_the_newest_word_counts(database: Database) -> None:
    sync_sites(database, site("T2_A"), site("T2_B"))
    set_status(database, "T2_A", "morgue", by=ADA, reason="x")
    set_status(database, "T2_A", "waitroom", by=BOB, reason="y", ends_at=LATER)
    assert (status(database), status(database, "T2_B")) == ("waitroom", "ready")
    assert overrides(database)["reason"].to_list() == ["y"]
    assert overrides(database, over=True)["ended_by"].to_list() == [None, "bob"]


def test_a_site_that_no_source_tells_of_gets_its_own_status_back(database: Database) -> None:
    with database.begin() as connection:
        connection.execute(text("INSERT INTO sites (name, storage_type, status) VALUES ('T2_A', 'disk', 'ready')"))
    assert set_status(database, "T2_A", "morgue", by=ADA, reason="x").told_status is None
    assert unset_status(database, "T2_A", by=ADA, stable_h=2) == "ready"


@pytest.mark.parametrize(
    ("told", "said", "warned"),
    [("morgue", "ready", "may be given up"), ("waitroom", "ready", "may be broken"), ("ready", "ready", "")],
)
def test_who_contradicts_the_source_is_warned(database: Database, told: str, said: str, warned: str) -> None:
    sync_sites(database, site("T2_A", told))
    warnings = " ".join(set_status(database, "T2_A", said, by=ADA, reason="x").warnings)
    assert warnings.startswith(f"source 'cric' says {told}: " if warned else "")
    assert warned in warnings
    assert bool(warnings) == bool(warned)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"site": "T2_B"}, "there is no site 'T2_B'. Did you mean T2_A?"),
        ({"status": "unknown"}, "'unknown' is none of ready, waitroom, morgue"),
        ({"reason": "  "}, "say why"),
        ({"ends_at": datetime(2020, 1, 1, tzinfo=UTC)}, "its end 2020-01-01T00:00Z is over"),
    ],
    ids=["site", "status", "reason", "end"],
)
def test_what_cannot_be_said_is_refused(database: Database, given: dict[str, Any], message: str) -> None:
    sync_sites(database, site("T2_A"))
    with pytest.raises(InventoryError, match=message):
        set_status(database, **{"site": "T2_A", "status": "morgue", "by": ADA, "reason": "x", **given})
    assert status(database) == "ready"
    assert overrides(database, over=True).is_empty()
