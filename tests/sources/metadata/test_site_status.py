"""The site source against the pocket grid's feed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dynamo_ops.base.errors import SourceDataError
from dynamo_ops.base.settings import SourceSettings, Tls
from dynamo_ops.sources.loader import site_source
from simgrid.grid import Grid
from tests.sources.pocket import settings_for


def test_sites_with_types_statuses_and_endpoints(grid: Grid) -> None:
    settings = settings_for(grid)
    sites = site_source(settings.site_sources[0], settings.tls).sites()
    assert sites.select("site", "storage_type", "status").rows() == [
        ("T1_AA_Disk", "disk", "ready"),
        ("T1_AA_Tape", "mss", "ready"),
        ("T2_BB", "disk", "ready"),
        ("T2_CC", "disk", "ready"),
        ("T2_DD", "disk", "waitroom"),
    ]
    assert json.loads(sites["endpoints"][0]) == [
        {"protocol": "davs", "prefix": grid.endpoints["sites"]["T1_AA_Disk"]["prefix"]}
    ]


def test_a_feed_that_stands_still_is_refused(grid: Grid) -> None:
    settings = settings_for(grid)
    options = {**settings.site_sources[0].options, "max_age_h": 2}
    source = site_source(SourceSettings(name="cric", type="json", options=options), settings.tls)
    assert source.sites().height == 5
    grid.fault(site_status={"stale_s": 7300})
    with pytest.raises(SourceDataError, match=r"cric: T1_AA_Disk: updated_at is .* older than 2 h"):
        source.sites()


def test_words_of_a_document_mean_what_the_settings_say(tmp_path: Path) -> None:
    path = tmp_path / "sites.csv"
    path.write_text(
        "name,storage_type,status,protocol,prefix\n"
        "T2_BB,DISC,UP,davs,davs://b.example.org/dav\n"
        "T2_BB,DISC,UP,root,root://b.example.org//data\n"
        "T3_CC,DISC,DOWN,,\n"
    )
    options: dict[str, object] = {"path": str(path), "statuses": {"UP": "ready", "DOWN": "waitroom"}}
    named = SourceSettings(name="sites", type="file", options={**options, "storage_types": {"DISC": "disk"}})
    sites = site_source(named, Tls()).sites()
    assert sites.select("site", "storage_type", "status").rows() == [
        ("T2_BB", "disk", "ready"),
        ("T3_CC", "disk", "waitroom"),
    ]
    assert [len(json.loads(text)) for text in sites["endpoints"]] == [2, 0]
    strange = SourceSettings(name="sites", type="file", options={**options, "statuses": {"UP": "ready"}})
    with pytest.raises(SourceDataError, match="sites: T3_CC: status is 'DOWN', expected one of UP"):
        site_source(strange, Tls()).sites()


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("sites.yaml", "- name: [", "cannot be read"),
        ("sites.json", "{", "cannot be read"),
        ("sites.json", "{}", "Input should be a valid list"),
        ("sites.yaml", "", "Input should be a valid list"),
        ("sites.csv", "name,storage_type\nT2_BB,disk\n", "0.status: Field required"),
        ("sites.csv", 'name,storage_type,status\n"T2_BB,disk,ready\n', "cannot be read"),
    ],
)
def test_a_damaged_file_of_sites_is_named(tmp_path: Path, name: str, text: str, told: str) -> None:
    (tmp_path / name).write_text(text)
    source = site_source(SourceSettings(name="sites", type="file", options={"path": str(tmp_path / name)}), Tls())
    with pytest.raises(SourceDataError) as caught:
        source.sites()
    assert str(caught.value).startswith(f"sites: {tmp_path / name}: ")
    assert told in str(caught.value)
