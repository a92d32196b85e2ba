"""Plugin enforcer."""

from __future__ import annotations

import pytest

from dynamo_ops.dealer.enforcer import EnforcerPlugin
from dynamo_ops.errors import PolicyError, SettingsError
from dynamo_ops.policy.enforcement import load_rules
from tests.dealer.conformance import PluginConformance, make_context
from tests.detox.small import NOW, small_inventory

RULE = "rules: {r: {num_copies: %s, destinations: [site.name == T2_*], sources: [site.name == T2_*], replicas: [%s]}}"


class TestEnforcerConformance(PluginConformance):
    plugin = EnforcerPlugin


def asked(replicas: list[tuple[str, str, str]], num_copies: int) -> list[int]:
    rules = load_rules(RULE % (num_copies, "dataset.name == /a"), now=NOW)
    found = EnforcerPlugin({}).propose(small_inventory(replicas), make_context(enforcer_rules=rules))
    return found["site_id"].to_list()


@pytest.mark.parametrize(
    ("replicas", "num_copies", "number"),
    [
        pytest.param([("/a", "T2_A", "AnalysisOps")], 1, 0, id="enough"),
        pytest.param([("/a", "T2_A", "AnalysisOps")], 3, 2, id="two lacking"),
        pytest.param([("/a", "T2_A", "AnalysisOps")], 9, 2, id="no more than destinations"),
        pytest.param([("/b", "T2_A", "AnalysisOps")], 2, 0, id="no matching dataset"),
    ],
)
def test_number_of_copies(replicas: list[tuple[str, str, str]], num_copies: int, number: int) -> None:
    found = asked(replicas, num_copies)
    assert len(found) == number
    assert len(set(found)) == number


def test_changes_of_owner_come_first() -> None:
    assert asked([("/a", "T2_A", "AnalysisOps"), ("/a", "T2_C", "DataOps")], 2) == [2]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        pytest.param("[]", "rules", id="no mapping"),
        pytest.param(RULE % (0, "dataset.name == /a"), "rules.r.num_copies", id="no copies"),
        pytest.param("rules: {r: {num_copies: 1, sites: []}}", "rules.r.sites", id="unknown key"),
        pytest.param("rules: {r: {num_copies: 1}}", "rules.r.destinations", id="no destinations"),
    ],
)
def test_wrong_rules_name_the_key(text: str, key: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_rules(text, now=NOW, file="enforcer.yaml")
    assert (caught.value.facts["file"], caught.value.facts["key"]) == ("enforcer.yaml", key)


@pytest.mark.parametrize("condition", ["dataset.nam == /a", "replica.enforcer_protected"])
def test_wrong_conditions(condition: str) -> None:
    with pytest.raises(PolicyError, match=r"rules\.r\.replicas"):
        load_rules(RULE % (1, condition), now=NOW)
