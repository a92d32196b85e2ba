"""Days of accesses in the inventory, and the attributes made of them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from itertools import permutations

import polars as pl
import pytest
from sqlalchemy import text

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.database.connection import Database
from dynamo_ops.database.reading import Snapshot
from dynamo_ops.inventory.staging.pull import stage_accesses
from dynamo_ops.popularity.aggregate import DaySummary, replace_day
from dynamo_ops.popularity.attributes import Produced, produce_attributes
from dynamo_ops.popularity.days import DayOfSource
from dynamo_ops.popularity.ranks import UsageProducer
from dynamo_ops.popularity.tasks import pull, staging_key
from dynamo_ops.popularity.tasks import replace_day as replace_day_of_run
from dynamo_ops.sources.tasks import merge as merge_all
from dynamo_ops.sources.usage.source import ACCESSES
from simgrid.grid import Grid
from tests.inventory.told import accept, block, dataset, file, merge, site, sync_sites
from tests.people import inject
from tests.sources.pocket import NOW, pull_all, settings_for

DAYS = [date(2026, 2, day) for day in (1, 2, 3)]


@pytest.fixture
def filled(database: Database) -> Database:
    sync_sites(database, site("T2_A"), site("T2_B"))
    merge(database, [dataset(), dataset("/D/E-v1/F")], [block(), block(of="/D/E-v1/F")], [file("/a/1")])
    inject(database, {"dataset_replicas": [{"dataset": name, "site": "T2_A"} for name in ("/A/B-v1/C", "/D/E-v1/F")]})
    return database


def aggregate(db: Database, day: date, *rows: tuple[str, str, int], run_key: str = "run") -> DaySummary:
    told = [(day, dataset, None, site, number) for dataset, site, number in rows]
    frame = pl.DataFrame(told, schema=dict(ACCESSES), orient="row")
    stage_accesses(db, run_key, "monit", frame)
    accept(db, run_key, "monit", "accesses")
    return replace_day(db, run_key, day, "monit")


def attributes(db: Database) -> pl.DataFrame:
    return db.frame("""
        SELECT d.name AS dataset, a.name, a.value, n.producer, n.produced_at FROM dataset_attributes AS a
        JOIN datasets AS d ON d.id = a.dataset_id JOIN attributes AS n ON n.name = a.name ORDER BY 1, 2""")


def test_a_day_is_replaced_as_a_whole(filled: Database) -> None:
    told = [("/A/B-v1/C", "T2_A", 3), ("/A/B-v1/C", "T2_A", 4), ("/D/E-v1/F", "T2_B", 1)]
    assert aggregate(filled, DAYS[0], *told) == DaySummary(2, 8, 0, [], [])
    aggregate(filled, DAYS[1], ("/A/B-v1/C", "T2_A", 9))
    for _ in range(2):
        assert aggregate(filled, DAYS[0], ("/A/B-v1/C", "T2_A", 5)) == DaySummary(1, 5, 0, [], [])
    days = filled.frame("SELECT day, num_accesses FROM accesses_daily ORDER BY day").rows()
    assert days == [(DAYS[0], 5), (DAYS[1], 9)]


def test_unknown_names_are_counted_and_told(filled: Database) -> None:
    told = [("/A/B-v1/C", "T2_A", 3), ("/No/Such/DATA", "T2_A", 2), ("/A/B-v1/C", "T2_X", 1)]
    summary = aggregate(filled, DAYS[0], *told)
    assert summary == DaySummary(1, 3, 2, ["/No/Such/DATA"], ["T2_X"])
    assert filled.frame("SELECT kind, num_told FROM aggregated_days").row(0) == ("accesses", 6)


def test_a_day_that_was_not_pulled_is_not_wiped(filled: Database) -> None:
    aggregate(filled, DAYS[0], ("/A/B-v1/C", "T2_A", 3))
    with pytest.raises(InventoryError, match="staged no accesses of source 'monit'"):
        replace_day(filled, "another run", DAYS[0], "monit")
    assert filled.frame("SELECT num_accesses FROM accesses_daily").item() == 3


def test_of_two_answers_that_were_on_their_way_the_one_asked_for_last_stays(filled: Database) -> None:
    for run_key, number in (("slow", 3), ("quick", 5)):
        frame = pl.DataFrame([(DAYS[0], "/A/B-v1/C", None, "T2_A", number)], schema=dict(ACCESSES), orient="row")
        stage_accesses(filled, run_key, "monit", frame)
        accept(filled, run_key, "monit", "accesses")
    assert replace_day(filled, "quick", DAYS[0], "monit").number == 5
    assert replace_day(filled, "slow", DAYS[0], "monit") == DaySummary(0, 0, 0, [], [], is_outdated=True)
    assert filled.frame("SELECT num_accesses FROM accesses_daily").item() == 5
    assert not replace_day(filled, "quick", DAYS[0], "monit").is_outdated, "a task that is run again"
    assert aggregate(filled, DAYS[0], ("/A/B-v1/C", "T2_A", 4), run_key="slow").number == 4, "a run that asks again"


def test_a_pull_is_as_old_as_its_question(filled: Database, grid: Grid) -> None:
    before = filled.frame("SELECT now()").item()
    day = DayOfSource(DAYS[0].isoformat(), "monit", "accesses")
    pull(filled, settings_for(grid), "run", day)
    asked_at, staged_at = filled.frame("SELECT asked_at, staged_at FROM staged_pulls WHERE kind = 'accesses'").row(0)
    assert before < asked_at < staged_at


def test_attributes_are_those_of_the_newest_day(filled: Database) -> None:
    aggregate(filled, DAYS[0], ("/A/B-v1/C", "T2_A", 3))
    aggregate(filled, DAYS[2], ("/A/B-v1/C", "T2_A", 4))
    made = produce_attributes(filled, [UsageProducer()])
    assert {each.name: each.num_datasets for each in made} == {"usage_rank": 2, "num_access": 1, "last_access": 1}
    last_access = datetime(2026, 2, 3, tzinfo=UTC)
    as_of = datetime(2026, 2, 4, tzinfo=UTC)
    assert attributes(filled).rows() == [
        ("/A/B-v1/C", "last_access", last_access.timestamp(), "usage", as_of),
        ("/A/B-v1/C", "num_access", 7.0, "usage", as_of),
        ("/A/B-v1/C", "usage_rank", pytest.approx(1.0), "usage", as_of),
        ("/D/E-v1/F", "usage_rank", pytest.approx(34.0), "usage", as_of),
    ]


@pytest.mark.parametrize("order", permutations(range(3)), ids=lambda order: "".join(map(str, order)))
def test_the_order_of_a_backfill_does_not_matter(filled: Database, order: tuple[int, ...]) -> None:
    told = {0: [("/A/B-v1/C", "T2_A", 3)], 1: [("/D/E-v1/F", "T2_A", 2), ("/A/B-v1/C", "T2_B", 1)], 2: []}
    for number in order:
        aggregate(filled, DAYS[number], *told[number], run_key=f"run {number}")
        produce_attributes(filled, [UsageProducer()])
    values = attributes(filled)
    ranks = dict(values.filter(pl.col("name") == "usage_rank").select("dataset", "value").iter_rows())
    assert ranks == pytest.approx({"/A/B-v1/C": 3.0, "/D/E-v1/F": 2.0})
    assert values["produced_at"].unique().to_list() == [datetime(2026, 2, 4, tzinfo=UTC)]


def test_values_that_are_gone_go(filled: Database) -> None:
    aggregate(filled, DAYS[0], ("/A/B-v1/C", "T2_A", 3))
    produce_attributes(filled, [UsageProducer()])
    with filled.begin() as connection:
        connection.execute(text("DELETE FROM block_replicas"))
    produce_attributes(filled, [UsageProducer()])
    assert "usage_rank" not in attributes(filled)["name"].to_list()
    assert "num_access" in attributes(filled)["name"].to_list()


def test_nothing_is_known_before_the_first_day(filled: Database) -> None:
    with pytest.raises(InventoryError, match="no day of accesses has been aggregated yet"):
        produce_attributes(filled, [UsageProducer()])


def test_two_that_rank_at_once_take_turns(filled: Database) -> None:
    """The later look must win: else ranks from before a day was replaced would stay."""
    looked, go_on = threading.Event(), threading.Event()

    class Slow:
        name = "slow"
        attributes = ("slowness",)

        def __init__(self, *, waits: bool, value: float) -> None:
            self.waits, self.value = waits, value

        def produce(self, snapshot: Snapshot) -> Produced:
            ids = snapshot.frame("SELECT id AS dataset_id FROM datasets")
            if self.waits:
                looked.set()
                assert go_on.wait(60)
            return Produced(NOW, {"slowness": ids.with_columns(value=pl.lit(self.value))})

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(produce_attributes, filled, [Slow(waits=True, value=1.0)])
        assert looked.wait(60)
        second = threads.submit(produce_attributes, filled, [Slow(waits=False, value=2.0)])
        while not filled.frame("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted").item():
            assert not second.done()
        go_on.set()
        first.result(60)
        second.result(60)
    assert set(attributes(filled)["value"]) == {2.0}


def test_a_producer_that_does_not_keep_its_word_is_refused(filled: Database) -> None:
    class Liar:
        name = "liar"
        attributes = ("demand_rank",)

        def produce(self, snapshot: Snapshot) -> Produced:
            return Produced(NOW, {})

    with pytest.raises(InventoryError, match="attribute producer 'liar' gave"):
        produce_attributes(filled, [Liar()])


def test_from_the_feed_to_the_rank(database: Database, grid: Grid) -> None:
    settings = settings_for(grid)
    pull_all(database, settings, "run")
    accept(database, "run")
    accept(database, "run", "cric", "sites")
    merge_all(database, "run", ["dbs"], ["cric"], NOW)
    told = grid.catalogue.accesses
    day = max(access.day for access in told)
    num_told = [access.num_accesses for access in told if access.day == day]
    what = DayOfSource(day, "monit", "accesses")
    assert pull(database, settings, "run", what) == len(num_told)
    accept(database, staging_key("run", day), "monit", "accesses")
    assert replace_day_of_run(database, "run", what) == {
        "num_rows": len(num_told),
        "number": sum(num_told),
        "num_unknown": 0,
        "unknown_names": [],
        "unknown_sites": [],
        "is_outdated": False,
    }
