"""``dynamo inventory set-aside`` as a shell would use it."""

from __future__ import annotations

import json

from tests.cli.test_cli import dynamo
from tests.cli.test_cli import stock as stock
from tests.inventory.factory import Inventory


def test_nothing_is_set_aside(stock: Inventory) -> None:
    assert dynamo("inventory", "set-aside").output.endswith("nothing; have the source mended, each pull asks again\n")
    assert json.loads(dynamo("inventory", "set-aside", "--json").output) == []


def test_it_is_listed_with_its_reason_and_shown_on_its_card(stock: Inventory) -> None:
    stock.rows("""INSERT INTO set_aside_datasets (source, dataset, reason, is_of_record, until, run_key)
                  VALUES ('dbs', '/A/B-v1/AOD', 'line 7: size_bytes is big', false, now(), 'r'),
                         ('lab', '/D/E/F', 'status is shiny', true, now(), 'r')""")
    shown = dynamo("inventory", "set-aside").output
    assert "/D/E/F" in shown
    assert shown.endswith("2 datasets; have the source mended, each pull asks again\n")
    (row,) = json.loads(dynamo("inventory", "set-aside", "--source", "dbs", "--json").output)
    assert (row["dataset"], row["reason"], row["is_known"]) == ("/A/B-v1/AOD", "line 7: size_bytes is big", True)
    card = dynamo("dataset", "show", "/A/B-v1/AOD").output
    assert "as dbs told a bad record: line 7: size_bytes is big" in card
    (aside,) = json.loads(dynamo("dataset", "show", "/A/B-v1/AOD", "--json").output)["set_aside"]
    assert aside["source"] == "dbs"
