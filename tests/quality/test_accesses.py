"""The gate of a day's accesses."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest

from dynamo_ops.errors import GateError
from dynamo_ops.inventory.database import Database
from dynamo_ops.inventory.staging import stage_accesses
from dynamo_ops.popularity.aggregate import replace_day
from dynamo_ops.popularity.source import ACCESSES
from dynamo_ops.quality.suites.accesses import check_accesses, check_day
from dynamo_ops.quality.thresholds import AccessThresholds, Gates
from tests.inventory.told import dataset, merge, site, sync_sites
from tests.sources.pocket import inventory_counts

DAY = date(2026, 1, 10)


def access(**changes: Any) -> dict[str, Any]:
    return {"day": DAY, "dataset": "/A/B-v1/C", "site": "T2_A", "num_accesses": 5, **changes}


def stage(db: Database, *rows: dict[str, Any], run_key: str = "run") -> None:
    stage_accesses(db, run_key, "monit", pl.DataFrame(list(rows), schema=dict(ACCESSES)))


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (access(dataset=None), "a field is missing in 1 record: T2_A dataset=None"),
        (access(num_accesses=0), "not above zero in 1 record: /A/B-v1/C T2_A day=2026-01-10 num_accesses=0"),
        (access(num_accesses=-4), "not above zero in 1 record: /A/B-v1/C T2_A day=2026-01-10 num_accesses=-4"),
        (access(num_accesses=10**8), "num_accesses is above 10,000,000 in 1 record: /A/B-v1/C T2_A"),
        (access(day=DAY + timedelta(days=1)), "the day is another one in 1 record: /A/B-v1/C T2_A day=2026-01-11"),
    ],
    ids=["no dataset", "zero", "negative", "absurd", "another day"],
)
def test_bad_accesses_are_refused_by_name(database: Database, row: dict[str, Any], words: str) -> None:
    before = inventory_counts(database)
    stage(database, row, access(dataset="/Good/B/C"))
    with pytest.raises(GateError, match="accesses gate refused source 'monit' on 2026-01-10: ") as caught:
        check_accesses(database, "run", "2026-01-10", ["monit"], Gates())
    assert words in str(caught.value)
    assert inventory_counts(database) == before


def test_an_empty_day_after_full_ones_is_a_warning(database: Database) -> None:
    sync_sites(database, site("T2_A"))
    merge(database, [dataset()])
    stage(database)
    assert check_day(database, "run", DAY, "monit", AccessThresholds()).warnings == []
    stage(database, access(day=DAY - timedelta(days=3)), run_key="earlier")
    replace_day(database, "earlier", DAY - timedelta(days=3), "monit")
    warnings = check_day(database, "run", DAY, "monit", AccessThresholds()).warnings
    assert warnings == [
        (
            "no access at all, though there were some in the 7 days before, in 1 pull:"
            " num_records=0 most_accesses_before=5"
        )
    ]
    with pytest.raises(GateError, match="no access at all"):
        check_day(database, "run", DAY, "monit", AccessThresholds(warn_only=frozenset()))
    assert check_day(database, "run", DAY, "monit", AccessThresholds(days_before=2)).warnings == []
