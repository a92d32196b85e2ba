"""That pages come up in a browser at all, alone and in Airflow, and that the browser has nothing to complain of."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.content import DELETING_DAG, RUN, Content
from tests.browser.looker import Looker


@pytest.mark.parametrize("way", [pytest.param("alone", marks=pytest.mark.slow), "framed"])
def test_pages_in_a_browser(somebody: Looker, installation: Content) -> None:
    """One login, since that costs most: *Today* has its figures and its plot; it is dark where what is around it is; a
    run opens in Airflow itself, and has a tab of ours."""
    assert str(installation.waiting) in {row["plan"] for row in somebody.table("Plans that wait")}
    plot = somebody.main.locator("figure.plot", has_text="Runs of 48 hours")
    plot.scroll_into_view_if_needed()
    expect(plot.locator("svg.main-svg").first).to_be_visible()
    expect(plot.get_by_text(DELETING_DAG)).to_be_visible()
    _darken(somebody)

    somebody.main.locator("#runs summary").click()
    somebody.row("Runs", DELETING_DAG).get_by_role("link").click()
    expect(somebody.page).to_have_url(re.compile(f"/dags/{DELETING_DAG}/runs/{re.escape(RUN[:20])}"))
    expect(somebody.page.locator("iframe")).to_have_count(0)
    somebody.page.locator("a[href$='/plugin/dynamo-run']").click()  # the menu has a link of that name, too
    tab = somebody.page.frame_locator("iframe")
    expect(tab.get_by_role("heading", name=DELETING_DAG)).to_be_visible()
    plans = tab.locator(".scroll[aria-label='Plans'] tbody")
    expect(plans.get_by_role("link", name=str(installation.committed), exact=True)).to_be_visible()
    somebody.troubles.expect_none()


def _darken(somebody: Looker) -> None:
    """In Airflow by its menu, alone by the system."""
    light = somebody.background
    if somebody.is_framed:
        somebody.page.get_by_role("button", name="User").click()
        somebody.page.get_by_role("menuitem", name="Appearance").hover()
        somebody.page.get_by_text("Dark Mode").click()
        expect(somebody.pages.locator("html")).to_have_attribute("data-theme", "dark")
    else:
        somebody.page.emulate_media(color_scheme="dark")
    assert somebody.background != light
