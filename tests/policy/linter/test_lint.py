"""What lint finds, what it leaves alone, and that it claims nothing that is not so."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamo_ops.detox.engine.plan import plan_deletions
from dynamo_ops.policy.language.check import load_policy
from dynamo_ops.policy.linter.lint import CODES, Finding, KnownSite, lint
from dynamo_ops.policy.partition import load_partitions
from tests.detox.small import NOW, PARTITIONS, small_inventory

LINT_NOW = datetime(2026, 3, 31, 12, tzinfo=UTC)
HEAD = (
    "Partition Disk\nOn site.storage_type == DISK\nWhen site.occupancy > 0.9\nUntil site.occupancy < 0.8\nOrder none\n"
)
FIRST = 6
"""Line of the first policy line below HEAD."""
SITES = [KnownSite("T2_A", "DISK", "READY"), KnownSite("T1_MSS", "MSS", "READY")]


def findings(text: str, head: str = HEAD, **known: object) -> tuple[Finding, ...]:
    return lint(load_policy(f"{head}{text}\nProtect\n", now=LINT_NOW), **known)  # type: ignore[arg-type]


def codes(text: str, head: str = HEAD, **known: object) -> list[str]:
    return [finding.code for finding in findings(text, head, **known)]


COVERED = {
    "the same": ("Protect dataset.name == /a", "Dismiss dataset.name == /a"),
    "fewer conditions": ("Protect dataset.size > 5", "Protect dataset.name == /a and dataset.size > 5"),
    "lower limit": ("Protect dataset.size > 3", "Protect dataset.size > 5"),
    "a number in an interval": ("Protect dataset.size > 3", "Protect dataset.size in [4 5]"),
    "not equal": ("Protect dataset.size != 3", "Protect dataset.size > 5"),
    "older": ("Dismiss replica.last_used older_than 10 days ago", "Dismiss replica.last_used older_than 3 weeks ago"),
    "months, years": (
        "Dismiss dataset.last_access older_than 11 months ago",
        "Dismiss dataset.last_access older_than 1 year ago",
    ),
    "a date past": (
        "Dismiss dataset.last_access older_than 90 days ago",
        "Dismiss dataset.last_access older_than 2017-01-01",
    ),
    "glob and text": ("Protect dataset.name == /*/RAW", "Protect dataset.name == /a/RAW"),
    "glob and glob": ("Protect dataset.name == /*/RAW", "Protect dataset.name == /a*/*/RAW"),
    "lists": ("Protect dataset.name in [/a* /b]", "Protect dataset.name in [/b /ab]"),
    "notin": ("Protect dataset.name notin [/b]", "Protect dataset.name notin [/a /b]"),
    "other than": ("Protect dataset.name != /b", "Protect dataset.name == /a*"),
    "enum": ("Protect dataset.status != VALID", "Protect dataset.status == PRODUCTION"),
    "catch-all": ("Protect dataset.name == *", "Dismiss replica.incomplete"),
    "given by On": ("Protect site.storage_type == DISK and replica.incomplete", "Dismiss replica.incomplete"),
    "regex": ("Protect dataset.name =~ /a|/b", "Dismiss dataset.name =~ /a|/b and replica.incomplete"),
    "dataset line, Block line": ("Protect blockreplica.is_locked", "ProtectBlock blockreplica.is_locked"),
    "Block, Block": (
        "ProtectBlock blockreplica.is_locked and blockreplica.owner == A",
        "DismissBlock blockreplica.owner == A and blockreplica.is_locked",
    ),
    "one block condition": ("ProtectBlock blockreplica.is_locked", "Protect blockreplica.is_locked"),
    "Block without block condition": ("ProtectBlock replica.incomplete", "Protect replica.incomplete"),
    "from a past date": ("Protect replica.incomplete from 2020-01-01", "Dismiss replica.incomplete"),
    "a Block line between, and a condition that grows": (
        "Protect replica.size > 3\nDeleteBlock blockreplica.is_locked and dataset.status == INVALID",
        "Dismiss replica.size > 5",
    ),
}

NOT_COVERED = {
    "more conditions": ("Protect dataset.name == /a and dataset.size > 5", "Protect dataset.size > 5"),
    "higher limit": ("Protect dataset.size > 5", "Protect dataset.size > 3"),
    "at the limit": ("Protect dataset.size > 5", "Protect dataset.size == 5"),
    "younger": (
        "Dismiss dataset.last_access older_than 30 days ago",
        "Dismiss dataset.last_access older_than 29 days ago",
    ),
    "a month may be shorter": (
        "Dismiss dataset.last_access older_than 30 days ago",
        "Dismiss dataset.last_access older_than 1 month ago",
    ),
    "a date that is still covered": (
        "Dismiss dataset.last_access older_than 2026-03-01",
        "Dismiss dataset.last_access older_than 90 days ago",
    ),
    "another glob": ("Protect dataset.name == /a*", "Protect dataset.name == /*a"),
    "a set in a glob": ("Protect dataset.name == /[ab]*", "Protect dataset.name == /[abc]*"),
    "another variable": ("Protect dataset.num_full_copy > 1", "Protect dataset.num_full_disk_copy > 1"),
    "two block conditions": (
        "ProtectBlock blockreplica.is_locked and blockreplica.owner == A",
        "Protect blockreplica.is_locked and blockreplica.owner == A",
    ),
    "a Block line takes blocks between": (
        "Protect replica.size < 5\nDeleteBlock blockreplica.is_locked and dataset.status == INVALID",
        "Dismiss replica.size < 3",
    ),
    "the Block line itself takes blocks": (
        "DeleteBlock blockreplica.is_locked and replica.size < 5 and dataset.status == INVALID",
        "DismissBlock blockreplica.is_locked and replica.size < 5 and dataset.status == INVALID",
    ),
    "some block is not": ("Protect not blockreplica.is_locked", "Protect blockreplica.is_locked"),
    "until": ("Protect replica.incomplete until 2027-01-01", "Dismiss replica.incomplete"),
    "from the future": ("Protect replica.incomplete from 2027-01-01", "Dismiss replica.incomplete"),
}


@pytest.mark.parametrize(("earlier", "later"), COVERED.values(), ids=COVERED)
def test_a_line_that_an_earlier_one_covers(earlier: str, later: str) -> None:
    found = [finding for finding in findings(f"{earlier}\n{later}") if finding.code == "covered"]
    assert [finding.line for finding in found] == [FIRST + earlier.count("\n") + 1]
    assert f"line {FIRST}" in found[0].message


@pytest.mark.parametrize(("earlier", "later"), NOT_COVERED.values(), ids=NOT_COVERED)
def test_a_line_that_is_not_surely_covered(earlier: str, later: str) -> None:
    assert "covered" not in codes(f"{earlier}\n{later}")


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        pytest.param("Protect replica.incomplete and not replica.incomplete", True, id="x and not x"),
        pytest.param("Protect site.status == READY and site.status == MORGUE", True, id="two values"),
        pytest.param("Protect dataset.size > 5 and dataset.size < 5", True, id="no number between"),
        pytest.param("Protect dataset.status notin [*]", True, id="none at all"),
        pytest.param("Protect dataset.name == /a* and dataset.name == /b*", True, id="globs that begin differently"),
        pytest.param("Protect dataset.name == /a and dataset.name != /*", True, id="text and its glob"),
        pytest.param(
            "Protect dataset.last_access older_than 9 days ago and dataset.last_access newer_than 3 days ago",
            True,
            id="times",
        ),
        pytest.param("ProtectBlock blockreplica.owner == A and blockreplica.owner == B", True, id="of one block"),
        pytest.param("Protect blockreplica.owner == A and blockreplica.owner == B", False, id="of two blocks"),
        pytest.param("ProtectBlock replica.owners == A and replica.owners == B", False, id="several owners"),
        pytest.param("Protect blockreplica.is_locked and not blockreplica.is_locked", False, id="some are, some not"),
        pytest.param("Protect dataset.name == /a* and dataset.name == *b", False, id="globs that may meet"),
    ],
)
def test_conditions_that_exclude_each_other(line: str, wrong: bool) -> None:
    assert ("contradiction" in codes(line)) is wrong


@pytest.mark.parametrize(
    ("line", "code"),
    [
        pytest.param("Protect replica.has_locked_block", "old-name", id="has_locked_block"),
        pytest.param("Protect not replica.has_locked_block", "old-name", id="not has_locked_block"),
        pytest.param("Protect replica.is_last_transfer_source", "old-name", id="is_last_transfer_source"),
        pytest.param("Protect replica.group_name == a", "old-name", id="group_name"),
        pytest.param("Protect replica.incomplete until 2020-01-01", "expired", id="until"),
        pytest.param("Protect replica.incomplete from 2030-01-01", "not-yet", id="from"),
        pytest.param("Protect site.storage_type == MSS", "no-target", id="no such target"),
        pytest.param("Delete dataset.name == /a", "unguarded-delete", id="unguarded"),
        pytest.param("Delete dataset.num_full_disk_copy < 2", "unguarded-delete", id="the last copies"),
        pytest.param("Protect dataset.on_tape == FULL", "tape-unseen", id="tape"),
        pytest.param("Protect dataset.name =~ (?!a)", "slow-regex", id="regex"),
    ],
)
def test_one_finding(line: str, code: str) -> None:
    (found,) = findings(line)
    assert (found.code, found.line) == (code, FIRST)
    assert CODES[code][0] == found.severity


@pytest.mark.parametrize(
    "line",
    [
        "Delete dataset.status == DEPRECATED",
        "Delete replica.num_full_disk_copy_common_owner > 1",
        "Delete dataset.num_full_disk_copy > 1 and dataset.name == /a",
        "Protect site.status != READY",
        "Protect dataset.name =~ /a|/b",
    ],
)
def test_nothing_to_say(line: str) -> None:
    assert findings(line) == ()


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        pytest.param("When site.occupancy > 0.9\nUntil site.occupancy < 0.8\n", [], id="right"),
        pytest.param("When site.occupancy > 0.8\nUntil site.occupancy < 0.9\n", ["watermarks"], id="upside down"),
        pytest.param("When site.occupancy > 0.8\nUntil site.occupancy < 0.8\n", ["no-gap"], id="no gap"),
        pytest.param("When site.occupancy > 90\nUntil site.occupancy < 80\n", ["percent", "percent"], id="per cent"),
        pytest.param("When always\nUntil never\n", [], id="always, never"),
        pytest.param("When never\nUntil never\n", ["never-triggered"], id="never"),
        pytest.param("When site.occupancy > 0.9\nUntil always\n", ["watermarks"], id="stops at once"),
        pytest.param(
            "When site.name == A and site.occupancy > 0.5\nUntil site.name == B and site.occupancy < 0.9\n",
            [],
            id="other sites",
        ),
    ],
)
def test_watermarks(head: str, expected: list[str]) -> None:
    assert codes("Protect replica.incomplete", f"On site.storage_type == DISK\nOrder none\n{head}") == expected


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("", ["tape-not-ready"]),
        (" and site.status == READY", []),
        (" and site.status in [READY WAITROOM]", ["tape-not-ready"]),
        (" and site.status != UNKNOWN", ["tape-not-ready"]),
    ],
)
def test_who_asks_for_tape_copies_names_tapes_that_are_ready(status: str, expected: list[str]) -> None:
    head = HEAD.replace("When", f"On site.storage_type == MSS{status}\nWhen", 1)
    line = "Ignore site.storage_type == MSS\nProtect dataset.on_tape != FULL"
    assert codes(line, head) == expected
    assert codes(line.replace("dataset.on_tape != FULL", "dataset.num_full_copy < 2"), head) == []


@pytest.mark.parametrize(
    ("on", "sites", "expected"),
    [
        pytest.param("site.storage_type == MSS", None, ["no-disk", "tape-exposed"], id="tape only"),
        pytest.param("site.name == T1_MSS", SITES, ["no-disk", "tape-exposed"], id="tape only, by the inventory"),
        pytest.param("site.name == T1_MSS", None, [], id="by name, nothing known"),
        pytest.param("site.name == T3_*", SITES, ["no-disk", "unknown-site"], id="no such site"),
        pytest.param("site.name =~ T[12]", SITES, ["tape-exposed"], id="regex"),
        pytest.param(
            "site.status == READY and site.status == MORGUE", None, ["contradiction", "no-disk"], id="nothing"
        ),
    ],
)
def test_targets(on: str, sites: list[KnownSite] | None, expected: list[str]) -> None:
    head = f"On {on}\nWhen always\nUntil never\nOrder none\n"
    assert sorted(codes("Protect replica.incomplete", head, sites=sites)) == expected


def test_tape_sites_that_are_set_aside() -> None:
    head = "On site.name == *\nWhen always\nUntil never\nOrder none\n"
    assert codes("Ignore site.storage_type == MSS\nProtect dataset.on_tape == FULL", head, sites=SITES) == []


def test_names_that_nothing_answers_to() -> None:
    lines = ["Protect blockreplica.owner in [phisics None p*]", "Protect replica.owners != nobody"]
    text = "\n".join([*lines, "Protect site.name notin [T2_AA T2_*]"])
    found = findings(text, sites=SITES, groups=["physics"], partitions=["Dsk", "Tape"])
    assert [finding.code for finding in found] == [
        "unknown-partition",
        "unknown-group",
        "unknown-group",
        "unknown-site",
    ]
    assert "Did you mean physics" in found[1].message
    assert "Did you mean Dsk" in found[0].message
    assert findings(text) == ()


def test_lines_below_the_default_and_no_order() -> None:
    policy = load_policy("On site.name == *\nWhen always\nUntil never\nProtect\nDismiss replica.incomplete\n", now=NOW)
    assert [(finding.line, finding.code) for finding in lint(policy)] == [(5, "no-order"), (5, "after-default")]


PREDICATES = (
    "replica.size > 100",
    "replica.size > 150",
    "replica.size < 150",
    "replica.size < 250",
    "blockreplica.is_locked",
    "not blockreplica.is_locked",
    "blockreplica.owner == DataOps",
    "blockreplica.owner != DataOps",
    "blockreplica.num_full_disk_copy > 1",
    "replica.owners == DataOps",
    "dataset.num_full_disk_copy > 0",
    "dataset.num_full_disk_copy < 1",
    "dataset.usage_rank > 2",
    "dataset.usage_rank > 4",
    "dataset.name == /a*",
    "dataset.name == /ab",
    "dataset.name != /b",
    "site.name in [T2_A T2_B]",
    "site.name != T2_C",
    "site.status == READY",
)
LINES = st.builds(
    lambda verb, predicates: f"{verb} {' and '.join(predicates)}",
    st.sampled_from(["Protect", "ProtectBlock", "Dismiss", "DismissBlock", "Delete", "DeleteBlock"]),
    st.lists(st.sampled_from(PREDICATES), min_size=1, max_size=3, unique=True),
)


@settings(max_examples=60, deadline=None)
@given(lines=st.lists(LINES, min_size=2, max_size=6), data=st.data())
def test_what_is_called_covered_or_contradictory_decides_nothing(lines: list[str], data: st.DataObject) -> None:
    policy = load_policy(
        "Partition Disk\nOn site.storage_type == DISK\nWhen always\nUntil never\n" + "\n".join([*lines, "Dismiss"]),
        now=NOW,
    )
    dead = {f.line for f in lint(policy) if f.code in ("covered", "contradiction", "no-target")}
    names = [(name, site) for name in ("/a", "/ab", "/b") for site in ("T2_A", "T2_B", "T2_C")]
    replicas = data.draw(st.lists(st.sampled_from(names), min_size=1, unique=True))
    locks = [
        (f"{name}#b{number}", site, "") for name, site in replicas for number in range(2) if data.draw(st.booleans())
    ]
    ranks = {name: data.draw(st.sampled_from([0.0, 3.0, 5.0])) for name, _ in replicas}
    frames = small_inventory(replicas, locks=locks, ranks=ranks)
    owners = [data.draw(st.sampled_from([0, 1, None])) for _ in range(frames.block_replicas.height)]
    frames.block_replicas.replace_column(3, pl.Series("group_id", owners, dtype=pl.Int64))
    plan = plan_deletions(frames, policy, load_partitions(PARTITIONS, now=NOW), now=NOW)
    deciding = plan.policy_lines.filter(pl.col("line").is_in(plan.decisions["line"].unique().implode()))
    assert set(deciding["source_line"]) & dead == set()
