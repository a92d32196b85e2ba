"""Somebody who looks at pages with a browser: what they click is counted, and what goes wrong meanwhile is kept."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, FrameLocator, Locator, Page, Playwright, expect

from tests.api_server import ApiServer
from tests.patience import PATIENCE_S

MOST_CLICKS = 3
PATIENCE_MS = PATIENCE_S * 1_000
FRAME = "iframe"
PAGES = "/dynamo/ui/"


ROWS = """table => {
    const names = [...table.tHead.rows[0].cells].map(cell => cell.textContent.trim());
    return [...table.tBodies[0].rows].map(row => Object.fromEntries(
        [...row.cells].map((cell, place) => [names[place], cell.textContent.trim()])));
}"""


class ClicksError(AssertionError):
    """It takes more of them than it may."""


def chromium(playwright: Playwright) -> Browser:
    """Debian's."""
    path = shutil.which("chromium")
    assert path is not None, "there is no chromium: apt-get install chromium"
    expect.set_options(timeout=PATIENCE_MS)
    return playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])


@dataclass
class Troubles:
    """What a browser complained of: errors in the console (what the policy of content refused is among them), requests
    that failed or were answered by an error."""

    noted: list[str] = field(default_factory=list)

    def watch(self, context: BrowserContext) -> None:
        """From now on."""
        context.on("console", self._console)
        context.on("weberror", lambda error: self.noted.append(f"thrown: {error.error}"))
        context.on("requestfailed", lambda request: self._failed(request.url, str(request.failure)))
        context.on("response", lambda answer: self._failed(answer.url, answer.status) if answer.status >= 400 else None)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.noted.append(f"console: {message.text} ({message.location.get('url')})")

    def _failed(self, url: str, why: object) -> None:
        if why != "net::ERR_ABORTED":  # it went to another page meanwhile
            self.noted.append(f"{urlsplit(url).path}: {why}")

    def expect_none(self) -> None:
        assert self.noted == []


@dataclass
class Looker:
    """``page``: what the window shows. ``pages``: ours, in it or in a frame of it."""

    page: Page
    server: ApiServer
    is_framed: bool
    troubles: Troubles
    num_clicks: int = 0

    @property
    def pages(self) -> Page | FrameLocator:
        return self.page.frame_locator(FRAME) if self.is_framed else self.page

    @property
    def main(self) -> Locator:
        """What is on our page, but for what stands around each."""
        return self.pages.locator("main")

    @property
    def text(self) -> str:
        return self.main.inner_text()

    @property
    def place(self) -> str:
        """The address of our page, below /dynamo/ui."""
        address = str(self.pages.locator("html").evaluate("() => location.pathname + location.search"))
        return address.removeprefix(PAGES)

    @property
    def background(self) -> str:
        """The colour behind our pages."""
        return str(self.pages.locator("html").evaluate("html => getComputedStyle(html).backgroundColor"))

    # -- to go somewhere -------------------------------------------------------------------------------------------

    def start(self) -> None:
        """*Today*, from where clicks are counted."""
        self.open("today")
        self.num_clicks = 0

    def open(self, path: str) -> None:
        """A page of ours by its address: no way of a person, who is counted."""
        address = f"{self.server.url}{PAGES}{path}"
        if self.is_framed:
            address = f"{self.server.url}/plugin/dynamo{PAGES}{path}"
        self.page.goto(address)
        expect(self.main.locator("h1")).to_be_visible()

    def click(self, what: Locator) -> None:
        """One of three. What it leads to has come when this returns."""
        self._count()
        document = self.pages.locator("html")
        document.evaluate("html => { html.dataset.left = 'not yet' }")
        what.click()
        expect(self.pages.locator("html:not([data-left])")).to_be_attached()
        self._settled()

    def click_here(self, what: Locator) -> None:
        """One of three, that leads to no other page."""
        self._count()
        what.click()

    def search(self, words: str) -> None:
        """Typed in the box, and Enter: that is one."""
        box = self.pages.get_by_role("searchbox", name="Search")
        box.fill(words)
        self._count()
        self.pages.locator("html").evaluate("html => { html.dataset.left = 'not yet' }")
        box.press("Enter")
        expect(self.pages.locator("html:not([data-left])")).to_be_attached()
        self._settled()

    def _count(self) -> None:
        self.num_clicks += 1
        if self.num_clicks > MOST_CLICKS:
            raise ClicksError(f"more than {MOST_CLICKS} clicks to get there")

    def _settled(self) -> None:
        expect(self.main.locator("h1")).to_be_visible()
        self.page.wait_for_load_state()

    # -- what is there ---------------------------------------------------------------------------------------------

    def tab(self, name: str) -> Locator:
        return self.pages.get_by_role("navigation", name="Pages").get_by_role("link", name=name, exact=True)

    def link(self, name: str) -> Locator:
        """The first of that name on the page."""
        return self.main.get_by_role("link", name=name, exact=True).first

    def fact(self, name: str) -> str:
        """What stands beside a name in the facts of a page."""
        pair = self.main.locator("dl.facts > div").filter(has=self.page.locator(f"dt:text-is('{name}')"))
        return pair.first.locator("dd").inner_text()

    def region(self, label: str) -> Locator:
        """In which a table stands."""
        return self.main.locator(f".scroll[aria-label={json.dumps(label, ensure_ascii=False)}]")

    def table(self, label: str) -> list[dict[str, str]]:
        """The rows of a table, by its headings. A table that is not there has none."""
        tables = self.region(label).locator("table")
        return list(tables.first.evaluate(ROWS)) if tables.count() else []

    def row(self, label: str, *texts: str) -> Locator:
        """The first row of a table in which these texts stand."""
        rows = self.region(label).locator("tbody tr")
        for text in texts:
            rows = rows.filter(has_text=text)
        return rows.first

    # -- to do something -------------------------------------------------------------------------------------------

    def act(self, title: str) -> Act:
        """The form of that title, which is unfolded."""
        fold = self.main.locator("details.act").filter(has=self.page.locator(f"summary:text-is('{title}')"))
        return Act(fold)


@dataclass
class Act:
    """A form in which something is done."""

    fold: Locator

    def unfold(self) -> Act:
        """So that what it asks for is seen."""
        self.fold.locator("summary").click()
        return self

    def fill(self, **typed: str) -> Act:
        """By the names of its fields."""
        for name, text in typed.items():
            place = self.fold.locator(f"[name='{name}']")
            if place.evaluate("place => place.tagName") == "SELECT":
                place.select_option(text)
            else:
                place.fill(text)
        return self

    def look(self) -> dict[str, str]:
        """What it would do, as figures; nothing is done yet."""
        self.fold.get_by_role("button", name="Show what it would do").click()
        expect(self.outcome).to_contain_text("It would do this:")
        return self.figures

    @property
    def outcome(self) -> Locator:
        return self.fold.locator(".outcome")

    @property
    def figures(self) -> dict[str, str]:
        pairs = self.outcome.locator("dl.facts > div").evaluate_all(
            "pairs => pairs.map(pair => [pair.children[0].textContent, pair.children[1].textContent])"
        )
        return dict(pairs)

    @property
    def button(self) -> Locator:
        """That does it."""
        return self.fold.locator("button.do")

    def confirm(self, words: str) -> None:
        """Type what is to be typed: before that it cannot be done, nor when something else is typed."""
        expect(self.fold.locator(".typed code")).to_have_text(words)
        expect(self.button).to_be_disabled()
        box = self.fold.get_by_label("Confirmation")
        box.fill(f"{words}?")
        expect(self.button).to_be_disabled()
        box.fill(words)
        expect(self.button).to_be_enabled()


@contextmanager
def looking(browser: Browser, server: ApiServer, name: str, *, is_framed: bool, **options: object) -> Iterator[Looker]:
    """Somebody who has logged in by Airflow's form, and was led to *Today* then. ``options``: of the browser's
    context."""
    context = browser.new_context(**options)  # type: ignore[arg-type]
    context.set_default_timeout(PATIENCE_MS)
    troubles = Troubles()
    page = context.new_page()
    try:
        page.goto(f"{server.url}{PAGES}today")
        page.get_by_label("Username").fill(name)
        page.get_by_label("Password").fill(name)
        page.get_by_role("button", name="Sign in").click()
        expect(page.locator("main h1")).to_have_text("Today")
        troubles.watch(context)
        looker = Looker(page, server, is_framed, troubles)
        looker.start()
        yield looker
    finally:
        context.close()
