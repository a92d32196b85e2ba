"""Proposals between the tasks of a run: what a killed task leaves never passes for a whole one."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from dynamo_ops.base.errors import PlanError
from dynamo_ops.base.settings import Settings
from dynamo_ops.dealer.engine.plugin import WITH_PLUGIN
from dynamo_ops.dealer.proposals import read_proposals, store_proposals
from dynamo_ops.inventory.frames import empty
from dynamo_ops.plan.inputs import DealerInputs
from dynamo_ops.policy.language.source import SourceText

NOW = datetime(2026, 3, 1, tzinfo=UTC)
PROPOSALS = empty(WITH_PLUGIN)


def inputs(config: str = "group: ops") -> DealerInputs:
    return DealerInputs(
        partition="all",
        now=NOW,
        policy=SourceText("all.yaml", config),
        partitions=SourceText("partitions.txt", "all: dataset.name == *"),
        rules=None,
        attribute_max_age_h=48,
        seed=1,
    )


def store(folder: Path, made_of: DealerInputs, proposals: pl.DataFrame = PROPOSALS) -> str:
    return store_proposals(Settings(home=folder), proposals, made_of, "requests", run_key="run", follows=None)


def test_what_was_stored_is_read(tmp_path: Path) -> None:
    place = store(tmp_path, inputs())
    assert read_proposals([place], inputs(), ["requests"], follows=None).equals(PROPOSALS)


def test_what_was_made_of_another_configuration_is_refused_by_its_file(tmp_path: Path) -> None:
    place = store(tmp_path, inputs("group: others"))
    with pytest.raises(PlanError, match=r"changed after the plugin requests was asked: all\.yaml"):
        read_proposals([place], inputs(), ["requests"], follows=None)


@pytest.mark.parametrize("again_with", ["group: ops", "group: others"])
def test_killed_while_it_is_replaced_it_passes_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, again_with: str
) -> None:
    """Neither the old proposals under new inputs, nor new ones under the old."""
    place = store(tmp_path, inputs())

    def killed(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pl.DataFrame, "write_parquet", killed)
        with pytest.raises(KeyboardInterrupt):
            store(tmp_path, inputs(again_with))
    for now in (inputs(), inputs("group: others")):
        with pytest.raises(PlanError, match="is not there: what a plugin was asked with is not known"):
            read_proposals([place], now, ["requests"], follows=None)
    store(tmp_path, inputs(again_with))
    assert read_proposals([place], inputs(again_with), ["requests"], follows=None).height == 0
