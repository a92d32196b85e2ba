"""One dataset on a card."""

from __future__ import annotations

import pytest

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.query.dataset_card import dataset_card
from tests.query.stock import FIRST, LOWER, Stock


def test_a_card_has_what_is_stored_about_the_dataset(stock: Stock) -> None:
    stock.rows("INSERT INTO attributes (name, producer, produced_at) VALUES ('usage_rank', 'ranks', now())")
    stock.rows(
        "INSERT INTO dataset_attributes (dataset_id, name, value) VALUES (:d, 'usage_rank', 7.5)",
        d=stock.dataset_ids[FIRST],
    )
    for item in (FIRST, f"{FIRST}#a1", "/A/*", "/B/*", LOWER):
        stock.rows("INSERT INTO locks (item, reason, created_by) VALUES (:i, 'thesis', 'ada')", i=item)
    stock.rows("INSERT INTO locks (item, reason, created_by, removed_at) VALUES (:i, 'over', 'ada', now())", i=FIRST)
    stock.subscription("delete", stock.files_of["a1"], "T2_B")
    card = dataset_card(stock.db, FIRST)
    assert (card.dataset["name"], card.dataset["num_files"], card.dataset["num_copies"]) == (FIRST, 4, 2)
    assert card.dataset["attributes"] == {"usage_rank": 7.5}
    assert [lock["item"] for lock in card.locks] == [FIRST, f"{FIRST}#a1", "/A/*"]
    assert [(site["site"], site["num_doomed_blocks"], site["decision"]) for site in card.sites] == [
        ("T1_Tape", 0, None),
        ("T2_A", 0, None),
        ("T2_B", 1, None),
    ]


def test_open_requests_and_the_newest_decision_of_each_site_are_on_it(stock: Stock) -> None:
    request = stock.scalar(
        """INSERT INTO requests (kind, digest, sites, num_copies, requested_by, last_asked_by)
           VALUES ('copy', 'x', '{T2_*}', 1, 'ada', 'ada') RETURNING id"""
    )
    stock.rows(
        "INSERT INTO request_items (request_id, number, dataset_id) VALUES (:r, 1, :d)",
        r=request, d=stock.dataset_ids[FIRST],
    )  # fmt: skip
    version = stock.scalar(
        "INSERT INTO policy_versions (kind, partition, sha256, text) VALUES ('detox', 'p', 'x', 'y') RETURNING id"
    )
    stock.rows(
        "INSERT INTO policy_lines (policy_version_id, line, text, source_line) VALUES (:v, 2, 'Protect', 9)", v=version
    )
    for day, decision in ((1, "delete"), (2, "protect")):
        plan = stock.scalar(
            """INSERT INTO plans (kind, partition, run_key, policy_version_id, location, summary, planned_for_at, state,
                                  committed_at)
               VALUES ('detox', 'p', :k, :v, '', '{}', now(), 'committed', make_timestamptz(2026, 3, :d, 0, 0, 0))
               RETURNING id""",
            k=f"run {day}", v=version, d=day,
        )  # fmt: skip
        stock.rows(
            """INSERT INTO detox_history (dataset_id, site_id, plan_id, decision, line, num_blocks, size_bytes)
               VALUES (:d, :s, :p, :x, 2, 1, 1)""",
            d=stock.dataset_ids[FIRST], s=stock.site_ids["T2_A"], p=plan, x=decision,
        )  # fmt: skip
    card = dataset_card(stock.db, FIRST)
    assert [(asked["id"], asked["sites"], asked["requested_by"]) for asked in card.requests] == [
        (request, "T2_*", "ada")
    ]
    decisions = {site["site"]: site["decision"] for site in card.sites if site["decision"]}
    assert list(decisions) == ["T2_A"]
    assert decisions["T2_A"]["decision"] == "protect"
    assert (decisions["T2_A"]["policy_line"], decisions["T2_A"]["line"]) == ("Protect", 2)


def test_what_is_to_come_is_counted_by_block(stock: Stock) -> None:
    stock.subscription("copy", stock.files_of["c1"][1:], "T2_C")
    (site,) = dataset_card(stock.db, LOWER).sites
    assert (site["num_awaited_blocks"], site["num_doomed_blocks"], site["is_full"]) == (1, 0, False)


def test_a_name_that_is_not_known_is_told_with_near_ones(stock: Stock) -> None:
    with pytest.raises(InventoryError, match="Did you mean /A/B-v1/AOD"):
        dataset_card(stock.db, "/A/B-v1/AODD")
