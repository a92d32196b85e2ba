"""What can be done from pages: each form is a call of REST that there is, with the fields that it takes; who may not
sees who may."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from fastapi.testclient import TestClient

from dynamo_ops.access import grants
from dynamo_ops.access.person import Grant, Role, Scope
from tests.people import ROOT_USER
from tests.plugins.pages.conftest import Look, looking
from tests.plugins.pages.page import ADMIN, Page, walk
from tests.query.stock import Stock

OLGA = {"x-user": "olga:op"}
OF_STOCK = {
    ("POST", "/requests/copies"),
    ("POST", "/requests/deletions"),
    ("POST", "/locks"),
    ("DELETE", "/locks/{lock_id}"),
    ("POST", "/pauses"),
    ("DELETE", "/pauses/{pause_id}"),
    ("PUT", "/sites/{name}/status"),
    ("DELETE", "/sites/{name}/status"),
    ("POST", "/sites/{name}/downtimes"),
    ("DELETE", "/sites/{name}/downtimes"),
    ("POST", "/sites/{name}/evacuation"),
    ("PUT", "/quotas/partitions"),
    ("PUT", "/quotas/groups/{name}"),
    ("POST", "/subscriptions/hold"),
    ("POST", "/subscriptions/release"),
    ("POST", "/subscriptions/retry"),
    ("POST", "/subscriptions/cancel"),
}
OF_PLANS = {
    ("POST", "/plans/{plan_id}/approve"),
    ("POST", "/plans/{plan_id}/refuse"),
    ("POST", "/plans/{plan_id}/commit"),
    ("POST", "/requests/{request_id}/cancel"),
    ("POST", "/trials"),
}


def routes_offered(pages: dict[str, str]) -> set[tuple[str, str]]:
    """The routes that forms of pages call. Each takes what its form sends."""
    from tests.plugins.web.test_login import routes

    offered = set()
    for address, text in pages.items():
        if "/ui/" not in address or "<form" not in text:
            continue
        for form in Page(text).forms:
            method, path = form.attributes["data-method"], form.attributes["data-path"]
            (route,) = [
                route
                for route in routes()
                if method in route.methods and route.path_regex.match(f"/v1{path}") and not path.startswith("/v1")
            ]
            sent = set(json.loads(form.attributes["data-sent"])) | set(form.fields)
            sent |= set(json.loads(form.attributes["data-takes"]))
            assert sent <= fields_of(route), f"{method} {path} does not take {sent - fields_of(route)}"
            offered.add((method, route.path.removeprefix("/v1")))
    return offered


def fields_of(route: Any) -> set[str]:
    """What a route takes: in its body, or in the address."""
    from tests.plugins.web.test_documented import query_params

    models = [each.field_info.annotation for each in (*route.dependant.body_params, *query_params(route.dependant))]
    return {name for model in models for name in getattr(model, "model_fields", {})}


def test_each_form_is_a_call_of_rest(client: TestClient, stock: Stock) -> None:
    stock.subscription("copy", list(stock.files_of["b1"]), "T2_A")
    for call in (
        ("POST", "/locks", {"item": "/A/B-v1/AOD", "reason": "r"}),
        ("POST", "/pauses", {"reason": "r", "kind": "detox"}),
        ("PUT", "/sites/T2_A/status", {"status": "waitroom", "reason": "r"}),
        ("POST", "/sites/T2_A/downtimes", {"reason": "r"}),
    ):
        method, path, body = call
        answer = client.request(method, path, json=body, headers=OLGA | {"x-dynamo": "1", "origin": "http://localhost"})
        assert answer.status_code < 300, answer.text
    assert routes_offered(walk(client, OLGA, "today", "sites/T2_A", "groups/users", "locks/1")) == OF_STOCK


def test_each_form_about_plans_and_requests_is_a_call_of_rest(installation: TestClient) -> None:
    offered = routes_offered(walk(installation, OLGA, "plans", "plans/1", "plans/3", "requests?state=open"))
    assert offered >= OF_PLANS


def confirmations(page: str) -> dict[str, str]:
    return {form.attributes["data-path"]: form.attributes["data-confirm"] for form in Page(page).forms}


def test_a_form_says_what_is_to_be_typed_where_it_destroys(look: Look) -> None:
    of_data = confirmations(look("data/1", headers=OLGA))
    assert of_data == {"/requests/copies": "", "/locks": "", "/requests/deletions": "/A/B-v1/AOD"}
    assert confirmations(look("sites/T2_A", headers=OLGA))["/sites/T2_A/evacuation"] == "T2_A"


HELD = {
    Role.VIEWER: "viewer@*",
    Role.USER: "user@group:users",
    Role.PRODUCER: "producer@namespace:/A/*",
    Role.MANAGER: "manager@group:users",
    Role.SITE_ADMIN: "site_admin@site:T2_A",
    Role.OPERATOR: "operator@*",
    Role.ADMIN: "admin@*",
}
MAY_SET_STATUS = {Role.SITE_ADMIN, Role.OPERATOR}


ALIKE = {Role.USER, Role.PRODUCER, Role.MANAGER}
"""Who sees what one of the others sees, and has other forms."""


@pytest.mark.parametrize("role", [pytest.param(role, marks=[pytest.mark.slow] * (role in ALIKE)) for role in HELD])
@pytest.mark.parametrize("access", [{"default": None}])
def test_each_page_as_each_role(client: TestClient, stock: Stock, role: Role) -> None:
    stock.subscription("copy", list(stock.files_of["b1"]), "T2_A")
    name, _, scope = HELD[role].partition("@")
    grants.grant(stock.db, "eve", Grant(Role(name), Scope.parse(scope)), by=ROOT_USER, reason="of the test")
    headers = {"x-user": "eve"}
    tabs = ("today", "data", "requests", "plans", "transfers", "deletions", "sites", "inventory", "groups", "locks")
    single = ("gates", "data/1", "sites/T2_A", "sites/T2_B", "groups/users", "transfers/queue", "deletions/queue")
    seen = {path: looking(client)(path, headers=headers) for path in (*tabs, *single)}
    for path, text in seen.items():
        assert role.value in text, path  # who looks is said, with what they hold
    is_offered = "/sites/T2_A/status" in {form.attributes["data-path"] for form in Page(seen["sites/T2_A"]).forms}
    assert is_offered == (role in MAY_SET_STATUS)
    if role is Role.SITE_ADMIN:  # not at a site that is not theirs
        assert Page(seen["sites/T2_B"]).forms == []
    if role is Role.VIEWER:
        page = Page(seen["data/1"])
        assert page.forms == []
        assert page.num_refused == 3
        assert "it needs" in seen["data/1"]
    looking(client)("audit", code=200 if role is Role.ADMIN else 403, headers=headers)


def test_the_state_that_is_decided_about_is_the_one_that_was_seen(installation: TestClient) -> None:
    page = looking(installation)("plans/1", headers=OLGA)
    etag = installation.get("/plans/1", headers=ADMIN).json()["etag"]
    seen = {form.attributes["data-path"]: form.attributes["data-seen"] for form in Page(page).forms}
    assert seen == dict.fromkeys([f"/plans/1/{verb}" for verb in ("approve", "refuse", "commit")], etag)


def test_what_a_plot_is_drawn_from_is_on_the_page(look: Look) -> None:
    page = look("sites")
    plot = Page(page).plots[0]
    assert json.loads(plot["data-columns"]) == ["site", "size_bytes", "projected_bytes", "quota_bytes"]
    drawn = {row[0]: row[1] for row in json.loads(plot["data-rows"])}
    table = dict(re.findall(r'<td data-by="(T\w+)">.*?data-by="(\d+)"', page, re.DOTALL))
    assert {name: str(size) for name, size in drawn.items()} == table
    assert re.search(r'<script src="static/plots\.js\?\w+" defer data-plotly="static/plotly/plotly\.min\.js\?', page)


def test_plotly_is_served_and_rest_plots_have_rows(client: TestClient, look: Look) -> None:
    (address,) = re.findall(r'data-plotly="([^"]+)"', look("sites"))
    answer = client.get(f"http://localhost/dynamo/ui/{address}")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/javascript")
    assert len(answer.content) > 1_000_000
    for plot in Page(look("inventory?by=group&also=site")).plots:
        if plot["data-rest"]:
            rows = client.get(plot["data-rest"], headers=ADMIN).json()["items"]
            assert set(json.loads(plot["data-columns"])) <= set(rows[0])
