"""A stored plan is read again: its story by kind, its frames from any location."""

from __future__ import annotations

from pathlib import Path

import fsspec
import polars as pl
import pytest

from dynamo_ops.base.errors import PlanError
from dynamo_ops.database.connection import Database
from dynamo_ops.plan.record import scan
from dynamo_ops.plan.story import load_story
from tests.plan.test_store import brought_to, save


@pytest.mark.parametrize(("state", "is_committed"), [("planned", False), ("refused", False), ("committed", True)])
def test_the_story_of_a_plan(database: Database, tmp_path: Path, state: str, is_committed: bool) -> None:
    plan = brought_to(database, tmp_path, state)
    story = load_story(database, plan, "detox")
    document = story.document()
    assert (document["id"], document["state"], document["partition"]) == (plan, state, "physics")
    assert (story.policy_text, len(document["policy_sha256"])) == ("Dismiss", 64)
    assert (story.committed_at is not None, document["committed_at"] is not None) == (is_committed, is_committed)
    assert document["refused_because"] == ("too much" if state == "refused" else None)


@pytest.mark.parametrize(
    ("kind", "asked", "message"),
    [
        ("dealer", "detox", "is a plan of the Dealer; `dynamo dealer show"),
        ("detox", "dealer", "is a plan of Detox; `dynamo detox show"),
    ],
)
def test_a_plan_of_the_other_engine_is_refused(
    database: Database, tmp_path: Path, kind: str, asked: str, message: str
) -> None:
    plan = save(database, tmp_path, kind=kind)
    with pytest.raises(PlanError, match=message):
        load_story(database, plan.id, asked)


def test_frames_in_another_store_are_read_too() -> None:
    frame = pl.DataFrame({"a": [1, 2]})
    with fsspec.open("memory://plans/x/rows.parquet", "wb") as handle:
        frame.write_parquet(handle)
    assert scan("memory://plans/x", "rows").collect().equals(frame)
    with pytest.raises(PlanError, match="the frame 'others' of the plan is not there"):
        scan("memory://plans/x", "others")
