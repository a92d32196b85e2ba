"""Sizes as settings: with units, or as numbers that mean what they did; and as they are written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dynamo_ops.base.config_file import Bytes, Strict, Terabytes, read_config
from dynamo_ops.base.errors import SettingsError
from dynamo_ops.base.units import parse_size, written_size


class _Sizes(Strict):
    limit_bytes: Bytes = 0
    limit_tb: Terabytes | None = None


def read(folder: Path, text: str) -> _Sizes:
    file = folder / "sizes.yaml"
    file.write_text(text)
    return read_config(file, _Sizes)


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [("500 TB", 500 * 10**12), ("1.5PB", 1_500 * 10**12), ("7", 7), ("'7'", 7), ("1 kb", 1000), ("0", 0)],
)
def test_bytes(tmp_path: Path, text: str, size_bytes: int) -> None:
    assert read(tmp_path, f"limit_bytes: {text}").limit_bytes == size_bytes


@pytest.mark.parametrize(
    ("text", "size_tb"),
    [
        ("500 GB", 0.5),
        ("20 TB", 20),
        ("1.5 PB", 1500),
        ("20", 20),
        ("'20'", 20),
        ("0.25", 0.25),
        ("7e-09", 7e-09),
        ("null", None),
    ],
)
def test_terabytes(tmp_path: Path, text: str, size_tb: float | None) -> None:
    assert read(tmp_path, f"limit_tb: {text}").limit_tb == size_tb


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("limit_bytes: 5 TiB", "limit_bytes: '5 TiB': unknown unit 'TiB'; units are B, kB, MB, GB, TB, PB"),
        ("limit_bytes: much", "limit_bytes: 'much' is no size: expected something like '500 TB'"),
        ("limit_bytes: 0.0001 kB", "limit_bytes: '0.0001 kB' is 0.1 bytes, no whole number"),
        ("limit_tb: 5 parsec", "limit_tb: '5 parsec': unknown unit 'parsec'"),
        ("limit_bytes: [1]", "limit_bytes: Input should be a valid integer"),
    ],
)
def test_what_is_no_size(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(SettingsError) as error:
        read(tmp_path, text)
    assert reason in str(error.value)


@pytest.mark.parametrize(
    ("size_bytes", "text"), [(10**15, "1 PB"), (1_500 * 10**9, "1500 GB"), (123, "123 B"), (0, "0 PB")]
)
def test_a_size_as_it_is_written(size_bytes: int, text: str) -> None:
    assert written_size(size_bytes) == text
    assert parse_size(text) == size_bytes


def test_sizes_of_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from dynamo_ops.base.settings import read_settings

    (tmp_path / "dynamo.yaml").write_text("")
    sizes: list[Any] = []
    for text in ("500 GB", "20"):
        monkeypatch.setenv("DYNAMO_REQUESTS__MAX_SIZE_TB", text)
        sizes.append(read_settings(tmp_path / "dynamo.yaml").requests.max_size_tb)
    assert sizes == [0.5, 20]
