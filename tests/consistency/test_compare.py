"""What differs, and what does not count. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from dynamo_ops.consistency.breakers import refusal
from dynamo_ops.consistency.compare import Comparison, compare
from dynamo_ops.consistency.inventory_list import INVENTORY_FILES
from dynamo_ops.consistency.settings import SiteRules, UnmanagedArea
from dynamo_ops.storage.protocol import STORED_FILES

LISTED = datetime(2026, 11, 22, tzinfo=UTC)
RULES = SiteRules(
    ignore=("/store/local", "^/store/.*[.]tmp$"),
    unmanaged=(
        UnmanagedArea(prefix="/store/unmerged", max_age=timedelta(days=7)),
        UnmanagedArea(prefix="/store/unmerged/logs", max_age=timedelta(days=90)),
    ),
)


def known(lfn: str, present: bool = True, pending: bool = False, size: int = 10) -> dict[str, Any]:
    return {"file_id": hash(lfn) % 1000, "lfn": lfn, "size_bytes": size, "is_present": present, "is_pending": pending}


def stored(lfn: str, days: float = 30, size: int = 10) -> dict[str, Any]:
    return {"lfn": lfn, "size_bytes": size, "modified_at": LISTED - timedelta(days=days)}


def run(
    inventory: list[dict[str, Any]],
    storage: list[dict[str, Any]],
    previous: list[str] | None = None,
    rules: SiteRules = RULES,
    kind: str = "missing",
) -> Comparison:
    return compare(
        pl.LazyFrame(inventory, schema=INVENTORY_FILES),
        pl.LazyFrame(storage, schema=STORED_FILES),
        pl.DataFrame(
            {"kind": [kind] * len(previous or []), "lfn": previous or []}, schema={"kind": pl.String, "lfn": pl.String}
        ),
        rules,
        LISTED,
    )


def found(comparison: Comparison) -> list[tuple[str, str, str]]:
    return comparison.findings.select("kind", "state", "lfn").rows()


@pytest.mark.parametrize(
    ("inventory", "storage", "previous", "expected"),
    [
        ([known("/store/a")], [stored("/store/a")], [], []),
        ([known("/store/a")], [], [], [("missing", "seen", "/store/a")]),
        ([known("/store/a")], [], ["/store/a"], [("missing", "found", "/store/a")]),
        ([known("/store/a", pending=True)], [], ["/store/a"], []),
        ([known("/store/a", present=False, pending=True)], [], [], []),
        ([known("/store/a", present=False, pending=True)], [stored("/store/a")], [], []),
        ([], [stored("/store/a")], [], [("orphan", "found", "/store/a")]),
        ([], [stored("/store/a", days=1.9)], [], []),
        ([], [{"lfn": "/store/a", "size_bytes": 1, "modified_at": None}], [], []),
        ([], [stored("/store/local/a")], [], []),
        ([known("/store/local/a")], [], ["/store/local/a"], []),
        ([], [stored("/store/x/a.tmp")], [], []),
        ([], [stored("/elsewhere/a")], [], []),
        ([], [stored("/store/unmerged/a", days=8)], [], [("unmanaged", "found", "/store/unmerged/a")]),
        ([], [stored("/store/unmerged/a", days=6)], [], []),
        ([], [stored("/store/unmerged/logs/a", days=8)], [], []),
        ([], [stored("/store/unmerged/logs/a", days=91)], [], [("unmanaged", "found", "/store/unmerged/logs/a")]),
        ([known("/store/unmerged/a")], [stored("/store/unmerged/a", days=99)], [], []),
        ([], [stored("/store/unmerged2/a")], [], [("orphan", "found", "/store/unmerged2/a")]),
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
        (known("/store/a", size=10), stored("/store/a", size=0), [], "seen"),
        (known("/store/a", size=10), stored("/store/a", size=11), ["/store/a"], "found"),
        (known("/store/a", size=10, pending=True), stored("/store/a", size=0), ["/store/a"], None),
        (known("/store/a", size=10), stored("/store/a", size=0, days=1), ["/store/a"], None),
        (known("/store/a", size=10, present=False), stored("/store/a", size=0), ["/store/a"], None),
        (known("/store/local/a", size=10), stored("/store/local/a", size=0), ["/store/local/a"], None),
    ],
    ids=["no bytes", "again", "being written", "young", "not there by the inventory", "ignored"],
)
def test_wrong_size(inventory: Any, storage: Any, previous: list[str], state: str | None) -> None:
    comparison = run([inventory], [storage], previous, kind="wrong_size")
    assert found(comparison) == ([("wrong_size", state, inventory["lfn"])] if state else [])


def test_a_file_that_was_missing_before_is_not_wrong_twice() -> None:
    comparison = run([known("/store/a", size=10)], [stored("/store/a", size=3)], ["/store/a"])
    (finding,) = comparison.findings.rows(named=True)
    assert (finding["state"], finding["size_bytes"], finding["reason"]) == ("seen", 10, "the storage has 3 bytes")


def test_wrong_sizes_count_with_missing_files() -> None:
    inventory = [known(f"/store/{n}") for n in range(9)]
    comparison = run(inventory, [stored(f"/store/{n}", size=9 if n < 2 else 10) for n in range(8)])
    assert refusal(comparison, SiteRules(max_missing=3)) is None
    refused = "3 files missing or of a wrong size, more than max_missing allows (2)"
    assert refusal(comparison, SiteRules(max_missing=2)) == refused


def test_row_order_and_duplicates_do_not_matter() -> None:
    inventory = [known(f"/store/{n}") for n in range(5)]
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
    inventory = [known(f"/store/k{n}") for n in range(10)]
    storage = [stored(f"/store/k{n}") for n in range(missing, 10)] + [stored(f"/store/o{n}") for n in range(orphans)]
    merged = SiteRules.model_validate({"max_missing": 0, "max_orphan": 0} | rules)
    assert refusal(run(inventory, storage), merged) == refused
