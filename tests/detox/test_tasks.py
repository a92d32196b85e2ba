"""The tasks of a Detox DAG, one after the other, on a real database: each may be killed and run again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from dynamo_ops.access.actions import AccessError
from dynamo_ops.access.audit import records
from dynamo_ops.access.grants import grant
from dynamo_ops.access.person import Grant, KnownBy, Person, Role, Scope
from dynamo_ops.base.errors import GateError, InventoryError, PlanError, PolicyError
from dynamo_ops.base.settings import DetoxSettings, Settings
from dynamo_ops.database.connection import Database
from dynamo_ops.detox import tasks as steps
from dynamo_ops.detox.report import stored as stored_plans
from dynamo_ops.detox.report.explain import explain_record
from dynamo_ops.inventory.frames import InventoryFrames
from dynamo_ops.plan import store as plan_store
from dynamo_ops.plan import verdict
from dynamo_ops.plan.inputs import DetoxInputs
from dynamo_ops.plan.story import load_story
from dynamo_ops.plan.verdict import GATE
from dynamo_ops.policy.language.source import SourceText
from tests import ROOT
from tests.inventory.factory import SIZE, Inventory
from tests.people import ADA, EVE, ROOT_USER

NOW = datetime.now(UTC)
HEAD = "Partition all\nOn site.status == READY\nWhen site.occupancy > 0.5\nUntil site.occupancy < 0.4\n"
TAIL = "Dismiss\nOrder increasing replica.size\n"
DELETE = "Delete dataset.status == INVALID\n"
RULE = """rules:
  two: {num_copies: 2, protect: true, sources: [site.name == T2_*], destinations: [site.name == T2_*],
        replicas: [dataset.name == *]}"""


class House(Inventory):
    """Blocks b1, b2 at T2_A (full) and T2_B (empty enough), and a policy that may delete all of them."""

    def __init__(self, db: Database, folder: Path) -> None:
        super().__init__(db)
        for name in ("config", "policies"):
            (folder / name).mkdir()
        self.settings = Settings(
            home=folder, config_dir=folder / "config", policy_dir=folder / "policies", db_url=db.url
        )
        (folder / "config" / "partitions.txt").write_text("all: dataset.name == /*/*/*\n")
        self.gates()
        self.policy(TAIL)
        for site, quota in (("T2_A", 4 * SIZE), ("T2_B", -1)):
            self.site(site)
            self.rows(
                "INSERT INTO quotas (site_id, partition, quota_bytes, changed_by) VALUES (:s, 'all', :q, 'test')",
                s=self.site_ids[site],
                q=quota,
            )
        for block in ("b1", "b2"):
            self.block(block, 2)
            for site in ("T2_A", "T2_B"):
                self.replica(block, site)
        self.rows("UPDATE block_replicas SET last_update_at = :t", t=NOW - timedelta(days=100))

    def gates(self, **detox: Any) -> None:
        """The shipped limits, but a plan may empty a site; with these of ``detox`` changed."""
        shipped = yaml.safe_load((ROOT / "include" / "config" / "gates.yaml").read_text())
        shipped["detox"] |= {"max_site_fraction": 1.0, **detox}
        (self.settings.config_dir / "gates.yaml").write_text(yaml.safe_dump(shipped))

    def policy(self, lines: str) -> None:
        (self.settings.policy_dir / "all.txt").write_text(HEAD + lines)

    def plan(self, run_key: str = "run") -> int:
        return steps.plan_cycle(self.db, self.settings, "all", run_key=run_key, now=NOW)

    def gate(self, plan_id: int) -> None:
        steps.gate_plan(self.db, self.settings, plan_id, run_key="run")

    def commit(self, plan_id: int, *, by: Person = GATE, approved_by: Person | None = None) -> dict[str, Any]:
        return steps.commit_plan(self.db, self.settings, plan_id, by=by, approved_by=approved_by)

    def set_aside(self, plan_id: int) -> list[tuple[str, str, int, int]]:
        """Site, reason, block replicas, bytes."""
        amounts = plan_store.load(self.db, plan_id).summary["set_aside"]
        return [(a["site"], a["set_aside"], a["num_block_replicas"], a["size_bytes"]) for a in amounts]

    def state(self, plan_id: int) -> str:
        return plan_store.load(self.db, plan_id).state


@pytest.fixture
def house(database: Database, tmp_path: Path) -> Iterator[House]:
    return House(database, tmp_path)


def test_nothing_is_planned_as_of_a_time_to_come(house: House) -> None:
    """Somebody starts a run for a date ahead: what is young today would be old by then."""
    with pytest.raises(InventoryError, match="the plan would be made as of 2099-01-01T00:00Z, which is still to come"):
        steps.plan_cycle(house.db, house.settings, "all", run_key="run", now=datetime(2099, 1, 1, tzinfo=UTC))
    assert house.rows("SELECT id FROM plans") == []


def test_a_plan_is_as_old_as_the_database_says(house: House) -> None:
    """A machine whose clock is slow would take an old plan for one of now; none is younger than nothing."""
    plan = plan_store.load(house.db, house.plan())
    house.rows("UPDATE plans SET created_at = now() - interval '3 hours'")
    assert 2.9 < plan_store.age_h(house.db, plan_store.load(house.db, plan.id)) < 3.1
    house.rows("UPDATE plans SET created_at = now() + interval '3 hours'")
    assert plan_store.age_h(house.db, plan_store.load(house.db, plan.id)) == 0


def test_plan_gate_commit(house: House) -> None:
    plan = house.plan()
    stored = plan_store.load(house.db, plan)
    assert stored.summary["num_deletions"] == 2
    assert stored.summary["deleted_bytes"] == 4 * SIZE
    assert stored.summary["triggered_sites"] == ["T2_A"]
    assert (house.state(plan), house.subscriptions()) == ("planned", {})
    house.gate(plan)
    assert (house.state(plan), house.subscriptions()) == ("approved", {})
    assert house.commit(plan)["num_files"] == 4
    assert {(action, site) for action, _, site in house.subscriptions()} == {("delete", "T2_A")}


def test_every_task_again_changes_nothing(house: House) -> None:
    plan = house.plan()
    assert house.plan() == plan
    house.gate(plan)
    house.gate(plan)
    first = house.commit(plan)
    subscriptions = house.subscriptions()
    assert house.commit(plan) == first
    house.gate(plan)
    assert house.plan() == plan
    assert (house.state(plan), house.subscriptions()) == ("committed", subscriptions)


def test_a_commit_that_a_person_approved_can_be_run_again(house: House) -> None:
    house.gates(approval_above_bytes=0)
    plan = house.plan()
    house.gate(plan)
    assert house.state(plan) == "planned"
    assert steps.needs_approval(house.db, house.settings, plan)
    with pytest.raises(PlanError, match="is planned"):
        house.commit(plan)
    first = house.commit(plan, by=ADA, approved_by=ADA)
    assert house.commit(plan, by=ADA, approved_by=ADA) == first
    assert plan_store.load(house.db, plan).approved_by == "ada"
    assert records(house.db).select("person", "object", "outcome").rows() == [
        ("ada", f"plan {plan} (detox of all): {decision}", "done") for decision in ("committed", "approved")
    ]


def test_that_nobody_answered_in_time_changes_nothing_where_somebody_has_decided_elsewhere(house: House) -> None:
    house.gates(approval_above_bytes=0)
    plan = house.plan()
    house.gate(plan)
    verdict.approve(house.db, plan, ADA)
    assert not steps.needs_approval(house.db, house.settings, plan)
    assert steps.reject_plan(house.db, plan, name=None) == "it was approved by ada meanwhile, and stays so"
    assert house.state(plan) == "approved"
    verdict.refuse(house.db, plan, "too much", by=ADA)
    assert steps.reject_plan(house.db, plan, name=None) == "too much"
    assert plan_store.load(house.db, plan).refused_by == "ada"


def test_a_refusal_of_the_gate_stays_one(house: House) -> None:
    house.gates(max_volume_bytes=1)
    plan = house.plan()
    with pytest.raises(GateError, match="partition 'all'"):
        house.gate(plan)
    stored = plan_store.load(house.db, plan)
    assert stored.state == "refused"
    assert stored.refused_because
    house.gates()
    with pytest.raises(PlanError, match="is refused"):
        house.commit(plan, approved_by=ADA)
    assert house.subscriptions() == {}


@pytest.mark.parametrize(
    ("policy", "gates", "is_deleted"),
    [
        pytest.param(DELETE + TAIL, {}, False, id="a Delete line asks for it, which is not enough"),
        pytest.param(DELETE + TAIL, {"last_copies": "delete_lines"}, True, id="where a Delete line asks for it"),
        pytest.param(TAIL, {"last_copies": "delete_lines"}, False, id="nobody asks for it"),
        pytest.param(TAIL, {"last_copies": "always"}, True, id="the limits allow it"),
        pytest.param(TAIL, {"policies": {"all": {"last_copies": "always"}}}, True, id="those of this policy do"),
    ],
)
def test_a_last_copy_goes_only_where_somebody_says_so(
    house: House, policy: str, gates: dict[str, Any], is_deleted: bool
) -> None:
    house.rows("DELETE FROM block_replicas WHERE site_id = :s", s=house.site_ids["T2_B"])
    house.rows("UPDATE datasets SET status = 'invalid'")
    house.policy(policy)
    house.gates(**gates)
    plan = house.plan()
    house.gate(plan)
    assert house.commit(plan)["num_block_replicas"] == (2 if is_deleted else 0)
    assert bool(house.subscriptions()) is is_deleted
    set_aside = [("T2_A", "it is the last copy", 2, 4 * SIZE)]
    assert house.set_aside(plan) == ([] if is_deleted else set_aside)


def test_what_an_enforcer_rule_needs_stays_whatever_the_policy_says(house: House) -> None:
    rules = house.settings.config_dir / "enforcer"
    rules.mkdir()
    (rules / "all.yaml").write_text(RULE)
    assert house.set_aside(house.plan("first")) == [("T2_A", "an enforcer rule needs it", 2, 4 * SIZE)]
    (rules / "all.yaml").write_text(RULE.replace("num_copies: 2", "num_copies: 1"))
    plan = house.plan()
    house.gate(plan)
    house.site("T2_C")
    for block in ("b1", "b2"):
        house.subscription("delete", house.files_of[block], "T2_B")
        house.replica(block, "T2_C")  # a copy, but not one that the plan's image had
    assert house.commit(plan)["left_out"] == {"an enforcer rule needs it": 2}


def test_the_only_source_of_a_copy_that_is_subscribed_for_stays_whatever_the_policy_says(house: House) -> None:
    house.rows("DELETE FROM block_replicas WHERE site_id = :s", s=house.site_ids["T2_B"])
    house.gates(last_copies="always")
    house.subscription("copy", house.files_of["b1"][:1], "T2_B")
    plan = house.plan()
    reason = "it is the only source of a copy that is still pending"
    assert house.set_aside(plan) == [("T2_A", reason, 1, 2 * SIZE)]
    house.gate(plan)
    assert house.commit(plan)["num_block_replicas"] == 1


def test_the_gate_refuses_what_the_planner_let_through(house: House) -> None:
    """The last copy of b1 since the plan was made, to which a copy is subscribed since."""
    house.gates(last_copies="always")
    plan = house.plan()
    house.rows("DELETE FROM block_replicas WHERE site_id = :s", s=house.site_ids["T2_B"])
    frame = plan_store.load(house.db, plan).frame("deletions").with_columns(is_alone=pl.lit(True))
    frame.write_parquet(Path(plan_store.load(house.db, plan).location) / "deletions.parquet")
    house.subscription("copy", house.files_of["b1"][:1], "T2_B")
    with pytest.raises(GateError, match=r"the only source of a pending copy.* in 1 block replica: /A/B-v1/AOD#b1 T2_A"):
        house.gate(plan)


def test_what_must_stay_gives_its_turn_to_the_next(house: House) -> None:
    """b1 is the last copy: b2 goes instead, the gate warns, `explain` and the warnings say why."""
    house.rows("DELETE FROM block_replicas WHERE site_id = :s", s=house.site_ids["T2_B"])
    house.replica("b2", "T2_B")
    plan = house.plan()
    house.gate(plan)
    stored = plan_store.load(house.db, plan)
    assert any(
        "1 block replicas" in warning and "it is the last copy" in warning for warning in stored.summary["warnings"]
    )
    record = stored_plans.read_record(house.db, load_story(house.db, plan, "detox"))
    reasons = explain_record(record, dataset="/A/B-v1/AOD", site="T2_A").reasons
    assert any("set aside, although" in reason and "it is the last copy" in reason for reason in reasons)
    assert house.rows("SELECT is_success, is_blocking FROM gate_results WHERE expectation LIKE 'set_aside%'") == [
        (False, False)
    ]
    assert house.commit(plan)["num_block_replicas"] == 1
    assert {lfn for _, lfn, _ in house.subscriptions()} == set(house.files_of["b2"])


def test_an_old_plan_must_be_made_again(house: House) -> None:
    plan = house.plan()
    house.rows("UPDATE plans SET created_at = now() - interval '49 hours'")
    with pytest.raises(GateError, match="made more than 48 hours ago"):
        house.gate(plan)
    plan = house.plan()
    house.gate(plan)
    house.rows("UPDATE plans SET created_at = now() - interval '49 hours'")
    with pytest.raises(PlanError, match=r"more than 48 hours ago .*: plan again"):
        house.commit(plan)
    assert (house.state(plan), house.subscriptions()) == ("refused", {})
    house.gates(max_plan_age_h=72)
    plan = house.plan()
    house.gate(plan)
    house.rows("UPDATE plans SET created_at = now() - interval '49 hours'")
    assert house.commit(plan)["num_block_replicas"] == 2


@pytest.mark.parametrize(("limit", "is_fresh"), [(168, True), (24, False)])
def test_attributes_may_be_as_old_as_the_limits_say(house: House, limit: int, is_fresh: bool) -> None:
    house.rows(
        "INSERT INTO attributes (name, producer, produced_at) VALUES ('usage_rank', 'test', :t)",
        t=NOW - timedelta(hours=30),
    )
    house.policy("Dismiss\nOrder increasing dataset.usage_rank\n")
    house.gates(policies={"all": {"attribute_max_age_h": limit}})
    if is_fresh:
        assert house.plan()
    else:
        with pytest.raises(PlanError, match="usage_rank"):
            house.plan()


def test_a_no_is_recorded_and_final(house: House) -> None:
    house.gates(approval_above_bytes=0)
    plan = house.plan()
    house.gate(plan)
    at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert steps.reject_plan(house.db, plan, name="Ada", at=at) == "rejected by Ada in Airflow"
    stored = plan_store.load(house.db, plan)
    assert (stored.state, stored.refused_by, stored.refused_at) == ("refused", "Ada in Airflow", at)
    with pytest.raises(PlanError, match="cannot become approved"):
        steps.accept_yes(house.db, plan, name="Bob")
    assert house.subscriptions() == {}


def test_no_answer_is_a_no_of_nobody(house: House) -> None:
    plan = house.plan()
    steps.reject_plan(house.db, plan, name=None)
    stored = plan_store.load(house.db, plan)
    assert (stored.refused_by, stored.refused_because) == (
        "nobody",
        "not approved in time: nobody answered, which means no",
    )


def test_who_approved_and_when_they_did_is_kept(house: House) -> None:
    house.gates(approval_above_bytes=0)
    plan = house.plan()
    house.gate(plan)
    at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    for _ in range(2):  # a task may be run again
        steps.accept_yes(house.db, plan, name="Ada", at=at)
        house.commit(plan)
    stored = plan_store.load(house.db, plan)
    assert (stored.approved_by, stored.approved_at) == ("Ada in Airflow", at)


@pytest.mark.parametrize("scope", [None, "partition:express"], ids=["nothing granted", "granted elsewhere"])
def test_the_yes_of_who_may_not_does_not_count_and_another_can_give_theirs(house: House, scope: str | None) -> None:
    house.gates(approval_above_bytes=0)
    for name, where in (("ada", "partition:al*"), ("eve", scope)):
        if where:
            grant(house.db, name, Grant(Role.OPERATOR, Scope.parse(where)), by=ROOT_USER, reason="runs it")
    plan = house.plan()
    house.gate(plan)
    with pytest.raises(AccessError, match=r"approved by eve in Airflow, which does not count: .* stays planned"):
        steps.accept_yes(house.db, plan, name="eve")
    with pytest.raises(PlanError, match="is planned"):
        house.commit(plan)
    assert records(house.db, person="eve")["outcome"].to_list() == ["refused"]
    steps.accept_yes(house.db, plan, name="ada")
    steps.accept_yes(house.db, plan, name="eve")
    assert house.commit(plan)["num_files"] == 4
    assert plan_store.load(house.db, plan).approved_by == "ada in Airflow"


def test_who_stored_a_plan_does_not_commit_it_though_the_gate_lets_it_through(house: House) -> None:
    plan = steps.plan_cycle(house.db, house.settings, "all", run_key="by hand", now=NOW, by=EVE)
    house.gate(plan)
    eve, ada = (Person(name, KnownBy.TOKEN, (Grant(Role.OPERATOR),)) for name in ("eve", "ada"))
    with pytest.raises(AccessError, match="eve stored it by hand"):
        house.commit(plan, by=eve)
    assert (house.state(plan), house.subscriptions()) == ("approved", {})
    assert house.commit(plan, by=ada)["num_files"] == 4
    assert records(house.db).select("person", "outcome").rows() == [("ada", "done"), ("eve", "refused")]


def test_an_image_that_shrank_by_itself_is_suspect_but_not_by_our_own_deletions(house: House) -> None:
    first = house.plan("run 1")
    house.gate(first)
    house.commit(first)
    second = house.plan("run 2")
    house.gate(second)  # two of four are gone: those were deleted by the first
    house.commit(second)
    house.rows("DELETE FROM block_replicas WHERE site_id = :s", s=house.site_ids["T2_B"])
    third = house.plan("run 3")
    with pytest.raises(GateError):
        house.gate(third)


def test_a_person_sees_what_goes_why_and_what_is_new(house: House) -> None:
    first = house.plan("run 1")
    text = steps.describe_plan(house.db, first)
    assert text.startswith(f"Plan {first} of *all*: 2 block replicas, 4.00 kB, of ")
    assert "| T2_A | 2 | 4.00 kB |" in text
    assert "- No plan of this partition was committed before." in text
    house.gate(first)
    house.commit(first)
    second = house.plan("run 2")
    text = steps.describe_plan(house.db, second)
    assert text.startswith(f"Plan {second} of *all*: 0 block replicas")
    assert "committed: -2 block replicas, -4.00 kB." in text


@pytest.mark.parametrize(
    ("lacking", "message"),
    [("policies/all.txt", "cannot be read"), ("config/partitions.txt", "the definitions of the partitions")],
)
def test_a_file_that_lacks_is_named(house: House, lacking: str, message: str) -> None:
    file = house.settings.home / lacking
    file.unlink()
    with pytest.raises(PolicyError, match=message) as error:
        house.plan()
    assert error.value.file == str(file)


# -- what a plan is made of is read once -----------------------------------------------------------------------------


def edited(house: House) -> None:
    """Every file and setting that decides says something else: nothing would be deleted, or the plan be refused."""
    house.policy("Protect\n")
    (house.settings.config_dir / "partitions.txt").write_text("other: dataset.name == /A/*/*\n")
    (house.settings.config_dir / "enforcer" / "all.yaml").write_text("no rules")
    house.gates(attribute_max_age_h=1)
    house.settings = house.settings.model_copy(update={"detox": DetoxSettings(protected_sites=["T2_X"])})


def deleted(house: House) -> None:
    """Every file is gone but the limits, which are the gate's own too."""
    for name in ("config/partitions.txt", "config/enforcer/all.yaml", "policies/all.txt"):
        (house.settings.home / name).unlink()


@pytest.fixture
def ruled(house: House) -> House:
    """The house, with an enforcer rule that its policy leans on, and an attribute that is thirty hours old."""
    (house.settings.config_dir / "enforcer").mkdir()
    (house.settings.config_dir / "enforcer" / "all.yaml").write_text(RULE.replace("num_copies: 2", "num_copies: 1"))
    house.policy("Protect replica.enforcer_protected\nDismiss\nOrder increasing dataset.usage_rank\n")
    house.rows(
        "INSERT INTO attributes (name, producer, produced_at) VALUES ('usage_rank', 'test', :t)",
        t=NOW - timedelta(hours=30),
    )
    return house


def decided(house: House, plan_id: int) -> dict[str, Any]:
    """What a stored plan decides, and all that it says it was made of."""
    stored = plan_store.load(house.db, plan_id)
    frames = ("decisions", "deletions", "enforced", "policy_lines", "site_states")
    rows = {name: stored.frame(name).sort(pl.all()).to_dicts() for name in frames}
    return {**rows, "inputs": stored.inputs(), "policy": plan_store.policy_text(house.db, stored)}


@pytest.mark.parametrize("change", [edited, deleted])
def test_what_changes_while_a_plan_is_made_is_neither_decided_on_nor_stored(
    ruled: House, monkeypatch: pytest.MonkeyPatch, change: Callable[[House], None]
) -> None:
    undisturbed = decided(ruled, ruled.plan("undisturbed"))
    read = steps.read_inventory

    def read_and_change(db: Database) -> InventoryFrames:
        change(ruled)
        return read(db)

    monkeypatch.setattr(steps, "read_inventory", read_and_change)
    disturbed = decided(ruled, ruled.plan("disturbed"))
    assert disturbed == undisturbed
    assert disturbed["policy"] == disturbed["inputs"].policy.text
    assert disturbed["deletions"]
    assert disturbed["enforced"]


@pytest.mark.parametrize("change", [edited, deleted])
def test_what_changes_after_a_plan_was_made_changes_nothing_that_is_said_of_it(
    ruled: House, monkeypatch: pytest.MonkeyPatch, change: Callable[[House], None]
) -> None:
    plan = ruled.plan()
    record = stored_plans.read_record(ruled.db, load_story(ruled.db, plan, "detox"))
    asked: list[set[str]] = []
    monkeypatch.setattr(steps, "check_freshness", lambda *given: asked.append(given[4]))
    before = (explain_record(record, dataset="/A/B-v1/AOD", site="T2_A"), record.policy_text, record.rules_text)
    change(ruled)
    ruled.gate(plan)
    assert asked == [{"usage_rank"}]
    record = stored_plans.read_record(ruled.db, load_story(ruled.db, plan, "detox"))
    after = (explain_record(record, dataset="/A/B-v1/AOD", site="T2_A"), record.policy_text, record.rules_text)
    assert repr(after) == repr(before)
    assert ruled.commit(plan)["num_block_replicas"] == 2


def test_a_policy_that_is_tried_is_stored_with_the_plan(house: House) -> None:
    tried = SourceText("tried.txt", HEAD + "Protect\n")
    plan = steps.plan_cycle(house.db, house.settings, "all", run_key="run", now=NOW, policy=tried)
    assert decided(house, plan)["inputs"].policy == tried
    assert not decided(house, plan)["deletions"]


def test_the_policy_of_another_partition_makes_no_plan(house: House) -> None:
    (house.settings.policy_dir / "all.txt").write_text((HEAD + TAIL).replace("Partition all", "Partition other"))
    with pytest.raises(PlanError, match="the policy is for partition other, the plan for all"):
        house.plan()


def test_a_plan_of_an_older_version_is_gated_and_explained(ruled: House) -> None:
    """It has its rules as a frame, and its policy in the database."""
    plan = ruled.plan()
    location = Path(plan_store.load(ruled.db, plan).location)
    rules = (location / "inputs.json").read_text()
    ruled.rows("UPDATE plans SET summary = summary - 'inputs_sha256'")
    (location / "inputs.json").unlink()
    text = DetoxInputs.model_validate_json(rules).rules
    assert text is not None
    pl.DataFrame({"text": [text.text]}).write_parquet(location / "enforcer_rules.parquet")
    record = stored_plans.read_record(ruled.db, load_story(ruled.db, plan, "detox"))
    assert (record.policy_text, record.rules_text) == (
        plan_store.policy_text(ruled.db, plan_store.load(ruled.db, plan)),
        text.text,
    )
    assert "number 1" in explain_record(record, dataset="/A/B-v1/AOD", site="T2_A").reasons[0]
    (ruled.settings.policy_dir / "all.txt").write_text("no policy")
    ruled.gate(plan)
    assert ruled.commit(plan)["num_block_replicas"] == 2
