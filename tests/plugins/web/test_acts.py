"""What each write does and answers; what is unknown or wrong is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from dynamo_ops.access import grants
from dynamo_ops.access.person import Grant, Role, shell_person
from dynamo_ops.inventory.site.downtime import downtimes
from tests.inventory.factory import SIZE
from tests.people import ROOT_USER
from tests.plan.test_store import save
from tests.plugins.web.callers import Call, headers_of, olga, passed_plan
from tests.plugins.web.test_login import PAGE_OF_OURS
from tests.query.stock import FIRST, LOWER, SECOND, Stock

__all__ = ["olga"]

COPIES = {"items": [FIRST], "sites": ["T2_B"], "group": "physics"}
DELETIONS = {"items": [f"{FIRST}#a1"], "sites": ["T2_B"], "reason": "disk is full"}


@pytest.fixture(autouse=True)
def physics(stock: Stock) -> None:
    stock.rows("INSERT INTO groups (name, ownership_level) VALUES ('physics', 'dataset')")


def rows(stock: Stock, sql: str) -> list[Any]:
    return stock.rows(sql)


def test_copies_are_asked_for_once_and_counted(olga: Call, stock: Stock) -> None:
    tried = olga("POST", "/requests/copies", COPIES, dry_run=True)
    volume = {"num_files": 4, "size_bytes": 4 * SIZE, "at": [{"site": "T2_B", "there_bytes": 2 * SIZE}]}
    assert tried.json() == {"num_asked": 1, **volume, "dry_run": True}
    first = olga("POST", "/requests/copies", COPIES, code=201)
    request_id = first.json()["id"]
    assert first.headers["location"] == f"/dynamo/v1/requests/{request_id}"
    again = olga("POST", "/requests/copies", COPIES)
    assert again.json() == {"id": request_id, "num_asked": 2, **volume, "dry_run": False}
    assert rows(stock, "SELECT requested_by, num_copies, state FROM requests") == [("olga", 1, "new")]
    ended = olga("POST", f"/requests/{request_id}/cancel", {"reason": "no more"}).json()
    assert (ended["id"], ended["kind"], ended["num_subscriptions"]) == (request_id, "copy", 0)
    problem = olga("POST", f"/requests/{request_id}/cancel", {"reason": "no more"}, code=422).json()
    assert "is cancelled by olga: no more" in problem["detail"]


def test_deletions_are_decided_at_once(olga: Call, stock: Stock) -> None:
    tried = olga("POST", "/requests/deletions", DELETIONS, dry_run=True).json()
    assert (tried["state"], tried["accepted_bytes"], "id" in tried) == ("activated", 2000, False)
    assert rows(stock, "SELECT * FROM subscriptions") == []
    done = olga("POST", "/requests/deletions", DELETIONS, code=201).json()
    assert {**done, "id": 0, "dry_run": True} == {**tried, "id": 0}
    assert done["verdicts"] == [
        {"item": f"{FIRST}#a1", "site": "T2_B", "state": "queued", "reason": None, "num_blocks": 1, "size_bytes": 2000}
    ]
    assert rows(stock, "SELECT action, count(*) FROM subscriptions GROUP BY 1") == [("delete", 2)]
    last = {"items": [SECOND], "sites": ["T2_B"], "reason": "x"}
    refused = olga("POST", "/requests/deletions", last, code=201).json()
    assert (refused["state"], refused["num_last_files"]) == ("rejected", 3)
    assert "3 files would lose" in olga("POST", "/requests/deletions", last | {"allow_last": 2}, code=422).text


def test_quotas(olga: Call, stock: Stock) -> None:
    asked = {"partition": "physics", "sites": ["T2_[AB]*", "T2_C"], "quota": "1.5 TB", "reason": "new disks"}
    tried = olga("PUT", "/quotas/partitions", asked, dry_run=True).json()
    assert tried == {"partition": "physics", "sites": ["T2_A", "T2_B", "T2_C"], "quota_bytes": 15 * 10**11,
                     "num_changed": 3, "dry_run": True}  # fmt: skip
    assert olga("PUT", "/quotas/partitions", asked).json()["num_changed"] == 3
    assert olga("PUT", "/quotas/partitions", asked | {"quota": 15 * 10**11}).json()["num_changed"] == 0
    assert olga("PUT", "/quotas/partitions", asked | {"quota": None, "sites": ["T2_A"]}).json()["num_changed"] == 1
    assert rows(stock, "SELECT count(*), min(changed_by), min(quota_bytes) FROM quotas") == [(2, "olga", 15 * 10**11)]
    for quota, status in (("unlimited", 200), (-1, 200), (0, 200), (-2, 422), ("much", 422), (1.5, 422), ("-2 TB", 422),
                          (2**63, 422), (True, 422), ("9" * 30, 422)):  # fmt: skip
        answer = olga("PUT", "/quotas/groups/users", {"quota": quota}, code=status)
        if status == 422:
            assert "quota" in answer.text
    assert rows(stock, "SELECT quota_bytes FROM group_quotas") == [(0,)]
    assert olga("PUT", "/quotas/users/ada", {"quota": "2 PB"}).json()["quota_bytes"] == 2 * 10**15


def test_what_is_said_of_sites(olga: Call, stock: Stock) -> None:
    morgue = {"status": "morgue", "reason": "given up", "until": "30 days"}
    said = olga("PUT", "/sites/T2_A/status", morgue).json()
    assert (said["status_before"], said["status"], said["created_by"]) == ("ready", "morgue", "olga")
    assert olga("DELETE", "/sites/T2_A/status").json() == {"site": "T2_A", "status": "ready", "dry_run": False}
    assert "nothing to end" in olga("DELETE", "/sites/T2_A/status", code=422).json()["detail"]
    assert "morgue" in olga("PUT", "/sites/T2_A/status", morgue | {"status": "morg"}, code=422).json()["detail"]

    made = olga("POST", "/sites/T2_A/downtimes", {"reason": "power", "begin": "1d", "until": "3d"}, code=201)
    assert (made.headers["location"], made.json()["site"]) == ("/dynamo/v1/sites/T2_A", "T2_A")
    olga("POST", "/sites/T2_A/downtimes", {"reason": "now"}, code=201)
    assert olga("DELETE", "/sites/T2_A/downtimes", dry_run=True).json()["ended"] == [2]
    assert olga("DELETE", "/sites/T2_A/downtimes").json()["ended"] == [2]
    assert olga("DELETE", "/sites/T2_A/downtimes", planned=True).json()["ended"] == [1]
    assert downtimes(stock.db)["id"].to_list() == []
    stock.site("T2 Ж")
    named = olga("POST", "/sites/T2 Ж/downtimes", {"reason": "x"}, code=201)
    assert named.headers["location"] == "/dynamo/v1/sites/T2%20%D0%96"
    for body, words in (
        ({"reason": " "}, "say why"),
        ({"reason": "x", "begin": "soon"}, "begin 'soon' is not a time"),
        ({"reason": "x", "until": "2001-01-01"}, "must be after its begin"),
        ({"reason": "x", "begin": "5d", "until": "3d"}, "must be after its begin"),
        ({"reason": "x", "until": "2 years"}, "in more than 366 days"),
    ):
        assert words in olga("POST", "/sites/T2_A/downtimes", body, code=422).json()["detail"]


def test_pauses(olga: Call) -> None:
    made = olga("POST", "/pauses", {"kind": "detox", "partition": "physics", "reason": "look", "until": "2h"}, code=201)
    assert (made.json()["kind"], made.json()["at_fts"]) == ("detox", None)
    assert olga("GET", made.headers["location"].removeprefix("/dynamo/v1")).json()["is_in_force"] is True
    everything = olga("POST", "/pauses", {"reason": "everything"}, code=201).json()
    assert everything["at_fts"] == {"num_files": 0, "num_jobs": 0, "size_bytes": 0}
    assert [row["kind"] for row in olga("GET", "/pauses").json()["items"]] == [None, "detox"]
    assert [row["id"] for row in olga("GET", "/pauses", limit=1).json()["items"]] == [2]
    (ended,) = olga("DELETE", "/pauses/1", reason="seen").json()["ended"]
    assert (ended["id"], ended["partition"]) == (1, "physics")
    assert olga("DELETE", "/pauses/1", code=404).json()["type"] == "urn:dynamo:error:unknown-name"
    assert [pause["id"] for pause in olga("DELETE", "/pauses").json()["ended"]] == [2]
    assert olga("GET", "/pauses/1").json()["ended_by"] == "olga"
    for wrong, words in (
        ({"kind": "transfer"}, "Did you mean transfers"),
        ({"kind": "transfers", "partition": "physics"}, "have no partitions"),
    ):
        assert words in olga("POST", "/pauses", wrong | {"reason": "x"}, code=422).json()["detail"]


def test_subscriptions_are_moved_as_a_dry_run_said(olga: Call, stock: Stock) -> None:
    stock.subscription("copy", stock.files_of["c1"], "T2_A", origin="dealer")
    chosen = {"datasets": [LOWER], "actions": ["copy"], "reason": "T2_A is slow"}
    tried = olga("POST", "/subscriptions/hold", chosen, dry_run=True).json()
    assert (tried["num_files"], tried["size_bytes"]) == (2, 2000)
    assert tried["rows"] == [{"action": "copy", "state": "new", "hold_reason": None, "site": "T2_A", "num_files": 2,
                              "size_bytes": 2000}]  # fmt: skip
    stock.subscription("copy", stock.files_of["a1"][:1], "T2_C", origin="dealer")
    wider = chosen | {"datasets": [LOWER, "/A/*"], "expected_files": tried["num_files"]}
    assert "3 files by now, not 2" in olga("POST", "/subscriptions/hold", wider, code=422).json()["detail"]
    assert olga("POST", "/subscriptions/hold", chosen | {"expected_files": 2}).json()["num_files"] == 2
    held = {"hold_reasons": ["operator"], "sites": ["T2_A"]}
    assert olga("POST", "/subscriptions/retry", held).json()["num_files"] == 0
    assert olga("POST", "/subscriptions/release", held | {"expected_files": 2}).json()["num_files"] == 2
    assert "expected_files" in olga("POST", "/subscriptions/release", held | {"expected_files": "2"}, code=422).text
    assert olga("POST", "/subscriptions/cancel", chosen | {"disown": True}).json()["num_files"] == 2
    assert "say which" in olga("POST", "/subscriptions/hold", {"reason": "x"}, code=422).json()["detail"]
    assert "say why" in olga("POST", "/subscriptions/hold", held, code=422).json()["detail"]


def test_documents(olga: Call, stock: Stock) -> None:
    document = {"datasets": [{"name": "/New/B-v1/AOD", "blocks": [
        {"name": "b", "files": [{"lfn": "/store/new", "size_bytes": 5, "adler32": "0a1b2c3d"}]}]}]}  # fmt: skip
    tried = olga("POST", "/injections", document, dry_run=True).json()
    assert (tried["files"]["new"], tried["new_bytes"], tried["dry_run"]) == (1, 5, True)
    assert {**olga("POST", "/injections", document).json(), "dry_run": True} == tried
    assert olga("POST", "/injections", document).json()["files"]["new"] == 0
    problem = olga("POST", "/injections", {"datasets": [{"nmae": "x"}]}, code=422).json()
    assert "datasets[0]" in problem["detail"]
    assert "files" in olga("POST", "/injections", {"files": []}, code=422).json()["detail"]

    lost = {"document": {"files": ["/store/new"]}, "reason": "lost"}
    assert olga("POST", "/invalidations", lost, dry_run=True).json()["num_files"] == 1
    assert "not 2" in olga("POST", "/invalidations", lost | {"expected_files": 2}, code=422).json()["detail"]
    assert olga("POST", "/invalidations", lost | {"expected_files": 1}).json()["num_files"] == 1
    assert olga("POST", "/invalidations", lost).json()["num_known"] == 1
    assert "was declared invalid" in olga("POST", "/injections", document, code=422).json()["detail"]


def test_a_plan_is_decided_about_as_it_was_seen(olga: Call, stock: Stock, tmp_path: Path) -> None:
    plan = passed_plan(stock, tmp_path)
    unseen = olga("POST", "/plans/1/approve", code=428).json()
    assert (unseen["type"], "If-Match" in unseen["next_step"]) == ("urn:dynamo:error:unseen", True)
    tried = olga("POST", "/plans/1/approve", dry_run=True).json()
    assert (tried["state"], tried["approved_by"], tried["etag"]) == ("approved", "olga", plan.etag)
    assert tried["etag"].startswith("planned-20")
    assert tried["summary"]["num_deletions"] == 2
    done = olga("POST", "/plans/1/approve", seen=f'"{tried["etag"]}"', key="p1").json()
    assert olga("POST", "/plans/1/approve", seen=f'"{tried["etag"]}"', key="p1").json() == done
    assert olga("POST", "/plans/1/approve", seen="other", key="p1", code=409).json()["type"].endswith("used-key")
    assert (done["state"], done["etag"].split("-")[0]) == ("approved", "approved")
    for etag in (tried["etag"], "*", '"planned"'):
        changed = olga("POST", "/plans/1/refuse", {"reason": "no"}, code=412, seen=etag).json()
        assert (changed["type"], changed["facts"]["etag"]) == ("urn:dynamo:error:changed", done["etag"])
    assert "say why" in olga("POST", "/plans/1/refuse", {"reason": " "}, code=422, seen=done["etag"]).json()["detail"]
    refused = olga("POST", "/plans/1/refuse", {"reason": "no"}, seen=f'W/"{done["etag"]}"').json()
    assert (refused["state"], refused["refused_by"]) == ("refused", "olga")
    again = olga("POST", "/plans/1/approve", code=409, seen=refused["etag"]).json()
    assert "it cannot become approved" in again["detail"]
    assert olga("POST", "/plans/2/approve", code=404, seen="x").json()["detail"] == "there is no plan 2"


@pytest.mark.parametrize("is_passed", [False, None])
def test_nobody_approves_what_no_gate_let_pass(
    olga: Call, stock: Stock, tmp_path: Path, is_passed: bool | None
) -> None:
    if is_passed is None:
        save(stock.db, tmp_path)
    else:
        passed_plan(stock, tmp_path, is_passed=is_passed)
    problem = olga("POST", "/plans/1/approve", code=409, dry_run=True).json()
    assert "dynamo detox commit 1" in problem["detail"]
    olga("POST", "/plans/1/refuse", {"reason": "no"}, dry_run=True)


def test_a_plan_that_was_made_again_is_looked_at_again(olga: Call, stock: Stock, tmp_path: Path) -> None:
    plan = passed_plan(stock, tmp_path)
    assert save(stock.db, tmp_path).id == plan.id
    assert olga("POST", "/plans/1/refuse", {"reason": "no"}, code=412, seen=plan.etag)
    assert "its gate has not let it pass" in olga("POST", "/plans/1/approve", code=409, dry_run=True).json()["detail"]


def test_who_stored_a_plan_by_hand_does_not_decide_about_it(olga: Call, stock: Stock, tmp_path: Path) -> None:
    passed_plan(stock, tmp_path, by=shell_person("olga"))
    for move, body in (("approve", None), ("refuse", {"reason": "no"})):
        problem = olga("POST", f"/plans/1/{move}", body, code=403, dry_run=True).json()
        assert "somebody else decides" in problem["detail"]


def test_grants_and_members(client: TestClient, stock: Stock) -> None:
    headers = headers_of(stock, "adam", "admin")

    def adam(method: str, path: str, body: Any = None, *, code: int = 200, **params: Any) -> Any:
        answer = client.request(method, path, json=body, params=params or None, headers=headers)
        assert answer.status_code == code, answer.text
        return answer

    asked = {"subject": "@op", "role": "operator", "scope": "site:T2_*", "until": "90 days", "reason": "on duty"}
    made = adam("POST", "/grants", asked, code=201)
    assert made.headers["location"] == "/dynamo/v1/grants?subject=%40op"
    (shown,) = adam("GET", made.headers["location"].removeprefix("/dynamo/v1")).json()["items"]
    assert (shown["role"], shown["scope"], shown["granted_by"]) == ("operator", "site:T2_*", "adam")
    assert "write one of" in adam("POST", "/grants", asked | {"scope": "T2_*"}, code=422).json()["detail"]
    assert "say why" in adam("POST", "/grants", asked | {"reason": ""}, code=422).json()["detail"]
    held = {"subject": "@op", "role": "operator", "reason": "off"}
    assert "they hold operator of site:T2_*" in adam("DELETE", "/grants", code=422, **held).json()["detail"]
    assert adam("DELETE", "/grants", scope="site:T2_*", **held).json()["subject"] == "@op"
    assert client.get("/grants", headers={"x-user": "ada:viewer"}).status_code == 403

    assert adam("PUT", "/groups/users/members/ada").json()["is_member"] is True
    assert [row["person"] for row in adam("GET", "/groups/users/members").json()["items"]] == ["ada"]
    adam("DELETE", "/groups/users/members/ada")
    assert "Did you mean users" in adam("PUT", "/groups/user/members/ada", code=404).json()["detail"]
    assert "Did you mean users" in adam("GET", "/groups/user/members", code=404).json()["detail"]
    assert "there is no token 99" in adam("DELETE", "/me/tokens/99", code=404).json()["detail"]


@pytest.mark.parametrize("days", ["NaN", "Infinity", "-1e400", "3661", "0"])
def test_a_token_is_for_some_days(client: TestClient, stock: Stock, days: str) -> None:
    content = f'{{"name": "x", "days": {days}}}'
    headers = {"x-user": "ada:op", "content-type": "application/json", **PAGE_OF_OURS}
    answer = client.post("/me/tokens", content=content, headers=headers)
    assert (answer.status_code, answer.json()["facts"]["faults"][0]["parameter"]) == (422, "days")


def test_a_token_of_one_s_own(client: TestClient, stock: Stock) -> None:
    grants.grant(stock.db, "ada", Grant(Role.OPERATOR), by=ROOT_USER, reason="of the test")
    ada = {"x-user": "ada", **PAGE_OF_OURS, "idempotency-key": "t1"}
    asked = {"name": "nightly", "days": 30, "grants": [{"role": "operator", "scope": "site:T2_*"}]}
    made = client.post("/me/tokens", json=asked, headers=ada)
    assert (made.status_code, made.headers["location"]) == (201, "/dynamo/v1/me/tokens")
    secret = made.json()["secret"]
    assert client.post("/me/tokens", json=asked, headers=ada).json() == made.json() | {"secret": None}
    assert secret not in str(stock.rows("SELECT * FROM idempotency"))
    tried = client.post("/me/tokens", json=asked | {"name": "other"}, params={"dry_run": True}, headers=ada)
    assert {*tried.json()} == {"name", "until", "dry_run"}
    (shown,) = client.get("/me/tokens", headers={"x-user": "ada"}).json()["items"]
    assert (shown["name"], shown["prefix"]) == ("nightly", secret[:12])
    token = {"authorization": f"Bearer {secret}"}
    assert client.get("/me", headers=token).json()["name"] == "ada"
    assert client.delete("/me/tokens/1", headers=token).status_code == 200
    assert client.get("/me", headers=token).status_code == 401


@pytest.mark.parametrize(
    ("method", "path", "body", "words"),
    [
        ("POST", "/locks", {"item": "/A/B-v1/AODD", "reason": "x"}, "Did you mean /A/B-v1/AOD"),
        ("POST", "/locks", {"item": f"{FIRST}#a3", "reason": "x"}, "has no block 'a3'"),
        ("POST", "/requests/copies", COPIES | {"items": ["/A/B-v1/AODD"]}, "Did you mean /A/B-v1/AOD"),
        ("POST", "/requests/copies", COPIES | {"items": [f"{FIRST}#a3"]}, "has no block 'a3'"),
        ("POST", "/requests/copies", COPIES | {"sites": ["T2_X"]}, "there is no site 'T2_X'"),
        ("POST", "/requests/deletions", DELETIONS | {"group": "physic"}, "Did you mean physics"),
        ("POST", "/requests/99/cancel", {"reason": "x"}, "there is no request 99"),
        ("PUT", "/quotas/partitions", {"partition": "physic", "sites": ["*"], "quota": 0, "reason": "x"}, "physics"),
        ("PUT", "/quotas/partitions", {"partition": "physics", "sites": ["T2_AA"], "quota": 0, "reason": "x"}, "T2_A"),
        ("PUT", "/quotas/groups/physic", {"quota": 0}, "Did you mean physics"),
        ("PUT", "/sites/T2_AA/status", {"status": "ready", "reason": "x"}, "Did you mean T2_A"),
        ("DELETE", "/sites/T2_AA/status", None, "Did you mean T2_A"),
        ("POST", "/sites/T2_AA/downtimes", {"reason": "x"}, "Did you mean T2_A"),
        ("DELETE", "/sites/T2_AA/downtimes", None, "Did you mean T2_A"),
        ("DELETE", "/pauses/9", None, "there is no pause 9"),
        ("DELETE", "/locks/9?reason=x", None, "there is no lock 9"),
        ("POST", "/subscriptions/hold", {"datasets": ["/A/B-v1/AODD"], "reason": "x"}, "Did you mean /A/B-v1/AOD"),
        ("POST", "/subscriptions/hold", {"blocks": [f"{FIRST}#a3"], "reason": "x"}, f"Did you mean {FIRST}#a"),
        ("POST", "/subscriptions/hold", {"sites": ["T2_AA"], "reason": "x"}, "Did you mean T2_A"),
        ("POST", "/subscriptions/hold", {"files": ["/store/a1/f9"], "reason": "x"}, "there is no file"),
    ],
    ids=lambda part: str(part)[:50],
)
def test_what_is_not_there_is_not_found(olga: Call, method: str, path: str, body: Any, words: str) -> None:
    problem = olga(method, path, body, code=404).json()
    assert problem["type"] == "urn:dynamo:error:unknown-name"
    assert words in problem["detail"]


@pytest.mark.parametrize(
    ("method", "path", "body", "fields"),
    [
        ("POST", "/requests/copies", {}, "items sites group"),
        ("POST", "/requests/copies", COPIES | {"copies": "2"}, "copies"),
        ("POST", "/requests/copies", COPIES | {"copies": True}, "copies"),
        ("POST", "/requests/copies", COPIES | {"items": FIRST}, "items"),
        ("POST", "/requests/copies", COPIES | {"items": []}, "items"),
        ("POST", "/requests/copies", COPIES | {"items": [1]}, "items.0"),
        ("POST", "/requests/copies", COPIES | {"note": ""}, "note"),
        ("POST", "/requests/deletions", DELETIONS | {"allow_last": -1}, "allow_last"),
        ("POST", "/requests/x/cancel", {"reason": "x"}, "request_id"),
        ("POST", "/requests/1/cancel", {}, "reason"),
        ("PUT", "/quotas/partitions", {"partition": "physics"}, "sites quota reason"),
        ("POST", "/pauses", {"kind": 1, "reason": "x"}, "kind"),
        ("DELETE", "/pauses/0", None, "pause_id"),
        ("POST", "/grants", {"subject": "", "role": "king", "reason": "x"}, "subject role"),
        ("DELETE", "/grants?subject=ada", None, "role"),
        ("POST", "/me/tokens", {"name": "x", "days": "7"}, "days"),
        ("POST", "/me/tokens", {"name": "x", "days": 7, "grants": [{"role": "user", "at": "*"}]}, "grants.0.at"),
        ("POST", "/subscriptions/cancel", {"ids": ["1"], "disown": 1}, "ids.0 disown"),
        ("POST", "/subscriptions/hold", {"site": ["T2_A"]}, "site"),
        ("POST", "/subscriptions/hold", {"ids": [2**63, 0], "reason": "x" * 2_001}, "ids.0 ids.1 reason"),
        (
            "POST",
            "/grants",
            {"subject": "x" * 501, "role": "user", "scope": "site:" + "x" * 500, "reason": "x"},
            "subject scope",
        ),
        ("PUT", "/quotas/users/" + "x" * 501, {"quota": 0}, "name"),
        ("PUT", "/groups/users/members/" + "x" * 501, None, "person"),
        ("POST", "/invalidations", {"document": [], "reason": 3}, "reason"),
    ],
    ids=lambda part: str(part)[:50],
)
def test_a_wrong_field_is_named(olga: Call, method: str, path: str, body: Any, fields: str) -> None:
    problem = olga(method, path, body, code=422).json()
    assert {fault["parameter"] for fault in problem["facts"]["faults"]} == set(fields.split())
    assert all(name in problem["detail"] for name in fields.split())


def test_a_site_is_given_up(olga: Call, stock: Stock) -> None:
    stock.rows("INSERT INTO quotas SELECT id, 'physics', 9000, 'test' FROM sites WHERE name = 'T2_B'")
    path, why = "/sites/T2_B/evacuation", {"reason": "closes in May"}
    tried = olga("POST", path, why, dry_run=True).json()
    assert (tried["status"], tried["quotas"]) == ("morgue", [{"partition": "physics", "old_bytes": 9000}])
    only_here = {"num_blocks": 1, "num_files": 3, "size_bytes": 3000, "num_blocks_coming": 0}
    assert tried.pop("only_here") == only_here  # whoever gives it up sees what may be lost
    assert rows(stock, "SELECT quota_bytes FROM quotas") == [(9000,)]
    done = olga("POST", path, why).json()
    assert {**done, "dry_run": True} == {"id": done["id"], **tried}
    assert rows(stock, "SELECT quota_bytes FROM quotas") == [(0,)]
    assert olga("GET", path).json() == {"site": "T2_B", **only_here}
    assert "Did you mean T2_B" in olga("POST", "/sites/T2_BB/evacuation", why, code=404).json()["detail"]
