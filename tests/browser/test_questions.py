"""What a data manager asks, each from *Today* or the search box in three clicks, alone and in Airflow's frame. What the
page answers is what the database says, and what is done there is done, by who did it.

Of the last of the twelve, whether a storage is what we think, only the counts of its last check are there yet.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from playwright.sync_api import expect

from dynamo_ops.access import audit
from dynamo_ops.access.actions import Action
from dynamo_ops.alerts.digest import read_digest
from dynamo_ops.base.units import size_text
from dynamo_ops.errand.carry import carry_out
from dynamo_ops.inventory.freshness import missing_days
from dynamo_ops.pause import pauses
from dynamo_ops.query.decision.plan import plan_card
from dynamo_ops.query.decision.why import explain
from dynamo_ops.query.explanation import why
from dynamo_ops.query.group import group_card
from dynamo_ops.query.movement.subscription import queue_rules
from dynamo_ops.query.record.errand import errand_card
from dynamo_ops.query.record.forecast import site_forecast
from dynamo_ops.query.site_card import site_card
from tests.browser.content import (
    CHECKED,
    CLEANED,
    COUNTING_DAG,
    FILLING,
    GROUP,
    HELD_BECAUSE,
    LOST_DAYS,
    MANAGER,
    SIDES,
    SOURCE_OF_ACCESSES,
    TRIED_DATASET,
    Content,
    Side,
)
from tests.browser.looker import Looker
from tests.cli.seeded import DATASET, POLICY

pytestmark = pytest.mark.slow


@pytest.fixture
def side(way: str) -> Side:
    return SIDES[way]


@pytest.fixture(autouse=True)
def nothing_goes_wrong(somebody: Looker) -> Iterator[None]:
    """The browser complains of nothing while somebody asks, or does something."""
    yield
    somebody.troubles.expect_none()


def noted(installation: Content, action: Action) -> list[tuple[str, str]]:
    """Whom the audit knows to have done it, and with which outcome, newest first."""
    records = audit.records(installation.database, action=action.value)
    return [(person, outcome) for person, outcome in records.select("person", "outcome").rows()]


def test_why_was_it_deleted_there(somebody: Looker, installation: Content) -> None:
    somebody.search(DATASET)
    deletion = next(row for row in somebody.table("What was done to it") if row["what"] == "delete")
    history = installation.rows("SELECT plan_id, num_blocks, size_bytes FROM detox_history WHERE decision = 'delete'")
    assert [(int(deletion["plan"]), int(deletion["blocks"]), deletion["size"])] == [
        (plan, blocks, size_text(size)) for plan, blocks, size in history
    ]
    assert deletion["site"] == CLEANED
    somebody.main.get_by_placeholder("a site").fill(CLEANED)
    somebody.click(somebody.main.get_by_role("button", name="Explain"))
    known = explain(installation.database, DATASET, CLEANED)["detox"]
    assert somebody.main.locator("ul.reasons > li").all_inner_texts() == list(known["reasons"])
    tried = [(row["line"], row["policy"], row["holds"]) for row in somebody.table("Policy lines")]
    assert tried == [(str(line["number"]), line["text"], "yes" if line["holds"] else "no") for line in known["lines"]]


def test_what_would_another_policy_delete(somebody: Looker, installation: Content) -> None:
    somebody.click(somebody.row("Plans that wait", "detox").get_by_role("link"))
    assert somebody.place == f"plans/{installation.waiting}"
    somebody.click(somebody.link("What if the policy were another?"))
    checked = somebody.main.locator("#checked")
    expect(checked).to_have_text("It is a policy of 1 lines.")
    form = somebody.act("Try it")
    form.fill(policy=POLICY.replace("Protect", "Protekt"))
    expect(checked).to_contain_text("line 5")
    expect(checked).to_contain_text("Protect")
    expect(checked).to_have_class("stop")
    form.fill(policy=POLICY.replace("Dismiss\n", f"Protect dataset.name == {TRIED_DATASET}\nDismiss\n"))
    expect(checked).to_have_text("It is a policy of 2 lines.")
    expect(checked).to_have_class("good")
    assert form.look()["partition"] == "all"
    number_before = installation.stock.scalar("SELECT coalesce(max(id), 0) FROM errands")
    form.button.click()
    expect(somebody.main).to_contain_text("This page looks again by itself.")
    errand_id = installation.stock.scalar("SELECT max(id) FROM errands")
    assert errand_id > number_before
    assert somebody.place == f"errands/{errand_id}"

    carry_out(installation.database, installation.settings, "errands/of_a_test")
    expect(somebody.main).to_contain_text("would delete")
    card = errand_card(installation.database, errand_id)
    answer = card["answer"]
    assert card["person"] == MANAGER
    assert somebody.fact("would delete") == size_text(answer["deleted"]["size_bytes"])
    assert somebody.fact("dataset replicas") == str(answer["deleted"]["num_dataset_replicas"])
    assert somebody.fact("newly kept") == size_text(answer["difference"]["newly_kept"]["size_bytes"])
    assert answer["difference"]["newly_kept"]["size_bytes"] > 0
    assert {row["site"]: row["deleted"] for row in somebody.table("Sites as they would be")} == {
        site["site"]: size_text(site["deleted_bytes"]) for site in answer["sites"]
    }
    assert [(row["decided"], row["policy"]) for row in somebody.table("What would decide")] == [
        (line["decision"], line["text"]) for line in answer["lines"]
    ]
    assert noted(installation, Action.TRY_POLICY)[:2] == [(MANAGER, "done")] * 2


def test_is_it_filling_and_until_when(somebody: Looker, installation: Content) -> None:
    somebody.click(somebody.tab("Sites"))
    somebody.click(somebody.row("Sites", FILLING).get_by_role("link").first)
    known = site_forecast(installation.database, FILLING)
    assert known.full_on is not None
    assert known.line is not None
    sentence = somebody.main.locator("p.forecast").inner_text()
    assert sentence.startswith(f"Full on {known.full_on}")
    assert f"{size_text(round(known.line.bytes_per_day))} a day" in sentence
    assert somebody.fact("on disk") == size_text(known.size_bytes)
    somebody.main.get_by_text("What it holds, day by day").scroll_into_view_if_needed()
    plot = somebody.main.locator("figure.plot", has_text="What it holds")
    for line in ("on disk", "quota", "forecast"):
        expect(plot.locator(".legend").get_by_text(line, exact=True)).to_be_attached()


def test_which_transfers_are_stuck_and_why(somebody: Looker, installation: Content, side: Side) -> None:
    somebody.click(somebody.main.locator("ul.unusual").get_by_role("link", name=re.compile("held: all_failed")))
    held = installation.rows("SELECT id FROM subscriptions WHERE state = 'held' ORDER BY id")
    assert sorted(int(row["subscription"]) for row in somebody.table("Copies that are subscribed")) == [
        number for (number,) in held
    ]
    somebody.click(somebody.row("Copies that are subscribed", side.held_at).get_by_role("link").first)
    number = int(somebody.place.rpartition("/")[2])
    known = why(installation.database, number, queue_rules(installation.settings))
    expect(somebody.main).to_contain_text(known.because)
    assert [row["because"] for row in somebody.table("Attempts")] == [HELD_BECAUSE]
    sources = {row["site"]: (row["failed"], row["because"]) for row in somebody.table("Sources")}
    assert sources == {source["site"]: (str(source["num_failed"]), source["because"]) for source in known.sources}


def test_what_does_a_group_own(somebody: Looker, installation: Content) -> None:
    somebody.search(GROUP)
    card = group_card(installation.database, GROUP)
    assert somebody.fact("unique data") == size_text(card.group["unique_bytes"])
    assert {row["site"]: row["on disk"] for row in somebody.table("Sites")} == {
        site["site"]: size_text(site["size_bytes"]) for site in card.sites
    }
    assert [row["dataset"] for row in somebody.table("Largest datasets")] == [one["dataset"] for one in card.largest]
    somebody.click(somebody.link("All that it owns"))
    owned = installation.rows(
        """SELECT DISTINCT dataset.name, site.name FROM block_replicas AS replica
           JOIN datasets AS dataset ON dataset.id = replica.dataset_id JOIN sites AS site ON site.id = replica.site_id
           JOIN groups AS owner ON owner.id = replica.group_id WHERE owner.name = :name""",
        name=GROUP,
    )
    listed = {(row["dataset"], row["site"]) for row in somebody.table(f"What {GROUP} owns")}
    assert listed == set(owned)


def test_what_did_last_night_do(somebody: Looker, installation: Content) -> None:
    digest = read_digest(installation.database, installation.settings, datetime.now(UTC))
    assert somebody.main.locator("ul.unusual > li").all_inner_texts() == digest.unusual
    newest = installation.rows("SELECT id, state FROM plans ORDER BY id DESC")
    assert [(int(row["plan"]), row["state"]) for row in somebody.table("Newest plans")] == newest
    somebody.click(somebody.row("Newest plans", "committed").get_by_role("link"))
    card = plan_card(installation.database, installation.committed)
    assert somebody.fact("deletes") == size_text(card["deleted"]["size_bytes"])
    assert {row["site"]: row["deleted"] for row in somebody.table("Sites")} == {
        site["site"]: size_text(site["deleted_bytes"]) for site in card["sites"]
    }


def test_backfill_lost_days(somebody: Looker, installation: Content) -> None:
    missing = missing_days(installation.database, [SOURCE_OF_ACCESSES])["day"].to_list()
    assert len(missing) == LOST_DAYS
    assert [row["day"] for row in somebody.table("Missing days")] == [str(day) for day in missing]
    says = somebody.main.locator("#missing code").all_inner_texts()
    assert says == [str(missing[0]), str(missing[-1])]
    somebody.click_here(somebody.main.locator("#missing").get_by_role("link", name=COUNTING_DAG))
    window = somebody.page
    expect(window).to_have_url(re.compile(f"/dags/{COUNTING_DAG}/backfills$"))
    somebody.click_here(window.get_by_role("button", name="Trigger"))
    somebody.click_here(window.get_by_text("Backfill", exact=True).last)
    expect(window.get_by_role("heading", name="Run Backfill")).to_be_visible()


def test_evacuate_a_site(somebody: Looker, installation: Content, side: Side) -> None:
    somebody.search(side.given_up)
    form = somebody.act("Evacuate it").unfold()
    form.fill(reason="its disks are old")
    figures = form.look()
    assert figures["status"] == "morgue"
    assert site_card(installation.database, side.given_up).site["status"] == "ready"
    form.confirm(side.given_up)
    form.button.click()
    expect(somebody.main.locator("h1")).to_have_text(f"What only {side.given_up} has")
    assert somebody.fact("files only here") == "2"
    site = site_card(installation.database, side.given_up)
    assert (site.site["status"], [row["quota_bytes"] for row in site.partitions]) == ("morgue", [0])
    assert (MANAGER, "done") in noted(installation, Action.SET_PARTITION_QUOTA)
    assert noted(installation, Action.OPERATE_SITE)[0] == (MANAGER, "done")


def test_stop_everything(somebody: Looker, installation: Content) -> None:
    form = somebody.act("Stop everything, or a part").unfold()
    form.fill(reason="the power is off", until="2 days")
    form.look()
    assert pauses.in_force(installation.database) == []
    form.confirm("stop")
    form.button.click()
    expect(somebody.pages.locator(".banner.stop")).to_contain_text(
        f"Stopped: everything, by {MANAGER}: the power is off"
    )
    (pause,) = pauses.in_force(installation.database)
    assert (pause.kind, pause.partition, pause.reason) == (None, None, "the power is off")
    assert [row["by"] for row in somebody.table("What stands still")] == [MANAGER]
    assert noted(installation, Action.PAUSE)[0] == (MANAGER, "done")

    resume = somebody.act("Resume everything").unfold()
    resume.fill(reason="it is on again")
    resume.look()
    resume.button.click()
    expect(somebody.pages.locator(".banner.stop")).to_have_count(0)
    assert pauses.in_force(installation.database) == []


def test_release_what_is_held(somebody: Looker, installation: Content, side: Side) -> None:
    states = """SELECT subscription.file_id, subscription.state FROM subscriptions AS subscription
                JOIN sites AS site ON site.id = subscription.site_id
                WHERE site.name = :site AND subscription.origin = 'request 1' AND subscription.state <> 'cancelled'
                ORDER BY 1"""
    held = installation.rows(states, site=side.held_at)
    assert [state for _, state in held] == ["held"] * 2
    somebody.click(somebody.main.locator("ul.unusual").get_by_role("link", name=re.compile("held: all_failed")))
    somebody.main.get_by_label("At site").fill(side.held_at)
    somebody.click(somebody.main.get_by_role("button", name="Show"))
    assert len(somebody.table("Copies that are subscribed")) == 2
    form = somebody.act("Release").unfold()
    form.fill(reason="the user is known again")
    assert form.look()["number of files"] == "2"
    assert installation.rows(states, site=side.held_at) == held
    form.confirm("2")
    form.button.click()
    expect(form.outcome).to_contain_text("Done.")
    assert installation.rows(states, site=side.held_at) == [(file, "new") for file, _ in held]
    assert noted(installation, Action.OPERATE_SUBSCRIPTIONS)[0] == (MANAGER, "done")


def test_who_approved_this_deletion(somebody: Looker, installation: Content) -> None:
    somebody.search(DATASET)
    somebody.click(somebody.row("What was done to it", "delete").get_by_role("link", name=str(installation.committed)))
    approved_by = installation.stock.scalar(
        "SELECT approved_by FROM plans WHERE id = :plan", plan=installation.committed
    )
    assert approved_by == "ada"
    assert somebody.fact("approved").startswith(f"{approved_by}, ")


def test_is_the_storage_what_we_think(somebody: Looker, installation: Content) -> None:
    somebody.search(CHECKED)
    check = site_card(installation.database, CHECKED).check
    assert check is not None
    counts = f"{check['num_storage_files']} files there, {check['num_inventory_files']} in the inventory."
    expect(somebody.main).to_contain_text(counts)
    assert {row["differs"]: int(row["files"]) for row in somebody.table("Findings")} == check["findings"]
