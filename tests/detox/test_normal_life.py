"""Normal life goes on although copies are weighed: cycles of Detox and Dealer under the shipped policy and gates, in
the events that could stop it (SEMANTICS §10). Beside each decision that of the policy alone, without ``last_copies``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

from dynamo_ops.base.settings import Settings
from dynamo_ops.database.connection import Database
from dynamo_ops.dealer.engine.config import load_config
from dynamo_ops.dealer.engine.plan import CopyPlan, plan_copies
from dynamo_ops.dealer.engine.plugin import ProposalInputs, collect_proposals, make_plugins
from dynamo_ops.detox import tasks as steps
from dynamo_ops.detox.engine.guard import NEEDED
from dynamo_ops.detox.engine.plan import DeletionPlan
from dynamo_ops.inventory import frames as f
from dynamo_ops.inventory.frames import InventoryFrames
from dynamo_ops.inventory.replica.good import good_replicas
from dynamo_ops.inventory.states import LAST_COPY, LAST_SOURCE, LOCKED
from dynamo_ops.plan import store as plan_store
from dynamo_ops.plan.inputs import read_detox_inputs
from dynamo_ops.policy.language.check import load_policy
from tests import ROOT
from tests.dealer.cycles import copied, cycle_of, deleted, lost_blocks
from tests.detox.small import NOW

PHYSICS = (ROOT / "include" / "policies" / "physics.txt").read_text()
DEALER = (ROOT / "include" / "config" / "dealer" / "physics.yaml").read_text()
TB = 10**12
make_plan = steps.make_plan
YEAR_US = 365 * 86_400 * 10**6


@dataclass(frozen=True)
class Holding:
    """Datasets (by number) of a tier, and the sites that have them whole."""

    datasets: range
    tier: str
    sites: Sequence[str]


def stock(
    holdings: Sequence[Holding], quotas: Mapping[str, int], *, num_blocks: int = 1, num_files: int = 10
) -> InventoryFrames:
    """Datasets of 1 TB, a year old, of the group ``physics``; the higher the number the less read. ``*_MSS``: tape."""
    site_ids = {site: number for number, site in enumerate(quotas)}
    names = {n: f"/P{n}/Run2026A-v1/{held.tier}" for held in holdings for n in held.datasets}
    replicas = [(n, site_ids[site]) for held in holdings for n in held.datasets for site in held.sites]
    old = int(NOW.timestamp() * 1e6) - YEAR_US
    datasets = pl.DataFrame({"dataset_id": list(names), "dataset": list(names.values())}, schema_overrides=_IDS)
    numbers = pl.DataFrame({"number": range(num_blocks)}, schema_overrides={"number": pl.Int64})
    blocks = (
        datasets.select("dataset_id")
        .join(numbers, how="cross")
        .with_columns(
            block_id=pl.col("dataset_id") * num_blocks + pl.col("number"),
            size_bytes=pl.lit(TB // num_blocks),
            num_files=pl.lit(num_files),
            last_update_at=pl.lit(old),
        )
    )
    holders = pl.DataFrame(replicas, schema={"dataset_id": pl.Int64, "site_id": pl.Int64}, orient="row")
    attributes = sorted(load_policy(PHYSICS, now=NOW).attributes())
    return InventoryFrames(
        sites=_typed(
            f.SITES,
            site_id=list(site_ids.values()),
            site=list(site_ids),
            storage_type=["mss" if site.endswith("_MSS") else "disk" for site in site_ids],
            status=["ready"] * len(site_ids),
        ),
        groups=_typed(f.GROUPS, group_id=[0], group=["physics"], ownership_level=["dataset"]),
        datasets=_cast(
            datasets.with_columns(
                status=pl.lit("valid"),
                is_open=pl.lit(False),
                software_release=pl.lit("1_0"),
                last_update_at=pl.lit(old),
            ),
            f.DATASETS,
        ),
        blocks=_cast(blocks.with_columns(block=pl.format("b{}", "number")), f.BLOCKS),
        dataset_replicas=_cast(holders.with_columns(is_growing=pl.lit(False), group_id=pl.lit(0)), f.DATASET_REPLICAS),
        block_replicas=_cast(
            holders.join(blocks, on="dataset_id").with_columns(
                group_id=pl.lit(0), is_complete=pl.lit(True), is_custodial=pl.lit(False)
            ),
            f.BLOCK_REPLICAS,
        ),
        quotas=_typed(
            f.QUOTAS,
            site_id=list(site_ids.values()),
            partition=["physics"] * len(quotas),
            quota_bytes=list(quotas.values()),
        ),
        attribute_values=_typed(
            f.ATTRIBUTE_VALUES,
            dataset_id=list(names),
            name=["usage_rank"] * len(names),
            value=[float(n) for n in names],
        ),
        attributes=_typed(f.ATTRIBUTES, name=attributes, produced_at=[NOW] * len(attributes)),
    )


_IDS = {"dataset_id": pl.Int64}


def _typed(schema: f.Schema, **columns: Any) -> pl.DataFrame:
    return pl.DataFrame(columns, schema=dict(schema))


def _cast(frame: pl.DataFrame, schema: f.Schema) -> pl.DataFrame:
    return frame.select(pl.col(name).cast(kind) for name, kind in schema.items())


def with_status(frames: InventoryFrames, site: str, status: str) -> InventoryFrames:
    named = pl.when(pl.col("site") == site).then(pl.lit(status)).otherwise("status")
    return replace(frames, sites=frames.sites.with_columns(status=named))


def site_id(frames: InventoryFrames, site: str) -> int:
    return int(frames.sites.filter(pl.col("site") == site)["site_id"].item())


def gone_from(plan: DeletionPlan, site: str | None = None) -> set[str]:
    """Datasets of which something is deleted (at the site)."""
    rows = plan.deletions if site is None else plan.deletions.filter(pl.col("site") == site)
    return set(rows["dataset"])


def occupancy(plan: DeletionPlan, site: str) -> float:
    return float(plan.site_states.filter(pl.col("site") == site)["occupancy_after"].item())


def aside(plan: DeletionPlan) -> dict[str, str]:
    """Dataset and site of what was set aside, and why."""
    rows = plan.decisions.filter(pl.col("set_aside").is_not_null())
    return {f"{dataset} {site}": why for dataset, site, why in rows.select("dataset", "site", "set_aside").iter_rows()}


def last_good_deleted(frames: InventoryFrames, plan: DeletionPlan) -> int:
    """How many blocks lose their last good copy by the plan: in plain words, before and after."""
    before, after = (set(good_replicas(each)["block_id"]) for each in (frames, deleted(frames, plan)))
    return len(before - after)


class Life:
    """Cycles of one installation: the shipped gates, and policy and Dealer of ``physics`` as shipped or as given."""

    def __init__(self, database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.database, self.monkeypatch, self.cycles = database, monkeypatch, 0
        for name in ("config", "policies"):
            (folder / name).mkdir()
        self.settings = Settings(
            home=folder, config_dir=folder / "config", policy_dir=folder / "policies", db_url=database.url
        )
        for name in ("gates.yaml", "partitions.txt"):
            (folder / "config" / name).write_text((ROOT / "include" / "config" / name).read_text())
        self.gates(data_docs={"keep": 0})
        self.policy(PHYSICS)

    def policy(self, text: str) -> None:
        (self.settings.policy_dir / "physics.txt").write_text(text)

    def gates(self, **changed: Mapping[str, Any]) -> None:
        file = self.settings.config_dir / "gates.yaml"
        gates = yaml.safe_load(file.read_text())
        for section, values in changed.items():
            gates[section] |= values
        file.write_text(yaml.safe_dump(gates))

    def detox(self, frames: InventoryFrames) -> DeletionPlan:
        """One cycle on these frames: planned, passed by the gate (``GateError`` otherwise) and committed."""
        self.cycles += 1
        made: list[DeletionPlan] = []

        def noted(*arguments: Any) -> DeletionPlan:
            made.append(make_plan(*arguments))
            return made[-1]

        self.monkeypatch.setattr(steps, "read_inventory", lambda _: frames)
        self.monkeypatch.setattr(steps, "make_plan", noted)
        plan_id = steps.plan_cycle(self.database, self.settings, "physics", run_key=str(self.cycles), now=NOW)
        steps.gate_plan(self.database, self.settings, plan_id, run_key=str(self.cycles))
        stored = plan_store.load(self.database, plan_id)
        with self.database.begin() as connection:
            done = {"num_block_replicas": stored.summary["num_deletions"]}
            plan_store.mark_committed(connection, stored, done)
        return made[-1]

    def warnings(self) -> set[str]:
        """Checks of the gate that only warned, of all cycles."""
        rows = self.database.frame(
            "SELECT split_part(expectation, ':', 1) AS check FROM gate_results WHERE NOT is_success"
        )
        return set(rows["check"])

    def decided(self, frames: InventoryFrames) -> DeletionPlan:
        return make_plan(frames, read_detox_inputs(self.settings, "physics", NOW))

    def by_policy_alone(self, frames: InventoryFrames) -> DeletionPlan:
        """What would be decided if nothing were set aside."""
        inputs = read_detox_inputs(self.settings, "physics", NOW)
        return make_plan(frames, inputs.model_copy(update={"last_copies": None}))

    def dealer(self, frames: InventoryFrames, deletions: DeletionPlan) -> CopyPlan:
        """The shipped Dealer's cycle after it."""
        config = load_config(DEALER.replace("  enforcer:", "  # enforcer:"))
        partitions = read_detox_inputs(self.settings, "physics", NOW).known_partitions()
        inputs = ProposalInputs(frames, partitions, NOW, detox=cycle_of(deletions))
        proposals = collect_proposals(make_plugins(config), inputs, config, seed=self.cycles)
        return plan_copies(frames, proposals, config, partitions, now=NOW, seed=self.cycles)

    def turn(self, frames: InventoryFrames) -> tuple[InventoryFrames, DeletionPlan]:
        """Detox and Dealer once, and what they leave; no block lost its last good copy."""
        plan = self.detox(frames)
        assert last_good_deleted(frames, plan) == 0
        left = deleted(frames, plan)
        return copied(left, self.dealer(left, plan)), plan


@pytest.fixture
def life(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Life:
    return Life(database, tmp_path, monkeypatch)


# -- a site is evacuated ---------------------------------------------------------------------------------------------


def test_a_site_in_the_morgue_is_evacuated(life: Life) -> None:
    """40 datasets are at T2_Old alone, 20 at T2_B too, one of these missing there; T2_A and T2_B go on meanwhile."""
    frames = stock(
        [
            Holding(range(40), "AOD", ["T2_Old"]),
            Holding(range(40, 60), "AOD", ["T2_Old", "T2_B"]),
            Holding(range(60, 140), "AOD", ["T2_A", "T2_C"]),
        ],
        {"T2_Old": 60 * TB, "T2_A": 85 * TB, "T2_B": 100 * TB, "T2_C": 400 * TB},
    )
    frames = replace(
        with_status(frames, "T2_Old", "morgue"),
        doubted_files=_typed(f.DOUBTED_FILES, block_id=[40], site_id=[site_id(frames, "T2_B")], file_id=[400]),
    )
    first = life.decided(frames)
    assert gone_from(first, "T2_A")
    assert gone_from(first, "T2_Old") == set() == gone_from(life.by_policy_alone(frames), "T2_Old")
    before = frames
    for _ in range(2):
        frames, _ = life.turn(frames)
    assert lost_blocks(before, frames) == []
    at_old = set(frames.block_replicas.filter(pl.col("site_id") == site_id(frames, "T2_Old"))["block_id"])
    assert len(at_old) == 60  # it stays protected there
    assert at_old <= set(good_replicas(frames)["block_id"])  # and each block is good elsewhere by now

    # Back in service to be emptied: the policy may delete all of it now, and before the evacuation only a third.
    emptied = replace(
        with_status(frames, "T2_Old", "ready"),
        quotas=frames.quotas.with_columns(
            quota_bytes=pl.when(pl.col("site_id") == site_id(frames, "T2_Old")).then(0).otherwise("quota_bytes")
        ),
    )
    life.policy(
        PHYSICS.replace(
            "Protect dataset.on_tape != FULL", "Dismiss site.name == T2_Old\nProtect dataset.on_tape != FULL"
        )
    )
    plan = life.detox(emptied)
    assert len(gone_from(plan, "T2_Old")) == 60
    assert last_good_deleted(emptied, plan) == 0
    early = replace(emptied, block_replicas=before.block_replicas, dataset_replicas=before.dataset_replicas)
    # One is the last source already to the policy: what is doubted is incomplete, so it is on its way to T2_B.
    everything = gone_from(plan, "T2_Old")
    assert gone_from(life.by_policy_alone(early), "T2_Old") == everything - {"/P40/Run2026A-v1/AOD"}
    assert gone_from(life.decided(early), "T2_Old") == {f"/P{n}/Run2026A-v1/AOD" for n in range(41, 60)}


# -- a tape site is away ---------------------------------------------------------------------------------------------


def tape_world() -> InventoryFrames:
    """AOD with copies at two disks, of which T2_A is full; raw data, less read, with a disk copy there and one on
    either tape, those of T1_A_MSS least read of all."""
    return stock(
        [
            Holding(range(55), "AOD", ["T2_A", "T2_B"]),
            Holding(range(55, 70), "RAW", ["T2_A", "T1_B_MSS"]),
            Holding(range(70, 100), "RAW", ["T2_A", "T1_A_MSS"]),
        ],
        {"T2_A": 105 * TB, "T2_B": 300 * TB, "T1_A_MSS": 900 * TB, "T1_B_MSS": 900 * TB},
    )


TAPE_IN_ANY_STATUS = PHYSICS.replace("MSS and site.status == READY", "MSS")


@pytest.mark.parametrize("policy", [PHYSICS, TAPE_IN_ANY_STATUS], ids=["shipped", "tape in any status"])
def test_a_tape_site_in_the_waitroom_for_a_month(life: Life, policy: str) -> None:
    """No raw data go because of that tape, all else goes as before, and the watermark is reached each week."""
    life.policy(policy)
    usual = life.detox(tape_world())
    of_a = {f"/P{n}/Run2026A-v1/RAW" for n in range(70, 100)}
    assert (len(gone_from(usual)), gone_from(usual) - of_a) == (17, set())
    frames = with_status(tape_world(), "T1_A_MSS", "waitroom")
    for week in range(4):
        # What the policy alone would let go because of a tape that nobody can read now.
        assert bool(gone_from(life.by_policy_alone(frames)) & of_a) is (policy != PHYSICS)
        plan = life.detox(frames)
        assert not gone_from(plan) & of_a
        assert set(aside(plan).values()) == (set() if policy == PHYSICS else {LAST_COPY})
        assert occupancy(plan, "T2_A") < 0.8
        assert last_good_deleted(frames, plan) == 0
        frames = arrived(deleted(frames, plan), week)
    assert life.warnings() <= {"set_aside"}
    frames = with_status(frames, "T1_A_MSS", "ready")
    plan = life.detox(frames)
    assert occupancy(plan, "T2_A") < 0.8
    assert gone_from(plan) & of_a
    assert gone_from(plan) == gone_from(life.by_policy_alone(frames))


def arrived(frames: InventoryFrames, week: int) -> InventoryFrames:
    """Ten more datasets at both disks: the next week's."""
    quotas = dict(frames.sites.join(frames.quotas, on="site_id").select("site", "quota_bytes").iter_rows())
    new = stock([Holding(range(200 + 20 * week, 220 + 20 * week), "AOD", ["T2_A", "T2_B"])], quotas)
    names = ("datasets", "blocks", "dataset_replicas", "block_replicas")
    return replace(frames, **{name: pl.concat([getattr(frames, name), getattr(new, name)]) for name in names})


def test_the_only_tape_site_may_go_away(life: Life) -> None:
    """A third of the image leaves with it, which is no reason to think that the inventory is broken."""
    frames = stock(
        [Holding(range(50), "AOD", ["T2_A", "T2_B", "T1_A_MSS"]), Holding(range(50, 60), "AOD", ["T1_A_MSS"])],
        {"T2_A": 51 * TB, "T2_B": 300 * TB, "T1_A_MSS": 900 * TB},
    )
    life.detox(frames)
    plan = life.detox(with_status(frames, "T1_A_MSS", "waitroom"))
    assert occupancy(plan, "T2_A") < 0.8
    assert life.warnings() == set()


# -- one site, and no other ------------------------------------------------------------------------------------------


def test_a_lab_of_one_site_deletes_all_that_its_policy_says(life: Life) -> None:
    """Nothing is set aside but what is locked, needed by a rule, or waited for."""
    life.gates(detox={"last_copies": "always", "max_site_fraction": 1.0})
    life.policy(
        """Partition physics
On site.name == Lab
When site.occupancy > 0.5
Until site.occupancy < 0.1
Dismiss
Order decreasing dataset.usage_rank
"""
    )
    (life.settings.config_dir / "enforcer").mkdir()
    (life.settings.config_dir / "enforcer" / "physics.yaml").write_text(
        """rules:
  one: {num_copies: 1, protect: true, sources: [site.name == Lab], destinations: [site.name == Lab],
        replicas: [dataset.name == /P97/*]}
"""
    )
    frames = stock([Holding(range(100), "AOD", ["Lab"])], {"Lab": 100 * TB, "Friend": 100 * TB})
    frames = replace(
        frames,
        locks=_typed(f.LOCKS, item=["/P98/Run2026A-v1/AOD"], sites=[""], groups=[""]),
        awaited=_typed(f.AWAITED, block_id=[99], site_id=[site_id(frames, "Friend")]),
    )
    alone, plan = life.by_policy_alone(frames), life.detox(frames)
    assert len(gone_from(alone)) == len(gone_from(plan)) == 91
    assert aside(plan) == {
        "/P99/Run2026A-v1/AOD Lab": LAST_SOURCE,
        "/P98/Run2026A-v1/AOD Lab": LOCKED,
        "/P97/Run2026A-v1/AOD Lab": NEEDED,
    }
    assert occupancy(plan, "Lab") < 0.1


# -- a mount is lost for a day, and some files for good --------------------------------------------------------------


def half_at_b(num_blocks: int, num_files: int) -> InventoryFrames:
    """2,000 datasets at T2_A, which is full; the half that is less read is at T2_B too, the other at T2_C."""
    return stock(
        [
            Holding(range(1_000), "AOD", ["T2_A", "T2_C"]),
            Holding(range(1_000, 2_000), "AOD", ["T2_A", "T2_B"]),
        ],
        {"T2_A": 2_105 * TB, "T2_B": 10**4 * TB, "T2_C": 10**4 * TB},
        num_blocks=num_blocks,
        num_files=num_files,
    )


BY_BLOCKS = """Partition physics
On site.storage_type == DISK
When site.occupancy > 0.9
Until site.occupancy < 0.8
Dismiss
Order decreasing dataset.usage_rank
"""


@pytest.mark.parametrize("policy", [PHYSICS, BY_BLOCKS], ids=["shipped", "without copy counts"])
def test_one_file_in_a_thousand_is_missing_at_another_site(life: Life, policy: str) -> None:
    """Of a million files at T2_B. What is touched keeps its copy at T2_A, the next take its place: blocks, or datasets
    where the policy counts full copies of datasets. The watermark is reached all the same."""
    life.policy(policy)
    frames = half_at_b(num_blocks=20, num_files=50)
    t2_b = site_id(frames, "T2_B")
    at_b = frames.block_replicas.filter(pl.col("site_id") == t2_b)["block_id"]
    assert len(at_b) * 50 == 10**6
    file_ids = pl.Series(np.random.default_rng(1).choice(10**6, 1_000, replace=False)).sort()
    touched = at_b.gather(file_ids // 50)
    missing = _typed(f.DOUBTED_FILES, block_id=touched, site_id=[t2_b] * 1_000, file_id=file_ids)
    doubted = replace(frames, doubted_files=missing)
    before, after = life.by_policy_alone(frames), life.detox(doubted)
    careless = replace(doubted, doubted_files=frames.doubted_files)
    assert last_good_deleted(doubted, life.by_policy_alone(careless)) > 200  # what a plan did that knew of no doubt
    assert last_good_deleted(doubted, after) == 0
    assert max(occupancy(before, "T2_A"), occupancy(after, "T2_A")) < 0.8
    assert occupancy(before, "T2_A") - occupancy(after, "T2_A") == pytest.approx(0, abs=0.001)
    assert life.warnings() == set()
    went, goes = set(before.deletions["block_id"]), set(after.deletions["block_id"])
    if policy == BY_BLOCKS:
        assert went - goes == went & set(touched)
        assert set(aside(after).values()) == {LAST_COPY}
    else:
        datasets = {block // 20 for block in touched}
        assert {block // 20 for block in went - goes} == {block // 20 for block in went} & datasets
        assert aside(after) == {}


def test_a_site_whose_check_was_refused_for_a_day(life: Life) -> None:
    """Its mount was away: all is missing, so the check is void. For a day nothing goes because of what it has; what
    others have too goes on. The next check passes, and all is as before."""
    frames = half_at_b(num_blocks=1, num_files=50)
    refused = replace(frames, refused_sites=_typed(f.REFUSED_SITES, site_id=[site_id(frames, "T2_B")]))
    before = life.detox(frames)
    assert gone_from(life.by_policy_alone(refused)) == gone_from(before)
    day = life.detox(refused)
    only_b = set(frames.datasets["dataset"].tail(1_000))
    assert gone_from(before) <= only_b
    assert not gone_from(day) & only_b
    assert len(gone_from(day)) == len(gone_from(before))
    assert occupancy(day, "T2_A") < 0.8
    assert last_good_deleted(refused, day) == 0
    assert life.warnings() == {"set_aside"}
    assert gone_from(life.detox(frames)) == gone_from(before)
