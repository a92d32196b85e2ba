"""Lists that are too short to be true, and differences that are too many. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest

from dynamo_ops.consistency.breakers import Earlier, refusal
from dynamo_ops.consistency.compare import FINDINGS, Comparison, LostDirectory
from dynamo_ops.consistency.settings import SiteRules
from dynamo_ops.consistency.tally import ListSizes

LAX = SiteRules(max_missing=1.0, max_orphan=1.0, max_unmanaged=1.0)


def comparison(num_expected: int = 1000, num_stored: int = 1000, **more: Any) -> Comparison:
    return Comparison(pl.DataFrame(schema=FINDINGS), num_expected, num_stored, **more)


def earlier(before: tuple[int, int], now: tuple[int, int], deleted: tuple[int, int] = (0, 0)) -> Earlier:
    return Earlier(datetime(2026, 11, 22, tzinfo=UTC), ListSizes(*before), ListSizes(*now), ListSizes(*deleted))


def test_an_empty_list_on_either_side_is_refused_whatever_the_limits() -> None:
    assert refusal(comparison(1000, 0), LAX) == "the storage lists no file, the inventory 1000"
    assert refusal(comparison(0, 7, num_unknown=7), LAX) == "the inventory lists no file, the storage 7"


def test_a_new_site_that_has_got_its_first_files_is_not_empty() -> None:
    """They are expected there, and no more."""
    assert refusal(comparison(0, 7, num_unknown=0), LAX) is None
    assert refusal(comparison(0, 0), LAX) is None


@pytest.mark.parametrize(
    ("before", "now", "deleted", "refused"),
    [
        ((1000, 1000), (1000, 880), (0, 0), "storage"),
        ((1000, 1000), (880, 1000), (0, 0), "inventory"),
        ((1000, 1000), (880, 880), (100, 100), None),
        ((1000, 1000), (880, 880), (100, 0), "storage"),
        ((1000, 1000), (905, 905), (0, 0), None),
        ((60, 60), (45, 45), (0, 0), None),
        ((60, 60), (60, 39), (0, 0), "storage"),
        ((1000, 1000), (2000, 2000), (0, 0), None),
    ],
    ids=[
        "a mount is lost",
        "the inventory is halved",
        "Dynamo deleted it",
        "the storage had nothing to delete",
        "within the limit",
        "few files",
        "a third of few files",
        "grown",
    ],
)
def test_a_list_that_has_shrunk_is_refused(before: Any, now: Any, deleted: Any, refused: str | None) -> None:
    reason = refusal(comparison(), LAX, earlier(before, now, deleted))
    assert (reason or "").startswith(f"the {refused} lists") == bool(refused)
    assert (reason is None) == (refused is None)


def test_the_refusal_says_what_to_do() -> None:
    assert refusal(comparison(), LAX, earlier((1000, 1000), (1000, 600), (0, 50))) == (
        "the storage lists 600 files, 1000 on 2026-11-22: beyond what Dynamo deleted 350 are gone, more than "
        "max_shrink allows (10.00%). If that is right, raise it for this site until a check has passed"
    )
    assert refusal(comparison(), LAX.model_copy(update={"max_shrink": 0.5}), earlier((9, 900), (9, 500))) is None


@pytest.mark.parametrize(
    ("lost", "is_refused"),
    [
        (LostDirectory("/store", 1), True),
        (LostDirectory("/store/mc", 21), True),
        (LostDirectory("/store/mc", 20), False),
    ],
    ids=["all that is listed", "a large directory", "a small directory"],
)
def test_a_directory_that_has_lost_everything_is_refused(lost: LostDirectory, is_refused: bool) -> None:
    reason = f"of {lost.num_expected} files below {lost.directory} the storage lists none: is it mounted?"
    assert refusal(comparison(lost=(lost,)), LAX) == (reason if is_refused else None)


@pytest.mark.parametrize(
    ("rules", "refused"),
    [
        ({"delete_unmanaged": True}, "150 files expired in unmanaged areas, more than max_unmanaged allows"),
        ({"delete_unmanaged": True, "max_unmanaged": 150}, None),
        ({"delete_unmanaged": True, "max_unmanaged": 149}, "150 files expired"),
        ({}, None),
    ],
    ids=["by fraction", "at the count", "over the count", "reported only"],
)
def test_unmanaged_areas_have_a_breaker_where_they_are_cleaned(rules: dict[str, Any], refused: str | None) -> None:
    row = ("unmanaged", "seen", "/store/unmerged/x", 1, None, None, None)
    findings = pl.DataFrame([row] * 150, schema=FINDINGS, orient="row")
    reason = refusal(Comparison(findings, 1000, 1000), SiteRules.model_validate(rules))
    assert (reason or "").startswith(refused or "x") == bool(refused)
