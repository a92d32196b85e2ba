"""A property that is declared in one place goes all the way from a source, or a person, into a policy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dynamo_ops.database.connection import Database
from tests import ROOT

DECLARE = """
import json, sys
from datetime import UTC, datetime
from dynamo_ops.inventory import properties
from dynamo_ops.inventory.properties import Property, PropertyKind
properties.PROPERTIES = (
    Property("num_lumis", PropertyKind.NUMBER, "Luminosity sections."),
    Property("is_embargoed", PropertyKind.BOOLEAN, "Not public yet."),
    Property("published_at", PropertyKind.TIME, "When it was published."),
)
import polars as pl
from dynamo_ops.database.connection import Database
from tests.people import inject
from dynamo_ops.inventory.replica.read import read_inventory
from dynamo_ops.policy.language.check import load_policy
from dynamo_ops.sources.metadata.tables import MAY_LACK, TABLES
from dynamo_ops.sources.source import DATASETS
from tests.inventory.told import LATER, T0, UNTIL, block, dataset, file, merge, stage
db = Database(sys.argv[1])
NOW = datetime(2026, 3, 1, tzinfo=UTC)
"""
REPORT = """
known = read_inventory(db)
names = dict(known.datasets.select("dataset_id", "dataset").iter_rows())
known_values = known.attribute_values.sort("dataset_id", "name").iter_rows()
values = {f"{names[dataset_id]} {name}": value for dataset_id, name, value in known_values}
print(json.dumps({"values": values, "attributes": sorted(known.attributes["name"])}))
"""


def run(database: Database, program: str) -> Any:
    """What the program prints, with the three properties declared."""
    command = [sys.executable, "-c", DECLARE + program, database.url]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_what_a_source_reports_is_read_with_the_attributes(database: Database) -> None:
    read = run(
        database,
        """
from tests.inventory.told import accept
from dynamo_ops.inventory.staging import pull
from dynamo_ops.inventory.catalogue.merge import merge_metadata
schema = {**DATASETS, **{p.name: p.dtype for p in properties.PROPERTIES}}
def tell(run, until, *datasets):
    pull.stage_datasets(db, run, "dbs", pl.DataFrame(list(datasets), schema=schema, orient="row"), 100)
    accept(db, run, "dbs")
    merge_metadata(db, run, "dbs", until)
tell("one", UNTIL, dataset(num_lumis=7.0, is_embargoed=True, published_at=T0), dataset("/A/B-v2/C", num_lumis=None))
# what a later answer does not say stays, and what it says is changed
tell("two", LATER, dataset(num_lumis=8.0, last_update_at=LATER))
# an older interval that is merged later changes nothing that is known
tell("old", T0, dataset(num_lumis=1.0))
"""
        + REPORT,
    )
    assert read["values"] == {
        "/A/B-v1/C is_embargoed": 1.0,
        "/A/B-v1/C num_lumis": 8.0,
        "/A/B-v1/C published_at": 1767225600.0,
    }
    assert read["attributes"] == ["is_embargoed", "num_lumis", "published_at"]


def test_what_a_person_injects_is_read_too(database: Database) -> None:
    read = run(
        database,
        """
inject(db, {"datasets": [{"name": "/A/B-v1/C", "num_lumis": 5, "is_embargoed": False}]})
inject(db, {"datasets": [{"name": "/A/B-v1/C", "num_lumis": 6.5}]})
"""
        + REPORT,
    )
    assert read["values"] == {"/A/B-v1/C is_embargoed": 0.0, "/A/B-v1/C num_lumis": 6.5}


def test_policies_and_settings_of_sources_know_it(database: Database) -> None:
    read = run(
        database,
        """
text = '''On site.name == *
When always
Until never
Order none
Delete dataset.num_lumis < 10 and not dataset.is_embargoed and dataset.published_at older_than 1 month ago
Dismiss
'''
policy = load_policy(text, now=NOW)
print(json.dumps({"attributes": sorted(policy.attributes()), "fields": sorted(set(TABLES["datasets"]) - set(DATASETS)),
                  "may_lack": sorted(MAY_LACK["datasets"])}))
""",
    )
    assert read["attributes"] == ["is_embargoed", "num_lumis", "published_at"] == read["fields"]
    assert set(read["fields"]) <= set(read["may_lack"])


def test_a_wrong_value_is_named_by_its_place(database: Database) -> None:
    read = run(
        database,
        """
from dynamo_ops.base.errors import InventoryError
try:
    inject(db, {"datasets": [{"name": "/A/B-v1/C", "num_lumis": "many"}]})
except InventoryError as error:
    print(json.dumps(error.message))
""",
    )
    assert "datasets[0].num_lumis: must be a number, got 'many'" in read


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "datasets.csv",
            (
                "dataset,status,last_update_at,num_lumis,is_embargoed\n/A/B-v1/C,valid,2026-01-01,7.5,true\n"
                "/A/B-v2/C,valid,2026-01-01,,\n"
            ),
        ),
        (
            "datasets.jsonl",
            (
                '{"dataset": "/A/B-v1/C", "status": "valid", "last_update_at": "2026-01-01", "num_lumis": 7.5, '
                '"is_embargoed": true}\n{"dataset": "/A/B-v2/C", "status": "valid", "last_update_at": "2026-01-01"}\n'
            ),
        ),
        ("datasets.csv", "dataset,status,last_update_at\n/A/B-v1/C,valid,2026-01-01\n"),
    ],
    ids=["CSV", "JSON lines", "a drop that does not know it"],
)
def test_a_drop_of_files_reports_it(database: Database, tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    read = run(
        database,
        f"""
from dynamo_ops.base.settings import SourceSettings, Tls
from dynamo_ops.inventory.catalogue.merge import merge_metadata
from dynamo_ops.inventory.staging import pull
from dynamo_ops.sources.loader import metadata_source
from tests.inventory.told import accept
source = metadata_source(SourceSettings(name="dbs", type="files", options={{"path": {str(tmp_path)!r}}}), Tls())
pull.stage_datasets(db, "run", "dbs", source.datasets(None, UNTIL), 100)
accept(db, "run", "dbs")
merge_metadata(db, "run", "dbs", UNTIL)
"""
        + REPORT,
    )
    reported = {"/A/B-v1/C is_embargoed": 1.0, "/A/B-v1/C num_lumis": 7.5}
    assert read["values"] == (reported if "lumis" in text else {})
