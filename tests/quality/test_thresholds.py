"""gates.yaml: the one we ship says what the models say, and mistakes in one are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from dynamo_ops.base.errors import SettingsError
from dynamo_ops.base.settings import Settings
from dynamo_ops.quality.thresholds import DataDocs, Gates, MetadataThresholds, detox_limits, read_thresholds
from tests import ROOT

SHIPPED = ROOT / "include/config"


def test_the_shipped_file_is_the_default(tmp_path: Path) -> None:
    found = read_thresholds(Settings(config_dir=SHIPPED, home=tmp_path))
    assert found.data_docs == DataDocs(location=str(tmp_path / "data_docs"))
    assert found.metadata == MetadataThresholds(lfn_prefix="/store")
    assert found.model_copy(update={"data_docs": DataDocs(), "metadata": MetadataThresholds()}) == Gates()


def test_what_gates_yaml_says_wins_over_dynamo_yaml(tmp_path: Path) -> None:
    (tmp_path / "gates.yaml").write_text(
        "{metadata: {lfn_prefix: /data}, data_docs: {location: s3://bucket/docs, keep: 5}}"
    )
    found = read_thresholds(Settings(config_dir=tmp_path))
    assert found.metadata.lfn_prefix == "/data"
    assert found.data_docs == DataDocs(location="s3://bucket/docs", keep=5)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            "detox: {max_site_fraction: 1.5}",
            "detox.max_site_fraction: Input should be less than or equal to 1, got 1.5",
        ),
        ("metadata: {warn_only: [file_sise]}", "metadata.warn_only.0: Input should be"),
        ("detocks: {}", "detocks: there is no such setting"),
        (
            "detox: {policies: {physics: {max_sight_bytes: 5}}}",
            "detox.policies.physics.max_sight_bytes: there is no such setting",
        ),
        ("detox: {policies: {physics: {last_copies: perhaps}}}", "detox.policies.physics.last_copies: Input should be"),
        ("detox: {policies: {physics: 5}}", "detox.policies.physics: Input should be a valid dictionary"),
        ("detox: {policies: {phisics: {}}}", "detox.policies.phisics: no policy phisics.txt in"),
        ("detox: {last_copies_allowed: true}", "detox.last_copies_allowed: there is no such setting"),
    ],
    ids=[
        "fraction above 1",
        "unknown check",
        "unknown gate",
        "unknown key of a policy",
        "wrong value of a policy",
        "no mapping",
        "no such policy",
        "old key",
    ],
)
def test_a_mistake_is_named(tmp_path: Path, line: str, told: str) -> None:
    (tmp_path / "gates.yaml").write_text(line)
    with pytest.raises(SettingsError) as caught:
        read_thresholds(Settings(config_dir=tmp_path))
    assert f"{tmp_path / 'gates.yaml'}: {told}" in str(caught.value)


def test_a_policy_has_its_own_limits_and_the_others_of_all(tmp_path: Path) -> None:
    (tmp_path / "gates.yaml").write_text(
        "detox: {max_site_fraction: 0.2, max_plan_age_h: 12, policies: {express: {last_copies: delete_lines, "
        "max_site_fraction: 0.9, warn_only: [site_volume]}}}"
    )
    found = Settings(config_dir=tmp_path)
    express, physics = detox_limits(found, "express"), detox_limits(found, "physics")
    assert (express.max_site_fraction, express.last_copies, express.max_plan_age_h) == (0.9, "delete_lines", 12)
    assert express.warn_only == {"site_volume"}
    assert (physics.max_site_fraction, physics.last_copies, physics.max_plan_age_h) == (0.2, "never", 12)
    assert physics.warn_only == frozenset()
