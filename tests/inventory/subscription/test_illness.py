"""Sites and links are ill by how the last copies ended, and well again by the first that arrive."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest

from dynamo_ops.base.patience import Illness
from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.subscription.blame import judge
from dynamo_ops.inventory.subscription.illness import IllPlace, ill_places, refusing
from tests.inventory.factory import Inventory

ILLNESS = Illness(ill_after_copies=10, ill_fraction=0.9, ill_window_h=24, probe_every_min=30)
REFUSED = "DESTINATION [1] HTTP 403 : Permission refused"
FULL = "DESTINATION [28] No space left on device"
AWAY = "SOURCE [112] Result Could not connect to server after 1 attempts"
GONE = "SOURCE [2] No such file"
CUT = "TRANSFER [104] Connection reset by peer"


@pytest.fixture
def stock(database: Database) -> Inventory:
    inventory = Inventory(database)
    for site in ("T2_A", "T2_B", "T2_C", "T2_D"):
        inventory.site(site)
    inventory.block("b1", 1)
    return inventory


def ended(
    stock: Inventory,
    number: int,
    reason: str | None = None,
    *,
    link: tuple[str, str] = ("T2_A", "T2_B"),
    hours_ago: float = 1,
) -> None:
    """A batch whose copies ended so: done, or failed."""
    stock.rows(
        """WITH batch AS (
             INSERT INTO transfer_batches (sid, job_id, site_id, is_staging, state, created_at)
             VALUES (:sid, gen_random_uuid(), :to, false, 'finished', now() - :hours * interval '1 hour')
             RETURNING id)
           INSERT INTO transfers (batch_id, subscription_id, file_index, source_site_id, state, reason, blame,
             size_bytes, finished_at)
           SELECT batch.id, 1, n, :source, :state, :reason, :blame, 1, now() - :hours * interval '1 hour'
           FROM batch, generate_series(1, :number) AS n""",
        sid=uuid.uuid4().hex,
        to=stock.site_ids[link[1]],
        source=stock.site_ids[link[0]],
        state="failed" if reason else "done",
        reason=reason,
        blame=judge(reason).blame if reason else None,
        number=number,
        hours=hours_ago,
    )


def places(stock: Inventory) -> list[IllPlace]:
    with stock.db.begin() as connection:
        return ill_places(connection, ILLNESS)


def ill(stock: Inventory) -> list[tuple[str | None, str]]:
    return [(place.source, place.site) for place in places(stock)]


def test_a_site_is_ill_when_nearly_all_fail_at_it(stock: Inventory) -> None:
    ended(stock, 9, REFUSED)
    assert ill(stock) == [(None, "T2_B")]
    (place,) = places(stock)
    assert (place.num_copies, place.num_failed, place.is_refused, place.reason) == (9, 9, True, REFUSED)


@pytest.mark.parametrize(
    ("number", "reason"), [(8, REFUSED), (50, GONE), (50, "x"), (50, "STAGING [110] late")], ids=str
)
def test_few_failures_and_those_of_files_say_nothing(stock: Inventory, number: int, reason: str) -> None:
    ended(stock, number, reason)
    assert ill(stock) == []


def test_it_is_over_when_later_ones_arrive_whatever_fails_late(stock: Inventory) -> None:
    ended(stock, 500, REFUSED, hours_ago=3)
    ended(stock, 1, hours_ago=2)
    assert ill(stock) == [(None, "T2_B")]
    ended(stock, 2, hours_ago=1)
    assert ill(stock) == []
    stock.rows("UPDATE transfers SET finished_at = now() WHERE state = 'failed'")  # begun before, ended after
    assert ill(stock) == []
    ended(stock, 30, REFUSED, hours_ago=0.5)
    assert ill(stock) == [(None, "T2_B")]


def test_what_ended_long_ago_is_not_looked_at(stock: Inventory) -> None:
    ended(stock, 50, REFUSED, hours_ago=25)
    assert ill(stock) == []


def test_a_link_is_ill_by_its_source_or_by_itself(stock: Inventory) -> None:
    ended(stock, 20, AWAY)
    ended(stock, 20, CUT, link=("T2_C", "T2_B"))
    ended(stock, 20, link=("T2_D", "T2_B"))
    assert ill(stock) == [("T2_A", "T2_B"), ("T2_C", "T2_B")]
    assert [place.is_refused for place in places(stock)] == [False, False]


def test_what_a_site_refused_says_nothing_of_its_links_once_it_is_well(stock: Inventory) -> None:
    ended(stock, 50, FULL)
    ended(stock, 5, link=("T2_C", "T2_B"))
    assert ill(stock) == []


def test_of_an_ill_site_no_link_is_named(stock: Inventory) -> None:
    ended(stock, 20, AWAY)
    ended(stock, 20, FULL)
    assert ill(stock) == [(None, "T2_B")]


def test_our_credential_is_named_when_several_sites_refuse_us(stock: Inventory) -> None:
    ended(stock, 20, REFUSED)
    assert refusing(places(stock), ILLNESS) == []
    ended(stock, 20, FULL, link=("T2_A", "T2_C"))
    assert refusing(places(stock), ILLNESS) == []
    ended(stock, 20, "SOURCE [13] Permission denied", link=("T2_D", "T2_A"))
    assert refusing(places(stock), ILLNESS) == ["T2_B", "T2_D"]


def test_one_site_is_enough_where_it_is_said(stock: Inventory) -> None:
    ended(stock, 20, "DESTINATION [13] the proxy has expired")
    assert refusing(places(stock), ILLNESS) == ["T2_B"]


def test_a_probe_is_due_some_time_after_the_last_batch(stock: Inventory) -> None:
    ended(stock, 20, REFUSED, hours_ago=0.25)
    (place,) = places(stock)
    now = datetime.now(UTC)
    assert not place.is_probe_due(now, ILLNESS)
    assert place.is_probe_due(now + timedelta(minutes=16), ILLNESS)
