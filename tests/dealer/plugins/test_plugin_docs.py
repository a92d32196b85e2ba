"""docs/dealer-plugins.md: its configurations can be used, its tables have every setting, its example is a plugin."""

from __future__ import annotations

import re
from importlib.metadata import entry_points
from typing import Any

import polars as pl
import pytest
import yaml
from pydantic import BaseModel

from dynamo_ops.dealer.engine.config import PluginConfig
from dynamo_ops.dealer.engine.plugin import ENTRY_POINT_GROUP, load_plugin
from tests import ROOT
from tests.dealer.plugins.conformance import make_context, make_frames, with_weights

PAGE = (ROOT / "docs" / "dealer-plugins.md").read_text(encoding="utf-8")
OURS = sorted(point.name for point in entry_points(group=ENTRY_POINT_GROUP) if point.value.startswith("dynamo_ops."))


def section(plugin: str) -> str:
    """The part of the page about a plugin."""
    found = re.search(rf"^## {plugin}\n(.*?)^## ", PAGE, re.M | re.S)
    assert found, f"no section {plugin}"
    return found[1]


def example(plugin: str) -> dict[str, Any]:
    """The settings of the section's YAML."""
    (text,) = re.findall(r"^```yaml dealer/physics.yaml\n(.*?)^```$", section(plugin), re.M | re.S)
    (found,) = yaml.safe_load(text)["plugins"].items()
    assert found[0] == plugin
    return dict(PluginConfig.model_validate(found[1]).settings)


@pytest.mark.parametrize("plugin", OURS)
def test_the_example_of_each_plugin_can_be_used(plugin: str) -> None:
    assert load_plugin(plugin)(example(plugin)).attributes() is not None


@pytest.mark.parametrize("plugin", OURS)
def test_every_setting_is_in_the_table(plugin: str) -> None:
    settings: BaseModel = load_plugin(plugin)(example(plugin)).settings  # type: ignore[attr-defined]
    listed = re.findall(r"^\| `(\w+)` \|.*\| (.*?) \|[^|]*\|$", section(plugin), re.M)
    assert {name for name, _ in listed} == set(type(settings).model_fields)
    for name, default in listed:
        assert (default == "required") == type(settings).model_fields[name].is_required(), name


def test_the_plugin_of_the_page_is_one() -> None:
    (text,) = re.findall(r"^```python our_experiment/nights.py\n(.*?)^```$", PAGE, re.M | re.S)
    names: dict[str, Any] = {}
    exec(compile(text, "dealer-plugins.md", "exec"), names)
    frames = with_weights(make_frames(), {}, name="num_night_jobs")
    assert names["NightPlugin"]({}).propose(frames, make_context()).is_empty()
    frames = with_weights(frames, {"/a": 100, "/b": 200, "/c": 99}, name="num_night_jobs")
    found = names["NightPlugin"]({}).propose(frames, make_context())
    assert found.select("dataset_id", "reason").rows() == [
        (1, "read by 200 jobs last night"),
        (0, "read by 100 jobs last night"),
    ]
    assert isinstance(found, pl.DataFrame)
