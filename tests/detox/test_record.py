"""A plan is written and read again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from dynamo_ops.base.errors import PlanError
from dynamo_ops.detox.enforced import enforced_copies
from dynamo_ops.detox.engine.plan import plan_deletions
from dynamo_ops.detox.facts import deletion_facts
from dynamo_ops.detox.record import FRAMES, PlanRecord, new_record, read_folder, write_folder
from dynamo_ops.policy.language.check import load_policy
from dynamo_ops.policy.partition import load_partitions
from tests.detox.small import NOW, PARTITIONS, small_inventory
from tests.detox.told import told

POLICY = "Partition Disk\nOn site.storage_type == DISK\nWhen always\nUntil never\n"


def frames_of(plan: PlanRecord) -> dict[str, pl.DataFrame]:
    return {name: getattr(plan, name).lazy().collect() for name in FRAMES}


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    plan = told("/A X b1 delete 0", "/A X b2 keep 0 ops", last_copies=["b1"], warnings=("one", "two"))
    write_folder(tmp_path / "plan", plan)
    again = read_folder(tmp_path / "plan")
    assert (again.partition, again.now, again.policy_text) == (plan.partition, plan.now, plan.policy_text)
    assert (again.name, again.warnings) == (str(tmp_path / "plan"), ("one", "two"))
    read = frames_of(again)
    assert all(frame.equals(read[name]) for name, frame in frames_of(plan).items())


def test_a_folder_is_written_over(tmp_path: Path) -> None:
    write_folder(tmp_path, told("/A X b1 delete 0"))
    write_folder(tmp_path, replace(told("/B X b1 delete 0"), policy_text="Protect"))
    assert read_folder(tmp_path).decisions.collect()["dataset"].to_list() == ["/B"]
    assert read_folder(tmp_path).policy_text == "Protect"


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        pytest.param("plan.json", None, "no plan is there", id="no plan"),
        pytest.param("plan.json", "{", "cannot be read as a plan", id="cut off"),
        pytest.param("plan.json", '{"partition": "Disk"}', "cannot be read as a plan", id="no time"),
        pytest.param("plan.json", "[]", "cannot be read as a plan", id="a list"),
        pytest.param("policy.txt", None, "no plan is there", id="no policy"),
        pytest.param("decisions.parquet", None, "the frame 'decisions' of the plan is not there", id="no frame"),
    ],
)
def test_a_folder_that_holds_no_plan_says_so(tmp_path: Path, file: str, text: str | None, message: str) -> None:
    write_folder(tmp_path, told("/A X b1 delete 0"))
    if text is None:
        (tmp_path / file).unlink()
    else:
        (tmp_path / file).write_text(text)
    with pytest.raises(PlanError, match=message):
        read_folder(tmp_path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PlanError, match="cannot be written"):
        write_folder(tmp_path / "file" / "plan", told())


def test_last_copies_are_those_that_the_gate_judges() -> None:
    """X goes with both replicas; Y stays at T2_B, whoever owns it; the check of T2_C, with the other Z, was refused."""
    frames = small_inventory(
        [("/X", "T2_A"), ("/X", "T2_B"), ("/Y", "T2_A"), ("/Y", "T2_B", ""), ("/Z", "T2_A"), ("/Z", "T2_C")]
    )
    frames = replace(frames, refused_sites=pl.DataFrame({"site_id": [2]}))
    policy = f"{POLICY}Delete dataset.name == /X\nDelete site.name == T2_A\nProtect\n"
    plan = plan_deletions(
        frames, load_policy(policy, now=NOW), load_partitions(PARTITIONS, now=NOW), now=NOW, partition="Disk"
    )
    found = new_record(plan, frames, (), name="x", policy_text=policy).deletions.collect()
    lost = found.filter("is_last_copy").select("dataset", "site").unique().sort("dataset", "site").rows()
    assert lost == [("/X", "T2_A"), ("/X", "T2_B"), ("/Z", "T2_A")]
    keys = ["block_id", "site_id", "is_last_copy"]
    judged = deletion_facts(plan, frames, enforced_copies(plan, frames, ())).select(keys).sort(keys)
    assert found.select(keys).sort(keys).equals(judged)
