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
        ("sites: {T1: {bad: 1}}", "sites"),
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


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError):
        load_settings(tmp_path / "none.yaml")


def test_empty_file_is_defaults(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("")
    assert load_settings(tmp_path / "c.yaml") == ConsistencySettings()
