"""Settings of consistency checks: merged by site, wrong ones named."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from dynamo_ops.base.errors import SettingsError
from dynamo_ops.consistency.settings import ConsistencySettings, SiteRules, load_settings

TEXT = """
defaults:
  ignore_age: P1D
  max_missing: 0.02
  unmanaged: [{prefix: /store/unmerged/, max_age: P7D}]
sites:
  "T1_*": {max_orphan: 10}
  T1_US: {max_orphan: 20, delete_orphans: false}
"""


def test_sites_override_defaults(tmp_path: Path) -> None:
    path = tmp_path / "consistency.yaml"
    path.write_text(TEXT)
    settings = load_settings(path)
    assert settings.rules("T2_X").max_orphan == SiteRules().max_orphan
    assert settings.rules("T1_DE").max_orphan == 10
    rules = settings.rules("T1_US")
    assert (rules.max_orphan, rules.delete_orphans, rules.max_missing, rules.ignore_age) == (
        20,
        False,
        0.02,
        timedelta(days=1),
    )
    assert rules.unmanaged[0].prefix == "/store/unmerged"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("defaults: {max_mising: 1}", "defaults.max_mising"),
        ("defaults: {max_missing: -1}", "defaults.max_missing"),
        ("defaults: {max_missing: 1.5}", "defaults.max_missing"),
        ("defaults: {prefixes: [store]}", "defaults.prefixes"),
        ("defaults: {prefixes: []}", "defaults.prefixes"),
        ("sites: {T1: {bad: 1}}", "sites.T1.bad"),
        ("sites: {'T2_A,T2_B': {max_orphan: 1}}", "sites"),
        ("defaults: {ignore: [store/user]}", "defaults.ignore"),
        ("defaults: {ignore: [/user]}", "defaults.ignore"),
        ("defaults: {ignore: ['^/store/(?!big)']}", "defaults.ignore"),
        ("defaults: {unmanaged: [{prefix: /unmerged, max_age: P1D}]}", "defaults.unmanaged"),
        ("defaults: {unmanaged: [{prefix: '/store/*', max_age: P1D}]}", "defaults.unmanaged"),
        ("sites: {T1: {prefixes: [/store/data], ignore: [/store/user]}}", "sites.T1.ignore"),
        ("a: [", ""),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, text: str, key: str) -> None:
    path = tmp_path / "consistency.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError) as raised:
        load_settings(path)
    assert raised.value.facts["file"] == str(path)
    assert str(raised.value.facts["key"]).startswith(key)


@pytest.mark.parametrize(
    "text",
    [
        "sites: {T1: {prefixes: [/data], ignore: [/data/user]}}",
        "defaults: {ignore: [/data/user]}\nsites: {T1: {prefixes: [/data]}}",
        "defaults: {prefixes: [/store/data], ignore: [/store]}",
    ],
    ids=["own prefixes", "prefixes of a site", "more than what is listed"],
)
def test_entries_that_reach_what_is_listed_somewhere(tmp_path: Path, text: str) -> None:
    path = tmp_path / "consistency.yaml"
    path.write_text(text)
    assert load_settings(path)


def test_a_site_that_there_is_not_is_named_with_near_ones(tmp_path: Path) -> None:
    path = tmp_path / "consistency.yaml"
    path.write_text("sites: {'T1_*': {max_orphan: 1}, T2_a: {delete_orphans: false}}")
    assert load_settings(path)  # without an inventory nobody knows
    with pytest.raises(SettingsError) as raised:
        load_settings(path, ["T1_X", "T2_A", "T3_Y"])
    assert str(raised.value).startswith(f"{path}: sites.T2_a: matches no site of the inventory; mend the name")
    assert "Did you mean T2_A" in str(raised.value)
    assert raised.value.facts["key"] == "sites.T2_a"


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError):
        load_settings(tmp_path / "none.yaml")


def test_empty_file_is_defaults(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("")
    assert load_settings(tmp_path / "c.yaml") == ConsistencySettings()
