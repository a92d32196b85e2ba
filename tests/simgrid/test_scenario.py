from __future__ import annotations

from pathlib import Path

import pytest

from simgrid.duration import seconds
from simgrid.scenario import ScenarioError, load_scenario, parse_scenario
from tests import ROOT

SCENARIOS = ROOT / "include/scenarios"


@pytest.mark.parametrize("name", ["tiny", "demo"])
def test_our_scenarios_load(name: str) -> None:
    assert load_scenario(SCENARIOS / f"{name}.yaml").name == name


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("40 days", 40 * 86400),
        ("1 day", 86400),
        ("90 s", 90),
        ("2h", 7200),
        ("1.5 h", 5400),
        (30, 30),
        ("3 weeks", 1814400),
    ],
)
def test_lengths_of_time(text: object, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["soon", "-3 days", "3 fortnights", "", None, True])
def test_what_is_no_length_of_time(text: object) -> None:
    with pytest.raises(ValueError, match=r"time|negative"):
        seconds(text)


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ({}, "sites: Field required"),
        ({"sites": [{"name": "A", "colour": "red"}]}, "sites.0.colour: unknown key"),
        ({"sites": [{"name": "A", "staging_delay": "soon"}]}, "sites.0.staging_delay: 'soon' is not a length of time"),
        ({"sites": [{"name": "A"}, {"name": "A"}]}, "sites: a name appears twice"),
        ({"sites": [{"name": "A"}], "datasets": [{"name": "/A/B"}]}, "datasets.0.name: '/A/B' is not of the form"),
        (
            {"sites": [{"name": "A"}], "replicas": [{"dataset": "*", "sites": ["B"]}]},
            "replicas.0.sites: no site named 'B'",
        ),
        (
            {"sites": [{"name": "A"}], "replicas": [{"dataset": "*", "sites": ["A"], "group": "g"}]},
            "no group named 'g'",
        ),
        ({"sites": [{"name": "A"}], "quotas": [{"site": "A", "partition": "p"}]}, "give either quota_bytes or fill"),
        ({"sites": [{"name": "A"}], "faults": {"fts": {"doom": True}}}, "faults.fts.doom: unknown key"),
    ],
)
def test_errors_name_file_key_and_reason(document: dict[str, object], complaint: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        parse_scenario(document, "x.yaml")
    assert str(caught.value).startswith("x.yaml: ")
    assert complaint in str(caught.value)


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="cannot be read"):
        load_scenario(tmp_path / "nowhere.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("sites: [")
    with pytest.raises(ScenarioError, match="not YAML"):
        load_scenario(broken)
    broken.write_text("just text")
    with pytest.raises(ScenarioError, match="no mapping"):
        load_scenario(broken)
