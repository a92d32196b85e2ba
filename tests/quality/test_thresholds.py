"""gates.yaml: the one we ship says what the models say, and mistakes in one are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from dynamo_ops.errors import SettingsError
from dynamo_ops.quality.thresholds import Gates, read_thresholds
from dynamo_ops.settings import Settings

SHIPPED = Path(__file__).parents[2] / "include/config"


def test_the_shipped_file_is_the_default() -> None:
    assert read_thresholds(Settings(config_dir=SHIPPED)) == Gates()


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            "detox: {max_site_fraction: 1.5}",
            "detox.max_site_fraction: Input should be less than or equal to 1, got 1.5",
        ),
        ("metadata: {warn_only: [file_sise]}", "metadata.warn_only.0: Input should be"),
        ("detocks: {}", "detocks: Extra inputs are not permitted"),
    ],
    ids=["fraction above 1", "unknown check", "unknown gate"],
)
def test_a_mistake_is_named(tmp_path: Path, line: str, told: str) -> None:
    (tmp_path / "gates.yaml").write_text(line)
    with pytest.raises(SettingsError) as caught:
        read_thresholds(Settings(config_dir=tmp_path))
    assert f"{tmp_path / 'gates.yaml'}: {told}" in str(caught.value)
