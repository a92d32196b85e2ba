"""Pages for people: they answer, lead somewhere, hold nothing that a name could do, and read what REST reads."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest
from fastapi.testclient import TestClient

from dynamo_ops.access.actions import Action
from tests import ROOT
from tests.query.stock import FIRST, Stock

UI = "http://localhost/dynamo/ui/"
VIEWER, ADMIN = {"x-user": "vera:viewer"}, {"x-user": "ada:admin"}
HOSTILE = "<script>alert(1)</script>‮\"'&é\U0001f4a5"
PAGES = ROOT / "plugins" / "dynamo_web" / "pages"
MOST_PAGES = 400
"""That a walk over all links looks at."""


class Links(HTMLParser):
    """What a page leads to, and which of its elements could run something."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.base = ""
        self.found: list[str] = []
        self.tags: set[str] = set()
        self.handlers: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.add(tag)
        self.handlers += [name for name in given if name.startswith("on")]
        if tag == "base":
            self.base = given["href"] or ""
        elif tag in ("a", "link") and given.get("href"):
            self.found.append(given["href"] or "")
        elif tag == "script":
            assert given.get("src"), "a script in the text of a page"
            self.found.append(given["src"] or "")


@pytest.fixture
def look(client: TestClient) -> Callable[..., str]:
    """The text of a page, as somebody sees it."""

    def read(path: str, code: int = 200, headers: dict[str, str] = ADMIN) -> str:
        answer = client.get(urljoin(UI, path), headers=headers)
        assert answer.status_code == code, f"{path}: {answer.status_code} {answer.text[-500:]}"
        return answer.text

    return read


def links_of(page: str) -> Iterator[str]:
    """Addresses below /ui, whole."""
    parsed = Links(page)
    base = urljoin(UI, parsed.base)
    for href in parsed.found:
        address = urljoin(base, href)
        if not href.startswith("#") and urlsplit(address).path.startswith("/dynamo/"):
            yield address.partition("#")[0]


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
    waiting, seen = [f"{UI}today"], set()
    while waiting:
        address = waiting.pop()
        if address in seen:
            continue
        seen.add(address)
        assert len(seen) < MOST_PAGES
        answer = client.get(address, headers=ADMIN)
        assert answer.status_code == 200, f"{address}: {answer.status_code} {answer.text[-300:]}"
        if answer.headers["content-type"].startswith("text/html"):
            waiting += links_of(answer.text)
    tabs = {urlsplit(address).path.split("/")[3] for address in seen if "/ui/" in address}
    assert {"today", "data", "requests", "plans", "transfers", "deletions", "sites", "inventory", "groups"} <= tabs


@pytest.mark.parametrize("path", ["today", "data", "data/1", "sites", "sites/T2_A", "groups/users", "locks"])
def test_a_page_runs_nothing_but_our_script(look: Callable[..., str], client: TestClient, path: str) -> None:
    page = Links(look(path))
    assert page.handlers == []
    assert not page.tags & {"iframe", "object", "embed", "style"}
    policy = client.get(urljoin(UI, path), headers=ADMIN).headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_names_are_text_whatever_is_in_them(look: Callable[..., str], stock: Stock) -> None:
    stock.dataset(f"/{HOSTILE}/{HOSTILE}/AOD")
    stock.fill("h1")
    stock.site(HOSTILE[:60])
    stock.replica("h1", HOSTILE[:60])
    for path in ("data?status=valid", f"data/{stock.dataset_id}", "sites", "inventory"):
        page = look(path)
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert" in page
        assert Links(page).handlers == []


def test_a_dataset_tells_where_it_is(look: Callable[..., str]) -> None:
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


def test_what_there_is_not_is_said_with_near_names(look: Callable[..., str]) -> None:
    assert "T2_A" in look("sites/T2_AA", code=404)
    assert "there is no filter &#39;sit&#39; here" in look("requests?sit=T2_A", code=422)
    assert "Nothing is called" in look("search?q=zzz")


def test_what_one_may_not_see_is_said_with_who_may(look: Callable[..., str]) -> None:
    page = look("audit", code=403, headers=VIEWER)
    assert "admin" in page


def test_a_list_is_a_file_too(client: TestClient) -> None:
    answer = client.get(f"{UI}data?form=csv&site=T2_A", headers=VIEWER)
    assert answer.headers["content-disposition"] == 'attachment; filename="datasets.csv"'
    lines = answer.text.splitlines()
    assert lines[0].startswith("id,name,")
    assert [line.split(",")[1] for line in lines[1:]] == [FIRST]


def test_our_files_are_open_and_kept_by_browsers(client: TestClient, look: Callable[..., str]) -> None:
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
    of_pages = {name for name in names_called(PAGES) if re.search(r"\.(query|inventory|request|lock|pause)\.", name)}
    vocabulary = re.compile(r"\.(kinds|states|listing)\.\w+$|\.OPEN$")
    assert {name for name in of_pages - names_called(PAGES.parent / "api") if not vocabulary.search(name)} == set()
