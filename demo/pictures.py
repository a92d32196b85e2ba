"""Pictures of Dynamo's pages for the README, by a browser, of an instance on which the demo has run."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from demo.instance import ROOT, DemoError, Instance
from demo.people import OPERATOR, password_of
from demo.up import database_url
from dynamo_ops.database.connection import Database

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

Say = Callable[[str], None]
FOLDER = ROOT / "docs" / "images"
PAGES = "dynamo/ui"
WIDTH, HEIGHT = 1300, 860
MOST_BYTES = 200_000
WAIT_MS = 60_000

PLAN_SQL = """
    SELECT plan_id FROM detox_history WHERE decision = 'delete'
    GROUP BY plan_id ORDER BY sum(size_bytes) DESC LIMIT 1"""
SITE_SQL = """
    SELECT s.name FROM detox_history h JOIN sites s ON s.id = h.site_id WHERE h.decision = 'delete'
    GROUP BY s.name ORDER BY sum(h.size_bytes) DESC, s.name LIMIT 1"""
DELETED_SQL = """
    SELECT h.dataset_id, s.name AS site FROM detox_history h JOIN sites s ON s.id = h.site_id
    WHERE h.decision = 'delete' ORDER BY h.line DESC, h.size_bytes DESC, h.dataset_id LIMIT 1"""


@dataclass(frozen=True)
class Picture:
    """``path``: of the page, below Airflow's address. ``from_heading``: what stands at its top; empty: the page's
    begin."""

    name: str
    path: str
    from_heading: str = ""


def show_pictures(instance: Instance, say: Say) -> int:
    """Take them, as the operator sees it; returns 0."""
    database = Database(database_url(instance))
    take(pictures_of(database), instance.ui, OPERATOR, password_of(instance, OPERATOR), FOLDER, say)
    return 0


def pictures_of(database: Database) -> list[Picture]:
    """What the README shows. Raises DemoError where Detox has deleted nothing yet."""
    deleted = database.frame(DELETED_SQL).to_dicts()
    if not deleted:
        raise DemoError("nothing was deleted here yet: `make demo` first")
    (of_dataset,) = deleted
    site, plan_id = database.frame(SITE_SQL).item(), database.frame(PLAN_SQL).item()
    explained = f"data/{of_dataset['dataset_id']}/explain?{urlencode({'site': of_dataset['site']})}"
    return [
        Picture("today", f"plugin/dynamo/{PAGES}/today"),
        Picture("plan", f"{PAGES}/plans/{plan_id}"),
        Picture("site", f"{PAGES}/sites/{quote(site, safe='')}"),
        Picture("transfers", f"{PAGES}/transfers?since=24h", "Over time"),
        Picture("explain", f"{PAGES}/{explained}"),
    ]


def take(pictures: list[Picture], url: str, name: str, password: str | None, folder: Path, say: Say) -> None:
    """Of pages at ``url``, as PNG into ``folder``. ``password`` None: everybody is let in. Raises DemoError without a
    browser, or where a picture is larger than a README should load."""
    folder.mkdir(parents=True, exist_ok=True)
    with _window() as page:
        _log_in(page, url, name, password)
        for picture in pictures:
            page.goto(f"{url}/{picture.path}")
            file = folder / f"{picture.name}.png"
            _draw(page, picture)
            page.screenshot(path=file)
            size = file.stat().st_size
            if size > MOST_BYTES:
                raise DemoError(f"{file} has {size:,} bytes, more than {MOST_BYTES:,}")
            say(f"{file}: {size:,} bytes")


@contextmanager
def _window() -> Iterator[Page]:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise DemoError("pictures need the development tools: `make setup`") from None
    path = shutil.which("chromium")
    if path is None:
        raise DemoError("there is no browser: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        context.set_default_timeout(WAIT_MS)
        yield context.new_page()
        browser.close()


def _log_in(page: Page, url: str, name: str, password: str | None) -> None:
    page.goto(f"{url}/{PAGES}/today")
    if password is not None:
        page.get_by_label("Username").fill(name)
        page.get_by_label("Password").fill(password)
        page.get_by_role("button", name="Sign in").click()
    page.locator("main h1").wait_for()


def _draw(page: Page, picture: Picture) -> None:
    """Wait for the page, and for the plots on it, which are drawn when they come into sight."""
    pages: Any = page.frame_locator("iframe") if picture.path.startswith("plugin/") else page
    main = pages.locator("main")
    main.locator("h1").wait_for()
    for plot in main.locator("figure.plot").all():
        plot.scroll_into_view_if_needed()
        plot.locator("svg.main-svg").first.wait_for()
    top = main.get_by_role("heading", name=picture.from_heading).first if picture.from_heading else main.locator("h1")
    top.evaluate("heading => heading.scrollIntoView({block: 'start'})")
    if not picture.from_heading:
        pages.locator("html").evaluate("html => { html.scrollTop = 0 }")
    page.wait_for_load_state("networkidle")
