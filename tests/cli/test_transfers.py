"""``dynamo transfers`` as a shell would use it."""

from __future__ import annotations

import getpass
import json
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dynamo_ops.base.settings import settings
from dynamo_ops.cli import main
from dynamo_ops.cli.terminal.cells import age
from dynamo_ops.database.connection import Database
from tests.cli.test_cli import dynamo
from tests.cli.test_cli import fails as fails
from tests.installation import installed
from tests.inventory.factory import SIZE, Inventory

ME = getpass.getuser()
LFN = "/store/b1/f0"
JOB = "00000000-0000-0000-0000-000000000001"


@pytest.fixture
def stock(database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Inventory]:
    """The installation's inventory: b1 of three files is complete at T2_A and subscribed at T2_B."""
    monkeypatch.setenv("DYNAMO_DB_URL", database.url)
    monkeypatch.setenv("DYNAMO_HOME", installed(tmp_path))
    monkeypatch.setenv("DYNAMO_FTS__MONITOR_URL", "https://fts.test/#/job/")
    settings.cache_clear()
    inventory = Inventory(database)
    for site in ("T2_A", "T2_B"):
        inventory.site(site)
    inventory.block("b1", 3)
    inventory.replica("b1", "T2_A")
    inventory.subscription("copy", inventory.files_of["b1"], "T2_B", origin="dealer")
    yield inventory
    settings.cache_clear()


def failed(stock: Inventory, reason: str = "SOURCE [2] gone") -> None:
    """An attempt at the first subscription that failed for good, and one at the second that runs."""
    stock.rows(
        """WITH b AS (INSERT INTO transfer_batches (sid, job_id, site_id, is_staging, state)
           VALUES ('s', CAST(:job AS uuid), :d, false, 'submitted') RETURNING id)
           INSERT INTO transfers (batch_id, subscription_id, file_index, source_site_id, state, is_recoverable, reason,
                                  size_bytes, finished_at)
           SELECT b.id, 1, 0, :s, 'failed', false, :r, 1000, now() FROM b
           UNION ALL SELECT b.id, 2, 1, :s, 'active', NULL::boolean, NULL, 1000, NULL FROM b""",
        job=JOB,
        s=stock.site_ids["T2_A"],
        d=stock.site_ids["T2_B"],
        r=reason,
    )
    stock.rows("UPDATE subscriptions SET state = 'inbatch', num_attempts = 1 WHERE id = 2")
    stock.rows("""UPDATE subscriptions SET state = 'held', hold_reason = 'all_failed', num_attempts = 1
                  WHERE id = 1""")


@pytest.mark.parametrize("command", ["status", "why", "hold", "release", "retry", "cancel", "readdress"])
def test_every_command_explains_itself(command: str) -> None:
    assert "Usage" in dynamo("transfers", command, "--help").output


def test_status_tells_subscriptions_batches_and_errors(stock: Inventory) -> None:
    failed(stock)
    shown = dynamo("transfers", "status").output
    assert "Active subscriptions" in shown
    assert "all_failed" in shown
    assert "Under way" in shown
    assert "Ended since 20" in shown
    assert "why: `dynamo transfers why ID`, with the id of one of them\n" in shown
    assert "SOURCE [2] gone" in shown
    document = json.loads(dynamo("transfers", "status", "--site", "T2_B", "--since", "1h", "--json").output)
    assert [(row["state"], row["num_files"]) for row in document["subscriptions"]] == [
        ("held", 1),
        ("inbatch", 1),
        ("new", 1),
    ]
    assert [(row["backend"], row["state"]) for row in document["under_way"]] == [("fts", "active"), ("fts", "failed")]
    assert document["ended"][0]["example"] == "SOURCE [2] gone"
    assert [row["subscription_id"] for row in document["subscriptions"]] == [1, 2, 3]
    assert document["ended"][0]["subscription_id"] == 1
    nothing = dynamo("transfers", "status", "--site", "T2_[A]*", "--since", "now").output
    assert re.fullmatch(r"Active subscriptions: none\n\nUnder way: none\n\nEnded since \S+Z: none\n\n", nothing)


def test_why_of_a_subscription(stock: Inventory) -> None:
    failed(stock)
    shown = dynamo("transfers", "why", "1").output
    assert shown.startswith(f"{LFN}, 1.00 kB\nsubscription 1, copy to T2_B: held: the last attempt from each site")
    assert "subscribed by dealer (default), " in shown
    assert "by hand: dynamo transfers release --id 1\n" in shown
    assert "in vain" in shown
    assert "the last attempt from there failed for good: SOURCE [2] gone" in shown
    shown = dynamo("transfers", "why", "2").output
    assert f"being copied from T2_A, FTS job {JOB}" in shown
    assert f"  https://fts.test/#/job/{JOB}\n" in shown
    document = json.loads(dynamo("transfers", "why", "2", "--json").output)
    assert document["attempts"][0]["url"] == f"https://fts.test/#/job/{JOB}"
    assert "no attempt so far" in dynamo("transfers", "why", "3").output


def test_a_job_is_shown_at_its_own_server(stock: Inventory) -> None:
    failed(stock)
    stock.rows("UPDATE transfer_batches SET server = 'https://other:8446'")
    assert f"  https://other:8446/jobs/{JOB}\n" in dynamo("transfers", "why", "2").output


def test_the_jobs_of_a_server_that_is_gone(stock: Inventory) -> None:
    failed(stock)
    stock.rows("UPDATE transfer_batches SET server = 'https://other:8446'")
    shown = dynamo("transfers", "readdress", "https://other:8446/", "https://fts.example.org:8446", "--yes").output
    assert shown == "1 job: asked for at https://fts.example.org:8446 from the next run on\n"
    assert stock.rows("SELECT server FROM transfer_batches") == [("https://fts.example.org:8446",)]


@pytest.mark.parametrize(
    ("former", "address", "message"),
    [
        ("https://fts.example.org:8446", "https://other", "still a server"),
        ("https://other", "https://new", "not a server"),
    ],
    ids=["in use", "not named"],
)
def test_only_a_server_that_is_not_named_is_gone(
    stock: Inventory, fails: Callable[..., str], former: str, address: str, message: str
) -> None:
    assert message in fails("transfers", "readdress", former, address, "--yes")


def test_why_of_a_file(stock: Inventory) -> None:
    shown = dynamo("transfers", "why", LFN).output
    assert shown.startswith(f"{LFN}\n/A/B-v1/AOD#b1, 1.00 kB\n")
    assert "can be read" in shown
    assert "subscription 1, copy to T2_B: queued: number 1 of 3 copies to T2_B that wait" in shown
    document = json.loads(dynamo("transfers", "why", LFN, "--site", "T2_B", "--json").output)
    assert [(subscription["site"], subscription["state"]) for subscription in document["subscriptions"]] == [
        ("T2_B", "new")
    ]
    failed(stock)
    shown = dynamo("transfers", "why", LFN).output
    assert "Sites that have it, for subscription 1" in shown
    assert "the last attempt from there failed for good: SOURCE [2] gone" in shown
    shown = dynamo("transfers", "why", LFN, "--site", "T2_A").output
    assert shown.endswith("no site is subscribed to it, or was\n")


def test_hold_asks_and_release_frees(stock: Inventory) -> None:
    asked = ["transfers", "hold", "--site", "T2_B", "--file", "*/f[01]", "--reason", "broken disk"]
    refused = CliRunner().invoke(main.app, asked, input="n\n")
    assert refused.exit_code == 1
    assert "Hold 2 files, 2.00 kB? [y/N]" in refused.output
    assert set(stock.subscriptions().values()) == {"new"}
    assert dynamo(*asked, stdin="y\n").output.endswith("held: 2 files, 2.00 kB\n")
    assert sorted(stock.subscriptions().values()) == ["held/operator", "held/operator", "new"]
    shown = dynamo("transfers", "why", LFN).output
    assert f"held by hand ({ME}: broken disk); released by hand only" in shown
    told = dynamo("transfers", "release", "--hold-reason", "operator", "--by", "bob", "--yes").output
    assert told.endswith("released: 2 files, 2.00 kB\n")
    notes = stock.rows("SELECT note, count(*) FROM subscriptions WHERE state = 'new' GROUP BY 1")
    assert sorted(notes, key=str) == [("bob", 2), (None, 1)]


def test_a_dry_run_changes_nothing(stock: Inventory) -> None:
    told = dynamo("transfers", "cancel", "--dataset", "/A/*", "--reason", "x", "--dry-run").output
    assert "To be cancelled" in told
    assert told.endswith("would be cancelled: 3 files, 3.00 kB\n")
    assert set(stock.subscriptions().values()) == {"new"}


def test_retry_as_json(stock: Inventory) -> None:
    failed(stock)
    document = json.loads(dynamo("transfers", "retry", "--action", "copy", "--yes", "--json").output)
    assert (document["move"], document["dry_run"], document["num_files"], document["size_bytes"]) == (
        "retry", False, 1, SIZE,
    )  # fmt: skip
    assert document["rows"][0]["hold_reason"] == "all_failed"
    assert stock.subscriptions()["copy", LFN, "T2_B"] == "new"


def test_cancel_tells_what_becomes_of_replicas(stock: Inventory, fails: Callable[..., str]) -> None:
    stock.replica("b1", "T2_B", present=[])
    asked = ("transfers", "cancel", "--id", "1", "--reason", "wrong site", "--yes")
    assert "1 of these copies are wanted by 1 incomplete block replicas" in fails(*asked)
    told = dynamo(*asked, "--disown").output
    assert "not selected themselves: 2 of these" in told
    assert told.endswith(
        "cancelled: 3 files, 3.00 kB\nwithout an owner: 1 block replica; forgotten, since no file had come: 1\n"
    )


def test_cancelled_deletions_leave_files_of_nobody(stock: Inventory) -> None:
    stock.rows("UPDATE block_replicas SET group_id = NULL")
    stock.subscription("delete", [LFN], "T2_A")
    told = dynamo("transfers", "cancel", "--action", "delete", "--reason", "x", "--yes").output
    assert told.endswith(
        "cancelled: 1 file, 1.00 kB\n"
        "1 block replica keeps these files, still without an owner: Detox decides, or a group claims them\n"
    )


def test_nothing_to_do_is_no_question(stock: Inventory) -> None:
    assert dynamo("transfers", "release", "--site", "T2_B").output == "To be released: none\n\nnothing to release\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("hold", "--reason", "x"), "say which subscriptions"),
        (("cancel", "--site", "T2_b", "--reason", "x"), "there is no site 'T2_b'. Did you mean T2_B"),
        (("cancel", "--id", "1", "--reason", " "), "cancel: say why"),
        (("why", "b1"), "neither an LFN"),
        (("why", "99"), "there is no subscription 99"),
        (("status", "--site", "T3_*"), "no site matches 'T3_*'"),
    ],
    ids=str,
)
def test_what_is_wrong_is_told_in_a_line(
    stock: Inventory, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    result = CliRunner().invoke(main.app, ["transfers", *arguments, *(["--yes"] if "--reason" in arguments else [])])
    assert message in str(result.exception)


@pytest.mark.parametrize(
    ("minutes", "told"), [(-5, "0 min"), (119, "119 min"), (120, "2 h"), (2_879, "47 h"), (2_880, "2 d")]
)
def test_ages(minutes: int, told: str) -> None:
    assert age(timedelta(minutes=minutes)) == told
