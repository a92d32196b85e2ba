"""Who comes in: nobody without a login, nobody without a grant where the default role is off, and as whom."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from dynamo_ops.access import grants, tokens
from dynamo_ops.access.actions import Action
from dynamo_ops.access.person import Grant, Role, Scope
from tests.people import ROOT_USER
from tests.plugins.web.conftest import Ask
from tests.query.stock import Stock

GERMAN = Grant(Role.SITE_ADMIN, Scope.parse("site:T2_DE_*"))


def routes() -> list[Any]:
    """Of REST; those of the pages are walked by ``test_pages``."""
    from dynamo_web.app import PAGES, app

    return [route for route in app.routes if getattr(route, "path", "") != PAGES]


def path_of(route: Any) -> str:
    """An address of the route, below /dynamo."""
    return "/dynamo" + re.sub(r"\{\w+_id\}", "1", route.path).replace("{name}", "T2_A")


FOR_ADMINS = {"/v1/grants": Action.GRANT, "/v1/tokens": Action.GRANT, "/v1/audit": Action.READ_AUDIT}
"""What not everybody may read."""
READ_BY_POST = {"/v1/policies/check", "/v1/policies/lint", "/v1/files", "/v1/replicas/locate"}
"""They take a text or names, and keep nothing of them."""
PAGE_OF_OURS = {"x-dynamo": "1", "origin": "http://localhost"}


def calls() -> list[tuple[str, str]]:
    """A call of each route but those that are open: method, address."""
    from dynamo_web.app import OPEN

    return [
        (method, f"http://localhost{path_of(route)}")
        for route in routes()
        if route.path not in OPEN
        for method in sorted(route.methods - {"HEAD"})
    ]


def test_every_route_names_what_is_done_and_only_health_and_metrics_are_open(airflow: None) -> None:
    from dynamo_web.app import OPEN
    from dynamo_web.caller.login import permission_of
    from fastapi.routing import APIRoute

    for route in routes():
        if route.path in OPEN:
            assert route.methods == {"GET", "HEAD"}
            continue
        assert isinstance(route, APIRoute), f"{route.path} is a mount, or a route without our dependencies"
        (action,) = {permission_of(dependency.call) for dependency in route.dependant.dependencies} - {None}
        if route.methods == {"GET"} or route.path in READ_BY_POST:
            assert action is FOR_ADMINS.get(route.path, Action.READ), route.path
        else:
            assert action is not Action.READ, route.path
        assert len(route.methods) == 1
    assert len(routes()) > 12


def test_nothing_is_done_without_a_login(client: TestClient) -> None:
    assert client.get("/health").json() == {"status": "ok"}
    for method, address in calls():
        answer = client.request(method, address, headers=PAGE_OF_OURS)
        assert answer.status_code == 401, (method, address)
        assert answer.headers["www-authenticate"] == 'Bearer realm="dynamo"'
        assert answer.json()["detail"] == "Airflow does not know who asks: Not authenticated"


@pytest.mark.parametrize("access", [{"default": None}])
def test_who_holds_nothing_reads_nothing_where_the_default_is_off(client: TestClient, stock: Stock) -> None:
    for method, address in calls():
        if method == "GET":
            answer = client.get(address, headers={"x-user": "eve"})
            assert answer.status_code == 403, address
            problem = answer.json()
            assert problem["type"] == "urn:dynamo:error:access"
            is_for_admins = any(address.endswith(path) for path in FOR_ADMINS)
            assert problem["facts"]["needs"] == (["admin"] if is_for_admins else list(Role))
    assert client.get("/me", headers={"x-user": "eve:viewer"}).status_code == 200
    grants.grant(stock.db, "eve", GERMAN, by=ROOT_USER, reason="new")
    assert client.get("/me", headers={"x-user": "eve"}).status_code == 200


def test_no_parameter_has_a_factory(airflow: None) -> None:
    """FastAPI reads its signature at each call: two thirds of what a list costs."""
    from fastapi.routing import APIRoute

    for route in routes():
        if isinstance(route, APIRoute):
            for parameter in route.dependant.query_params:
                fields = getattr(parameter.field_info.annotation, "model_fields", {})
                assert [name for name, field in fields.items() if field.default_factory is not None] == [], route.path


def test_fastapi_s_own_pages_are_not_there(client: TestClient) -> None:
    for page in ("docs", "redoc", "openapi.json"):
        assert client.get(f"http://localhost/dynamo/{page}").status_code == 404


def test_who_one_is(client: TestClient, stock: Stock) -> None:
    stock.rows("INSERT INTO group_members (group_id, person, created_by) VALUES (:g, 'ada', 'root')", g=stock.users)
    me = client.get("/me", headers={"x-user": "ada:op"}).json()
    assert me == {
        "name": "ada",
        "known_by": "airflow",
        "token_id": None,
        "grants": [{"role": "operator", "scope": "*"}],
        "groups": ["users"],
        "free_bytes": 10 * 10**12,
    }


@pytest.mark.parametrize("access", [{"map": {"expert": ["manager", "user"], "op": []}, "free_size": "1 TB"}])
def test_roles_of_the_auth_manager_are_ours_by_the_settings(client: TestClient) -> None:
    def roles(user: str) -> list[str]:
        return [grant["role"] for grant in client.get("/me", headers={"x-user": user}).json()["grants"]]

    assert roles("ada:expert") == ["manager", "user"]
    assert roles("ada:op") == ["viewer"]
    assert roles("ada:admin") == ["admin", "operator"]
    assert client.get("/me", headers={"x-user": "ada"}).json()["free_bytes"] == 10**12


def test_roles_of_fab_are_known_by_their_names(airflow: None) -> None:
    from dynamo_web.caller.login import manager_roles

    user = SimpleNamespace(username="ada", roles=[SimpleNamespace(name="Op"), SimpleNamespace(name="desy")])
    assert manager_roles(user) == ("Op", "desy", "op")
    assert manager_roles(SimpleNamespace(user_id="u", access_token="t")) == ()


def test_nobody_can_be_called_like_a_role(client: TestClient) -> None:
    """A grant to ``@op`` is for all who have the role, not for who calls themselves so."""
    answer = client.get("/me", headers={"x-user": "@op"})
    assert (answer.status_code, answer.json()["type"]) == (401, "urn:dynamo:error:not-logged-in")


def test_a_token_is_its_owner_whoever_else_is_logged_in(client: TestClient, stock: Stock, token: Ask) -> None:
    grants.grant(stock.db, "crab", GERMAN, by=ROOT_USER, reason="new")
    secret = token("crab")
    answer = client.get("/me", headers={"authorization": f"Bearer {secret}", "x-user": "ada:admin"}).json()
    assert (answer["name"], answer["known_by"], answer["token_id"]) == ("crab", "token", 1)
    assert answer["grants"] == [{"role": "site_admin", "scope": "site:T2_DE_*"}]
    assert tokens.tokens(stock.db)["last_used_at"].null_count() == 0


def test_a_token_has_the_roles_of_its_owner_s_last_login(client: TestClient, stock: Stock, token: Ask) -> None:
    def roles(**headers: str) -> list[str]:
        return [grant["role"] for grant in client.get("/me", headers=headers).json()["grants"]]

    crab = {"authorization": f"Bearer {token('crab')}"}
    assert roles(**crab) == ["viewer"]
    roles(**{"x-user": "crab:op"})
    assert roles(**crab) == ["operator"]
    roles(**{"x-user": "crab:user"})
    assert roles(**crab) == ["user"]
    stock.rows("UPDATE seen_roles SET seen_at = now() - interval '30 days 1 second'")
    assert roles(**crab) == ["viewer"]
    roles(**{"x-user": "crab:user"})
    assert roles(**crab) == ["user"]


@pytest.mark.parametrize("access", [{"roles_seen_days": 0}])
def test_roles_of_logins_can_be_left_to_logins(client: TestClient, token: Ask) -> None:
    crab = {"authorization": f"Bearer {token('crab')}"}
    assert client.get("/me", headers={"x-user": "crab:op"}).json()["grants"][0]["role"] == "operator"
    assert client.get("/me", headers=crab).json()["grants"][0]["role"] == "viewer"


def test_a_token_that_is_not_good_lets_nobody_in(client: TestClient, stock: Stock, token: Ask) -> None:
    secret = token("crab")
    tokens.revoke(stock.db, 1, by=ROOT_USER)
    for bad, why in ((secret, "the token is revoked"), ("dyn_x", "the token is not known"), ("eyJ", "Invalid JWT")):
        answer = client.get("/me", headers={"authorization": f"Bearer {bad}", "x-user": "ada:admin"})
        assert answer.status_code == 401
        assert why in answer.json()["detail"]


def test_airflow_s_own_token_and_cookie_let_in(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is faked here: SimpleAuth's manager signs, and knows the user again."""
    from airflow.api_fastapi.app import create_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from airflow.api_fastapi.core_api.security import get_user
    from dynamo_web.caller import login

    monkeypatch.setenv("AIRFLOW__API_AUTH__JWT_SECRET", "a secret of this test, " * 4)
    monkeypatch.setattr(login, "get_user", get_user)
    signed = create_auth_manager().generate_jwt(SimpleAuthManagerUser(username="ada", role="op"))
    by_header = client.get("/me", headers={"authorization": f"Bearer {signed}"})
    by_cookie = client.get("/me", cookies={"_token": signed})
    for answer in (by_header, by_cookie):
        assert answer.status_code == 200, answer.text
        assert (answer.json()["name"], answer.json()["grants"]) == ("ada", [{"role": "operator", "scope": "*"}])
    assert client.get("/me", headers={"authorization": f"Bearer {signed}x"}).status_code == 401
