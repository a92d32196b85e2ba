"""The site source against the pocket grid's feed."""

from __future__ import annotations

import json

import pytest

from dynamo_ops.errors import SourceDataError
from dynamo_ops.settings import SourceSettings
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
