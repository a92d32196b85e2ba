"""All pages as a browser shows them: narrow and wide, light and dark, by the keyboard, without JavaScript; and what is
in them when names are as hostile as they can be."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import urljoin, urlsplit

import pytest
from playwright.sync_api import APIResponse, Browser, Page, expect

from dynamo_ops.database.embedded import EmbeddedPostgres
from dynamo_ops.lock.store import add_lock
from dynamo_ops.request.deletion_request import request_deletion
from tests.api_server import ApiServer
from tests.browser.content import ADMIN, CHECKED, Content, filled
from tests.browser.looker import PAGES, Looker, looking
from tests.dags.house import fresh_database
from tests.people import ADA
from tests.plugins.pages.page import Page as Parsed
from tests.plugins.pages.page import shape

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

WIDTHS = (400, 1300, 2500)
MOST_BYTES = 300_000
"""Of a page with all that it fetches, but for Plotly."""
OF_EACH_SHAPE = 2
MOST_PAGES = 400
TOO_OFTEN = 429
HOSTILE = {
    "markup": "<img src=x onerror=window.ran=1><svg onload=window.ran=1>&lt;b&gt;{{ 7+7 }}",
    "turned": "\u202eevil\u2066",
    "long": "N" * 480,
    "emoji": "\U0001f4a5\U0001f469\u200d\U0001f52c é",
    "marks": "a b,c\"d'e%2Ff%g#h&i=j+k;l\\m",
    "question": "is it?",
}
MEASURE = """() => {
    const loaded = [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')];
    return loaded.filter(one => !one.name.includes('plotly.min')).reduce((sum, one) => sum + one.decodedBodySize, 0);
}"""
OVERFLOW = "document.documentElement.scrollWidth - innerWidth"
LOOKS, PAUSE_MS = 20, 100
"""Plots have their new size after a while; what is too wide after so many looks stays so."""


def plain(kind: str) -> str:
    """A dataset of a name that is not hostile, for reasons that are."""
    return f"/Plain/{kind}-v1/AOD"


@pytest.fixture(scope="module")
def installation(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Content]:
    """With names of each hostile kind: a dataset at a site, whose owner is called so, and what was asked for it."""
    with fresh_database(postgres, "looked_at") as database:
        made = filled(tmp_path_factory.mktemp("looked-at"), database)
        stock = made.stock
        for kind, text in HOSTILE.items():
            stock.site(f"T2_{text}")
            stock.group_id = stock.scalar(
                "INSERT INTO groups (name, ownership_level) VALUES (:name, 'dataset') RETURNING id", name=f"of {text}"
            )
            name = f"/{text}/Run-v1/AOD"
            stock.dataset(name)
            stock.fill(f"block {kind} {text}"[:400])
            (block,) = [known for known in stock.block_ids if known.startswith(f"block {kind}")]
            stock.replica(block, f"T2_{text}")
            stock.subscription("copy", stock.files_of[block], "T2_F", origin=text)
            stock.dataset(plain(kind))
            stock.fill(f"plain-{kind}")
            for at in (CHECKED, "T2_F"):
                stock.replica(f"plain-{kind}", at, owned=False)
            request_deletion(database, [plain(kind)], [CHECKED], reason=text, by=ADA, now=datetime.now(UTC))
            add_lock(database, plain(kind), reason=text, by=ADA, now=datetime.now(UTC))
        yield made


@dataclass
class Walk:
    """Addresses of pages, two of each shape, as they are found by following links; and what could not be had."""

    addresses: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)


def walk(looker: Looker) -> Walk:
    """From *Today*. Not into pages of judgements, which gates write."""
    walked, waiting, shapes = Walk(), [f"{looker.server.url}{PAGES}today"], dict[object, int]()
    seen = set[str]()
    while waiting:
        address = waiting.pop(0)
        if address in seen or shapes.get(shape(address), 0) >= OF_EACH_SHAPE or "/gates/judgements/" in address:
            continue
        seen.add(address)
        shapes[shape(address)] = shapes.get(shape(address), 0) + 1
        assert len(seen) < MOST_PAGES
        answer = read(looker, address)
        if not answer.ok:
            walked.broken.append(f"{address}: {answer.status} {_trouble(answer.text())}")
        elif answer.headers["content-type"].startswith("text/html"):
            walked.addresses.append(answer.url)
            parsed = Parsed(answer.text())
            base = urljoin(answer.url, parsed.base)
            targets = [urljoin(base, href).partition("#")[0] for href in parsed.found]
            waiting += [target for target in targets if urlsplit(target).path.startswith(PAGES)]
    return walked


def read(looker: Looker, address: str) -> APIResponse:
    """As often as somebody may."""
    while (answer := looker.page.context.request.get(address)).status == TOO_OFTEN:
        looker.page.wait_for_timeout(1_000 * int(answer.headers.get("retry-after", "1")))
    return answer


def _trouble(text: str) -> str:
    """What a page of an error says."""
    return " ".join(re.findall(r'<p class="warn">(.*?)</p>', text, re.DOTALL))


@pytest.fixture(scope="module")
def walked(browser: Browser, server: ApiServer) -> Walk:
    """By somebody who may see all."""
    with looking(browser, server, ADMIN, is_framed=False) as looker:
        return walk(looker)


@pytest.fixture
def pages(walked: Walk) -> list[str]:
    """Each kind of page."""
    assert len(walked.addresses) > 40
    return list(dict.fromkeys(walked.addresses))


def test_every_link_leads_somewhere(walked: Walk) -> None:
    assert not walked.broken, "\n".join(walked.broken)


def opened(looker: Looker, address: str) -> Page:
    looker.page.goto(address)
    looker.page.wait_for_load_state("networkidle")
    return looker.page


def overflow(page: Page) -> int:
    """By how many pixels the page is wider than its window."""
    for _ in range(LOOKS):
        if (wider := int(page.evaluate(OVERFLOW))) <= 0:
            break
        page.wait_for_timeout(PAUSE_MS)
    return wider


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_each_page_fits_is_small_and_the_browser_complains_of_nothing(
    browser: Browser, server: ApiServer, pages: list[str], theme: str
) -> None:
    faults = []
    with looking(browser, server, ADMIN, is_framed=False, color_scheme=theme) as looker:
        for address in pages:
            page = opened(looker, address)
            size = page.evaluate(MEASURE)
            if size >= MOST_BYTES:
                faults.append(f"{address}: {size} bytes")
            for width in WIDTHS:
                page.set_viewport_size({"width": width, "height": 900})
                if (wider := overflow(page)) > 0:
                    faults.append(f"{address}: {wider} pixels too wide for {width}")
            faults += [f"{address}: {noted}" for noted in looker.troubles.noted]
            looker.troubles.noted.clear()
    assert not faults, "\n".join(faults)


def test_the_keyboard_reaches_the_content_the_pages_and_the_search(browser: Browser, server: ApiServer) -> None:
    with looking(browser, server, ADMIN, is_framed=False) as looker:
        reached = []
        for _ in range(20):
            looker.page.keyboard.press("Tab")
            reached.append(looker.page.evaluate("document.activeElement.innerText || document.activeElement.name"))
        assert reached[0] == "To the content"
        assert reached[1] == "Dynamo"
        assert reached.index("Today") < reached.index("Audit") < reached.index("q")
        looker.page.keyboard.press("Home")
        looker.start()
        looker.page.keyboard.press("Tab")
        looker.page.keyboard.press("Enter")
        expect(looker.page).to_have_url(f"{server.url}{PAGES}today#main")
        looker.page.keyboard.press("Tab")
        assert looker.page.evaluate("document.activeElement.closest('main') !== null")


def test_each_page_is_read_without_javascript(browser: Browser, server: ApiServer, pages: list[str]) -> None:
    with looking(browser, server, ADMIN, is_framed=False) as looker:
        logged_in = looker.page.context.storage_state()
    context = browser.new_context(storage_state=logged_in, java_script_enabled=False)
    page, faults = context.new_page(), []
    for address in pages:
        page.goto(address)
        if not page.locator("main h1").inner_text().strip():
            faults.append(f"{address}: no heading")
        if not page.locator("main").inner_text().strip():
            faults.append(f"{address}: no text")
        hidden = page.locator("main table").count() - page.locator("main table:visible, main details table").count()
        if hidden:
            faults.append(f"{address}: {hidden} tables are not seen")
    context.close()
    assert not faults, "\n".join(faults)


@pytest.fixture
def visitor(browser: Browser, server: ApiServer) -> Iterator[Looker]:
    """An admin, of whom the browser complains of nothing, and in whose pages nothing of a name has run."""
    with looking(browser, server, ADMIN, is_framed=False) as looker:
        yield looker
        looker.troubles.expect_none()


def nothing_ran(looker: Looker) -> None:
    assert looker.page.evaluate("window.ran === undefined"), looker.page.url


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_name_is_shown_and_its_links_lead_back_to_it(
    visitor: Looker, installation: Content, kind: str
) -> None:
    """A circle: dataset, its site, the owner there, what they own, the dataset; and a part of it by the search box."""
    text = HOSTILE[kind]
    dataset, site, group = f"/{text}/Run-v1/AOD", f"T2_{text}", f"of {text}"
    heading = visitor.main.locator("h1")

    def shows(name: str) -> None:
        nothing_ran(visitor)
        assert str(heading.evaluate("heading => heading.firstChild.textContent")).strip() == name.strip()

    visitor.open(f"data/{installation.dataset_id(dataset)}")
    shows(dataset)
    visitor.region("Sites that have it").get_by_role("link", name=site, exact=True).click()
    expect(heading).to_contain_text("T2_")
    shows(site)
    visitor.region("Owners").get_by_role("link", name=group, exact=True).click()
    expect(heading).to_contain_text("of ")
    shows(group)
    visitor.link("All that it owns").click()
    expect(heading).to_contain_text("What of ")
    assert {row["dataset"] for row in visitor.table(f"What {group} owns")} == {dataset}
    visitor.main.get_by_role("link", name=dataset, exact=True).first.click()
    expect(heading).to_contain_text("/Run-v1/AOD")
    shows(dataset)
    visitor.main.get_by_role("link", name="explain").first.click()
    expect(heading).to_contain_text(" at ")
    nothing_ran(visitor)


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_name_is_found_by_the_search_box(visitor: Looker, installation: Content, kind: str) -> None:
    text = HOSTILE[kind]
    for words in (f"/{text}/Run-v1/AOD", f"T2_{text}", f"of {text}"):
        visitor.start()
        visitor.search(words)
        expect(visitor.main.locator("h1")).to_contain_text(words.strip())
        nothing_ran(visitor)


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_reason_is_shown_and_selects_what_it_was_given_for(
    visitor: Looker, installation: Content, kind: str
) -> None:
    text = HOSTILE[kind]
    number = installation.stock.scalar(
        "SELECT id FROM requests WHERE reason = :reason AND kind = 'deletion'", reason=text
    )
    visitor.open(f"requests/{number}")
    assert visitor.fact("reason") == text
    nothing_ran(visitor)
    visitor.search(plain(kind))
    assert {row["reason"] for row in visitor.table("Locks")} == {text}
    nothing_ran(visitor)
    visitor.open("transfers/queue")
    visitor.main.get_by_label("Asked for by").fill(text)
    visitor.click(visitor.main.get_by_role("button", name="Show"))
    assert {row["asked for by"] for row in visitor.table("Copies that are subscribed")} == {text}
    nothing_ran(visitor)
