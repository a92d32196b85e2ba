"""A site whose check is refused turns the run red, and keeps everything; the other sites are repaired all the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import pytest
import yaml

from dynamo_ops.inventory.site.downtime import drain
from tests.dags.house import ROOT, House
from tests.people import ADA

STRICT_AT_ONE_SITE = {"defaults": {"max_missing": 0.9, "max_orphan": 0.9}, "sites": {"T2_CC": {"max_orphan": 0}}}


@pytest.fixture
def strict_house(house: House) -> Iterator[House]:
    """No orphan is tolerated at T2_CC, where the grid has planted some."""
    file = house.config / "consistency.yaml"
    before = file.read_text()
    file.write_text(yaml.safe_dump(STRICT_AT_ONE_SITE))
    yield house
    file.write_text(before)


def files_below(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["T2_c", "T9_*"])
def test_a_site_that_there_is_not_stops_the_run_before_anything_is_listed(house: House, name: str) -> None:
    file = house.config / "consistency.yaml"
    before = file.read_text()
    file.write_text(yaml.safe_dump({"sites": {name: {"delete_orphans": False}}}))
    try:
        run = house.run("site_consistency")
    finally:
        file.write_text(before)
    assert (run.state, run.failed) == ("failed", {"choose_sites"})
    assert house.rows("SELECT count(*) FROM consistency_checks") == [(0,)]
    assert f"consistency.yaml: sites.{name}: matches no site of the inventory" in house.last_mail_text()


def test_a_run_by_hand_records_and_repairs_nothing(strict_house: House) -> None:
    house = strict_house
    run = house.run("site_consistency", sites=["T2_BB"])
    assert (run.state, run.tasks["check.repair", 0]) == ("success", "success")
    assert house.rows("SELECT DISTINCT state FROM consistency_checks") == [("compared",)]


@pytest.mark.parametrize(
    ("kind", "is_asked", "does"),
    [("scheduled", False, True), ("manual", False, False), ("manual", True, True), ("backfill", False, False)],
)
def test_who_repairs(airflow: None, kind: str, is_asked: bool, does: bool) -> None:
    from airflow.utils.types import DagRunType

    module = run_path(str(ROOT / "dags" / "site_consistency.py"))
    context = {"dag_run": SimpleNamespace(run_type=DagRunType(kind)), "params": {"repair": is_asked}}
    assert module["repairs"](context) is does


def test_a_site_in_a_downtime_is_left_out(strict_house: House) -> None:
    house = strict_house
    drain(house.database, "T2_CC", by=ADA, reason="new disks")
    run = house.run("site_consistency", sites=["T2_*"])
    assert run.state == "success"
    checked = house.rows("SELECT s.name FROM consistency_checks c JOIN sites s ON s.id = c.site_id ORDER BY 1")
    assert ("T2_BB",) in checked
    assert ("T2_CC",) not in checked


def test_a_refused_site_is_seen_and_untouched(strict_house: House) -> None:
    house = strict_house
    folder = house.site_path("T2_CC", "/store")
    on_storage = files_below(folder)
    run = house.run("site_consistency", repair=True)
    assert run.state == "failed"
    states = dict(
        house.rows("SELECT s.name, c.state FROM consistency_checks c JOIN sites s ON s.id = c.site_id")  # type: ignore[arg-type]
    )
    assert states.pop("T2_CC") == "refused"
    assert set(states.values()) == {"repaired"}
    assert files_below(folder) == on_storage
    assert "more than max_orphan allows" in house.last_mail_text()
    assert (run.tasks["summarise", -1], run.tasks["conclude", -1]) == ("success", "upstream_failed")
