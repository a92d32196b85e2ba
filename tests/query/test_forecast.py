"""Whether a site is filling, and until when."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.query.record.forecast import DAYS, forecast, site_forecast
from tests.query.stock import Stock

FIRST_DAY = date(2026, 11, 1)
TB = 10**12


def days(number: int) -> list[date]:
    return [FIRST_DAY + timedelta(days=day) for day in range(number)]


def test_a_site_that_grows_evenly_has_its_quota_on_a_day() -> None:
    outlook = forecast("T2_A", days(10), [100 * TB + day * TB for day in range(10)], 129 * TB)
    assert outlook.line is not None
    assert outlook.line.bytes_per_day == pytest.approx(TB)
    assert outlook.line.r_squared == pytest.approx(1)
    assert outlook.full_on == FIRST_DAY + timedelta(days=9 + 20)  # 109 TB on the last day, and 20 are left
    assert outlook.earliest_on == outlook.latest_on == outlook.full_on


def test_the_margin_is_between_an_earlier_and_a_later_day() -> None:
    sizes = [100 * TB + day * TB + (TB if day % 2 else -TB) for day in range(14)]
    outlook = forecast("T2_A", days(14), sizes, 140 * TB)
    assert outlook.earliest_on is not None
    assert outlook.full_on is not None
    assert outlook.latest_on is not None
    assert outlook.earliest_on < outlook.full_on < outlook.latest_on


@pytest.mark.parametrize(
    ("sizes", "quota", "because"),
    [
        ([TB] * 6, 2 * TB, "a line needs 7 days, of which 6 are recorded"),
        ([], 2 * TB, "a line needs 7 days, of which 0 are recorded"),
        ([TB * day for day in range(8)], None, "its quota is unknown, or without limit"),
        ([TB] * 8, 2 * TB, "it is not filling"),
        ([TB * (8 - day) for day in range(8)], 20 * TB, "it is not filling"),
        ([TB, 9 * TB] * 5, 20 * TB, "it goes up and down more than it grows: no line fits"),
        ([10**18 + day for day in range(8)], 2 * 10**18, "it is not filling"),
    ],
)
def test_what_is_not_to_be_told_is_not_told(sizes: list[int], quota: int | None, because: str) -> None:
    outlook = forecast("T2_A", days(len(sizes)), sizes, quota)
    assert outlook.full_on is None
    assert outlook.because == because


def test_who_has_their_quota_is_full_since_today() -> None:
    outlook = forecast("T2_A", days(8), [2 * TB] * 8, 2 * TB)
    assert (outlook.full_on, outlook.because) == (days(8)[-1], "it has its quota already")


def test_a_site_s_days_and_quotas_are_those_of_the_inventory(stock: Stock) -> None:
    today = FIRST_DAY + timedelta(days=DAYS)
    stock.rows(
        """INSERT INTO usage_daily (day, site_id, group_id, status, tier, num_blocks, num_complete, size_bytes,
                                    projected_bytes)
           SELECT CAST(:first AS date) + day, site.id, 0, 'valid', tier, 1, 1, CAST(500000000 AS bigint) * (10 + day), 0
           FROM generate_series(0, 28) AS day, sites AS site, unnest(ARRAY['AOD', 'RAW']) AS tier
           WHERE site.name = 'T2_A'""",
        first=FIRST_DAY,
    )
    stock.rows("DELETE FROM quotas")
    stock.rows(
        """INSERT INTO quotas (site_id, partition, quota_bytes, changed_by)
           SELECT site.id, partition, 25000000000, 'ada'
           FROM sites AS site, unnest(ARRAY['physics', 'express']) AS partition
           WHERE site.name = 'T2_A'"""
    )
    outlook = site_forecast(stock.db, "T2_A", today)
    assert (outlook.num_days, outlook.day, outlook.size_bytes) == (29, today, 38 * 10**9)
    assert outlook.quota_bytes == 50 * 10**9
    assert outlook.full_on == today + timedelta(days=12)
    stock.rows("UPDATE quotas SET quota_bytes = -1 WHERE partition = 'express'")
    assert site_forecast(stock.db, "T2_A", today).quota_bytes is None
    with pytest.raises(InventoryError, match="T2_A"):
        site_forecast(stock.db, "T2_AA")
