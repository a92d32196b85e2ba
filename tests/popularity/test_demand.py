"""Demand: how jobs become request_weight."""

from __future__ import annotations

from datetime import UTC, date, datetime

import polars as pl
import pytest

from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.staging.pull import stage_demand
from dynamo_ops.popularity.aggregate import replace_day
from dynamo_ops.popularity.attributes import produce_attributes
from dynamo_ops.popularity.demand import DemandProducer, demand_producer, request_weights
from dynamo_ops.sources.usage.source import DEMAND
from tests.inventory.told import accept, dataset, merge

NEWEST = date(2026, 2, 10)
SCHEMA = {"day": pl.Date, "dataset_id": pl.Int64, "num_jobs": pl.Int64}


@pytest.mark.parametrize(
    ("jobs", "weight"),
    [
        pytest.param([(10, 8)], 8, id="those of the newest day count in full"),
        pytest.param([(7, 8)], 4, id="after a half-life half"),
        pytest.param([(4, 8)], 2, id="after two a quarter"),
        pytest.param([(10, 8), (7, 8), (4, 8)], 14, id="days add up"),
        pytest.param([(10, 1), (1, 1_000)], 1 + 1_000 / 8, id="the oldest day"),
        pytest.param([(11, 8), (10, 1)], 1, id="what is later does not count yet"),
    ],
)
def test_weight_of_a_dataset(jobs: list[tuple[int, int]], weight: float) -> None:
    frame = pl.DataFrame([(date(2026, 2, day), 1, number) for day, number in jobs], schema=SCHEMA, orient="row")
    found = request_weights(frame, NEWEST, half_life_days=3, num_days=10)
    assert dict(found.iter_rows()) == pytest.approx({1: weight})


def test_what_is_too_old_has_no_weight() -> None:
    frame = pl.DataFrame([(date(2026, 1, 31), 1, 5)], schema=SCHEMA, orient="row")
    assert request_weights(frame, NEWEST, half_life_days=3, num_days=10).is_empty()


def ask(db: Database, day: date, *rows: tuple[str, int], source: str = "queue") -> None:
    frame = pl.DataFrame([(day, *row) for row in rows], schema=dict(DEMAND), orient="row")
    stage_demand(db, f"run {day}", source, frame)
    accept(db, f"run {day}", source, "demand")
    replace_day(db, f"run {day}", day, source, "demand")


def values(db: Database) -> dict[str, float]:
    found = db.frame("""
        SELECT d.name, a.value FROM dataset_attributes a JOIN datasets d ON d.id = a.dataset_id
        WHERE a.name = 'request_weight'""")
    return dict(found.iter_rows())


def test_from_days_of_jobs_to_the_attribute(database: Database) -> None:
    merge(database, [dataset(), dataset("/D/E-v1/F")], [], [])
    ask(database, date(2026, 2, 7), ("/A/B-v1/C", 8))
    ask(database, NEWEST, ("/A/B-v1/C", 1), ("/D/E-v1/F", 2))
    ask(database, NEWEST, ("/D/E-v1/F", 5), source="other queue")
    (made,) = produce_attributes(database, [DemandProducer(3, 30)])
    assert (made.name, made.num_datasets, made.as_of) == ("request_weight", 2, datetime(2026, 2, 11, tzinfo=UTC))
    assert values(database) == pytest.approx({"/A/B-v1/C": 5, "/D/E-v1/F": 7})
    ask(database, NEWEST, ("/D/E-v1/F", 3))
    produce_attributes(database, [DemandProducer(3, 30)])
    assert values(database) == pytest.approx({"/A/B-v1/C": 4, "/D/E-v1/F": 8})


def test_without_demand_nothing_is_said(database: Database) -> None:
    assert produce_attributes(database, [demand_producer()]) == []
    assert database.frame("SELECT * FROM attributes").is_empty()
