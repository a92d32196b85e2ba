"""What a new installation begins with: the shipped files, whole and as they are but for the one answer."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from dynamo_ops.base.errors import SettingsError
from dynamo_ops.base.installation import SHIPPED, read_installation
from dynamo_ops.base.settings import Settings, read_settings
from dynamo_ops.configuration.new_installation import mark, new_files, write_files
from dynamo_ops.quality.thresholds import read_thresholds
from tests import ROOT


@pytest.mark.parametrize("last_copies", ["never", "always"])
def test_the_files_are_the_shipped_ones_with_the_answer(tmp_path: Path, last_copies: str) -> None:
    files = new_files(tmp_path)
    write_files(files, last_copies=last_copies)
    mark(tmp_path)
    for part in ("config", "policies"):
        written = {str(file.relative_to(tmp_path)) for file in (tmp_path / part).rglob("*") if file.is_file()}
        assert written == {str(file.relative_to(SHIPPED)) for file in (SHIPPED / part).rglob("*") if file.is_file()}
    assert [file.name for file, shipped in files.items() if file.read_text() != shipped.read_text()] == (
        [] if last_copies == "never" else ["gates.yaml"]
    )
    found = read_settings(tmp_path / "config" / "dynamo.yaml", read_installation(tmp_path))
    limits = read_thresholds(found)
    assert (limits.detox.last_copies, limits.data_docs.location) == (last_copies, str(tmp_path / "data_docs"))


@pytest.mark.parametrize("name", ["dynamo.toml", "config/gates.yaml", "policies/physics.txt"])
def test_a_file_that_is_there_is_named_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).symlink_to("/nowhere")
    with pytest.raises(SettingsError, match="is there already and is not overwritten") as error:
        new_files(tmp_path)
    assert error.value.file == str(tmp_path / name)


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="file: is a file, not a folder"):
        new_files(tmp_path / "file" / "home")


def test_what_comes_in_between_is_not_overwritten(tmp_path: Path) -> None:
    files = new_files(tmp_path)
    mark(tmp_path)
    with pytest.raises(FileExistsError):
        mark(tmp_path)
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "gates.yaml").write_text("mine")
    with pytest.raises(FileExistsError):
        write_files(files, last_copies="never")
    assert (tmp_path / "config" / "gates.yaml").read_text() == "mine"


def test_what_names_a_database_is_for_its_owner_only(tmp_path: Path) -> None:
    url = 'postgresql://dynamo:"ünd\\@db/dynamo'
    mark(tmp_path, policies="/my policies", database=url)
    assert stat.S_IMODE((tmp_path / "dynamo.toml").stat().st_mode) == 0o600
    found = read_installation(tmp_path)
    assert (found.db_url, found.policy_dir) == (url, Path("/my policies"))


def test_what_the_shipped_dynamo_yaml_says_is_what_counts_without_it() -> None:
    """But for the peers, which have no default."""
    shipped, default = read_settings(ROOT / "include" / "config" / "dynamo.yaml"), Settings()
    peers = {"metadata_sources", "site_sources", "access_sources", "fts"}
    assert [n for n in Settings.model_fields if n not in peers and getattr(shipped, n) != getattr(default, n)] == []
    assert shipped.fts.model_copy(update={"url": default.fts.url}) == default.fts
