"""Pages for people: they answer, lead somewhere, hold nothing that a name could do, and read what REST reads."""

from __future__ import annotations

import ast
import re
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urljoin, urlsplit

import pytest
from fastapi.testclient import TestClient

from dynamo_ops.access.actions import Action
from tests import ROOT
from tests.plugins.pages.conftest import Look
from tests.plugins.pages.page import ADMIN, UI, VIEWER, Page, walk
from tests.query.stock import FIRST, Stock

HOSTILE = "<script>alert(1)</script>\u202e\"'&é\U0001f4a5"
SOURCES = ROOT / "plugins" / "dynamo_web" / "pages"


def test_who_is_not_logged_in_is_sent_to_the_login_and_back(client: TestClient) -> None:
    answer = client.get(f"{UI}data?name=/A*", follow_redirects=False)
    assert answer.status_code == 302
    assert answer.headers["location"] == (
        "/api/v2/auth/login?next=http%3A%2F%2Flocalhost%2Fdynamo%2Fui%2Fdata%3Fname%3D%2FA%2A"
    )


def test_every_page_names_what_is_done_there_and_is_only_read(airflow: None) -> None:
    from dynamo_web.app import PAGES as MOUNT
    from dynamo_web.app import app
    from dynamo_web.caller.login import permission_of
    from fastapi.routing import APIRoute

    (pages,) = [route.app for route in app.routes if getattr(route, "path", "") == MOUNT]
    for route in pages.routes:
        if route.path == "/static":  # looks only
            continue
        assert isinstance(route, APIRoute), route.path
        assert route.methods == {"GET"}
        (action,) = {permission_of(dependency.call) for dependency in route.dependant.dependencies} - {None}
        assert action is (Action.READ_AUDIT if route.path == "/audit" else Action.READ), route.path
    assert len(pages.routes) > 25


@pytest.mark.parametrize("access", [{"default": None}])
def test_who_holds_nothing_sees_nothing_where_the_default_is_off(client: TestClient) -> None:
    for tab in ("today", "data", "data/1", "sites", "plans", "search?q=T2_A", "data?form=csv"):
        answer = client.get(f"{UI}{tab}", headers={"x-user": "eve"})
        assert answer.status_code == 403, tab
        assert "eve may not read" in answer.text


def test_every_link_leads_somewhere(client: TestClient, stock: Stock) -> None:
    stock.subscription("copy", list(stock.files_of["b1"]), "T2_A")
    seen = walk(client, ADMIN, "today")
    tabs = {urlsplit(address).path.split("/")[3] for address in seen if "/ui/" in address}
    assert {"today", "data", "requests", "plans", "transfers", "deletions", "sites", "inventory", "groups"} <= tabs


def test_every_link_of_plans_requests_and_locks_leads_somewhere(installation: TestClient) -> None:
    seen = walk(installation, ADMIN, "plans", "requests", "locks", "gates", "errands", "data", "runs?dag=detox&run=r")
    paths = {re.sub(r"\d+", "1", urlsplit(address).path.removeprefix("/dynamo/ui/")) for address in seen}
    of_plans = {f"plans/1/{part}" for part in ("order", "decisions", "left-out", "what-if", "proposals")}
    assert of_plans | {"plans/1", "plans/cycles", "requests/1", "locks/1", "data/1/explain", "data/file"} <= paths


def test_where_airflow_s_buttons_and_mails_lead_there_is_a_page(installation: TestClient) -> None:
    from dynamo_airflow.links import DeletionsLink, GateLink, TransfersLink
    from dynamo_airflow.pages import OF_SECTIONS, path_of

    ran = SimpleNamespace(start_date=datetime.now(UTC))
    buttons = (
        GateLink("detox", "freshness", subject="*'all'*"),
        GateLink("metadata"),
        TransfersLink(),
        DeletionsLink(),
    )
    gate = path_of("gates", gate="metadata", subject="source 'dbs'")
    addresses = [gate, *(button.get_link(None, ti_key=ran) for button in buttons), *map(path_of, OF_SECTIONS.values())]
    for address in addresses:
        answer = installation.get(f"http://localhost{address.removeprefix('/plugin/dynamo')}", headers=VIEWER)
        assert answer.status_code == 200, f"{address}: {answer.text[-400:]}"


def test_two_plans_are_compared(installation: TestClient) -> None:
    page = installation.get(f"{UI}plans/2/diff?against=1", headers=VIEWER)
    assert page.status_code == 200
    assert "compared with" in page.text
    assert 'href="plans/1"' in page.text


@pytest.mark.parametrize("path", ["today", "data", "data/1", "sites", "sites/T2_A", "groups/users", "locks"])
def test_a_page_runs_nothing_but_our_script(look: Look, client: TestClient, path: str) -> None:
    page = Page(look(path))
    assert page.handlers == []
    assert not page.tags & {"iframe", "object", "embed", "style"}
    policy = client.get(urljoin(UI, path), headers=ADMIN).headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_names_are_text_whatever_is_in_them(look: Look, stock: Stock) -> None:
    stock.dataset(f"/{HOSTILE}/{HOSTILE}/AOD")
    stock.fill("h1")
    stock.site(HOSTILE[:60])
    stock.replica("h1", HOSTILE[:60])
    for path in ("data?status=valid", f"data/{stock.dataset_id}", "sites", "inventory"):
        page = look(path)
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert" in page
        assert Page(page).handlers == []


def test_a_dataset_tells_where_it_is(look: Look) -> None:
    page = look("data/1")
    assert FIRST in page
    assert {"T2_A", "T2_B", "T1_Tape"} <= set(re.findall(r'href="sites/(\w+)"', page))


def test_the_name_of_one_leads_to_it(client: TestClient) -> None:
    for path in (f"data?name={FIRST}", f"search?q={FIRST}"):
        assert str(client.get(urljoin(UI, path), headers=VIEWER).url).endswith("/ui/data/1")


@pytest.mark.parametrize(
    ("typed", "path"),
    [
        ("T2_B", "sites/T2_B"),
        ("users", "groups/users"),
        ("plan 7", "plans/7"),
        ("Request 3", "requests/3"),
        ("/A*", "data"),
    ],
)
def test_what_is_typed_leads_to_its_page(client: TestClient, typed: str, path: str) -> None:
    answer = client.get(f"{UI}search", params={"q": typed}, headers=VIEWER, follow_redirects=False)
    assert answer.headers["location"].partition("?")[0] == f"/dynamo/ui/{path}"


def test_what_there_is_not_is_said_with_near_names(look: Look) -> None:
    assert "T2_A" in look("sites/T2_AA", code=404)
    assert "there is no filter &#39;sit&#39; here" in look("requests?sit=T2_A", code=422)
    assert "Nothing is called" in look("search?q=zzz")


def test_what_one_may_not_see_is_said_with_who_may(look: Look) -> None:
    page = look("audit", code=403, headers=VIEWER)
    assert "admin" in page


def test_a_list_is_a_file_too(client: TestClient) -> None:
    answer = client.get(f"{UI}data?form=csv&site=T2_A", headers=VIEWER)
    assert answer.headers["content-disposition"] == 'attachment; filename="datasets.csv"'
    lines = answer.text.splitlines()
    assert lines[0].startswith("id,name,")
    assert [line.split(",")[1] for line in lines[1:]] == [FIRST]


def test_our_files_are_open_and_kept_by_browsers(client: TestClient, look: Look) -> None:
    (style,) = re.findall(r'href="(static/dynamo\.css\?\w+)"', look("today"))
    answer = client.get(urljoin(UI, style))
    assert answer.status_code == 200
    assert "immutable" in answer.headers["cache-control"]
    assert client.get(f"{UI}static/../app.py").status_code == 404


def names_called(folder: Path) -> set[str]:
    """What the modules of a folder import of the domain, name by name."""
    names = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dynamo_ops."):
                names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_pages_read_what_rest_reads() -> None:
    """Whatever a page shows, a program can ask for: pages import no read of the database that REST does not.
    Kinds, states and how lists are read are no reads."""
    of_pages = {name for name in names_called(SOURCES) if re.search(r"\.(query|inventory|request|lock|pause)\.", name)}
    vocabulary = re.compile(
        r"\.(kinds|states|listing|paging\.frame)\.\w+$|\.[A-Z_]+$|\.(OnlyHere|Forecast|find_dataset)$"
    )
    assert {name for name in of_pages - names_called(SOURCES.parent / "api") if not vocabulary.search(name)} == set()
