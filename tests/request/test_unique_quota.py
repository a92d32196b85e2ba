"""Quotas of groups and users: every block counts once, however many copies there are."""

from __future__ import annotations

import pytest

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.request.advance import advance
from dynamo_ops.request.cancel import cancel
from dynamo_ops.request.unique_quota import group_usage, set_group_quota, set_user_quota, user_usage
from tests.inventory.factory import SIZE
from tests.people import ADA, BOB, ROOT_USER
from tests.request.stock import DATASET, OTHER, Stock

BLOCK, WHOLE = 3 * SIZE, 6 * SIZE


def groups(stock: Stock) -> dict[str, tuple[int, int, int | None]]:
    """Group → (quota, used, free)."""
    return {row[0]: row[1:] for row in group_usage(stock.db).iter_rows()}


def users(stock: Stock) -> dict[str, tuple[int, int, int | None]]:
    """User → (quota, used, free)."""
    return {row[0]: row[1:] for row in user_usage(stock.db).iter_rows()}


def test_a_block_in_many_copies_counts_once(asked: Stock) -> None:
    assert groups(asked) == {"ops": (-1, WHOLE, None), "users": (-1, 0, None)}
    asked.own("b1", "T2_B", asked.users)
    assert groups(asked) == {"ops": (-1, WHOLE, None), "users": (-1, BLOCK, None)}
    asked.own("b1", "T2_A", None)
    assert groups(asked)["ops"] == (-1, BLOCK, None)


def test_open_requests_count_for_their_group_and_person_once(asked: Stock) -> None:
    asked.other_dataset("c1")
    asked.ask(OTHER, f"{DATASET}#b1", group="users")
    asked.ask(OTHER, sites=("T2_A",), group="users")
    asked.ask(OTHER, sites=("T2_B",), group="users", by=BOB)
    assert groups(asked)["users"] == (-1, SIZE + BLOCK, None)
    assert users(asked) == {"ada": (-1, SIZE + BLOCK, None), "bob": (-1, SIZE, None)}


def test_what_is_cancelled_counts_no_more(asked: Stock) -> None:
    request = asked.ask(group="users")
    cancel(asked.db, request, by=ADA, reason="mistake")
    assert (groups(asked)["users"], users(asked)) == ((-1, 0, None), {})


def test_what_is_completed_counts_for_the_person_while_the_group_owns_it_somewhere(asked: Stock) -> None:
    asked.ask(sites=("T2_A",))
    advance(asked.db)
    assert users(asked) == {"ada": (-1, WHOLE, None)}
    for site in ("T2_A", "T2_B"):
        asked.own("b1", site, None)
    assert users(asked) == {"ada": (-1, BLOCK, None)}


@pytest.mark.parametrize(
    ("quota", "shown"),
    [(10 * SIZE, (10 * SIZE, WHOLE, 4 * SIZE)), (0, (0, WHOLE, 0)), (-5, (-5, WHOLE, None))],
    ids=["some left", "over", "unlimited"],
)
def test_quotas_are_set_and_shown(asked: Stock, quota: int, shown: tuple[int, int, int | None]) -> None:
    asked.ask(sites=("T2_A",))
    set_group_quota(asked.db, "ops", 1, by=ROOT_USER)
    set_group_quota(asked.db, "ops", quota, by=BOB)
    set_user_quota(asked.db, "ada", quota, by=BOB)
    assert (groups(asked)["ops"], users(asked)["ada"]) == (shown, shown)
    assert asked.rows("SELECT changed_by, changed_at <= now() FROM group_quotas") == [("bob", True)]


def test_a_person_can_have_a_quota_before_the_first_request(asked: Stock) -> None:
    set_user_quota(asked.db, "eve", 5, by=BOB)
    assert users(asked) == {"eve": (5, 0, 5)}


def test_the_quota_of_an_unknown_group_or_of_nobody_is_refused(asked: Stock) -> None:
    with pytest.raises(InventoryError, match=r"there is no group 'opps'; groups are ops, users. Did you mean ops\?"):
        set_group_quota(asked.db, "opps", 1, by=BOB)
    with pytest.raises(InventoryError, match="say whose"):
        set_user_quota(asked.db, " ", 1, by=BOB)


def test_a_request_above_the_quota_of_the_group_is_refused_with_figures(asked: Stock) -> None:
    asked.own("b1", "T2_A", asked.users)
    set_group_quota(asked.db, "users", 5 * SIZE, by=BOB)
    with pytest.raises(InventoryError) as error:
        asked.ask(group="users")
    assert str(error.value) == (
        "3.00 kB more are above the quota of group users: 5.00 kB of unique data, of which 3.00 kB are used"
    )
    assert asked.ask(f"{DATASET}#b1", group="users")


def test_a_request_above_the_quota_of_the_person_is_refused_and_asking_again_is_free(asked: Stock) -> None:
    set_user_quota(asked.db, "ada", BLOCK, by=BOB)
    request = asked.ask(f"{DATASET}#b1")
    with pytest.raises(InventoryError, match=r"3\.00 kB more are above the quota of user ada: 3\.00 kB"):
        asked.ask(DATASET)
    assert asked.ask(f"{DATASET}#b1") == request
    assert asked.ask(f"{DATASET}#b1", sites=("T2_B",)) != request
    assert asked.ask(DATASET, by=BOB)


def test_who_is_above_the_quota_already_may_ask_for_what_counts(asked: Stock) -> None:
    set_group_quota(asked.db, "ops", 0, by=BOB)
    assert asked.ask()
