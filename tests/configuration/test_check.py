"""The check of a configuration folder: every fault of every file, each with file, key and what to do."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dynamo_ops.base.installation import Installation
from dynamo_ops.configuration.check import Checked, check_configuration
from dynamo_ops.configuration.inventory import check_names
from dynamo_ops.configuration.pools import POOLS
from tests import ROOT

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SITES = ["T1_AA_Disk", "T2_BB", "T2_CC"]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with what we ship, to be spoiled."""
    shutil.copytree(ROOT / "include" / "config", tmp_path / "config")
    shutil.copytree(ROOT / "include" / "policies", tmp_path / "policies")
    return tmp_path


def check(home: Path) -> Checked:
    return check_configuration(home / "config", Installation(home, home / "config", home / "policies", None), NOW)


def faults(home: Path) -> list[tuple[str, str]]:
    """File (below the configuration) and key of each fault."""
    return [(str(Path(fault.file).relative_to(home / "config")), fault.key) for fault in check(home).faults]


def append(text: str) -> Callable[[str], str]:
    return lambda content: f"{content}\n{text}\n"


def replace(old: str, new: str) -> Callable[[str], str]:
    def change(content: str) -> str:
        assert old in content
        return content.replace(old, new)

    return change


def spoil(home: Path, file: str, change: Callable[[str], str]) -> Path:
    path = home / "config" / file
    path.write_text(change(path.read_text()))
    return path


def test_what_we_ship_has_no_fault_and_is_read_whole(home: Path) -> None:
    checked = check(home)
    assert checked.faults == []
    assert {Path(file) for file in checked.files} == {file for file in (home / "config").rglob("*") if file.is_file()}


RULE = "rules.simulation_in_demand"
SPOILED: dict[str, tuple[str, Callable[[str], str], str, str]] = {
    "unknown key": ("dynamo.yaml", append("fst: {}"), "fst", "there is no such setting. Did you mean fts?"),
    "unknown key below": ("dynamo.yaml", replace("  wait_h:", "  wait_hours:"), "popularity.wait_hours", "mean wait_h"),
    "value": ("dynamo.yaml", replace("  retries: 2 ", "  retries: -2 "), "fts.retries", "greater than or equal to 0"),
    "no YAML": ("dynamo.yaml", append("a: ["), "", "cannot be read as YAML"),
    "type of a source": ("dynamo.yaml", replace("type: dbs", "type: dbz"), "metadata_sources.0.type", "mean dbs"),
    "option of a source": (
        "dynamo.yaml",
        replace('"https://sites', '"ftp://sites'),
        "site_sources.0.options.url",
        "should match pattern",
    ),
    "protocol": ("dynamo.yaml", replace("own: [davs,", "own: [davz,"), "protocols.own", "no storage plugin 'davz'"),
    "gate": ("gates.yaml", replace("  keep: 200 ", "  keep: x "), "data_docs.keep", "valid integer"),
    "no policy": (
        "gates.yaml",
        replace("policies: {} ", "policies: {phisics: {}} "),
        "detox.policies.phisics",
        "no policy",
    ),
    "events": ("dynamo.yaml", replace("# events:  ", "events: {host: [x]} #"), "events.host", "Did you mean hosts"),
    "keep": (
        "dynamo.yaml",
        replace("# keep:  ", "keep: {lists_day: 9} #"),
        "keep.lists_day",
        "Did you mean lists_days",
    ),
    "threshold": ("consistency.yaml", replace("orphan: 0.05", "orphan: 7.5"), "defaults.max_orphan", "a count"),
    "site": (
        "consistency.yaml",
        replace("sites: {} ", "sites: {T2: {max_orphn: 1}}"),
        "sites.T2.max_orphn",
        "max_orphan",
    ),
    "two sites in a key": ("consistency.yaml", replace("sites: {} ", "sites: {'A,B': {}}"), "sites.A,B", "one name or"),
    "partition": ("partitions.txt", append("x: dataset.nmae == /a"), "10:4", "unknown variable 'dataset.nmae'"),
    "dealer": ("dealer/express.yaml", append("target_site: []"), "target_site", "Did you mean target_sites"),
    "partition of a dealer": (
        "dealer/express.yaml",
        replace("partition: express", "partition: relval"),
        "partition",
        "not",
    ),
    "plugin": ("dealer/express.yaml", replace("requests:", "reqests:"), "plugins.reqests", "Did you mean requests"),
    "option of a plugin": (
        "dealer/physics.yaml",
        replace("cycle_volume: 20 ", "volume: 20 "),
        "plugins.balancer.",
        "",
    ),
    "placement": ("dealer/express.yaml", append("placement: [{}, {type: x}]"), "placement.0", "sites or storage_types"),
    "detox policy": ("dealer/express.yaml", append("detox_policy: phisics"), "detox_policy", "no policy phisics.txt"),
    "rule": ("enforcer/physics.yaml", replace("num_copies: 3", "num_copies: 0"), f"{RULE}.num_copies", "equal to 1"),
    "condition": ("enforcer/physics.yaml", replace("name == T*", "name = T*"), f"{RULE}.sources:1:11", ""),
    "key beside rules": ("enforcer/physics.yaml", append("default_group: x"), "default_group", "no such setting"),
    "pool": ("pools.json", replace('"slots": 16', '"slots": 0'), "storage.slots", "greater than or equal to 1"),
    "no pool": ("pools.json", replace('"direct":', '"derict":'), "direct", "put it back"),
    "no JSON": ("pools.json", append("}"), "9:1", "is not JSON"),
}


@pytest.mark.parametrize(("file", "change", "key", "reason"), SPOILED.values(), ids=list(SPOILED))
def test_a_fault_is_said_with_file_key_and_reason(
    home: Path, file: str, change: Callable[[str], str], key: str, reason: str
) -> None:
    path = spoil(home, file, change)
    fault = check(home).faults[0]
    assert (fault.file, fault.key[: len(key)]) == (str(path), key)
    assert reason in fault.reason


def test_the_faults_of_all_files_are_said_at_once(home: Path) -> None:
    for name in ("unknown key", "gate", "site", "dealer", "rule", "pool"):
        spoil(home, *SPOILED[name][:2])
    spoil(home, *SPOILED["type of a source"][:2])
    (home / "config" / "partitions.txt").unlink()
    assert [file for file, _ in faults(home)] == [
        "dynamo.yaml",
        "dynamo.yaml",
        "gates.yaml",
        "consistency.yaml",
        "partitions.txt",
        "dealer/express.yaml",
        "enforcer/physics.yaml",
        "pools.json",
    ]


def test_all_faults_of_a_rule_and_of_a_file_are_said(home: Path) -> None:
    (home / "config" / "enforcer" / "physics.yaml").write_text(
        "rules:\n"
        "  a: {num_copies: 0, protect: 7, sources: [site.nmae == T*], destinations: [], replicas: [dataset.nm == /a]}\n"
        "  b: []\n"
    )
    assert [key for _, key in faults(home)] == [
        "rules.a.num_copies",
        "rules.a.protect",
        "rules.a.destinations",
        "rules.b",
        "rules.a.sources:1:1",
        "rules.a.replicas:1:1",
    ]


def test_a_key_that_stands_twice_is_a_fault(home: Path) -> None:
    path = spoil(
        home, "consistency.yaml", replace("sites: {} ", "sites: {T2_A: {max_orphan: 1}, T2_A: {max_orphan: 2}}")
    )
    spoil(home, "dynamo.yaml", append("retries: {count: 3}"))
    faults = check(home).faults
    assert [(Path(fault.file).name, fault.key) for fault in faults] == [
        ("dynamo.yaml", "retries"),
        ("consistency.yaml", "sites.T2_A"),
    ]
    line = next(number for number, line in enumerate(path.read_text().splitlines(), 1) if line.startswith("sites"))
    assert faults[1].reason == f"stands twice, in line {line} again, and only the last counts: take one out"


def test_a_wrong_variable_hides_nothing_else(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYNAMO_FTS__TIMEOUT_H", "soon")
    (home / "config" / "gates.yaml").write_text("detocks: {}")
    assert faults(home) == [("dynamo.yaml", "fts.timeout_h"), ("gates.yaml", "detocks")]


def test_secrets_are_not_repeated(home: Path) -> None:
    spoil(home, "dynamo.yaml", append("storages: {s3: [SECRET]}"))
    spoil(home, "dynamo.yaml", replace("webhooks: []", "webhooks: [SECRET]"))
    faults = check(home).faults
    assert len(faults) == 2
    assert "SECRET" not in " ".join(map(str, faults))


def test_airflow_s_pools_may_be_gone(home: Path) -> None:
    (home / "config" / "pools.json").unlink()
    assert faults(home) == []


def test_the_pools_are_those_that_dags_ask_for() -> None:
    asked = {name for file in (ROOT / "dags").glob("*.py") for name in re.findall(r'pool="(\w+)"', file.read_text())}
    assert asked == set(POOLS)


def test_names_that_the_inventory_does_not_know(home: Path) -> None:
    spoil(home, "dynamo.yaml", append("storages: {'s3:T3_LAB': {}}"))
    spoil(home, "consistency.yaml", replace("sites: {} ", "sites: {'T2_*': {}, T2_bb: {}} "))
    spoil(home, "dealer/express.yaml", append("placement: [{sites: ['T2_*', '!T3_*']}]"))
    more = "undertaker: {priority: 1, additional_sites: [T2_C]}"
    spoil(home, "dealer/physics.yaml", replace("undertaker: {priority: 1}", more))
    checked = check(home)
    assert checked.faults == []
    unknown = check_names(checked, home / "config", SITES, ["physics"])
    assert [(Path(fault.file).name, fault.key) for fault in unknown] == [
        ("dynamo.yaml", "storages.T3_LAB"),
        ("consistency.yaml", "sites.T2_bb"),
        ("express.yaml", "placement.0.sites.T3_*"),
        ("physics.yaml", "plugins.undertaker.additional_sites.T2_C"),
        ("express.yaml", "group"),
    ]
    assert "Did you mean T2_BB" in unknown[1].reason
