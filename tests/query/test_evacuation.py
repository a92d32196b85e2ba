"""A site is given up: morgue and no quota, both or nothing; and what is left of it is told."""

from __future__ import annotations

import pytest

from dynamo_ops.access.actions import AccessError
from dynamo_ops.access.person import Grant, KnownBy, Person, Role, Scope
from dynamo_ops.base.errors import InventoryError
from dynamo_ops.inventory.site.evacuation import evacuate
from dynamo_ops.inventory.site.quota import set_quotas
from dynamo_ops.query.only_here import OnlyHere, only_here_in_all
from tests.inventory.factory import SIZE
from tests.people import ADA, ROOT_USER
from tests.query.stock import Stock

QUOTAS = "SELECT partition, quota_bytes FROM quotas ORDER BY 1"
STATUS = "SELECT status FROM sites WHERE name = 'T2_B'"
AUDIT = "SELECT action, outcome FROM audit WHERE at >= now() - interval '1 hour' ORDER BY id DESC LIMIT 3"


@pytest.fixture(autouse=True)
def quotas(stock: Stock) -> None:
    for partition, size in (("express", -1), ("physics", 5 * SIZE), ("tape", 0)):
        set_quotas(stock.db, ["T2_B", "T2_A"], partition, size, by=ROOT_USER, reason="of the test")


def test_the_site_is_in_the_morgue_and_nothing_may_be_there(stock: Stock) -> None:
    done = evacuate(stock.db, "T2_B", by=ROOT_USER, reason="closes in May")
    assert (done.override.site, done.override.status, done.override.status_before) == ("T2_B", "morgue", "ready")
    assert done.quotas.rows() == [("express", -1), ("physics", 5 * SIZE)]
    assert stock.scalar(STATUS) == "morgue"
    held = "SELECT s.name, q.quota_bytes FROM quotas q JOIN sites s ON s.id = q.site_id ORDER BY 1, q.partition"
    assert stock.rows(held) == [("T2_A", -1), ("T2_A", 5 * SIZE), ("T2_A", 0), *[("T2_B", 0)] * 3]
    reasons = "SELECT DISTINCT reason FROM quota_changes WHERE new_bytes = 0 AND old_bytes <> 0"
    assert stock.rows(reasons) == [("closes in May",)]
    assert stock.rows("SELECT * FROM subscriptions") == [], "nothing is deleted, and the Dealer decides what is copied"
    again = evacuate(stock.db, "T2_B", by=ROOT_USER, reason="closes in June")
    assert again.quotas.is_empty()
    assert again.override.status_before == "morgue"


def test_who_may_not_do_both_has_done_neither_and_the_audit_says_so(stock: Stock) -> None:
    admin_there = Person("sam", KnownBy.TOKEN, (Grant(Role.SITE_ADMIN, Scope.parse("site:T2_B")),))
    before = stock.rows(QUOTAS)
    with pytest.raises(AccessError, match="quota"):
        evacuate(stock.db, "T2_B", by=admin_there, reason="closes")
    assert stock.scalar(STATUS) == "ready"
    assert stock.rows(QUOTAS) == before
    assert stock.rows("SELECT count(*) FROM site_overrides") == [(0,)]
    assert ("set a partition's quota", "refused") in stock.rows(AUDIT)


@pytest.mark.parametrize(("site", "reason"), [("T2_X", "closes"), ("T2_B", " ")])
def test_an_unknown_site_or_no_reason_changes_nothing(stock: Stock, site: str, reason: str) -> None:
    before = stock.rows(QUOTAS)
    with pytest.raises(InventoryError):
        evacuate(stock.db, site, by=ADA, reason=reason)
    assert (stock.scalar(STATUS), stock.rows(QUOTAS)) == ("ready", before)


def test_what_is_left_is_counted_and_what_is_on_its_way(stock: Stock) -> None:
    assert only_here_in_all(stock.db, "T2_B") == OnlyHere(1, 3, 3 * SIZE, 0)
    evacuate(stock.db, "T2_B", by=ROOT_USER, reason="closes")
    assert only_here_in_all(stock.db, "T2_B") == OnlyHere(1, 3, 3 * SIZE, 0), "it is there as before"
    stock.replica("b1", "T2_A", present=[])
    stock.subscription("copy", stock.files_of["b1"][:1], "T2_A")
    assert only_here_in_all(stock.db, "T2_B") == OnlyHere(1, 3, 3 * SIZE, 1)
    assert only_here_in_all(stock.db, "T2_A") == OnlyHere(0, 0, 0, 0)
