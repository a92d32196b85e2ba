"""Each write by each role: as the specification of rights has it, written out here; and never as somebody else."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from dynamo_ops.access import audit, grants
from dynamo_ops.access.actions import Action
from dynamo_ops.access.person import Grant, KnownBy, Person, Role, Scope
from dynamo_ops.base.settings import settings
from dynamo_ops.event.subscription import subscribe
from dynamo_ops.inventory.catalogue.invalidation import invalidate
from dynamo_ops.inventory.doubt.declare import report_suspicious
from dynamo_ops.inventory.site import downtime, override
from dynamo_ops.lock.store import add_lock
from dynamo_ops.pause import pauses
from dynamo_ops.pause.pauses import PauseKind
from dynamo_ops.request.copy_request import request_copy
from tests.people import ADA, ROOT_USER
from tests.plugins.web.callers import headers_of, passed_plan
from tests.plugins.web.test_login import PAGE_OF_OURS, READ_BY_POST, routes
from tests.query.stock import FIRST, SECOND, Stock

HELD = {
    "vera": ["viewer"],
    "uma": ["user"],
    "petra": ["producer@namespace:/A/*", "producer@site:T2_A"],
    "mia": ["manager@group:physics"],
    "sam": ["site_admin@site:T2_[AB]*"],
    "olga": ["operator"],
    "adam": ["admin"],
}
"""Somebody of each role. uma is a member of physics."""
EVERYBODY = {*HELD}
POLICY = """Partition physics
On site.status == READY
When site.occupancy > 0.5
Until site.occupancy < 0.4
Dismiss
Order increasing replica.size
"""


@dataclass(frozen=True)
class Write:
    """A call that could be done by somebody. ``by``: who may; ``action``: as the audit calls it."""

    method: str
    path: str
    action: Action
    by: set[str]
    body: dict[str, Any] | None = None
    params: dict[str, str] = field(default_factory=dict)
    status: int = 200
    owner: str | None = None

    @property
    def doer(self) -> str:
        """Who does it here."""
        return self.owner or min(self.by)

    def seen(self, client: TestClient) -> dict[str, str]:
        """What is sent of what it decides about: looked up now."""
        if self.action is not Action.DECIDE_PLAN:
            return {}
        return {"if-match": self.send(client, by_cookie("olga"), dry_run="true").json()["etag"]}

    def send(self, client: TestClient, headers: dict[str, str], **params: str) -> Any:
        from dynamo_web.caller.rates import WRITES

        WRITES.forget()
        asked = {**self.params, **params}
        if "dry_run" not in asked:
            headers = {**self.seen(client), **headers}
        return client.request(self.method, self.path, json=self.body, params=asked or None, headers=headers)


NAMED_COPIES = {"site": "T2_A", "lfns": ["/store/a1/f0"], "reason": "why"}
CALLED_COPIES = {"site": "T2_A", "lfns": ["/store/a1/f1"], "reason": "why"}
SELECTED = {"sites": ["T2_B"], "actions": ["copy"], "reason": "why"}
WRITES = {
    "lock": Write(
        "POST", "/locks", Action.LOCK, {"uma", "mia", "sam", "olga"}, status=201,
        body={"item": FIRST, "site": "T2_A", "group": "physics", "until": "20 days", "reason": "why"},
    ),
    "unlock": Write("DELETE", "/locks/1", Action.UNLOCK, {"uma", "mia", "olga"}, params={"reason": "why"}),
    "copy": Write(
        "POST", "/requests/copies", Action.COPY, {"uma", "petra", "mia", "sam", "olga"}, status=201,
        body={"items": [FIRST], "sites": ["T2_B"], "group": "physics"},
    ),
    "delete": Write(
        "POST", "/requests/deletions", Action.DELETE, {"petra", "mia", "sam", "olga"}, status=201,
        body={"items": [f"{FIRST}#a1"], "sites": ["T2_B"], "group": "physics", "reason": "why"},
    ),
    "cancel": Write("POST", "/requests/1/cancel", Action.CANCEL_REQUEST, {"uma", "mia", "olga"}, {"reason": "why"}),
    "partition quota": Write(
        "PUT", "/quotas/partitions", Action.SET_PARTITION_QUOTA, {"olga"},
        {"partition": "physics", "sites": ["T2_[AB]*"], "quota": "1 TB", "reason": "why"},
    ),
    "group quota": Write("PUT", "/quotas/groups/physics", Action.SET_GROUP_QUOTA, {"olga"}, {"quota": 10**12}),
    "user quota": Write("PUT", "/quotas/users/uma", Action.SET_USER_QUOTA, {"mia", "olga"}, {"quota": "unlimited"}),
    "status": Write(
        "PUT", "/sites/T2_A/status", Action.OPERATE_SITE, {"sam", "olga"}, {"status": "waitroom", "reason": "why"}
    ),
    "evacuation": Write("POST", "/sites/T2_A/evacuation", Action.SET_PARTITION_QUOTA, {"olga"}, {"reason": "closes"}),
    "status of its own": Write("DELETE", "/sites/T2_B/status", Action.OPERATE_SITE, {"sam", "olga"}),
    "downtime": Write(
        "POST", "/sites/T2_A/downtimes", Action.OPERATE_SITE, {"sam", "olga"}, {"reason": "why"}, status=201
    ),
    "end of a downtime": Write("DELETE", "/sites/T2_B/downtimes", Action.OPERATE_SITE, {"sam", "olga"}),
    "pause": Write(
        "POST", "/pauses", Action.PAUSE, {"olga"}, {"kind": "transfers", "reason": "why", "until": "2h"}, status=201
    ),
    "resume": Write("DELETE", "/pauses/1", Action.PAUSE, {"olga"}),
    "resume all": Write("DELETE", "/pauses", Action.PAUSE, {"olga"}),
    "grant": Write(
        "POST", "/grants", Action.GRANT, {"adam"}, status=201,
        body={"subject": "new", "role": "site_admin", "scope": "site:T2_A", "reason": "why"},
    ),
    "end of a grant": Write(
        "DELETE", "/grants", Action.GRANT, {"adam"}, params={"subject": "uma", "role": "user", "reason": "why"}
    ),
    "member": Write("PUT", "/groups/physics/members/new", Action.SET_MEMBERS, {"mia", "adam"}),
    "end of a member": Write("DELETE", "/groups/physics/members/uma", Action.SET_MEMBERS, {"mia", "adam"}),
    "token": Write(
        "POST", "/me/tokens", Action.OWN_TOKEN, EVERYBODY - {"petra"}, {"name": "nightly", "days": 30}, status=201
    ),
    "end of a token": Write("DELETE", "/me/tokens/1", Action.OWN_TOKEN, {"vera", "adam"}, owner="vera"),
    "events": Write(
        "POST", "/me/event-subscriptions", Action.SUBSCRIBE, EVERYBODY, {"kinds": ["request.*"], "mail": "a@b.org"},
        status=201,
    ),
    "end of events": Write(
        "DELETE", "/me/event-subscriptions/1", Action.SUBSCRIBE, {"vera", "olga", "adam"}, owner="vera"
    ),
    "events of a group": Write(
        "POST", "/groups/physics/event-subscriptions", Action.SUBSCRIBE_OTHERS, {"mia", "olga", "adam"}, status=201,
        body={"kinds": ["request.*"], "mail": "a@b.org"},
    ),
    "hold": Write("POST", "/subscriptions/hold", Action.OPERATE_SUBSCRIPTIONS, {"sam", "olga"}, SELECTED),
    "release": Write("POST", "/subscriptions/release", Action.OPERATE_SUBSCRIPTIONS, {"sam", "olga"},
                     {"sites": ["T2_A"]}),
    "retry": Write("POST", "/subscriptions/retry", Action.OPERATE_SUBSCRIPTIONS, {"sam", "olga"}, {"sites": ["T2_A"]}),
    "cancel subscriptions": Write(
        "POST", "/subscriptions/cancel", Action.OPERATE_SUBSCRIPTIONS, {"sam", "olga"}, SELECTED
    ),
    "approve": Write("POST", "/plans/1/approve", Action.DECIDE_PLAN, {"olga"}),
    "refuse": Write("POST", "/plans/1/refuse", Action.DECIDE_PLAN, {"olga"}, {"reason": "why"}),
    "commit": Write("POST", "/plans/1/commit", Action.DECIDE_PLAN, {"olga"}, status=202),
    "try": Write(
        "POST", "/trials", Action.TRY_POLICY, {"olga"}, {"partition": "physics", "policy": POLICY}, status=202
    ),
    "inject": Write(
        "POST", "/injections", Action.INJECT, {"petra", "olga"},
        {"datasets": [{"name": "/A/New-v1/AOD"}], "dataset_replicas": [
            {"dataset": FIRST, "site": "T2_A", "group": "physics", "blocks": [f"{FIRST}#a1"]}]},
    ),
    "invalidate": Write(
        "POST", "/invalidations", Action.INVALIDATE, {"petra", "olga"},
        {"document": {"datasets": ["/A/Lost-v1/AOD"]}, "reason": "lost"},
    ),
    "undo": Write(
        "DELETE", "/invalidations", Action.INVALIDATE, {"petra", "olga"},
        params={"name": "/A/Gone-v1/AOD", "reason": "made again"},
    ),
    "bad": Write("POST", "/replicas/bad", Action.DECLARE_BAD, {"sam", "olga"}, NAMED_COPIES),
    "suspicious": Write(
        "POST", "/replicas/suspicious", Action.REPORT_BAD, {"uma", "petra", "sam", "olga"}, NAMED_COPIES
    ),
    "good": Write("POST", "/replicas/good", Action.DECLARE_BAD, {"sam", "olga"}, CALLED_COPIES),
}  # fmt: skip
"""One of each route, about what lies within the scopes of all."""


@pytest.fixture
def staffed(stock: Stock, tmp_path: Path) -> Stock:
    """All of them; and something of which each act can be done."""
    db = stock.db
    physics = stock.scalar("INSERT INTO groups (name, ownership_level) VALUES ('physics', 'block') RETURNING id")
    stock.rows("UPDATE block_replicas SET group_id = :g WHERE block_id = :b", g=physics, b=stock.block_ids["a1"])
    stock.dataset("/A/Lost-v1/AOD")
    stock.dataset("/A/Gone-v1/AOD")
    invalidate(db, {"datasets": ["/A/Gone-v1/AOD"]}, reason="lost", by=ROOT_USER)
    report_suspicious(db, "T2_A", ["/store/a1/f1"], reason="why", by=ROOT_USER)
    for name, held in HELD.items():
        for written in held:
            role, _, scope = written.partition("@")
            grants.grant(db, name, Grant(Role(role), Scope.parse(scope or "*")), by=ROOT_USER, reason="of the test")
    grants.set_member(db, "physics", "uma", by=ROOT_USER, is_member=True)
    stock.rows("INSERT INTO tokens (person, name, digest, prefix, created_by, until)"
               " VALUES ('vera', 'old', '\\x00', 'dyn_', 'vera', now() + interval '1 day')")  # fmt: skip
    subscribe(db, settings(), ["request.*"], by=person("vera"), mail="vera@example.org")
    uma = person("uma")
    add_lock(db, SECOND, groups="physics", until="9 days", reason="why", by=uma, now=datetime.now(UTC))
    request_copy(db, SECOND, ["T2_A"], num_copies=1, group="physics", by=uma)
    override.set_status(db, "T2_B", "waitroom", by=ROOT_USER, reason="why")
    downtime.drain(db, "T2_B", by=ROOT_USER, reason="why")
    pauses.stop(db, PauseKind.CONSISTENCY, by=ROOT_USER, reason="why")
    passed_plan(stock, tmp_path, by=ADA)
    stock.subscription("copy", stock.files_of["a2"], "T2_B", origin="dealer")
    stock.subscription("copy", stock.files_of["b1"], "T2_A", origin="dealer")
    stock.rows("UPDATE subscriptions SET state = 'held', hold_reason = 'all_failed' WHERE site_id = :s",
               s=stock.site_ids["T2_A"])  # fmt: skip
    return stock


def person(name: str) -> Person:
    held = [written.partition("@") for written in HELD[name]]
    roles = tuple(Grant(Role(role), Scope.parse(scope or "*")) for role, _, scope in held)
    return Person(name, KnownBy.AIRFLOW, roles, frozenset({"physics"} if name == "uma" else ()))


def by_cookie(name: str) -> dict[str, str]:
    return {"x-user": name, **PAGE_OF_OURS}


def newest(stock: Stock) -> dict[str, Any]:
    return audit.records(stock.db, limit=1).row(0, named=True)


def states(stock: Stock) -> list[Any]:
    """Of all that these calls could change."""
    tables = ("locks", "requests", "quotas", "group_quotas", "user_quotas", "site_overrides", "site_downtimes",
              "pauses", "access_grants", "group_members", "subscriptions", "datasets", "invalidations",
              "idempotency", "plans", "errands", "event_subscriptions", "bad_replicas")  # fmt: skip
    return [stock.rows(f"SELECT * FROM {table} ORDER BY 1, 2") for table in tables] + stock.rows(
        "SELECT id, revoked_at FROM tokens ORDER BY 1"
    )


def without_rates() -> None:
    """They have all calls of a moment left."""
    from dynamo_web.caller import rates

    rates.READS.forget()
    rates.WRITES.forget()


def test_there_is_a_call_of_each_route(airflow: None) -> None:
    from dynamo_web.app import VERSION
    from dynamo_web.caller.login import permission_of

    written = {
        (method, route.path): (route.path_regex, action)
        for route in routes()
        for method in route.methods - {"GET", "HEAD"}
        if route.path not in READ_BY_POST
        for action in {permission_of(each.call) for each in route.dependant.dependencies} - {None}
    }
    for call in WRITES.values():
        (route,) = [
            (method, path)
            for (method, path), (regex, _) in written.items()
            if method == call.method and regex.match(VERSION + call.path)
        ]
        assert written.pop(route)[1] is call.action
    assert written == {}


def test_who_may(client: TestClient, staffed: Stock) -> None:
    for call in WRITES.values():
        without_rates()
        before = states(staffed)
        statuses = {who: call.send(client, by_cookie(who), dry_run="true").status_code for who in HELD}
        assert statuses == {who: 200 if who in call.by else 403 for who in HELD}, call.path
        assert states(staffed) == before
        newest_first = audit.records(staffed.db, limit=3 * len(HELD))  # a call may be several acts of one person
        noted = newest_first.unique("person", keep="first", maintain_order=True).head(len(HELD)).reverse()
        assert noted["person"].to_list() == list(HELD)
        assert noted["outcome"].to_list() == ["dry_run" if who in call.by else "refused" for who in HELD]


@pytest.mark.parametrize("name", WRITES)
def test_it_is_done_by_who_is_logged_in_and_taken_down(client: TestClient, staffed: Stock, name: str) -> None:
    call = WRITES[name]
    who = call.doer
    before = states(staffed)
    headers = by_cookie(who) | call.seen(client) | {"idempotency-key": "k1"}
    answer = call.send(client, headers | {"x-forwarded-user": "olga"})
    assert answer.status_code == call.status, answer.text
    assert ("location" in answer.headers) == (call.status in (201, 202))
    assert answer.json()["dry_run"] is False
    record = newest(staffed)
    assert (record["person"], record["known_by"], record["outcome"], record["key"]) == (who, "airflow", "done", "k1")
    assert (record["action"], record["address"]) == (call.action, "testclient")
    after = states(staffed)
    assert after != before
    again = call.send(client, headers)
    assert (again.status_code, again.headers.get("idempotent-replay")) == (call.status, "true")
    if name != "token":
        assert again.content == answer.content
    assert states(staffed) == after


def test_nobody_can_say_to_be_another(client: TestClient, staffed: Stock) -> None:
    for call in WRITES.values():
        without_rates()
        before = states(staffed)
        for field_name in ("by", "person", "requested_by", "on_behalf_of"):
            if call.body is not None:
                body = {**call.body, field_name: "olga"}
                said = Write(call.method, call.path, call.action, call.by, body, call.params)
                assert said.send(client, by_cookie(min(call.by)), dry_run="true").status_code == 422
            assert call.send(client, by_cookie(min(call.by)), **{field_name: "olga"}).status_code == 422
        assert states(staffed) == before


def test_who_must_not_come_in_does_nothing(client: TestClient, staffed: Stock) -> None:
    olga, token = by_cookie("olga"), headers_of(staffed, "olga")
    for call in WRITES.values():
        without_rates()
        before = states(staffed)
        for headers, status in (
            (PAGE_OF_OURS, 401),
            (PAGE_OF_OURS | {"authorization": "Bearer dyn_forged"}, 401),
            (PAGE_OF_OURS | {"authorization": "Bearer eyJ"}, 401),
            ({"x-user": "olga"}, 403),
            (olga | {"origin": "http://evil.example"}, 403),
            (olga | {"sec-fetch-site": "same-site"}, 403),
            (token | {"origin": "http://evil.example"}, 403),
            (olga | {"host": "evil.example"}, 400),
            (token | {"host": "evil.example"}, 400),
        ):
            assert call.send(client, headers).status_code == status, (call.path, headers)
        assert states(staffed) == before


LIMITS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "a lock for a group that is not theirs": ("uma", "lock", {"group": "users"}),
    "a lock for no group": ("uma", "lock", {"group": ""}),
    "a lock for longer than 90 days": ("uma", "lock", {"until": "91 days"}),
    "a lock for ever": ("mia", "lock", {"until": None}),
    "a lock of a manager for longer than a year": ("mia", "lock", {"until": "367 days"}),
    "a lock of another group": ("mia", "lock", {"group": "users"}),
    "a lock of all groups": ("mia", "lock", {"group": ""}),
    "a lock at another site": ("sam", "lock", {"site": "T2_C"}),
    "a lock at all sites": ("sam", "lock", {"site": ""}),
    "a lock at a glob of more sites": ("sam", "lock", {"site": "T2_*"}),
    "a lock of a site for longer than 30 days": ("sam", "lock", {"until": "31 days"}),
    "copies for another group": ("uma", "copy", {"group": "express"}),
    "copies outside the namespace": ("petra", "copy", {"items": [FIRST, "/a/b-v1/AOD"]}),
    "copies at another site": ("sam", "copy", {"sites": ["T2_B", "T2_C"]}),
    "deletions outside the namespace": ("petra", "delete", {"items": ["/a/b-v1/AOD"]}),
    "deletions of all groups": ("mia", "delete", {"group": None}),
    "deletions of another group": ("mia", "delete", {"group": "ops"}),
    "deletions at another site": ("sam", "delete", {"sites": ["T2_*"]}),
    "deletions on tape": ("mia", "delete", {"allow_tape": True}),
    "a last copy": ("sam", "delete", {"items": ["/A/Only-v1/AOD"], "sites": ["T2_A"], "group": "ops", "allow_last": 9}),
    "a quota of somebody else's people": ("mia", "user quota", {}),
    "documents outside the namespace": ("petra", "inject", {"datasets": [{"name": "/B/New-v1/AOD"}]}),
    "copies of others' datasets, told in a document": ("petra", "inject", {"dataset_replicas": [
        {"dataset": "/a/b-v1/AOD", "site": "T2_A", "group": "physics", "blocks": "*"}]}),
    "documents about other sites": ("petra", "inject", {"dataset_replicas": [
        {"dataset": FIRST, "site": "T2_C", "group": "physics", "blocks": "*"}]}),
    "documents about quotas": ("petra", "inject", {"quotas": [
        {"site": "T2_A", "partition": "physics", "quota_bytes": 1}]}),
    "what is lost of others": ("petra", "invalidate", {"document": {"datasets": ["/a/b-v1/AOD"]}}),
    "subscriptions to other sites": ("sam", "hold", {"sites": ["T2_*"]}),
    "a token for longer than 90 days": ("uma", "token", {"days": 91}),
    "a token with more than they hold": ("uma", "token", {"grants": [{"role": "operator"}]}),
}  # fmt: skip


@pytest.mark.parametrize("what", LIMITS)
def test_what_is_beyond_their_scope_is_refused(client: TestClient, staffed: Stock, what: str) -> None:
    who, name, other = LIMITS[what]
    call = WRITES[name]
    path = "/quotas/users/nobody" if name == "user quota" else call.path
    staffed.rows("INSERT INTO groups (name, ownership_level) VALUES ('express', 'block')")
    staffed.subscription("copy", staffed.files_of["a1"], "T2_C", origin="dealer")
    staffed.dataset("/A/Only-v1/AOD")
    staffed.fill("only")
    staffed.replica("only", "T2_A")
    body = {**(call.body or {}), **other}
    answer = Write(call.method, path, call.action, call.by, body, call.params).send(client, by_cookie(who))
    assert answer.status_code == 403, answer.text
    assert answer.json()["facts"]["needs"]
    assert newest(staffed)["outcome"] == "refused"


def test_who_asked_for_it_may_cancel_it_whoever_else_may_not(client: TestClient, staffed: Stock) -> None:
    request_id = request_copy(staffed.db, FIRST, ["T2_C"], num_copies=1, group="users", by=person("olga"))
    staffed.rows("UPDATE requests SET requested_by = 'petra' WHERE id = :i", i=request_id)
    call = Write("POST", f"/requests/{request_id}/cancel", Action.CANCEL_REQUEST, {"petra", "olga"}, {"reason": "why"})
    statuses = {who: call.send(client, by_cookie(who), dry_run="true").status_code for who in HELD}
    assert {who for who, status in statuses.items() if status == 200} == call.by


def test_a_token_makes_no_tokens(client: TestClient, staffed: Stock) -> None:
    """It would outlast its end, and have all rights of its owner where it has few."""
    answer = WRITES["token"].send(client, headers_of(staffed, "uma"))
    assert (answer.status_code, answer.json()["facts"]["needs"]) == (403, ["a login"])
