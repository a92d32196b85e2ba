"""Attributes that follow from the inventory's own tables."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from dynamo_ops.database.connection import Database
from dynamo_ops.popularity.attributes import produce_attributes, producers
from dynamo_ops.popularity.catalogue import CatalogueProducer, latest_releases
from dynamo_ops.request.copy_request import request_copy
from tests.inventory.told import dataset, merge, site, sync_sites
from tests.people import TESTER, inject


@pytest.mark.parametrize(
    ("releases", "latest"),
    [
        pytest.param(["SW_9_4_0", "SW_10_1_0"], {"SW_10_1_0"}, id="numbers, not letters"),
        pytest.param(["SW_10_1_0", "SW_10_2_0_pre3"], {"SW_10_1_0"}, id="pre-releases do not count"),
        pytest.param(["SW_10_1_0", "SW_10_1_0_patch2"], {"SW_10_1_0_patch2"}, id="patches do"),
        pytest.param(["SW_10_1_0", "GEN_2.1"], {"SW_10_1_0", "GEN_2.1"}, id="each software has its own"),
        pytest.param(["SW_10_1", "SW_10.1"], {"SW_10_1", "SW_10.1"}, id="two spellings of one"),
        pytest.param(["nightly", ""], set(), id="no release at all"),
    ],
)
def test_latest_releases(releases: list[str], latest: set[str]) -> None:
    assert latest_releases(releases) == latest
    assert latest_releases(reversed(releases)) == latest


@pytest.fixture
def filled(database: Database) -> Database:
    sync_sites(database, site("T2_A"), site("T1_Tape", storage_type="mss"))
    merge(
        database,
        [
            dataset("/A/B-v1/C", software_release="SW_15_0_1"),
            dataset("/D/E-v1/F", software_release="SW_14_9_9"),
            dataset("/G/H-v1/I", software_release="SW_16_0_0", status="invalid"),
        ],
        [],
        [],
    )
    inject(database, {"groups": [{"name": "physics", "ownership_level": "dataset"}]})
    return database


def true(db: Database) -> set[tuple[str, str]]:
    """Attribute and dataset of each value, all of which are 1."""
    found = db.frame("""
        SELECT a.name, d.name AS dataset, a.value FROM dataset_attributes a JOIN datasets d ON d.id = a.dataset_id""")
    assert set(found["value"]) <= {1.0}
    return set(found.select("name", "dataset").iter_rows())


def test_what_follows_from_releases_and_requests(filled: Database) -> None:
    handled = request_copy(filled, "/A/B-v1/C", ["T1_*"], num_copies=1, group="physics", by=TESTER)
    request_copy(filled, "/D/E-v1/F", ["T2_A"], num_copies=1, group="physics", by=TESTER)
    with filled.begin() as connection:
        connection.execute(text("UPDATE requests SET state = 'activated' WHERE id = :id"), {"id": handled})
    (first, *_) = made = produce_attributes(filled, [CatalogueProducer()])
    assert true(filled) == {
        ("latest_production_release", "/A/B-v1/C"),
        ("tape_copy_requested", "/A/B-v1/C"),
        ("unhandled_copy_exists", "/D/E-v1/F"),
    }
    assert {each.name for each in made} == set(CatalogueProducer.attributes)
    assert first.as_of == filled.frame("SELECT min(produced_at) AS at FROM attributes")["at"].item()


def test_a_closed_request_asks_for_nothing(filled: Database) -> None:
    request_copy(filled, "/A/B-v1/C", ["T*"], num_copies=1, group="physics", by=TESTER)
    with filled.begin() as connection:
        connection.execute(text("UPDATE requests SET state = 'cancelled'"))
    produce_attributes(filled, [CatalogueProducer()])
    assert {name for name, _ in true(filled)} == {"latest_production_release"}


def test_an_empty_inventory_has_no_values(database: Database) -> None:
    assert {each.num_datasets for each in produce_attributes(database, [CatalogueProducer()])} == {0}


def test_ours_are_installed_and_no_attribute_has_two_producers() -> None:
    names = [attribute for producer in producers() for attribute in producer.attributes]
    assert len(names) == len(set(names))
    assert {"usage", "catalogue"} <= {producer.name for producer in producers()}
