"""``dynamo site`` as a shell would use it."""

from __future__ import annotations

import getpass
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from dynamo_ops.cli import main
from tests.cli.test_cli import dynamo
from tests.cli.test_cli import fails as fails
from tests.cli.test_cli import stock as stock
from tests.inventory.factory import Inventory

ME = getpass.getuser()
NEXT_MONTH = f"{datetime.now(UTC) + timedelta(days=30):%Y-%m-%d}"


@pytest.mark.parametrize(
    "command", ["list", "set", "unset", "evacuate", "overrides", "drain", "resume", "downtime", "mappings"]
)
def test_every_command_explains_itself(command: str) -> None:
    assert "Usage" in dynamo("site", command, "--help").output


def test_a_site_is_drained_listed_and_resumed(stock: Inventory) -> None:
    told = dynamo("site", "drain", "T2_A", "--reason", "new switch").output
    assert told.startswith("downtime 1 of T2_A: from 2")
    assert "until `dynamo site resume T2_A`\nwhat waits for it is held" in told
    shown = dynamo("site", "list").output
    assert "untouched" in shown
    assert "new switch" in shown
    assert "read, written" in shown
    (row,) = json.loads(dynamo("site", "downtime", "T2_A", "--json").output)
    assert (row["state"], row["reason"], row["created_by"]) == ("now", "new switch", ME)
    assert (
        dynamo("site", "resume", "T2_A").output == "T2_A: 1 downtime ended; the next run of transfers uses it again\n"
    )
    assert dynamo("site", "downtime").output == "Downtimes: none\n\n"
    assert "new switch" in dynamo("site", "downtime", "--over").output
    assert "untouched" not in dynamo("site", "list").output


def test_from_then_to_then_by_another(stock: Inventory) -> None:
    asked = ("site", "drain", "T2_B", "--from", NEXT_MONTH, "--until", f"{NEXT_MONTH}T12:00", "--reason", "x")
    document = json.loads(dynamo(*asked, "--by", "bob", "--json").output)
    assert (document["begins_at"], document["ends_at"], document["created_by"]) == (
        f"{NEXT_MONTH}T00:00:00+00:00",
        f"{NEXT_MONTH}T12:00:00+00:00",
        "bob",
    )
    assert f"until {NEXT_MONTH}T12:00Z" in dynamo(*asked).output
    assert json.loads(dynamo("site", "resume", "T2_B", "--planned", "--json").output) == {
        "site": "T2_B",
        "ended": [1, 2],
    }


@pytest.mark.parametrize(("answer", "is_left"), [("n", True), ("y", False)])
def test_who_takes_back_that_sites_share_a_storage_is_asked(stock: Inventory, answer: str, is_left: bool) -> None:
    stock.replica("b1", "T2_B")
    dynamo("site", "share", "T2_A", "T2_B", "--reason", "one dCache")
    ended = CliRunner().invoke(main.app, ["site", "unshare", "T2_A", "T2_B"], input=f"{answer}\n")
    question = "Both have 1 block, 4.00 kB: what is deleted at one is gone at both, if they do share it [y/N]"
    assert question in ended.stderr
    assert ended.exit_code == int(is_left)
    assert ("one dCache" in dynamo("site", "shared").output) == is_left
    if not is_left:
        assert dynamo("site", "unshare", "T2_B", "T2_A").output == "T2_B and T2_A were not declared\n"


@pytest.mark.parametrize(("answer", "prefix"), [("n", "davs://old.invalid/"), ("y", "davs://new.invalid/")])
def test_who_accepts_another_endpoint_is_shown_both_and_asked(stock: Inventory, answer: str, prefix: str) -> None:
    stock.rows(
        "UPDATE site_endpoints SET prefix = 'davs://old.invalid/', proposed_prefix = 'davs://new.invalid/',"
        " proposed_at = now() WHERE site_id = :s",
        s=stock.site_ids["T2_A"],
    )
    ended = CliRunner().invoke(main.app, ["site", "accept", "T2_A"], input=f"{answer}\n")
    assert all(place in ended.stdout for place in ("davs://old.invalid/", "davs://new.invalid/"))
    assert "Look for the files of T2_A there from now on?" in ended.stderr
    assert stock.scalar("SELECT prefix FROM site_endpoints WHERE site_id = :s", s=stock.site_ids["T2_A"]) == prefix


def test_mappings_in_doubt(stock: Inventory) -> None:
    assert dynamo("site", "mappings").output == "Mappings that may give two files one name: none\n\n"
    stock.rows(
        """UPDATE site_endpoints SET mapping = '[[["/store/(.*)", "davs://se.org/x"]]]' WHERE site_id = :s""",
        s=stock.site_ids["T2_B"],
    )
    (mapping,) = json.loads(dynamo("site", "mappings", "--json").output)
    assert (mapping["site"], mapping["protocol"]) == ("T2_B", "davs")
    assert "does not use every group" in mapping["because"]


def test_sites_as_json(stock: Inventory) -> None:
    stock.subscription("copy", stock.files_of["b1"], "T2_B")
    found = {row["site"]: row for row in json.loads(dynamo("site", "list", "--json").output)}
    assert (found["T2_B"]["num_copies_to"], found["T2_B"]["is_writable"]) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("drain", "T2_X", "--reason", "x"), "dynamo: there is no site 'T2_X'. Did you mean T2_B, T2_A?"),
        (("resume", "T2_A"), "dynamo: site T2_A is in no downtime now"),
        (("downtime", "Tier"), "dynamo: there is no site 'Tier'"),
        (("set", "T2_X", "ready", "--reason", "x"), "dynamo: there is no site 'T2_X'. Did you mean T2_B, T2_A?"),
        (
            ("set", "T2_A", "fine", "--reason", "x"),
            "dynamo: status of T2_A: 'fine' is none of ready, waitroom, morgue",
        ),
        (("unset", "T2_A"), "dynamo: the status of site T2_A is what its source tells; nothing to end"),
    ],
    ids=["drain", "resume", "downtime", "set", "status", "unset"],
)
def test_what_is_wrong_is_told_in_a_line(
    stock: Inventory, fails: Callable[..., str], arguments: tuple[str, ...], message: str
) -> None:
    assert fails("site", *arguments) == message


def test_a_status_by_hand_is_set_shown_and_taken_back(stock: Inventory) -> None:
    stock.rows("INSERT INTO site_sources (site_id, source, told_status) SELECT id, 'cric', 'morgue' FROM sites")
    stock.rows("UPDATE sites SET status = 'morgue'")
    shown = dynamo("site", "set", "T2_A", "ready", "--reason", "it works", "--until", NEXT_MONTH, "--by", "ada").output
    assert "warning: source 'cric' says morgue: data will be placed at a site that may be given up" in shown
    assert f"T2_A is ready (was morgue), until {NEXT_MONTH}T00:00Z" in shown
    shown = dynamo("site", "list").output
    assert f"set by ada until {NEXT_MONTH}" in shown
    (row,) = [each for each in json.loads(dynamo("site", "list", "--json").output) if each["said_by"]]
    assert (row["status"], row["told_status"], row["said_because"]) == ("ready", "morgue", "it works")
    assert "it works" in dynamo("site", "overrides").output
    assert dynamo("site", "unset", "T2_A").output == "T2_A is morgue: what its source tells counts again\n"
    assert dynamo("site", "overrides").output == "Statuses by hand: none\n\n"
    (row,) = json.loads(dynamo("site", "overrides", "T2_A", "--over", "--json").output)
    assert (row["is_in_force"], row["ended_by"]) == (False, ME)


def test_what_a_source_says_too_shortly_is_shown(stock: Inventory) -> None:
    stock.rows("""
        INSERT INTO site_sources (site_id, source, told_status, told_since_at)
        SELECT id, 'cric', 'ready', '2026-03-01T12:00Z' FROM sites WHERE name = 'T2_A'""")
    stock.rows("UPDATE sites SET status = 'waitroom' WHERE name = 'T2_A'")
    assert "ready only since" in dynamo("site", "list").output


def test_a_site_is_given_up(stock: Inventory) -> None:
    """Both in one command, with what it was, to be set again; a second time nothing is left to take."""
    dynamo("quota", "set", "T2_A", "physics", "5 TB", "--reason", "new disks")
    printed = " ".join(dynamo("site", "evacuate", "T2_A", "--reason", "closes in May").output.split())
    assert "T2_A is morgue (was ready), until `dynamo site unset T2_A`" in printed
    assert "quota of physics there: 0 (was 5.00 TB)" in printed
    assert re.search(
        r"only there: 2 files of 1 block, \S+ \S+; files of 0 blocks are to be copied to other sites", printed
    )
    document = json.loads(dynamo("site", "evacuate", "T2_A", "--reason", "closes in May", "--json").output)
    assert (document["status"], document["quotas"]) == ("morgue", [])
    assert (document["only_here"]["num_files"], document["only_here"]["num_blocks_coming"]) == (2, 0)


def test_a_status_by_hand_as_json(stock: Inventory) -> None:
    made = json.loads(dynamo("site", "set", "T2_A", "morgue", "--reason", "x", "--json").output)
    assert (made["site"], made["status"], made["status_before"], made["created_by"]) == ("T2_A", "morgue", "ready", ME)
    assert json.loads(dynamo("site", "unset", "T2_A", "--json").output) == {"site": "T2_A", "status": "ready"}
