"""Settings: from the file, overridden by variables; what is wrong is named with file, key and reason."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import Field

from dynamo_ops.base.config_file import Strict, read_config, read_yaml
from dynamo_ops.base.errors import SettingsError
from dynamo_ops.base.glob import is_named
from dynamo_ops.base.settings import Settings, Tls, read_settings, settings
from tests import ROOT


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    settings.cache_clear()
    yield
    settings.cache_clear()


OLD_FORM = "values by site stand in sites now; write "


def written(folder: Path, values: Any) -> Path:
    file = folder / "dynamo.yaml"
    file.write_text(values if isinstance(values, str) else yaml.safe_dump(values))
    return file


def test_the_shipped_file_is_valid_and_complete() -> None:
    found = read_settings(ROOT / "include" / "config" / "dynamo.yaml")
    assert found.metadata_sources
    assert found.site_sources
    assert found.access_sources
    assert found.config_dir == ROOT / "include" / "config"
    assert found.policy_dir.is_dir()


def test_an_activity_that_is_not_named_is_as_shipped(tmp_path: Path) -> None:
    file = written(tmp_path, {"transfers": {"activities": {"request": {"priority": 5}}}})
    found = read_settings(file).transfers.activities
    assert {name: activity.priority for name, activity in found.items()} == {
        "recovery": 4,
        "request": 5,
        "rebalancing": 2,
    }


def test_an_activity_that_nothing_has_is_an_error(tmp_path: Path) -> None:
    file = written(tmp_path, {"transfers": {"activities": {"requests": {"priority": 5}}}})
    with pytest.raises(
        SettingsError, match="no activity 'requests'; there are recovery, request, rebalancing, default"
    ):
        read_settings(file)


def test_an_empty_file_gives_the_defaults(tmp_path: Path) -> None:
    found = read_settings(written(tmp_path, ""))
    assert found == Settings(config_dir=tmp_path)
    assert found.home is None


def test_variables_win_over_the_file_key_by_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(tmp_path, {"fts": {"url": "https://file:8446", "retries": 7}, "retries": {"delay_s": 3}})
    monkeypatch.setenv("DYNAMO_FTS__URL", "https://variable:8446")
    monkeypatch.setenv("DYNAMO_RETRIES__COUNT", "2")
    monkeypatch.setenv("DYNAMO_HOME", str(tmp_path / "home"))
    found = read_settings(file)
    assert (found.fts.url, found.fts.retries) == ("https://variable:8446", 7)
    assert (found.retries.count, found.retries.delay_s) == (2, 3)
    assert found.home == tmp_path / "home"


def test_the_folder_of_the_file_is_named_by_a_variable_and_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(tmp_path, {"retries": {"count": 9}})
    monkeypatch.setenv("DYNAMO_CONFIG_DIR", str(tmp_path))
    assert (settings().retries.count, settings().config_dir) == (9, tmp_path)
    file.write_text("retries: {count: 1}")
    assert settings().retries.count == 9
    settings.cache_clear()
    assert settings().retries.count == 1


def test_variables_of_others_do_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYNAMO_DEMO_INSTANCE", "/somewhere")
    assert read_settings(written(tmp_path, "")).config_dir == tmp_path


@pytest.mark.parametrize(
    ("values", "key", "reason"),
    [
        pytest.param({"fst": {}}, "fst", "there is no such setting", id="unknown key"),
        pytest.param({"fts": {"urll": "x"}}, "fts.urll", "there is no such setting", id="unknown key below"),
        pytest.param(
            {"fts": {"poll_interval_s": 0}}, "fts.poll_interval_s", "Input should be greater than 0", id="too small"
        ),
        pytest.param(
            {"deletion": {"threads": 65}}, "deletion.threads", "Input should be less than or equal to 64", id="too big"
        ),
        pytest.param(
            {"retries": {"count": "many"}}, "retries.count", "Input should be a valid integer", id="no number"
        ),
        pytest.param(
            {"transfers": {"sites": {"T1_A": {"archived": "soon"}}}},
            "transfers.sites.T1_A.archived",
            "Input should be 'on_tape' or 'on_arrival'",
            id="no such word",
        ),
        pytest.param(
            {"transfers": {"sites": {"T1_A, T1_B": {"archived": "on_arrival"}}}},
            "transfers.sites.T1_A, T1_B",
            "'T1_A, T1_B' matches no site: write one name or glob a key",
            id="two names in one",
        ),
        pytest.param({"mail": {"recipients": "ada"}}, "mail.recipients", "Input should be a valid list", id="no list"),
        pytest.param(
            {"metadata_sources": [{"name": "dbs"}]}, "metadata_sources.0.type", "Field required", id="missing"
        ),
        pytest.param({"tls": None}, "tls", "Input should be", id="nothing"),
    ],
)
def test_a_fault_is_named_with_file_key_and_reason(
    tmp_path: Path, values: dict[str, Any], key: str, reason: str
) -> None:
    file = written(tmp_path, values)
    with pytest.raises(SettingsError) as error:
        read_settings(file)
    assert f"{file}: {key}" in str(error.value)
    assert f"variable DYNAMO_{key.upper().replace('.', '__')}" in str(error.value)
    assert reason in str(error.value)
    assert (error.value.file, error.value.key) == (str(file), key)
    assert reason in str(error.value.reason)


def test_values_by_site_in_the_old_form_are_refused_with_the_new_one(tmp_path: Path) -> None:
    old = {"transfers": {"archived": {"T1_MSS": "on_arrival", "T2_*": "on_tape"}}}
    with pytest.raises(SettingsError) as error:
        read_settings(written(tmp_path, old))
    new = 'transfers: {sites: {"T1_MSS": {archived: on_arrival}, "T2_*": {archived: on_tape}}}'
    assert str(error.value).endswith(f"transfers.archived (or variable DYNAMO_TRANSFERS__ARCHIVED): {OLD_FORM}{new}")
    again = tmp_path / "new.yaml"
    again.write_text(new)
    on_arrival = read_settings(again).transfers.on_arrival
    assert [is_named(site, on_arrival) for site in ("T1_MSS", "T2_MSS", "T3_MSS")] == [True, False, False]


def test_when_a_copy_at_a_tape_counts_can_be_one_word_for_all_sites(tmp_path: Path) -> None:
    transfers = {"archived": "on_arrival", "sites": {"T1_*": {"archived": "on_tape"}, "T1_A": {"files_to_site": 1}}}
    on_arrival = read_settings(written(tmp_path, {"transfers": transfers})).transfers.on_arrival
    assert [is_named(site, on_arrival) for site in ("T1_A", "T2_A")] == [False, True]


def test_what_differs_by_site_is_what_the_matching_entries_set(tmp_path: Path) -> None:
    sites = {"T1_*": {"files_to_site": 5, "archived": "on_arrival"}, "T1_A": {"files_to_site": 7}}
    transfers = read_settings(written(tmp_path, {"transfers": {"files_to_site": 3, "sites": sites}})).transfers
    assert [transfers.at(site).files_to_site for site in ("T1_A", "T1_B", "T2_A")] == [7, 5, 3]
    assert transfers.at("T1_A").archived == "on_arrival"
    assert transfers.at("T1_A").files_per_link == transfers.files_per_link


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as error:
        read_settings(written(tmp_path, {"fst": {}, "retries": {"count": -1}}))
    assert len(str(error.value).splitlines()) == 2
    assert "got -1" in str(error.value)


@pytest.mark.parametrize(
    "values",
    [
        {"alerts": {"webhooks": [{"url": "hooks.example.org/SECRET"}]}},
        {"alerts": {"webhooks": ["https://hooks.example.org/SECRET"]}},
        {"storages": {"s3": "SECRET"}},
        {"storages": {"s3": {"secret": "SECRET"}}, "retries": 7, "fts": "https://usr:SECRET@fts.example.org"},
        {"pasword": "SECRET"},
    ],
    ids=["webhook", "no mapping", "storage", "an address", "unknown key"],
)
def test_a_value_that_may_be_a_secret_is_not_repeated(tmp_path: Path, values: dict[str, Any]) -> None:
    with pytest.raises(SettingsError) as error:
        read_settings(written(tmp_path, values))
    assert "SECRET" not in f"{error.value} {error.value.facts}"
    assert error.value.__cause__ is None, "pydantic's own text repeats all that was given"


def test_a_wrong_variable_is_told_like_a_wrong_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYNAMO_FTS__TIMEOUT_H", "soon")
    with pytest.raises(SettingsError, match=r"DYNAMO_FTS__TIMEOUT_H.*got 'soon'"):
        read_settings(written(tmp_path, ""))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b"a: [1\n", "cannot be read as YAML", id="not YAML"),
        pytest.param(b"\xff\xfe", "cannot be read as YAML", id="no text"),
        pytest.param(b"- a\n- b\n", "expected 'key: value' lines, got a list", id="a list"),
        pytest.param(b"text\n", "expected 'key: value' lines, got a str", id="a word"),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, content: bytes, reason: str) -> None:
    file = tmp_path / "dynamo.yaml"
    file.write_bytes(content)
    with pytest.raises(SettingsError, match=reason) as error:
        read_yaml(file)
    assert error.value.file == str(file)


def test_a_file_that_is_not_there_says_which_variable_leads_to_it(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"file not found; set DYNAMO_CONFIG_DIR, or config in dynamo\.toml"):
        read_settings(tmp_path / "dynamo.yaml")


class _Small(Strict):
    limit: int = Field(ge=0)


def test_other_files_are_told_without_a_variable(tmp_path: Path) -> None:
    file = tmp_path / "small.yaml"
    file.write_text("limit: -1\n")
    with pytest.raises(SettingsError) as error:
        read_config(file, _Small)
    assert str(error.value) == f"{file}: limit: Input should be greater than or equal to 0, got -1"


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        (None, "/h/frames/plans/x"),
        ("s3://bucket/dynamo/", "s3://bucket/dynamo/plans/x"),
    ],
)
def test_where_big_frames_go(location: str | None, expected: str) -> None:
    assert Settings(home=Path("/h"), plan_location=location).files_at("plans", "x") == expected


def test_authorities_are_those_of_the_setting_or_the_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    from dynamo_ops.base import settings as module

    assert Tls(ca=Path("/tls/ca.pem")).authorities == "/tls/ca.pem"
    monkeypatch.setattr(module, "get_default_verify_paths", lambda: SimpleNamespace(cafile="/etc/ca.pem"))
    assert Tls().authorities == "/etc/ca.pem"
    monkeypatch.setattr(module, "get_default_verify_paths", lambda: SimpleNamespace(cafile=None))
    with pytest.raises(SettingsError, match=r"tls\.ca: not set"):
        _ = Tls().authorities


@pytest.mark.parametrize(
    ("fts", "expected"),
    [
        pytest.param({}, [("https://localhost:8446", None)], id="as shipped"),
        pytest.param({"url": "https://a:1/", "monitor_url": "m"}, [("https://a:1", "m")], id="one, in short"),
        pytest.param(
            {"servers": [{"url": "https://a:1/", "monitor_url": "m"}, {"url": "https://b:1"}]},
            [("https://a:1", "m"), ("https://b:1", None)],
            id="several",
        ),
        pytest.param({"url": None, "servers": [{"url": "https://a:1"}]}, [("https://a:1", None)], id="none in short"),
        pytest.param({"url": "https://a:1", "servers": []}, [("https://a:1", None)], id="no several"),
        pytest.param({"url": None}, [], id="no FTS"),
    ],
)
def test_the_servers_of_fts(tmp_path: Path, fts: dict[str, Any], expected: list[tuple[str, str | None]]) -> None:
    named = read_settings(written(tmp_path, {"fts": fts})).fts.named_servers
    assert [(server.url, server.monitor_url) for server in named] == expected
    assert all((server.sources, server.destinations) == (["*"], ["*"]) for server in named)


@pytest.mark.parametrize("beside", [{"url": "https://usr:SECRET@a:1"}, {"monitor_url": "https://m"}], ids=str)
def test_servers_are_named_in_one_form(tmp_path: Path, beside: dict[str, str]) -> None:
    (name,) = beside
    with pytest.raises(SettingsError, match=f"{name} beside servers: both name FTS servers") as error:
        read_settings(written(tmp_path, {"fts": {"servers": [{"url": "https://b:1"}], "retries": 1, **beside}}))
    assert error.value.key == "fts"
    assert "SECRET" not in str(error.value)


def test_servers_of_fts_by_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYNAMO_FTS__SERVERS", '[{"url": "https://a:1", "sources": ["T1_*"]}]')
    assert read_settings(written(tmp_path, {"fts": {"retries": 3}})).fts.named_servers[0].sources == ["T1_*"]
    with pytest.raises(SettingsError, match="url beside servers"):
        read_settings(written(tmp_path, {"fts": {"url": "https://b:1"}}))


def test_settings_cannot_be_changed_in_passing() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().home = Path("/elsewhere")  # type: ignore[misc]


def test_no_test_sees_the_settings_of_the_shell() -> None:
    assert [name for name in os.environ if name.startswith("DYNAMO_")] == []
