"""Subscriptions, copies and deletions, checks of storages, popularity: as they are in the inventory."""

from __future__ import annotations

from typing import Any

import pytest

from tests.plugins.web.conftest import Ask
from tests.query.stock import FIRST, LOWER, SECOND, Stock


@pytest.fixture
def moving(stock: Stock) -> Stock:
    """Two copies of SECOND to T2_A: one failed and waits, one runs; a deletion of FIRST at T2_B that failed before."""
    stock.subscription("copy", stock.files_of["b1"][:2], "T2_A", "request 7")
    stock.subscription("delete", stock.files_of["a1"][:1], "T2_B", "detox")
    stock.rows("UPDATE subscriptions SET state = 'held', hold_reason = 'all_failed', num_attempts = 1 WHERE id = 1")
    stock.rows("UPDATE subscriptions SET state = 'inbatch' WHERE id IN (2, 3)")
    stock.rows(
        """WITH batch AS (
               INSERT INTO transfer_batches (sid, job_id, site_id, is_staging, state, server, activity)
               VALUES ('s', '00000000-0000-0000-0000-000000000001', :a, false, 'submitted',
                       'https://fts.example.org:8446', 'express')
               RETURNING id)
           INSERT INTO transfers (batch_id, subscription_id, file_index, source_site_id, state, is_recoverable, blame,
                                  reason, size_bytes, started_at, finished_at)
           SELECT batch.id, made.subscription, made.subscription, :b, made.state, made.state = 'failed',
                  CASE WHEN made.state = 'failed' THEN 'file' END, made.reason,
                  1000, now() - interval '1 hour', CASE WHEN made.state = 'failed' THEN now() - interval '1 minute' END
           FROM batch, (VALUES (1, 'failed', 'SOURCE [2] no such file'), (2, 'active', NULL))
               AS made (subscription, state, reason)""",
        a=stock.site_ids["T2_A"],
        b=stock.site_ids["T2_B"],
    )
    stock.rows(
        """WITH batch AS (INSERT INTO deletion_batches (site_id) VALUES (:b) RETURNING id)
           INSERT INTO deletions (batch_id, subscription_id, state, reason, size_bytes, finished_at)
           SELECT batch.id, 3, made.state, made.reason, 1000, made.at
           FROM batch, (VALUES ('failed', '503', now() - interval '2 hours'), ('failed', '500', now()),
                               ('planned', NULL, NULL)) AS made (state, reason, at)""",
        b=stock.site_ids["T2_B"],
    )
    return stock


def ids(document: Any) -> list[int]:
    return [row["id"] for row in document["items"]]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, [3, 1, 2]),
        ({"action": "copy"}, [1, 2]),
        ({"state": "held"}, [1]),
        ({"hold_reason": ["all_failed", "operator"]}, [1]),
        ({"site": "T2_B"}, [3]),
        ({"dataset": SECOND}, [1, 2]),
        ({"dataset": "/A/*", "lfn": "*/f1"}, [2]),
        ({"lfn": ["/store/b1/f0", "/no/such"]}, [1]),
        ({"block": "a1"}, [3]),
        ({"origin": "request *"}, [1, 2]),
        ({"activity": "none"}, []),
        ({"site": "T2_C"}, []),
    ],
)
def test_subscriptions_by_what_is_asked(moving: Stock, ada: Ask, asked: dict[str, Any], expected: list[int]) -> None:
    assert ids(ada("/subscriptions", **asked)) == expected


def test_subscriptions_in_pages_and_what_cannot_be_asked(moving: Stock, ada: Ask) -> None:
    first = ada("/subscriptions", limit=2, fields="id")
    assert (first["items"], first["next"] is None) == ([{"id": 3}, {"id": 1}], False)
    assert ada("/subscriptions", limit=2, fields="id", cursor=first["next"])["items"] == [{"id": 2}]
    assert "name these" in ada("/subscriptions", code=422, lfn="/store/*")["detail"]
    assert "no state of an active" in ada("/subscriptions", code=422, state="done")["detail"]
    ada("/subscriptions", code=404, dataset="/Q/*")


def test_why_something_stands_where_it_stands(moving: Stock, ada: Ask) -> None:
    held = ada("/subscriptions/1")
    assert held["because"].startswith("held: the last attempt from each site")
    assert [attempt["state"] for attempt in held["attempts"]] == ["failed"]
    assert "url" in held["attempts"][0]
    file = ada(f"/files/{moving.file_ids['/store/b1/f0']}/why")
    assert (file["dataset"], [source["site"] for source in file["sources"]]) == (SECOND, ["T2_B"])
    assert [row["subscription_id"] for row in file["subscriptions"]] == [1]
    assert ada(f"/files/{moving.file_ids['/store/b1/f0']}/why", site="T2_C")["subscriptions"] == []
    assert ada("/subscriptions/99", code=404)["facts"] == {"subscription_id": 99}
    assert ada("/files/99/why", code=404)["facts"] == {"file_id": 99}


def test_copies(moving: Stock, ada: Ask) -> None:
    (running,) = ada("/transfers/under-way")["items"]
    assert (running["subscription_id"], running["source"], running["site"]) == (2, "T2_B", "T2_A")
    assert (running["stage"], running["activity"]) == ("active", "express")
    moving.rows("UPDATE transfers SET finished_at = now() WHERE state = 'active'")
    assert ada("/transfers/under-way", state="active", source="T2_B")["items"][0]["stage"] == "archiving"
    assert ada("/transfers/under-way", activity="default")["items"] == []
    (ended,) = ada("/transfers/ended", site="T2_A", because="no such", since="2min")["items"]
    assert (ended["subscription_id"], ended["reason"]) == (1, "SOURCE [2] no such file")
    assert ada("/transfers/ended", until="2min")["items"] == []
    assert ada("/transfers/ended", state="done")["items"] == []
    assert "no state of a transfer that ended" in ada("/transfers/ended", code=422, state="active")["detail"]
    figures = ada("/transfers", site="T2_A")
    assert {(row["state"], row["num_files"]) for row in figures["subscribed"]} == {("held", 1), ("inbatch", 1)}
    assert {row["backend"] for row in figures["under_way"]} == {"fts"}
    assert [(row["source"], row["state"]) for row in figures["ended"]] == [("T2_B", "failed")]
    assert ada("/transfers", since="10s")["ended"] == []
    moving.rows("""INSERT INTO fts_servers (address, illness, ill_since, reason)
                   VALUES ('https://fts', 'away', now(), 'no answer')""")
    servers = {server["server"]: (server["illness"], server["reason"]) for server in ada("/transfers")["servers"]}
    assert servers["https://fts"] == ("away", "no answer")
    assert "servers" not in ada("/deletions")
    assert ada("/transfers", code=422, since="soon")["facts"] == {"since": "soon"}


def test_what_ended_by_hour(moving: Stock, ada: Ask) -> None:
    moving.rows("UPDATE transfers SET state = 'done', finished_at = now() WHERE state = 'active'")
    moving.rows("UPDATE deletions SET state = 'gone', finished_at = now() WHERE state = 'planned'")
    (done,) = ada("/transfers/series", by=["source", "outcome"], outcome="done", since="2h")["items"]
    assert (done["source"], done["num_files"], done["size_bytes"]) == ("T2_B", 1, 1000)
    assert ada("/transfers/series", step="day", source="T2_C")["items"] == []
    assert [row["num_files"] for row in ada("/deletions/series", by="site", step="day")["items"]] == [1]
    (link,) = ada("/transfers/links", site="T2_A")["items"]
    assert (link["source"], link["num_done"]) == ("T2_B", 1)
    assert ada("/transfers/errors")["items"] == []
    assert "no part to sum by" in ada("/deletions/series", code=422, by="source")["detail"]
    assert ada("/transfers/links", code=422, until="then")["facts"] == {"until": "then"}


def test_deletions(moving: Stock, ada: Ask) -> None:
    assert [row["site"] for row in ada("/deletions/under-way")["items"]] == ["T2_B"]
    first = ada("/deletions/ended", limit=1)
    assert [row["reason"] for row in first["items"]] == ["500"]
    assert [row["reason"] for row in ada("/deletions/ended", cursor=first["next"])["items"]] == ["503"]
    assert [row["reason"] for row in ada("/deletions/ended", state="failed", until="1h")["items"]] == ["503"]
    assert ada("/deletions/ended", site="T2_A")["items"] == []
    assert ada("/deletions/ended", code=422, source="T2_A")["facts"]["faults"][0]["parameter"] == "source"
    figures = ada("/deletions")
    assert [(row["site"], row["num_files"]) for row in figures["subscribed"]] == [("T2_B", 1)]
    assert [row["backend"] for row in figures["under_way"]] == ["deletion", "deletion"]
    assert [row["num_files"] for row in figures["ended"]] == [2]


def test_checks_of_storages(stock: Stock, ada: Ask) -> None:
    stock.rows(
        """WITH checked AS (
               INSERT INTO consistency_checks (run_key, site_id, state, started_at)
               VALUES ('one', :b, 'refused', now() - interval '2 days'), ('two', :b, 'repaired', now()) RETURNING id)
           INSERT INTO consistency_findings (check_id, kind, state, lfn, size_bytes)
           SELECT (SELECT max(id) FROM checked), kind, state, lfn, 10
           FROM (VALUES ('orphan', 'repaired', '/x'), ('missing', 'lost', '/z'), ('missing', 'lost', '/y'),
                        ('missing', 'repaired', '/w')) AS found (kind, state, lfn)""",
        b=stock.site_ids["T2_B"],
    )
    assert ids(ada("/consistency/checks")) == [2, 1]
    assert ids(ada("/consistency/checks", site="T2_B", since="1d")) == [2]
    assert ids(ada("/consistency/checks", state="refused")) == [1]
    card = ada("/consistency/checks/2")
    assert (card["site"], card["run_key"]) == ("T2_B", "two")
    assert {(row["kind"], row["state"]): row["num_files"] for row in card["findings"]} == {
        ("missing", "lost"): 2,
        ("missing", "repaired"): 1,
        ("orphan", "repaired"): 1,
    }
    first = ada("/consistency/checks/2/findings", limit=2, fields="lfn")
    rest = ada("/consistency/checks/2/findings", cursor=first["next"], fields="lfn")
    assert [row["lfn"] for row in (*first["items"], *rest["items"])] == ["/z", "/y", "/w", "/x"]
    assert [row["lfn"] for row in ada("/consistency/checks/2/findings", state="lost", lfn="/y*")["items"]] == ["/y"]
    assert ada("/consistency/checks/2/findings", document=1) == {"files": ["/y", "/z"]}
    assert ada("/consistency/checks/1/findings", kind="orphan")["items"] == []
    for path in ("99", "99/findings", "99/findings?document=1"):
        assert ada(f"/consistency/checks/{path}", code=404)["facts"] == {"check_id": 99}


def test_popularity(stock: Stock, ada: Ask) -> None:
    stock.rows(
        """INSERT INTO accesses_daily (day, source, dataset_id, site_id, num_accesses)
           SELECT CURRENT_DATE - made.age, 'jobs', made.dataset, :a, made.number
           FROM (VALUES (0, :first, 3), (1, :first, 4), (1, :second, 5), (9, :first, 6)) AS made (age, dataset, number)
        """,
        a=stock.site_ids["T2_A"],
        first=stock.dataset_ids[FIRST],
        second=stock.dataset_ids[SECOND],
    )
    stock.rows("INSERT INTO attributes (name, producer, produced_at) VALUES ('global_usage_rank', 'usage', now())")
    stock.rows(
        "INSERT INTO dataset_attributes (name, dataset_id, value) VALUES ('global_usage_rank', :d, 1.5)",
        d=stock.dataset_ids[FIRST],
    )
    stock.rows(
        "INSERT INTO demand_daily (day, source, dataset_id, num_jobs) VALUES (CURRENT_DATE, 'jobs', :d, 8)",
        d=stock.dataset_ids[FIRST],
    )
    one = ada("/popularity", dataset=FIRST, days=5)
    assert [(row["site"], row["num_accesses"]) for row in one["accesses"]] == [("T2_A", 4), ("T2_A", 3)]
    assert [row["num_jobs"] for row in one["demand"]] == [8]
    assert one["attributes"] == [{"dataset": FIRST, "attribute": "global_usage_rank", "value": 1.5}]
    both = ada("/popularity", dataset="/A/*")
    assert (both["num_datasets"], [row["num_accesses"] for row in both["accesses"]]) == (2, [6, 9, 3])
    assert ada("/popularity", dataset=LOWER)["accesses"] == []
    ada("/popularity", code=404, dataset="/Q")
    ada("/popularity", code=422)
