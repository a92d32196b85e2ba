"""The tasks of a Dealer DAG, one after the other, on a real database: each may be killed and run again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from dynamo_ops.base.errors import GateError, InventoryError, PlanError, SettingsError
from dynamo_ops.base.settings import Settings
from dynamo_ops.database.connection import Database
from dynamo_ops.dealer import tasks as steps
from dynamo_ops.dealer.record import read_record
from dynamo_ops.dealer.report.explain import explain_dataset
from dynamo_ops.inventory.frames import InventoryFrames
from dynamo_ops.plan import store as plan_store
from dynamo_ops.plan.story import load_story
from dynamo_ops.plan.verdict import GATE
from dynamo_ops.request import copy_request
from dynamo_ops.request.copy_request import request_copy
from tests import ROOT
from tests.inventory.factory import SIZE, Inventory
from tests.people import ADA
from tests.request.stock import list_requests

NOW = datetime.now(UTC)
CONFIG: dict[str, Any] = {
    "partition": "all",
    "group": "ops",
    "target_sites": ["T2_*"],
    "target_site_occupancy": 0.9,
    "max_site_pending_fraction": 0.9,
    "max_total_cycle_volume": 1,
    "plugins": {"requests": {"priority": 1}},
}


class House(Inventory):
    """One block at T1_A, a request for it at T2_B, and a Dealer that serves requests."""

    def __init__(self, db: Database, folder: Path) -> None:
        super().__init__(db)
        config = folder / "config"
        (config / "dealer").mkdir(parents=True)
        self.settings = Settings(home=folder, config_dir=config, db_url=db.url)
        (config / "partitions.txt").write_text("all: dataset.name == /*/*/*\n")
        (config / "dealer" / "all.yaml").write_text(yaml.safe_dump(CONFIG))
        self.gates()
        for site in ("T1_A", "T2_B"):
            self.site(site)
            self.rows(
                "INSERT INTO quotas (site_id, partition, quota_bytes, changed_by) VALUES (:s, 'all', :q, 'test')",
                s=self.site_ids[site],
                q=10 * SIZE,
            )
        self.block("b1", 2)
        self.replica("b1", "T1_A")
        self.request = request_copy(db, "/A/B-v1/AOD", ["T2_B"], num_copies=1, group="ops", by=ADA)

    def gates(self, **dealer: Any) -> None:
        shipped = yaml.safe_load((ROOT / "include" / "config" / "gates.yaml").read_text())
        shipped["dealer"] |= dealer
        (self.settings.config_dir / "gates.yaml").write_text(yaml.safe_dump(shipped))

    def propose(self, run_key: str = "run") -> list[str]:
        return [
            steps.propose(self.db, self.settings, "all", plugin, run_key=run_key, now=NOW, seed=None)
            for plugin in steps.plugin_names(self.settings, "all")
        ]

    def plan(self, proposals: list[str], run_key: str = "run") -> int:
        return steps.plan_cycle(self.db, self.settings, "all", proposals, run_key=run_key, now=NOW, seed=None)

    def gate(self, plan_id: int) -> None:
        steps.gate_plan(self.db, self.settings, plan_id, run_key="run")

    def request_state(self) -> str:
        return str(list_requests(self.db)["state"].item())


@pytest.fixture
def house(database: Database, tmp_path: Path) -> House:
    return House(database, tmp_path)


def test_propose_decide_gate_commit(house: House) -> None:
    plan = house.plan(house.propose())
    summary = plan_store.load(house.db, plan).summary
    assert (summary["num_copies"], summary["copied_bytes"]) == (1, 2 * SIZE)
    assert summary["copies_by_plugin"] == {"requests": 1}
    assert house.subscriptions() == {}
    house.gate(plan)
    assert (house.subscriptions(), house.request_state()) == ({}, "new")
    assert steps.commit_plan(house.db, plan, by=GATE)["num_files"] == 2
    assert {(action, site) for action, _, site in house.subscriptions()} == {("copy", "T2_B")}
    assert house.request_state() == "activated"


def test_every_task_again_changes_nothing(house: House) -> None:
    proposals = house.propose()
    assert house.propose() == proposals
    plan = house.plan(proposals)
    assert house.plan(proposals) == plan
    house.gate(plan)
    house.gate(plan)
    first = steps.commit_plan(house.db, plan, by=GATE)
    subscriptions = house.subscriptions()
    assert steps.commit_plan(house.db, plan, by=GATE) == first
    house.gate(plan)
    assert house.plan(proposals) == plan
    assert house.subscriptions() == subscriptions


def test_the_next_cycle_asks_for_nothing_more(house: House) -> None:
    plan = house.plan(house.propose())
    house.gate(plan)
    steps.commit_plan(house.db, plan, by=GATE)
    again = house.plan(house.propose("run 2"), "run 2")
    assert plan_store.load(house.db, again).summary["num_copies"] == 0


def test_a_request_is_activated_with_its_copies_or_not_at_all(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = house.plan(house.propose())
    house.gate(plan)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(copy_request, "record_plan", killed)
        with pytest.raises(KeyboardInterrupt):
            steps.commit_plan(house.db, plan, by=GATE)
    assert (house.request_state(), house.subscriptions()) == ("new", {})
    steps.commit_plan(house.db, plan, by=GATE)
    assert house.request_state() == "activated"


def test_all_at_once_decides_as_task_by_task(house: House) -> None:
    apart = plan_store.load(house.db, house.plan(house.propose()))
    once = plan_store.load(
        house.db, steps.plan_now(house.db, house.settings, "all", run_key="run 2", now=NOW, seed=steps.seed_of("run"))
    )
    assert once.frame("proposals").equals(apart.frame("proposals"))
    assert once.summary == apart.summary


def test_the_gate_looks_at_the_sites_as_they_are_now(house: House) -> None:
    plan = house.plan(house.propose())
    house.rows("UPDATE sites SET status = 'waitroom' WHERE name = 'T2_B'")
    with pytest.raises(GateError, match="not ready, or its status is not known, but gets copies in 1 site: T2_B"):
        house.gate(plan)


def test_the_gate_looks_at_the_quotas_as_they_are_now(house: House) -> None:
    plan = house.plan(house.propose())
    house.rows("UPDATE quotas SET quota_bytes = :q", q=SIZE)
    with pytest.raises(GateError, match="goes over its quota, or its quota is not known in 1 site: T2_B"):
        house.gate(plan)


def test_what_was_proposed_before_another_plan_was_committed_is_not_decided_on(house: House) -> None:
    """The same copy would be drawn a second time: the first is on its way, and no site is complete yet."""
    old = house.propose("run 2")
    first = house.plan(house.propose())
    house.gate(first)
    steps.commit_plan(house.db, first, by=GATE)
    with pytest.raises(PlanError, match=f"plan {first} of all was committed after the plugins were asked"):
        house.plan(old, "run 2")
    assert house.plan(old, "run") == first


def test_a_plan_made_before_another_was_committed_is_made_again(house: House) -> None:
    first, second = house.plan(house.propose()), house.plan(house.propose("run 2"), "run 2")
    for plan in (first, second):
        house.gate(plan)
    steps.commit_plan(house.db, first, by=GATE)
    with pytest.raises(PlanError, match="plan again"):
        steps.commit_plan(house.db, second, by=GATE)
    third = house.plan(house.propose("run 3"), "run 3")
    house.gate(third)
    assert steps.commit_plan(house.db, third, by=GATE)["num_files"] == 0


def test_a_refusal_of_the_gate_stays_one(house: House) -> None:
    house.gates(max_volume_bytes=1)
    plan = house.plan(house.propose())
    with pytest.raises(GateError, match="partition 'all'"):
        house.gate(plan)
    house.gates()
    with pytest.raises(PlanError, match="is refused"):
        steps.commit_plan(house.db, plan, by=GATE)
    assert (house.subscriptions(), house.request_state()) == ({}, "new")


def test_draws_are_those_of_the_run(house: House) -> None:
    assert steps.seed_of("run") == steps.seed_of("run")
    assert steps.seed_of("run") != steps.seed_of("run 2")
    assert plan_store.load(house.db, house.plan(house.propose())).summary["seed"] == steps.seed_of("run")


def test_a_configuration_that_lacks_is_named(house: House) -> None:
    with pytest.raises(SettingsError, match=r"nothing\.yaml: the dealer configuration cannot be read"):
        steps.plugin_names(house.settings, "nothing")


def test_the_groups_that_are_served_are_those_of_the_configurations(house: House) -> None:
    assert set(steps.served_groups(house.settings)) == {"ops"}


# -- what a plan is made of is read once -----------------------------------------------------------------------------

ENFORCER = """rules:
  two: {num_copies: 2, sources: [site.name == T1_*], destinations: [site.name == T*], replicas: [dataset.name == *]}"""
AGAIN = "clear the tasks from `plugins` on, or leave it to the next cycle"


@pytest.fixture
def ruled(house: House) -> House:
    """The house, whose Dealer has an enforcer with a rule too."""
    (house.settings.config_dir / "enforcer").mkdir()
    (house.settings.config_dir / "enforcer" / "all.yaml").write_text(ENFORCER)
    config(house, plugins={"requests": {"priority": 1}, "enforcer": {"priority": 2}})
    return house


def config(house: House, **changes: Any) -> None:
    (house.settings.config_dir / "dealer" / "all.yaml").write_text(yaml.safe_dump({**CONFIG, **changes}))


def edited(house: House) -> None:
    """Every file that decides says something else: nothing would be copied, or the plan be refused."""
    config(house, target_sites=["T1_*"], plugins={"requests": {"priority": 1}})
    (house.settings.config_dir / "partitions.txt").write_text("other: dataset.name == /A/*/*\n")
    (house.settings.config_dir / "enforcer" / "all.yaml").write_text("no rules")
    house.gates(attribute_max_age_h=1)


def deleted(house: House) -> None:
    """Every file is gone but the limits, which are the gate's own too."""
    for name in ("partitions.txt", "enforcer/all.yaml", "dealer/all.yaml"):
        (house.settings.config_dir / name).unlink()


def decided(house: House, plan_id: int) -> dict[str, Any]:
    """What a stored plan decides, and all that it says it was made of."""
    stored = plan_store.load(house.db, plan_id)
    frames = ("proposals", "copies", "block_copies", "rejected", "site_states", "forbidden")
    rows = {name: stored.frame(name).to_dicts() for name in frames}
    return {**rows, "inputs": stored.inputs(), "policy": plan_store.policy_text(house.db, stored)}


def test_nothing_is_planned_as_of_a_time_to_come(house: House) -> None:
    with pytest.raises(InventoryError, match="the plan would be made as of 2099-01-01T00:00Z, which is still to come"):
        steps.plan_now(house.db, house.settings, "all", run_key="run", now=datetime(2099, 1, 1, tzinfo=UTC), seed=1)
    assert house.rows("SELECT id FROM plans") == []


def plan_at_once(house: House, run_key: str) -> int:
    return steps.plan_now(house.db, house.settings, "all", run_key=run_key, now=NOW, seed=5)


def changing(monkeypatch: pytest.MonkeyPatch, house: House, change: Callable[[House], None]) -> None:
    """From now on files change whenever the inventory is read: after what was read of them, before the decision."""
    read = steps.read_inventory

    def read_and_change(db: Database) -> InventoryFrames:
        change(house)
        return read(db)

    monkeypatch.setattr(steps, "read_inventory", read_and_change)


@pytest.mark.parametrize("change", [edited, deleted])
def test_what_changes_while_a_plan_is_made_is_neither_decided_on_nor_stored(
    ruled: House, monkeypatch: pytest.MonkeyPatch, change: Callable[[House], None]
) -> None:
    undisturbed = decided(ruled, plan_at_once(ruled, "undisturbed"))
    changing(monkeypatch, ruled, change)
    disturbed = decided(ruled, plan_at_once(ruled, "disturbed"))
    assert disturbed == undisturbed
    assert disturbed["policy"] == disturbed["inputs"].policy.text
    assert {row["plugin"] for row in disturbed["proposals"]} == {"requests", "enforcer"}


@pytest.mark.parametrize("change", [edited, deleted])
def test_what_changes_while_the_task_decides_is_not_stored(
    ruled: House, monkeypatch: pytest.MonkeyPatch, change: Callable[[House], None]
) -> None:
    proposals = ruled.propose()
    undisturbed = decided(ruled, ruled.plan(proposals))
    changing(monkeypatch, ruled, change)
    assert decided(ruled, ruled.plan(proposals)) == undisturbed


@pytest.mark.parametrize("change", [edited, deleted])
def test_what_changes_after_a_plan_was_made_changes_nothing_that_is_said_of_it(
    ruled: House, change: Callable[[House], None]
) -> None:
    plan = ruled.plan(ruled.propose())
    before = explain_dataset(read_record(ruled.db, load_story(ruled.db, plan, "dealer")), "/A/B-v1/AOD")
    change(ruled)
    ruled.gate(plan)
    after = explain_dataset(read_record(ruled.db, load_story(ruled.db, plan, "dealer")), "/A/B-v1/AOD")
    assert repr(after) == repr(before)
    assert steps.commit_plan(ruled.db, plan, by=GATE)["num_files"] == 2


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("dealer/all.yaml", yaml.safe_dump({**CONFIG, "max_total_cycle_volume": 2})),
        ("partitions.txt", "all: dataset.name == /A/*/*\n"),
        ("enforcer/all.yaml", ENFORCER),
        ("gates.yaml", "dealer: {attribute_max_age_h: 1}"),
    ],
)
def test_what_was_proposed_of_something_else_is_not_decided_on(house: House, file: str, text: str) -> None:
    """Whether the plugins proposed anything or not: nothing may be what they say of the old files alone."""
    (house.settings.config_dir / "enforcer").mkdir()
    house.rows("UPDATE requests SET state = 'cancelled'")
    proposals = house.propose()
    changed = house.settings.config_dir / file
    before = changed.read_text() if changed.exists() else None
    changed.write_text(text)
    named = "attribute_max_age_h" if file == "gates.yaml" else file
    with pytest.raises(PlanError, match=rf"changed after the plugin requests was asked: .*{named}: {AGAIN}"):
        house.plan(proposals)
    assert house.plan(house.propose())
    changed.unlink() if before is None else changed.write_text(before)
    assert house.plan(house.propose())


def test_the_plugins_that_were_asked_are_those_of_the_configuration(ruled: House) -> None:
    proposals = ruled.propose()
    config(ruled)
    with pytest.raises(PlanError, match=rf"are not those that were asked \(enforcer\): {AGAIN}"):
        ruled.plan(proposals)
    with pytest.raises(PlanError, match=rf"all\.yaml does not name the plugin enforcer any more: {AGAIN}"):
        steps.propose(ruled.db, ruled.settings, "all", "enforcer", run_key="run", now=NOW, seed=None)
    assert ruled.plan(ruled.propose())


def test_proposals_that_do_not_say_what_they_were_made_of_are_not_decided_on(house: House) -> None:
    """As an older version stored them."""
    proposals = house.propose()
    Path(proposals[0].replace(".parquet", ".inputs.json")).unlink()
    with pytest.raises(PlanError, match=rf"what a plugin was asked with is not known: {AGAIN}"):
        house.plan(proposals)


def test_the_configuration_of_another_partition_makes_no_plan(house: House) -> None:
    config(house, partition="other")
    with pytest.raises(SettingsError, match=r"all\.yaml is for partition 'other', not for 'all'"):
        house.propose()


def test_a_plan_of_an_older_version_is_gated_and_explained(house: House) -> None:
    plan = house.plan(house.propose())
    (Path(plan_store.load(house.db, plan).location) / "inputs.json").unlink()
    house.rows("UPDATE plans SET summary = summary - 'inputs_sha256'")
    (house.settings.config_dir / "dealer" / "all.yaml").unlink()
    record = read_record(house.db, load_story(house.db, plan, "dealer"))
    assert (record.config.group, len(explain_dataset(record, "/A/B-v1/AOD"))) == ("ops", 1)
    house.gate(plan)
    assert steps.commit_plan(house.db, plan, by=GATE)["num_files"] == 2
