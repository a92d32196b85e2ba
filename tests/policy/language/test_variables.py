"""The table of variables: complete, documented, and open to others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import EntryPoint
from typing import Any

import pytest

from dynamo_ops.base.errors import PolicyError
from dynamo_ops.detox.engine.plan import plan_deletions
from dynamo_ops.inventory.properties import PROPERTIES, Property, PropertyKind
from dynamo_ops.policy.language import variables
from dynamo_ops.policy.language.check import load_policy
from dynamo_ops.policy.language.reference import describe, markdown
from dynamo_ops.policy.language.variables import (
    BUILT_IN,
    ENTRY_POINT_GROUP,
    Attribute,
    Column,
    Scope,
    Type,
    Variable,
    check_properties,
)
from dynamo_ops.policy.partition import load_partitions
from tests import ROOT
from tests.detox.small import NOW, PARTITIONS, small_inventory

REFERENCE = {
    "dataset": "name status on_tape tape_copy_requested size last_update last_access num_full_disk_copy num_full_copy "
    "usage_rank demand_rank release is_latest_production_release on_protected_site unknown_in_all_dbs "
    "unhandled_copy_exists",
    "replica": "size incomplete last_block_created first_block_created last_used num_access "
    "num_full_disk_copy_common_owner num_full_other_copy_common_owner enforcer_protected owners has_locked_block",
    "blockreplica": "owner last_update is_locked is_last_transfer_source num_full_disk_copy on_tape "
    "age_relative_to_newest",
    "site": "name status storage_type occupancy quota",
}
"""Every variable of the reference of the language; beside them those of declared properties."""


def test_every_variable_of_the_reference_is_there_and_no_other() -> None:
    wanted = {f"{of}.{name}" for of, names in REFERENCE.items() for name in names.split()} | {"always", "never"}
    wanted |= {f"dataset.{declared.name}" for declared in PROPERTIES}
    assert {variable.name for variable in BUILT_IN} == wanted


@pytest.mark.parametrize("variable", BUILT_IN, ids=lambda variable: variable.name)
def test_every_variable_says_what_it_is_and_how_it_is_computed(variable: Variable) -> None:
    row = describe(variable)
    assert row["doc"].endswith(".")
    assert row["how"].endswith(".")
    assert bool(row["values"]) is (variable.type is Type.ENUM)


def test_the_page_of_the_variables_is_up_to_date() -> None:
    page = (ROOT / "docs" / "policy-variables.md").read_text(encoding="utf-8")
    assert page == markdown(BUILT_IN), "run: dynamo policy variables --markdown > docs/policy-variables.md"


def nights(**changes: Any) -> Variable:
    variable = Variable(
        "dataset.num_night_jobs", Type.NUMBER, Scope.DATASET, "Jobs at night.", Attribute("num_night_jobs")
    )
    return replace(variable, **changes)


NIGHTS: list[object] = [nights()]
"""What the entry point of these tests names."""


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package that adds NIGHTS is installed."""
    point = EntryPoint("nights", f"{__name__}:NIGHTS", ENTRY_POINT_GROUP)
    monkeypatch.setattr(variables, "entry_points", lambda group: [point] if group == ENTRY_POINT_GROUP else [])
    variables.known_variables.cache_clear()
    yield
    variables.known_variables.cache_clear()


POLICY = "On site.name == *\nWhen never\nUntil never\nOrder none\nProtect dataset.num_night_jobs > 5\nDismiss\n"


def test_a_plugin_s_variable_decides(plugin: None) -> None:
    frames = small_inventory([("/a", "T2_A"), ("/b", "T2_A")])
    values = [(0, "num_night_jobs", 7.0)]
    frames = replace(
        frames,
        attributes=type(frames.attributes)([("num_night_jobs", NOW)], schema=frames.attributes.schema, orient="row"),
        attribute_values=type(frames.attributes)(values, schema=frames.attribute_values.schema, orient="row"),
    )
    policy = load_policy(POLICY, now=NOW)
    plan = plan_deletions(frames, policy, load_partitions(PARTITIONS, now=NOW), now=NOW, partition="Disk")
    decided = dict(plan.decisions.select("dataset", "decision").unique().iter_rows())
    assert decided == {"/a": "protect", "/b": "keep"}


def test_without_the_plugin_it_is_unknown() -> None:
    with pytest.raises(PolicyError, match=r"unknown variable 'dataset\.num_night_jobs'"):
        load_policy(POLICY, now=NOW)


@pytest.mark.parametrize(
    ("variable", "message"),
    [
        pytest.param("dataset.x", "is no Variable", id="no variable"),
        pytest.param(nights(name="dataset.name"), "two policy variables are called dataset.name", id="taken"),
        pytest.param(nights(name="replica.group_name"), "cannot be the name", id="an old name"),
        pytest.param(nights(name="dataset night"), "cannot be the name", id="two words"),
        pytest.param(nights(name="until"), "cannot be the name", id="a word of the language"),
        pytest.param(nights(source=Column("dataset")), "must be an Attribute", id="a column"),
        pytest.param(nights(scope=Scope.REPLICA), r"Scope\.DATASET", id="of a replica"),
        pytest.param(nights(type=Type.TEXT), "a number, a boolean or a time, not text", id="a text"),
    ],
)
def test_a_plugin_s_variable_that_cannot_be_used(
    plugin: None, monkeypatch: pytest.MonkeyPatch, variable: object, message: str
) -> None:
    monkeypatch.setattr(f"{__name__}.NIGHTS", [variable])
    with pytest.raises(PolicyError, match=message):
        variables.known_variables()


def test_a_property_may_not_have_the_name_of_a_computed_attribute() -> None:
    lumis = Property("num_lumis", PropertyKind.NUMBER, "Luminosity sections.")
    check_properties([lumis], BUILT_IN)
    with pytest.raises(PolicyError, match="declares num_access, which is an attribute that Dynamo computes"):
        check_properties([lumis, Property("num_access", PropertyKind.NUMBER, "Accesses.")], BUILT_IN)
