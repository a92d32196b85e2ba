"""The page of settings, and the samples that a new installation begins with: both tell of every setting, and of none
that there is not."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator

import pytest

from dynamo_ops.configuration.reference import DEALER_PLUGINS, Setting, all_settings, markdown
from tests import ROOT

SHIPPED = ROOT / "include" / "config"
SAMPLES = ("dynamo.yaml", "gates.yaml", "consistency.yaml")
LINE = re.compile(r"(?P<indent> *)(?:# (?P<within> *))?(?P<dash>- \{?)?(?P<key>[a-z_]+):(?= |$)(?P<rest>.*)")
FREE = re.compile(r"\.<name>|\[\]")


def settings_of(file: str) -> list[Setting]:
    return [setting for setting in all_settings() if setting.file == file]


def keys_in(sample: str) -> Iterator[str]:
    """The keys that a sample names, those in comments too, as far as they stand on lines of their own."""
    open_keys: list[tuple[int, str]] = []
    for line in sample.splitlines():
        found = LINE.match(line)
        if found:
            depth = sum(len(found[part] or "") for part in ("indent", "within", "dash"))
            open_keys = [(at, key) for at, key in open_keys if at < depth]
            open_keys.append((depth, found["key"]))
            yield ".".join(key for _, key in open_keys)


def test_the_page_is_made_from_the_models() -> None:
    """``dynamo config settings --markdown > docs/settings.md`` makes it anew."""
    assert (ROOT / "docs" / "settings.md").read_text() == markdown()


@pytest.mark.parametrize("setting", all_settings(), ids=lambda setting: f"{setting.file}-{setting.key}")
def test_every_setting_says_what_it_means(setting: Setting) -> None:
    assert setting.meaning.rstrip()[-1:] in {".", "…"}


def test_a_setting_as_people_read_it() -> None:
    by_key = {(setting.file, setting.key): setting for setting in all_settings()}
    retries = by_key["dynamo.yaml", "fts.retry_delay_s"]
    assert (retries.type, retries.default, retries.unit) == ("integer, ≥ 0", "60", "s")
    assert by_key["dynamo.yaml", "metadata_schedule"].default == '"@hourly"'
    assert by_key["consistency.yaml", "defaults.clock_tolerance"].default == "PT5M"
    assert by_key["gates.yaml", "detox.last_copies"].type == "never or delete_lines or always"
    assert by_key["gates.yaml", "metadata.bytes_lost_tolerated"].unit == "bytes"
    assert by_key["dealer/<partition>.yaml", "group"].default == ""


def test_plugins_of_ours_are_in_it() -> None:
    points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    assert set(points["dynamo_ops.dealer_plugins"]) == set(DEALER_PLUGINS)


@pytest.mark.parametrize("file", SAMPLES)
def test_a_shipped_file_tells_of_every_setting(file: str) -> None:
    text = (SHIPPED / file).read_text()
    names = {setting.key.rpartition(".")[2].removesuffix("[]") for setting in settings_of(file)}
    assert {name for name in names if not re.search(rf"\b{name}\b", text)} == set()


@pytest.mark.parametrize("file", SAMPLES)
def test_a_shipped_file_names_no_key_that_there_is_not(file: str) -> None:
    known = {FREE.sub("", setting.key) for setting in settings_of(file)}
    free = [setting.key.split(".<name>")[0] for setting in settings_of(file) if ".<name>" in setting.key]
    free += [setting.key for setting in settings_of(file) if setting.type.startswith("mapping of")]
    unknown = [key for key in keys_in((SHIPPED / file).read_text()) if key not in known]
    assert [key for key in unknown if not any(key.startswith(f"{name}.") for name in free)] == []
