"""What differs, and what does not count."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest

from dynamo_ops.consistency.breakers import refusal
from dynamo_ops.consistency.clocks import NO_CLOCKS, Clocks
from dynamo_ops.consistency.compare import PREVIOUS, Comparison, LostDirectory, compare
from dynamo_ops.consistency.freshness import ALL_KNOWN, Knowledge
from dynamo_ops.consistency.inventory_list import INVENTORY_FILES
from dynamo_ops.consistency.matching.differences import MAX_CANDIDATES
from dynamo_ops.consistency.matching.file_list import FileList
from dynamo_ops.consistency.settings import SiteRules, UnmanagedArea
from dynamo_ops.consistency.tally import ListSizes, list_sizes
from dynamo_ops.storage.protocol import STORED_FILES
from tests.consistency.checking import written_list

LISTED = datetime(2026, 11, 22, tzinfo=UTC)
RULES = SiteRules(
    ignore=("/store/local", "^/store/.*[.]tmp$"),
    unmanaged=(
        UnmanagedArea(prefix="/store/unmerged", max_age=timedelta(days=7)),
        UnmanagedArea(prefix="/store/unmerged/logs", max_age=timedelta(days=90)),
    ),
)


def expected_file(lfn: str, present: bool = True, pending: bool = False, size: int = 10) -> dict[str, Any]:
    return {"file_id": hash(lfn) % 1000, "lfn": lfn, "size_bytes": size, "is_present": present, "is_pending": pending}


def stored(lfn: str, days: float = 30, size: int = 10) -> dict[str, Any]:
    return {"lfn": lfn, "size_bytes": size, "modified_at": LISTED - timedelta(days=days)}


@contextmanager
def both_lists(inventory: list[dict[str, Any]], storage: list[dict[str, Any]]) -> Iterator[tuple[FileList, FileList]]:
    with TemporaryDirectory() as folder:
        written = written_list(Path(folder) / "inventory", INVENTORY_FILES, inventory)
        yield written, written_list(Path(folder) / "storage", STORED_FILES, storage)


def run(
    inventory: list[dict[str, Any]],
    storage: list[dict[str, Any]],
    previous: list[str] | None = None,
    rules: SiteRules = RULES,
    kind: str = "missing",
    known: Knowledge = ALL_KNOWN,
    clocks: Clocks = NO_CLOCKS,
    max_candidates: int = MAX_CANDIDATES,
) -> Comparison:
    with both_lists(inventory, storage) as lists:
        return compare(
            *lists,
            pl.DataFrame([(kind, lfn, 10) for lfn in previous or []], schema=PREVIOUS, orient="row"),
            rules,
            LISTED,
            known,
            clocks,
            max_candidates,
        )


def found(comparison: Comparison) -> list[tuple[str, str, str]]:
    return comparison.findings.select("kind", "state", "lfn").rows()


@pytest.mark.parametrize(
    ("inventory", "storage", "previous", "expected"),
    [
        ([expected_file("/store/a")], [stored("/store/a")], [], []),
        ([expected_file("/store/a")], [], [], [("missing", "seen", "/store/a")]),
        ([expected_file("/store/a")], [], ["/store/a"], [("missing", "found", "/store/a")]),
        ([expected_file("/store/a", pending=True)], [], ["/store/a"], []),
        ([expected_file("/store/a", present=False, pending=True)], [], [], []),
        ([expected_file("/store/a", present=False, pending=True)], [stored("/store/a")], [], []),
        ([], [stored("/store/a")], [], [("orphan", "seen", "/store/a")]),
        ([], [stored("/store/a", days=1.9)], [], []),
        ([], [{"lfn": "/store/a", "size_bytes": 1, "modified_at": None}], [], []),
        ([], [stored("/store/local/a")], [], []),
        ([expected_file("/store/local/a")], [], ["/store/local/a"], []),
        ([], [stored("/store/x/a.tmp")], [], []),
        ([], [stored("/elsewhere/a")], [], []),
        ([], [stored("/store/unmerged/a", days=8)], [], [("unmanaged", "seen", "/store/unmerged/a")]),
        ([], [stored("/store/unmerged/a", days=6)], [], []),
        ([], [stored("/store/unmerged/logs/a", days=8)], [], []),
        ([], [stored("/store/unmerged/logs/a", days=91)], [], [("unmanaged", "seen", "/store/unmerged/logs/a")]),
        ([expected_file("/store/unmerged/a")], [stored("/store/unmerged/a", days=99)], [], []),
        ([], [stored("/store/unmerged2/a")], [], [("orphan", "seen", "/store/unmerged2/a")]),
    ],
    ids=[
        "both",
        "missing once",
        "missing twice",
        "missing but pending",
        "not there yet",
        "just arrived",
        "orphan",
        "young",
        "age unknown",
        "ignored directory",
        "missing in an ignored directory",
        "ignored pattern",
        "outside the prefixes",
        "unmanaged and old",
        "unmanaged and young",
        "inner area has its own age",
        "inner area and old",
        "inventory file in an unmanaged area",
        "name that only begins like an area",
    ],
)
def test_finding(inventory: list[Any], storage: list[Any], previous: list[str], expected: list[Any]) -> None:
    assert found(run(inventory, storage, previous)) == expected


@pytest.mark.parametrize(
    ("inventory", "storage", "previous", "state"),
    [
        (expected_file("/store/a", size=10), stored("/store/a", size=0), [], "seen"),
        (expected_file("/store/a", size=10), stored("/store/a", size=11), ["/store/a"], "found"),
        (expected_file("/store/a", size=10, pending=True), stored("/store/a", size=0), ["/store/a"], None),
        (expected_file("/store/a", size=10), stored("/store/a", size=0, days=1), ["/store/a"], None),
        (expected_file("/store/a", size=10, present=False), stored("/store/a", size=0), ["/store/a"], None),
        (expected_file("/store/local/a", size=10), stored("/store/local/a", size=0), ["/store/local/a"], None),
    ],
    ids=["no bytes", "again", "being written", "young", "not there by the inventory", "ignored"],
)
def test_wrong_size(inventory: Any, storage: Any, previous: list[str], state: str | None) -> None:
    comparison = run([inventory], [storage], previous, kind="wrong_size")
    assert found(comparison) == ([("wrong_size", state, inventory["lfn"])] if state else [])


def test_a_file_that_was_missing_before_is_not_wrong_twice() -> None:
    comparison = run([expected_file("/store/a", size=10)], [stored("/store/a", size=3)], ["/store/a"])
    (finding,) = comparison.findings.rows(named=True)
    assert (finding["state"], finding["size_bytes"], finding["reason"]) == ("seen", 10, "the storage has 3 bytes")


def test_wrong_sizes_count_with_missing_files() -> None:
    inventory = [expected_file(f"/store/{n}") for n in range(9)]
    comparison = run(inventory, [stored(f"/store/{n}", size=9 if n < 2 else 10) for n in range(8)])
    assert refusal(comparison, SiteRules(max_missing=3)) is None
    refused = "3 files missing or of a wrong size, more than max_missing allows (2)"
    assert refusal(comparison, SiteRules(max_missing=2)) == refused


def reasons(comparison: Comparison) -> list[tuple[str, str, str | None]]:
    return comparison.findings.select("kind", "state", "reason").rows()


@pytest.mark.parametrize("lfn", ["/store/a", "/store/unmerged/a"])
def test_what_is_too_much_counts_when_it_was_too_much_before(lfn: str) -> None:
    kind = "unmanaged" if "unmerged" in lfn else "orphan"
    assert found(run([], [stored(lfn)], [lfn], kind=kind)) == [(kind, "found", lfn)]
    assert found(run([], [stored(lfn)], ["/store/other"], kind=kind)) == [(kind, "seen", lfn)]
    assert found(run([], [stored(lfn, size=11)], [lfn], kind=kind)) == [(kind, "seen", lfn)]  # another file


def test_nothing_unknown_goes_while_metadata_are_stale() -> None:
    stale = Knowledge(LISTED - timedelta(days=10), "metadata are older than 24 hours: dbs (never merged)")
    comparison = run([], [stored("/store/a")], ["/store/a"], kind="orphan", known=stale)
    assert reasons(comparison) == [("orphan", "seen", stale.stale_because)]
    assert comparison.kept_because == (stale.stale_because,)


@pytest.mark.parametrize(("days", "state"), [(3.5, "found"), (2.9, "seen")])
def test_a_file_that_the_inventory_may_not_have_been_told_of_stays(days: float, state: str) -> None:
    """Metadata are in until a day before the listing: a file has ignore_age from then on."""
    known = Knowledge(LISTED - timedelta(days=1))
    comparison = run([], [stored("/store/a", days)], ["/store/a"], kind="orphan", known=known)
    (finding,) = comparison.findings.rows(named=True)
    assert finding["state"] == state
    assert (finding["reason"] is None) == (state == "found")
    if state == "seen":
        told = "written 2026-11-19T02:24Z, and metadata are in until 2026-11-21T00:00Z: it may not have been told"
        assert finding["reason"].startswith(told)


def test_missing_files_do_not_wait_for_metadata() -> None:
    comparison = run([expected_file("/store/a")], [], ["/store/a"], known=Knowledge(None, "stale"))
    assert reasons(comparison) == [("missing", "found", None)]


def test_no_file_goes_because_of_its_age_where_clocks_differ() -> None:
    inventory = [expected_file("/store/missing"), expected_file("/store/wrong")]
    storage = [stored("/store/wrong", size=3), stored("/store/orphan"), stored("/store/unmerged/x")]
    comparison = run(inventory, storage, clocks=Clocks(LISTED, "the clock of the storage is slow"))
    assert reasons(comparison) == [
        ("missing", "seen", None),
        ("orphan", "seen", "the clock of the storage is slow"),
        ("unmanaged", "seen", "the clock of the storage is slow"),
        ("wrong_size", "seen", "the storage has 3 bytes; the clock of the storage is slow"),
    ]


@pytest.mark.parametrize(("hours", "is_ahead"), [(2, True), (1, False)])
def test_a_file_of_tomorrow_shows_that_a_clock_is_ahead(hours: float, is_ahead: bool) -> None:
    """The listing took an hour: files were written meanwhile."""
    storage = [stored("/store/new", days=-hours / 24), stored("/store/a")]
    clocks = Clocks(LISTED + timedelta(hours=1))
    comparison = run([], storage, ["/store/a"], kind="orphan", clocks=clocks)
    (finding,) = comparison.findings.rows(named=True)
    assert finding["state"] == ("seen" if is_ahead else "found")
    assert (finding["reason"] or "").startswith("/store/new was changed at 2026-11-22T02:00:00Z") == is_ahead


def test_directories_that_lost_everything_are_told() -> None:
    inventory = [expected_file(f"/store/{directory}/{n}") for directory in ("mc", "data") for n in range(3)]
    comparison = run([*inventory, expected_file("/store/mc/4", pending=True)], [stored("/store/data/1")])
    assert comparison.lost == (LostDirectory("/store/mc", 3),)
    rules = SiteRules(prefixes=("/store/mc", "/store/data"))
    assert refusal(run(inventory, [stored("/store/data/1")], rules=rules), rules) == (
        "of 3 files below /store/mc the storage lists none: is it mounted?"
    )


def test_entries_that_left_nothing_out_are_told() -> None:
    rules = SiteRules(ignore=("/store/local", "/store/user", "^/store/.*[.]tmp$"))
    comparison = run([expected_file("/store/local/a")], [stored("/store/a")], rules=rules)
    assert comparison.idle_ignores == ("/store/user", "^/store/.*[.]tmp$")


def test_an_earlier_list_is_counted_by_the_rules_of_today() -> None:
    inventory = [expected_file("/store/a"), expected_file("/store/local/b"), expected_file("/store/c", present=False)]
    storage = [stored("/store/a"), stored("/store/x"), stored("/store/unmerged/y"), stored("/elsewhere/z")]
    comparison = run(inventory, storage)
    with both_lists(inventory, storage) as lists:
        assert list_sizes(*lists, RULES) == ListSizes(1, 2)
    assert (comparison.num_expected, comparison.num_managed) == (1, 2)


def test_what_nothing_follows_from_is_counted() -> None:
    """Young files that the inventory does not know, of an unmanaged area for instance, may be millions."""
    storage = [stored("/store/unmerged/new", days=1), stored("/store/new", days=1), stored("/store/a")]
    comparison = run([expected_file("/store/a")], storage)
    assert (comparison.num_unknown, comparison.num_stored, found(comparison)) == (2, 3, [])


def test_more_than_can_be_named_is_refused_and_no_sight() -> None:
    inventory = [expected_file(f"/store/k{n}") for n in range(300)]
    storage = [stored(f"/store/o{n}") for n in range(100)]
    comparison = run(inventory, storage, [f"/store/k{n}" for n in range(300)], max_candidates=50)
    states = {(kind, state) for kind, state, _ in found(comparison)}
    assert ("missing", "seen") in states
    assert not {state for _, state in states} - {"seen"}
    assert (comparison.num_expected, comparison.num_stored) == (300, 100)
    refused = refusal(comparison, SiteRules(max_missing=1.0, max_orphan=1.0))
    assert (refused or "").startswith(
        "some 300 files of the inventory's list and 100 of the storage's are not alike: more than can be told by name"
    )


def test_row_order_and_duplicates_do_not_matter() -> None:
    inventory = [expected_file(f"/store/{n}") for n in range(5)]
    storage = [stored(f"/store/{n}") for n in range(3, 8)]
    assert found(run(inventory, storage)) == found(run(inventory[::-1], storage[::-1] + storage))


@pytest.mark.parametrize(
    ("missing", "orphans", "rules", "refused"),
    [
        (1, 0, {"max_missing": 1}, None),
        (2, 0, {"max_missing": 1}, "2 files missing, more than max_missing allows (1)"),
        (1, 0, {"max_missing": 0.1}, None),
        (2, 0, {"max_missing": 0.1}, "2 files missing, more than max_missing allows (10.00% of 10)"),
        (0, 1, {"max_orphan": 0}, "1 files orphan, more than max_orphan allows (0)"),
        (0, 5, {"max_orphan": 0.4}, None),
        (10, 0, {"max_missing": 1.0}, "the storage lists no file, the inventory 10"),
    ],
    ids=[
        "at the count",
        "over the count",
        "at the fraction",
        "over the fraction",
        "no orphan allowed",
        "orphan fraction",
        "empty storage",
    ],
)
def test_breaker(missing: int, orphans: int, rules: dict[str, Any], refused: str | None) -> None:
    inventory = [expected_file(f"/store/k{n}") for n in range(10)]
    storage = [stored(f"/store/k{n}") for n in range(missing, 10)] + [stored(f"/store/o{n}") for n in range(orphans)]
    merged = SiteRules.model_validate({"max_missing": 0, "max_orphan": 0} | rules)
    assert refusal(run(inventory, storage), merged) == refused
