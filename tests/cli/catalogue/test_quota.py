"""``dynamo quota`` as a shell would use it."""

from __future__ import annotations

import getpass
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dynamo_ops.base.settings import settings
from dynamo_ops.cli import main
from tests.cli.test_cli import dynamo
from tests.cli.test_cli import fails as fails
from tests.cli.test_cli import stock as stock
from tests.inventory.factory import SIZE, Inventory

WHY = ("--reason", "new disks")


def shown(*arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(dynamo("quota", "show", "--json", *arguments).output)
    return found


@pytest.mark.parametrize(
    ("given", "quota_bytes", "text"),
    [
        ("5000", 5000, "5.00 kB"),
        ("500 TB", 500 * 10**12, "500.00 TB"),
        ("1.2PB", 12 * 10**14, "1.20 PB"),
        ("0", 0, "0 B"),
        ("-1", -1, "unlimited"),
        ("unlimited", -1, "unlimited"),
    ],
)
def test_a_quota_is_set_and_shown(stock: Inventory, given: str, quota_bytes: int, text: str) -> None:
    assert f"physics at T2_B: {text}\n" in dynamo("quota", "set", "T2_B", "physics", given, "--yes", *WHY).output
    (row,) = shown("T2_B")
    assert (row["site"], row["partition"], row["quota_bytes"]) == ("T2_B", "physics", quota_bytes)
    assert row["changed_by"] == getpass.getuser()
    assert text in dynamo("quota", "show").output


def test_usage_and_occupancy_stand_beside_the_quota(stock: Inventory) -> None:
    stock.block("b2", 2)
    stock.replica("b2", "T2_A", present=["/store/b2/f0"])
    dynamo("quota", "set", "T2_A", "physics", str(10 * SIZE), *WHY)
    (row,) = shown()
    assert (row["physical_bytes"], row["projected_bytes"]) == (3 * SIZE, 4 * SIZE)
    assert (row["physical_occupancy"], row["projected_occupancy"]) == (0.3, 0.4)
    assert "30.0 %" in dynamo("quota", "show", "T2_A").output


def test_data_without_a_quota_are_shown_as_unknown(stock: Inventory) -> None:
    (row,) = shown()
    assert (row["site"], row["quota_bytes"], row["physical_bytes"]) == ("T2_A", None, 2 * SIZE)
    assert (row["physical_occupancy"], row["projected_occupancy"]) == (None, None)
    assert "unknown" in dynamo("quota", "show").output
    assert shown("--no-usage") == []


@pytest.mark.parametrize(
    ("arguments", "sites"),
    [
        ((), ["T2_A", "T2_B", "T2_B"]),
        (("T2_B",), ["T2_B", "T2_B"]),
        (("*_A",), ["T2_A"]),
        (("--partition", "express"), ["T2_B"]),
        (("T2_A", "--partition", "exp*"), []),
    ],
)
def test_show_is_narrowed_by_site_and_partition(stock: Inventory, arguments: tuple[str, ...], sites: list[str]) -> None:
    dynamo("quota", "set", "T2_*", "physics", "5000", "--yes", *WHY)
    dynamo("quota", "set", "T2_B", "express", "5000", *WHY)
    assert [row["site"] for row in shown(*arguments)] == sites
    assert [row["site"] for row in shown("--no-usage", *arguments)] == sites


def test_a_quota_of_a_partition_that_is_defined_no_more_is_still_shown(stock: Inventory) -> None:
    stock.rows("INSERT INTO quotas (site_id, partition, quota_bytes, changed_by) SELECT id, 'old', 7, 'x' FROM sites")
    row = next(row for row in shown() if row["partition"] == "old")
    assert (row["quota_bytes"], row["physical_bytes"], row["physical_occupancy"]) == (7, None, None)


def test_the_history_says_who_when_and_why(stock: Inventory) -> None:
    dynamo("quota", "set", "T2_B", "physics", "5000", *WHY)
    dynamo("quota", "set", "T2_B", "physics", "6000", "--reason", "more disks")
    newest, oldest = shown("--history")
    assert (newest["old_bytes"], newest["new_bytes"], newest["reason"]) == (5000, 6000, "more disks")
    assert (oldest["old_bytes"], oldest["new_bytes"], oldest["changed_by"]) == (None, 5000, getpass.getuser())
    assert shown("T2_A", "--history") == []
    told = dynamo("quota", "show", "--history").output
    assert all(text in told for text in ("5.00 kB", "6.00 kB", "unknown", "more disks", "Z │"))


def test_a_quota_is_taken_away(stock: Inventory) -> None:
    dynamo("quota", "set", "T2_B", "physics", "5000", *WHY)
    told = dynamo("quota", "unset", "T2_B", "physics", *WHY).output
    assert told.startswith("physics at T2_B: unknown\n")
    assert "nothing is deleted or placed" in told
    assert shown("T2_B") == []
    assert [row["new_bytes"] for row in shown("--history")] == [None, 5000]


def test_what_is_so_already_is_said(stock: Inventory) -> None:
    dynamo("quota", "set", "T2_B", "physics", "5000", *WHY)
    told = dynamo("quota", "set", "T2_*", "physics", "5000", "--yes", *WHY).output
    assert told == "physics at T2_A, T2_B: 5.00 kB (1 of 2 changed: it was so already)\n"


def test_zero_warns_that_the_site_is_emptied(stock: Inventory) -> None:
    assert "Detox empties it" in dynamo("quota", "set", "T2_A", "physics", "0", "--yes", *WHY).output


@pytest.mark.parametrize(
    ("old", "new", "is_asked"),
    [
        ("5000", "4000", True),
        ("unlimited", "5000", True),
        ("5000", "0", True),
        (None, "0", True),
        (None, "5000", False),
        ("5000", "6000", False),
        ("5000", "unlimited", False),
        ("5000", "5000", False),
    ],
)
def test_a_smaller_quota_is_asked_for(stock: Inventory, old: str | None, new: str, is_asked: bool) -> None:
    if old is not None:
        dynamo("quota", "set", "T2_B", "physics", old, "--yes", *WHY)
    arguments = ["quota", "set", "T2_B", "physics", new, *WHY]
    ended = CliRunner().invoke(main.app, arguments, input="n\n", catch_exceptions=False)
    question = "Change the quota of physics at 1 site? Detox deletes what is above it [y/N]"
    assert (question in ended.stderr) == is_asked
    assert ended.exit_code == (1 if is_asked else 0)


@pytest.mark.parametrize(("answer", "quotas"), [("y", [5000, 5000]), ("n", [])])
def test_several_sites_are_asked_for(stock: Inventory, answer: str, quotas: list[int]) -> None:
    arguments = ["quota", "set", "T2_*", "physics", "5000", *WHY]
    result = CliRunner().invoke(main.app, arguments, input=f"{answer}\n", catch_exceptions=False)
    assert result.exit_code == (0 if answer == "y" else 1)
    assert "Change the quota of physics at 2 sites?" in result.output
    assert [row["quota_bytes"] for row in shown("--no-usage")] == quotas


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(("set", "T9_X", "physics", "1"), "dynamo: there is no site 'T9_X'", id="site"),
        pytest.param(("set", "T2_AA", "physics", "1"), "Did you mean T2_A", id="near site"),
        pytest.param(("set", "T3_*", "physics", "1"), "no site matches 'T3_*'", id="glob of no site"),
        pytest.param(
            ("set", "T2_B", "phyics", "1"),
            "unknown partition 'phyics'; known: express, physics, relval, unclaimed. Did you mean physics?",
            id="partition",
        ),
        pytest.param(("set", "T2_B", "physics", "1 XB"), "SIZE: '1 XB': unknown unit 'XB'", id="unit"),
        pytest.param(("set", "T2_B", "physics", "-5"), "SIZE: '-5' is no size", id="negative"),
        pytest.param(("set", "T2_B", "physics", str(2**63)), "more than a quota can be", id="too large"),
        pytest.param(("unset", "T9_X", "physics"), "there is no site 'T9_X'", id="unset"),
    ],
)
def test_what_is_wrong_is_told_in_a_line(
    stock: Inventory, fails: Callable[..., str], arguments: tuple[str, ...], message: str
) -> None:
    assert message in fails("quota", *arguments, *WHY)
    assert shown("--no-usage") == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(("T9_X",), "there is no site 'T9_X'", id="site"),
        pytest.param(("--partition", "phyics"), "Did you mean physics?", id="partition"),
    ],
)
def test_show_tells_what_it_does_not_know(
    stock: Inventory, fails: Callable[..., str], arguments: tuple[str, ...], message: str
) -> None:
    assert message in fails("quota", "show", *arguments)


def define(monkeypatch: pytest.MonkeyPatch, folder: Path, partitions: str) -> None:
    """An installation with these partitions."""
    (folder / "partitions.txt").write_text(partitions)
    (folder / "dynamo.yaml").write_text("{}\n")
    monkeypatch.setenv("DYNAMO_CONFIG_DIR", str(folder))
    settings.cache_clear()


def test_a_union_has_the_sum_and_is_not_set(
    stock: Inventory, fails: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    define(monkeypatch, tmp_path, "a: dataset.name == /A*\nb: dataset.name == /B*\nboth: [a, b]\n")
    for name in "ab":
        dynamo("quota", "set", "T2_A", name, str(5 * SIZE), *WHY)
    assert "is a union: set the quotas of its leaves: a, b" in fails("quota", "set", "T2_A", "both", "1", *WHY)
    (row,) = shown("T2_A", "--partition", "both")
    assert (row["quota_bytes"], row["physical_bytes"], row["physical_occupancy"]) == (10 * SIZE, 2 * SIZE, 0.2)


def test_a_partition_that_cannot_be_judged_has_no_usage(
    stock: Inventory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    define(monkeypatch, tmp_path, "hot: dataset.usage_rank < 10\n")
    dynamo("quota", "set", "T2_A", "hot", "5000", *WHY)
    (row,) = shown("T2_A")
    assert (row["quota_bytes"], row["physical_bytes"], row["physical_occupancy"]) == (5000, None, None)


def test_a_quota_of_a_group_is_set_and_shown(stock: Inventory, fails: Callable[..., str]) -> None:
    assert dynamo("quota", "group", "physics", "2 MB").output == "group physics: 2.00 MB of unique data\n"
    (row,) = shown("--groups")
    assert (row["group"], row["quota_bytes"], row["unique_bytes"]) == ("physics", 2_000_000, 2 * SIZE)
    assert row["free_bytes"] == 2_000_000 - 2 * SIZE
    assert "physics" in dynamo("quota", "show", "--groups").output
    assert "there is no group 'fysics'" in fails("quota", "group", "fysics", "1")


def test_a_quota_of_a_user_is_set_and_shown(stock: Inventory) -> None:
    assert dynamo("quota", "user", "ada", "-1").output == "user ada: unlimited of unique data\n"
    assert dynamo("quota", "user", "bob", "1 kB").output == "user bob: 1.00 kB of unique data\n"
    found = {row["user"]: (row["quota_bytes"], row["unique_bytes"]) for row in shown("--users")}
    assert found == {"ada": (-1, 0), "bob": (1000, 0)}
    told = dynamo("quota", "show", "--groups", "--users").output
    assert "Unique data of groups" in told
    assert "Unique data of users" in told
