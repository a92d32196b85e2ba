"""What gates found, as people and programs read it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from unittest.mock import patch

import pytest
from typer.testing import CliRunner

from dynamo_ops.base.errors import GateError, InventoryError
from dynamo_ops.cli import gate as cli
from dynamo_ops.cli.here import record
from dynamo_ops.database.connection import Database
from dynamo_ops.quality.results import prune, results, trend
from dynamo_ops.quality.suites.sites import check_sites
from dynamo_ops.quality.thresholds import SiteThresholds
from tests.inventory.told import site, stage_sites

T0 = datetime(2026, 3, 1, tzinfo=UTC)
NAMES = "ABCDEFGH"


@pytest.fixture
def judged(database: Database) -> Iterator[Database]:
    """Four hourly judgements of sites, the third of them a refusal."""
    for hour, number in enumerate((4, 6, 0, 8)):
        key = f"metadata_sync/scheduled__{hour}"
        stage_sites(database, *(site(f"T2_{name}") for name in NAMES[:number]), run_key=key)
        try:
            check_sites(database, key, "cric", SiteThresholds(), T0 + timedelta(hours=hour))
        except GateError:
            assert number == 0
    with patch.object(record, "database", lambda: database):
        yield database


def run(*words: str) -> str:
    done = CliRunner().invoke(cli.app, list(words), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_results_can_be_narrowed(judged: Database) -> None:
    assert results(judged)["gate"].unique().to_list() == ["sites"]
    failed = results(judged, gate="sites", failed=True)
    assert failed.select("run_key", "check", "verdict").row(0) == (
        "metadata_sync/scheduled__2",
        "sites_listed",
        "refused",
    )
    assert results(judged, run_key="scheduled__3")["verdict"].unique().to_list() == ["passed"]
    assert results(judged, subject="dbs").is_empty()
    assert results(judged, limit=5).height == 5


def test_results_for_people_and_programs(judged: Database) -> None:
    assert "no site is listed in 1 pull: num_listed=0" in " ".join(run("results", "--failed").split())
    (first,) = json.loads(run("results", "--failed", "--json"))
    assert first["examples"] == [{"num_listed": 0}]
    assert run("results", "--gate", "dealer").strip() == "Checks of gates: none"


def test_a_trend_shows_what_was_refused_too(judged: Database) -> None:
    found = trend(judged, "sites", "cric", "ready_sites", 30)
    assert found["value"].to_list() == [4, 6, 0, 8]
    assert found["is_accepted"].to_list() == [True, True, False, True]
    shown = run("trend", "sites", "cric", "ready_sites")
    assert "ready_sites of cric (sites gate): ▅▆▁█" in shown
    assert "+50.0%" in shown
    assert [row["value"] for row in json.loads(run("trend", "sites", "cric", "sites", "--json"))] == [4, 6, 0, 8]


def test_a_trend_goes_so_many_days_back_from_the_newest(judged: Database) -> None:
    stage_sites(judged, site("T2_A"), run_key="later")
    check_sites(judged, "later", "cric", SiteThresholds(), T0 + timedelta(days=2))
    assert trend(judged, "sites", "cric", "sites", 2)["value"].to_list() == [6, 0, 8, 1]


def test_an_unknown_figure_is_told_with_those_that_there_are(judged: Database) -> None:
    with pytest.raises(
        InventoryError, match="no gate measured 'sites cric redy_sites'; measured were: sites cric ready_sites"
    ):
        trend(judged, "sites", "cric", "redy_sites", 30)


def test_old_results_and_figures_are_forgotten(judged: Database) -> None:
    now, num_figures = datetime.now(UTC), 8
    assert prune(judged, before=now - timedelta(days=1)) == 0
    num_results = results(judged).height
    assert prune(judged, before=now + timedelta(days=1)) == num_results + num_figures
    assert results(judged).is_empty()


def test_a_flat_line_has_a_sparkline_too() -> None:
    assert cli.sparkline([5, 5]) == "▄▄"
