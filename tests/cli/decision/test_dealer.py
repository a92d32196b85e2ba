"""``dynamo dealer …`` on an installation: what a data manager types, reads and causes."""

from __future__ import annotations

import csv
import getpass
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from dynamo_ops.access.audit import records
from dynamo_ops.base.settings import settings
from dynamo_ops.cli import main
from dynamo_ops.database.connection import Database
from dynamo_ops.plan import store as plan_store
from dynamo_ops.request.copy_request import request_copy
from tests import ROOT
from tests.installation import installed
from tests.inventory.factory import SIZE, Inventory
from tests.people import ADA

CASE = ROOT / "tests/golden/cases" / "k01_dealer"
CONFIG: dict[str, Any] = {
    "partition": "all",
    "group": "ops",
    "target_sites": ["T2_*"],
    "target_site_occupancy": 0.9,
    "max_site_pending_fraction": 0.9,
    "max_total_cycle_volume": 1,
    "plugins": {"requests": {"priority": 1}, "enforcer": {"priority": 2}, "undertaker": {}},
}
RULES = (
    "rules: {two: {num_copies: 2, destinations: [site.name == T2_*], sources: [site.name == T1_A],"
    " replicas: ['dataset.name == /A/*']}}"
)
DATASET = "/A/B-v1/AOD"


class House(Inventory):
    """A dataset of one block at T1_A, a request for it at T2_B, a rule that asks for two copies; T2_C is small."""

    def __init__(self, db: Database, folder: Path) -> None:
        super().__init__(db)
        self.folder = folder
        (folder / "config" / "dealer").mkdir(parents=True)
        (folder / "config" / "enforcer").mkdir()
        (folder / "policies").mkdir()
        (folder / "config" / "dynamo.yaml").write_text("")
        (folder / "config" / "partitions.txt").write_text("all: dataset.name == /*/*/*\n")
        (folder / "config" / "gates.yaml").write_text((ROOT / "include" / "config" / "gates.yaml").read_text())
        (folder / "config" / "dealer" / "all.yaml").write_text(yaml.safe_dump(CONFIG))
        (folder / "config" / "enforcer" / "all.yaml").write_text(RULES)
        for site, quota in (("T1_A", 10 * SIZE), ("T2_B", 10 * SIZE), ("T2_C", SIZE)):
            self.site(site)
            self.rows(
                "INSERT INTO quotas (site_id, partition, quota_bytes, changed_by) VALUES (:s, 'all', :q, 'test')",
                s=self.site_ids[site],
                q=quota,
            )
        self.block("b1", 2)
        self.replica("b1", "T1_A")
        request_copy(db, DATASET, ["T2_B"], num_copies=1, group="ops", by=ADA)

    def store(self) -> str:
        return str(json.loads(dynamo("plan", "all", "--store", "--seed", "5", "--json"))["plan_id"])

    def state(self, plan_id: str) -> str:
        return plan_store.load(self.db, int(plan_id)).state


@pytest.fixture
def house(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    found = House(database, tmp_path)
    monkeypatch.setenv("DYNAMO_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("DYNAMO_POLICY_DIR", str(tmp_path / "policies"))
    monkeypatch.setenv("DYNAMO_HOME", installed(tmp_path / "home"))
    monkeypatch.setenv("DYNAMO_DB_URL", database.url)
    settings.cache_clear()
    yield found
    settings.cache_clear()


def invoke(*arguments: str, answer: str | None = None) -> Result:
    return CliRunner().invoke(main.app, ["dealer", *arguments], input=answer)


def dynamo(*arguments: str, answer: str | None = None) -> str:
    found = invoke(*arguments, answer=answer)
    assert found.exit_code == 0, (found.output, found.exception)
    return found.output


def refused(*arguments: str) -> str:
    found = invoke(*arguments)
    assert found.exit_code != 0, found.output
    return " ".join((found.output + str(found.exception)).replace("│", " ").split())


def test_a_plan_says_what_would_be_copied_and_changes_nothing(house: House) -> None:
    found = dynamo("plan", "all", "--seed", "5")
    for words in (
        "all: proposals by plugin",
        "seed 5: would make 1 copy at 1 site (2.00 kB, of which 2.00 kB are to be written); looked at 3 proposals",
        "warning: undertaker works on what Detox protects, and no Detox plan of all is committed: it proposed nothing",
    ):
        assert words in " ".join(found.split()), found
    assert house.subscriptions() == {}
    document = json.loads(dynamo("plan", "all", "--seed", "5", "--json"))
    proposed = {row["plugin"]: row["num_proposals"] for row in document["plugins"]}
    assert proposed == {"enforcer": 2, "requests": 1, "undertaker": 0}
    assert sum(row["num_copies"] for row in document["plugins"]) == 1


def test_out_writes_checks_copies_and_rejections(house: House) -> None:
    out = house.folder / "out"
    found = dynamo(
        "plan", "--inventory", str(CASE), "--config", str(CASE / "dealer" / "config.json"), "--out", str(out)
    )
    assert f"{out}/determine_copies_fixed.csv: 46 rows" in found
    with (out / "target_sites.csv").open() as lines:
        assert len(list(csv.DictReader(lines))) == 10


def test_store_show_commit_and_history(house: House) -> None:
    plan = house.store()
    shown = " ".join(dynamo("show", plan).split())
    assert f"plan {plan}: dealer of all, planned" in shown
    assert DATASET in shown
    story = json.loads(dynamo("show", plan, "--json"))
    assert (story["id"], story["inputs"]["seed"]) == (int(plan), story["seed"])
    assert "target_sites" in story["inputs"]["policy"]["text"]
    assert "destination full" in dynamo("show", plan, "--rejected", "--site", "T2_C")
    assert "nothing was committed; the plan stays approved" in invoke("commit", plan, answer="n\n").output
    assert house.state(plan) == "approved"
    done = dynamo("commit", plan, "--yes")
    assert f"plan {plan} of all is committed" in done
    assert "1 block replica to be filled with 2 files (2.00 kB)" in done
    assert "was committed before" in dynamo("commit", plan, "--yes")
    assert {site for _, _, site in house.subscriptions()} == {"T2_B"}
    told = CliRunner().invoke(main.app, ["history", "dataset", DATASET])
    assert "What Detox and Dealer did" in told.output
    assert "T2_B" in told.output
    cycles = json.loads(CliRunner().invoke(main.app, ["history", "cycles", "all", "--dealer", "--json"]).output)
    assert [(row["plan_id"], row["state"], row["num_copies"], row["num_files"]) for row in cycles] == [
        (int(plan), "committed", 1, 2)
    ]


def test_explain_names_who_asked_and_why_not_elsewhere(house: House) -> None:
    plan = house.store()
    found = dynamo("explain", DATASET)
    assert f"{DATASET} in plan {plan} of all" in found
    assert "requests (priority 1) proposed the whole dataset for ops: request 1" in found
    assert "enforcer (priority 2) proposed the whole dataset for ops: rule two" in found
    document = json.loads(dynamo("explain", DATASET, "T2_C", "--plan", plan, "--json"))
    assert {each["plugin"] for each in document["proposals"]} == {"requests", "enforcer"}
    assert all([row["site"] for row in each["sites"]] == ["T2_C"] for each in document["proposals"])


def test_rules_say_what_is_complete_and_what_is_missing(house: House) -> None:
    (rule,) = json.loads(dynamo("rules", "all", "--missing", "--json"))["rules"]
    assert (rule["rule"], rule["num_datasets"], rule["num_missing"], rule["copies_missing"]) == ("two", 1, 1, 2)
    assert DATASET in dynamo("rules", "all", "--missing")
    house.replica("b1", "T2_B")
    (rule,) = json.loads(dynamo("rules", "all", "--json"))["rules"]
    assert rule["copies_missing"] == 1


def test_who_commits_or_refuses_is_in_the_audit_and_told_if_they_stored_it(house: House) -> None:
    one, two = house.store(), house.store()
    asked = invoke("commit", one, answer="y\n").output
    assert "You stored it yourself: nobody else has looked at it" in asked
    assert f"stored by {getpass.getuser()}" in dynamo("show", one)
    dynamo("refuse", two, "--by", "bob", "--reason", "not today")
    assert records(house.db).filter(action="approve, refuse or commit a plan").select("person", "object").rows() == [
        ("bob", f"plan {two} (dealer of all): refused"),
        (getpass.getuser(), f"plan {one} (dealer of all): committed, by who stored it"),
    ]


def test_a_refused_plan_can_never_be_committed(house: House) -> None:
    plan = house.store()
    assert f"plan {plan} of all is refused: not today" in dynamo("refuse", plan, "--reason", "not today")
    assert f"plan {plan} (dealer of all) is refused: not today" in refused("commit", plan, "--yes")
    assert house.subscriptions() == {}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["plan", "--inventory", str(CASE)], "--inventory needs --config FILE", id="no config"),
        pytest.param(
            ["plan", "al"], "there is no dealer configuration for 'al'. Did you mean all?", id="near partition"
        ),
        pytest.param(["plan"], "name a partition, or a configuration by --config", id="no partition"),
        pytest.param(["plan", "all", "--store", "--out", "x"], "it takes --now and --seed only", id="store and out"),
        pytest.param(["plan", "all", "--now", "soon"], "--now: 'soon' is not a time; expected a date", id="now"),
        pytest.param(["show", "77"], "there is no plan 77", id="no plan"),
        pytest.param(["explain", "/no/such/AOD"], "unknown dataset '/no/such/AOD'", id="no proposal"),
        pytest.param(
            ["plan", "other", "--config", str(CASE / "dealer" / "config.json"), "--inventory", str(CASE)],
            "is for partition 'Physics', not for 'other'",
            id="another partition",
        ),
        pytest.param(
            ["plan", "--config", str(CASE / "sites.csv"), "--inventory", str(CASE)],
            "expected a mapping",
            id="no configuration",
        ),
        pytest.param(
            ["plan", "--config", "/no/file.yaml", "--inventory", str(CASE)], "/no/file.yaml", id="no such file"
        ),
    ],
)
def test_what_is_wrong_is_told(house: House, arguments: list[str], words: str) -> None:
    assert house
    assert words in refused(*arguments)


def test_a_plan_of_detox_is_not_shown_as_one_of_the_dealer(house: House) -> None:
    plan = house.store()
    house.rows("UPDATE plans SET kind = 'detox' WHERE id = :p", p=int(plan))
    assert f"plan {plan} is a plan of Detox; `dynamo detox show {plan}` shows it" in refused("show", plan)
