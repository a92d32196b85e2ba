"""The gates of plans: one good plan, and what is wrong with each of its neighbours."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from dynamo_ops.base.errors import GateError
from dynamo_ops.database.connection import Database
from dynamo_ops.quality.gate import GateReport
from dynamo_ops.quality.suites.plans import check_dealer_plan, check_detox_plan
from dynamo_ops.quality.thresholds import DealerThresholds, DetoxThresholds

TB = 10**12


def deletion(block: str = "b1", **changes: Any) -> dict[str, Any]:
    return {
        "dataset": "/A/B/C",
        "block": block,
        "site": "T2_A",
        "size_bytes": TB,
        "is_locked": False,
        "is_last_copy": False,
        "is_last_copy_allowed": False,
        "is_last_source": False,
        "is_enforcer_needed": False,
        **changes,
    }


DELETIONS = {
    "dataset": pl.String,
    "block": pl.String,
    "site": pl.String,
    "size_bytes": pl.Int64,
    "is_locked": pl.Boolean,
    "is_last_copy": pl.Boolean,
    "is_last_copy_allowed": pl.Boolean,
    "is_last_source": pl.Boolean,
    "is_enforcer_needed": pl.Boolean,
}
SITES = {"site": pl.String, "quota_bytes": pl.Int64, "deleted_bytes": pl.Int64}


def detox(
    db: Database,
    deletions: list[dict[str, Any]],
    *,
    quota: int | None = 10 * TB,
    deleted: int | None = TB,
    before: int | None = None,
    replicas: int = 70,
    age_h: float | None = 1.0,
    **limits: Any,
) -> GateReport:
    sites = [
        {"site": "T2_A", "quota_bytes": quota, "deleted_bytes": deleted},
        {"site": "T2_B", "quota_bytes": None, "deleted_bytes": 0},
    ]
    return check_detox_plan(
        db,
        "run",
        pl.DataFrame(deletions, schema=DELETIONS),
        pl.DataFrame(sites, schema=SITES),
        DetoxThresholds(**limits),
        partition="Physics",
        num_image_replicas=replicas,
        num_image_replicas_before=before,
        age_h=age_h,
    )


GOOD_DETOX: dict[str, dict[str, Any]] = {
    "usual": {},
    "quota 0 is emptied": {"quota": 0, "deleted": 9 * TB},
    "unlimited quota": {"quota": -1, "deleted": 9 * TB},
    "image as before": {"before": 100},
    "a Delete line asks for the last copy": {
        "deletions": [
            deletion(is_last_copy=True, is_last_copy_allowed=True),
            deletion("b2", is_last_copy_allowed=None),
        ],
        "last_copies": "delete_lines",
    },
    "last copies allowed": {"deletions": [deletion(is_last_copy=True)], "last_copies": "always"},
    "not too old yet": {"age_h": 48.0},
    "nothing to delete": {"deletions": [], "deleted": 0},
    "warn only": {"deletions": [deletion(is_last_source=True)], "warn_only": {"last_source"}},
}


@pytest.mark.parametrize("case", GOOD_DETOX.values(), ids=GOOD_DETOX.keys())
def test_a_sound_detox_plan_passes(database: Database, case: dict[str, Any]) -> None:
    report = detox(database, **{"deletions": [deletion(), deletion("b2")], **case})
    assert len(report.warnings) == len(case.get("warn_only", ()))
    kept = database.frame("SELECT gate, subject, run_key FROM gate_results").unique()
    assert kept.rows() == [("detox", "partition 'Physics'", "run")]


BAD_DETOX: dict[str, tuple[dict[str, Any], str]] = {
    "locked": (
        {"deletions": [deletion(is_locked=True)]},
        "locked, or not known to be free, in 1 block replica: /A/B/C#b1 T2_A",
    ),
    "lock unknown": (
        {"deletions": [deletion(is_locked=None)]},
        "locked, or not known to be free, in 1 block replica: /A/B/C#b1 T2_A",
    ),
    "last copy": (
        {"deletions": [deletion(is_last_copy=True, is_last_copy_allowed=True), deletion("b2")]},
        "the last copy anywhere, or not known not to be (last_copies: never), in 1 block replica: /A/B/C#b1 T2_A",
    ),
    "last copy that no Delete line asks for": (
        {"deletions": [deletion(is_last_copy=True), deletion("b2")], "last_copies": "delete_lines"},
        "or not known not to be, and no Delete line asks for it, in 1 block replica: /A/B/C#b1 T2_A",
    ),
    "last copy unknown, though all may go": (
        {"deletions": [deletion(is_last_copy=None)], "last_copies": "always"},
        "not known to be the last copy anywhere or not, in 1 block replica",
    ),
    "needed by a rule": (
        {"deletions": [deletion(f"b{n}", is_enforcer_needed=True) for n in range(5)]},
        "needed by an enforcer rule that protects, or not known not to be, in 5 block replicas: /A/B/C#b0 T2_A",
    ),
    "too old": ({"age_h": 48.1}, "made more than 48 hours ago, or nobody knows when, in 1 plan: Physics age_h=48.1"),
    "age unknown": ({"age_h": None}, "made more than 48 hours ago, or nobody knows when, in 1 plan: Physics"),
    "last copy unknown": (
        {"deletions": [deletion(is_last_copy=None)]},
        "the last copy anywhere, or not known not to be",
    ),
    "only source": ({"deletions": [deletion(is_last_source=True)]}, "the only source of a pending copy"),
    "too much of a quota": (
        {"deleted": 6 * TB},
        "in 1 site: T2_A deleted_fraction=0.6 quota_bytes=10000000000000 deleted_bytes=6000000000000",
    ),
    "quota unknown": (
        {"quota": None},
        "more than 50% of the quota is deleted, or the quota is not known, in 1 site: T2_A",
    ),
    "too much at a site": (
        {"quota": 0, "deleted": 3 * TB, "max_site_bytes": 2 * TB},
        "more than 2,000,000,000,000 bytes are deleted in 1 site",
    ),
    "too much in all": (
        {"max_volume_bytes": 10},
        "more than 10 bytes are deleted in 1 plan: Physics deleted_bytes=1000000000000",
    ),
    "image shrunken": ({"before": 101}, "more than 30% of the image is gone since the last plan in 1 plan: Physics"),
}


@pytest.mark.parametrize(("case", "words"), BAD_DETOX.values(), ids=BAD_DETOX.keys())
def test_a_dangerous_detox_plan_is_refused(database: Database, case: dict[str, Any], words: str) -> None:
    with pytest.raises(GateError, match="detox gate refused partition 'Physics': ") as caught:
        detox(database, **{"deletions": [deletion(), deletion("b2")], **case})
    assert words in str(caught.value)


DEALER = {
    "site": pl.String,
    "status": pl.String,
    "quota_bytes": pl.Int64,
    "projected_bytes_after": pl.Int64,
    "copied_bytes": pl.Int64,
    "added_bytes": pl.Int64,
}


def dealer(
    db: Database, *sites: tuple[Any, ...], volume: int = TB, over: int = 0, age_h: float | None = 1.0, **limits: Any
) -> GateReport:
    frame = pl.DataFrame(sites, schema=DEALER, orient="row")
    plan = pl.DataFrame(
        {"partition": ["Physics"], "volume_bytes": [volume], "over_cycle_bytes": [over], "age_h": [age_h]},
        schema_overrides={"age_h": pl.Float64},
    )
    return check_dealer_plan(db, "run", frame, plan, DealerThresholds(**limits), partition="Physics")


def test_a_sound_dealer_plan_passes(database: Database) -> None:
    assert (
        dealer(
            database,
            ("T2_A", "ready", 10, 10, 5, 5),
            ("T2_B", "ready", -1, 10, 5, 5),
            ("T2_C", "morgue", None, 20, 0, 0),
            ("T2_D", "ready", 10, 20, 0, 0),
        ).warnings
        == []
    )
    assert dealer(database, volume=0).warnings == []


def test_a_change_of_owner_fills_nothing(database: Database) -> None:
    assert dealer(database, ("T2_A", "ready", 10, 20, 5, 0)).warnings == []


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        ({"over": 1}, "copies were accepted after the configuration's max_total_cycle_volume was passed in 1 plan"),
        ({"age_h": 13.0}, "made more than 12 hours ago"),
        ({"age_h": None}, "nobody knows when"),
    ],
    ids=["cycle volume", "old", "age unknown"],
)
def test_a_dealer_plan_as_a_whole_is_refused(database: Database, plan: dict[str, Any], words: str) -> None:
    with pytest.raises(GateError, match=words):
        dealer(database, ("T2_A", "ready", 10, 10, 5, 5), **plan)


@pytest.mark.parametrize(
    ("site", "volume", "words"),
    [
        (("T2_A", "ready", 10, 11, 5, 5), 5, "or its quota is not known in 1 site: T2_A over_quota_bytes=1"),
        (("T2_A", "ready", None, 11, 5, 5), 5, "goes over its quota, or its quota is not known in 1 site: T2_A"),
        (("T2_A", "ready", 0, 1, 1, 1), 5, "goes over its quota"),
        (
            ("T2_A", "waitroom", 10, 10, 5, 5),
            5,
            "not ready, or its status is not known, but gets copies in 1 site: T2_A",
        ),
        (("T2_A", None, 10, 10, 5, 5), 5, "not ready, or its status is not known, but gets copies in 1 site: T2_A"),
        (
            ("T2_A", "ready", 10, 10, 5, 5),
            3 * 10**15,
            "more than 2,000,000,000,000,000 bytes are copied in 1 plan: Physics",
        ),
    ],
    ids=["over quota", "quota unknown", "quota 0", "not ready", "status unknown", "volume"],
)
def test_a_dangerous_dealer_plan_is_refused(database: Database, site: tuple[Any, ...], volume: int, words: str) -> None:
    with pytest.raises(GateError, match="dealer gate refused partition 'Physics': ") as caught:
        dealer(database, site, volume=volume)
    assert words in str(caught.value)
