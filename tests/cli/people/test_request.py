"""``dynamo request`` as a shell would use it."""

from __future__ import annotations

import getpass
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dynamo_ops.base.settings import settings
from dynamo_ops.cli.main import app
from dynamo_ops.database.connection import Database
from dynamo_ops.lock.store import add_lock
from tests.cli.test_cli import dynamo
from tests.cli.test_cli import fails as fails
from tests.installation import installed
from tests.inventory.factory import SIZE
from tests.people import BOB
from tests.request.stock import DATASET, NOW, Stock

FOLLOWED = "The next Dealer cycle looks at it; `dynamo request show 1` says how it stands.\n"
ME = getpass.getuser()


@pytest.fixture
def stock(database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Stock]:
    """``Stock`` in the installation's inventory; its group is one that a shipped Dealer places for."""
    monkeypatch.setenv("DYNAMO_DB_URL", database.url)
    monkeypatch.setenv("DYNAMO_HOME", installed(tmp_path))
    settings.cache_clear()
    stock = Stock(database)
    stock.rows("UPDATE groups SET name = 'physics' WHERE name = 'ops'")
    yield stock
    settings.cache_clear()


def copy(*arguments: str) -> str:
    return dynamo("request", "copy", *arguments, "--group", "physics").output


@pytest.mark.parametrize("command", ["copy", "delete", "list", "show", "cancel"])
def test_every_command_explains_itself(command: str) -> None:
    assert "Usage" in dynamo("request", command, "--help").output


def test_a_copy_is_asked_for_shown_and_completed_step_by_step(stock: Stock) -> None:
    item = f"{DATASET}#b1"
    assert copy(item, f"{DATASET}#b2", "--site", "T2_C") == (
        f"copy request 1: one copy of {item} {DATASET}#b2 at T2_C\n{FOLLOWED}"
    )
    shown = dynamo("request", "show", "1").output
    assert shown.startswith(
        f"copy request 1: new\nitems: {item} {DATASET}#b2\nsites: T2_C\ncopies: 1\ngroup: physics\n"
    )
    assert shown.endswith("nothing is done for it yet: the next Dealer cycle looks at it\n")
    stock.dealt(1, ("b1", "T2_C"), ("b2", "T2_C"))
    stock.arrive("T2_C", *stock.files_of["b1"])
    shown = dynamo("request", "show", "1").output
    assert "copy request 1: activated" in shown
    assert "3 of 3" in shown
    assert "0 B of 3.00 kB" in shown
    assert "in all: 3.00 kB of 6.00 kB there (50.0 %)" in shown
    document = json.loads(dynamo("request", "show", "1", "--json").output)
    assert (document["state"], document["items"]) == ("activated", [item, f"{DATASET}#b2"])
    assert [(row["site"], row["num_files_done"]) for row in document["actions"]] == [("T2_C", 3), ("T2_C", 0)]


def test_each_part_says_why_it_waits(stock: Stock) -> None:
    copy(DATASET, "--site", "T2_C", "--site", "T1_Tape", "--copies", "0")
    stock.dealt(1, (None, "T2_C"), (None, "T1_Tape"))
    held = stock.scalar("SELECT min(s.id) FROM subscriptions s JOIN sites d ON d.id = s.site_id WHERE d.name = 'T2_C'")
    stock.rows("UPDATE subscriptions SET state = 'held', hold_reason = 'all_failed' WHERE id = :id", id=held)
    shown = dynamo("request", "show", "1").output
    assert "the last attempt from each site" in shown
    assert "queued: number 1 of 6 copies to T1_Tape that wait" in shown
    assert "more of what waits: `dynamo transfers why " in shown
    parts = {part["site"]: part for part in json.loads(dynamo("request", "show", "1", "--json").output)["actions"]}
    assert parts["T2_C"]["subscription_id"] == held
    assert parts["T2_C"]["waits"].startswith("held: ")
    stock.arrive("T2_C", *stock.files_of["b1"], *stock.files_of["b2"])
    parts = {part["site"]: part for part in json.loads(dynamo("request", "show", "1", "--json").output)["actions"]}
    assert (parts["T2_C"]["waits"], parts["T2_C"]["subscription_id"]) == (None, None)


def test_asking_again_is_told(stock: Stock) -> None:
    copy(DATASET, "--site", "T2_C")
    told = copy(DATASET, "--site", "T2_C")
    assert told.startswith(f"copy request 1: one copy of {DATASET} at T2_C\n{FOLLOWED}asked 2 times, last by {ME}, ")
    document = json.loads(copy(DATASET, "--site", "T2_C", "--json"))
    assert (document["id"], document["num_asked"], document["state"]) == (1, 3, "new")
    assert f"{ME} (3 times)" in dynamo("request", "list").output


def test_a_deletion_is_tried_asked_for_and_taken_back(stock: Stock) -> None:
    add_lock(stock.db, f"{DATASET}#b2", reason="thesis", by=BOB, now=NOW)
    asked = ("request", "delete", DATASET, "--site", "T2_A", "--reason", "full disk")
    before = stock.everything()
    told = dynamo(*asked, "--dry-run").output
    assert told.endswith(
        "would be deleted: 1 block replica, 3.00 kB; must stay: 1 block replica, 3.00 kB. Nothing was changed\n"
    )
    assert stock.everything() == before
    said_no = CliRunner().invoke(app, asked, input="n\n")
    assert (said_no.exit_code, stock.everything()) == (1, before)
    assert "Delete 1 block replica, 3.00 kB, of 1 dataset at 1 site?" in said_no.output
    assert said_no.output.endswith("nothing was changed\n")
    told = dynamo(*asked, stdin="y\n").output
    assert "it is locked" in told
    assert told.endswith(
        "deletion request 1: deleted are 1 block replica, 3.00 kB; must stay: 1 block replica, 3.00 kB\n"
    )
    shown = dynamo("request", "show", "1").output
    assert "reason: full disk" in shown
    assert "in all: 0 B of 3.00 kB gone (0.0 %)" in shown
    told = dynamo("request", "cancel", "1", "--reason", "the wrong one").output
    assert told == ("deletion request 1 is cancelled: 3 files not deleted\n1 block replica has its owner again\n")
    assert "because: the wrong one" in dynamo("request", "show", "1").output


def test_a_deletion_of_which_nothing_may_go_is_rejected(stock: Stock) -> None:
    asked = ("request", "delete", DATASET, "--site", "T2_*", "--reason", "x")
    rejected = CliRunner().invoke(app, [*asked, "--json"])
    document = json.loads(rejected.output)
    assert rejected.exit_code == 1
    assert (document["request_id"], document["state"], document["accepted_bytes"]) == (1, "rejected", 0)
    assert {row["reason"] for row in document["verdicts"]} == {"it is the last copy"}
    assert document["verdicts"][0]["size_bytes"] == 6 * SIZE
    told = CliRunner().invoke(app, asked)
    assert told.output.endswith("deletion request 2 is rejected: nothing of it may be deleted\n")
    assert told.exit_code == 1


def test_last_copies_that_go_are_in_the_question(stock: Stock) -> None:
    asked = ["request", "delete", DATASET, "--site", "T2_*", "--reason", "x", "--allow-last", "6"]
    told = CliRunner().invoke(app, asked, input="n\n").output
    assert "Delete 4 block replicas, 12.00 kB, of 1 dataset at 2 sites, with the last copies of 6 files?" in told


def test_nobody_to_ask_is_told_what_to_say(stock: Stock, fails: Callable[..., str], nobody: None) -> None:
    before = stock.everything()
    ended = CliRunner().invoke(app, ["request", "delete", DATASET, "--site", "T2_A", "--reason", "x"])
    assert ended.exit_code == 2
    assert "nobody is there to be asked: say --yes to do it" in ended.output
    assert stock.everything() == before


def test_a_copy_that_goes_on_for_others_is_told_when_it_is_cancelled(stock: Stock) -> None:
    copy(DATASET, "--site", "T2_C")
    copy(DATASET, "--site", "T2_C", "--site", "T2_B", "--copies", "2")
    for request in (1, 2):
        stock.dealt(request, (None, "T2_C"))
    told = dynamo("request", "cancel", "1", "--reason", "x").output
    assert told == (
        "copy request 1 is cancelled: 0 files no longer subscribed\n1 copy goes on: somebody else asks for the same\n"
    )
    told = json.loads(dynamo("request", "cancel", "2", "--reason", "x", "--json").output)
    assert (told["request_id"], told["num_subscriptions"], told["num_removed"]) == (2, 6, 2)


def test_requests_are_listed_by_what_is_asked(stock: Stock) -> None:
    copy(DATASET, "--site", "T2_C", "--copies", "0")
    dynamo("request", "delete", DATASET, "--site", "T2_A", "--reason", "x", "--yes")
    assert [row["id"] for row in json.loads(dynamo("request", "list", "--json").output)] == [2, 1]
    only = json.loads(dynamo("request", "list", "--kind", "copy", "--state", "open", "--user", ME, "--json").output)
    assert [(row["id"], row["num_copies"]) for row in only] == [(1, 0)]
    assert "each" in dynamo("request", "list", "--dataset", "/A/*").output
    assert dynamo("request", "list", "--user", "nobody").output == "Requests: none\n\n"
    assert "the newest 1; --limit shows more" in dynamo("request", "list", "--limit", "1").output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "7"], "there is no request 7"),
        (["cancel", "7", "--reason", "x"], "there is no request 7"),
        (["list", "--state", "done"], "'done' is no state of a request: these are new, activated"),
        (["delete", "/A/B-v1/RAW", "--site", "T2_A", "--reason", "x"], "Did you mean /A/B-v1/AOD?"),
        (["delete", DATASET, "--site", "T2_A", "--reason", " "], "say why (reason is empty)"),
        (["copy", DATASET, "--site", "T2_C", "--group", "users"], "no dealer configuration places for group 'users'"),
        (["copy", f"{DATASET}#b7", "--site", "T2_C", "--group", "physics"], "has no block 'b7'"),
    ],
)
def test_a_wrong_question_is_told_in_a_line(
    stock: Stock, fails: Callable[..., str], arguments: list[str], message: str
) -> None:
    assert message in fails("request", *arguments)


def test_the_limits_are_those_of_the_settings(
    stock: Stock, fails: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DYNAMO_REQUESTS__MAX_COPIES", "1")
    settings.cache_clear()
    told = fails("request", "copy", DATASET, "--site", "T2_*", "--group", "physics", "--copies", "2")
    assert "2 copies were asked for, and requests.max_copies is 1" in told
