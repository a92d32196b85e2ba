"""The whole cycle as DAG runs, over real HTTP and real bytes; then a look at the storages, behind everybody's back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
import yaml

from demo.proof import Proof
from dynamo_ops.database.embedded import EmbeddedPostgres
from dynamo_ops.request.copy_request import request_copy
from simgrid.scenario import Scenario, parse_scenario
from tests.dags.house import DAG_IDS, TINY, House, Run, fresh_database, open_house
from tests.people import TESTER

TAPE_ONLY = "/Cosmics/Commissioning2025-v1/RAW"
HALF = "/SimTop/Run2026A-v1/MINI"
"""T2_CC has one of its two blocks."""
UNPOPULAR = "/Muons/Run2025B-v1/AOD"
MISSING = "/Muons/Run2026A-v1/AOD"


def scenario() -> Scenario:
    """The tiny one, with a dataset that only tape has, and with losses in a dataset that Detox keeps."""
    tiny = yaml.safe_load(TINY.read_text())
    tiny["datasets"].append({"name": TAPE_ONLY, "blocks": 2, "files_per_block": 3, "age": "300 days"})
    tiny["replicas"].append({"dataset": TAPE_ONLY, "sites": ["T1_AA_Tape"], "group": "physics"})
    tiny["missing"] = [{"site": "T2_BB", "count": 2, "dataset": MISSING}]
    return parse_scenario(tiny)


@dataclass
class Cycle:
    """What was run, and what was seen between the runs."""

    house: House
    midnight: datetime
    runs: dict[str, Run] = field(default_factory=dict)
    proofs: dict[str, Proof] = field(default_factory=dict)
    findings: dict[str, list[tuple[str, str, int]]] = field(default_factory=dict)
    subscriptions: dict[tuple[str, str], int] = field(default_factory=dict)

    def run(self, dag_id: str, name: str = "", **given: object) -> None:
        self.runs[name or dag_id] = self.house.run(dag_id, **given)  # type: ignore[arg-type]

    def check_sites(self, name: str) -> None:
        self.run("site_consistency", name, repair=True)
        self.findings[name] = [
            (kind, state, number)
            for kind, state, number in self.house.rows(
                """
            SELECT f.kind, f.state, count(*) FROM consistency_findings f JOIN consistency_checks c ON c.id = f.check_id
            WHERE c.run_key = :key GROUP BY 1, 2 ORDER BY 1, 2""",
                key=f"site_consistency/{self.runs[name].run_id}",
            )
        ]


@pytest.fixture(scope="module")
def cycle(airflow: None, postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cycle]:
    """All of it, in the order in which production would come to it."""
    with (
        fresh_database(postgres, "cycle") as database,
        open_house(tmp_path_factory.mktemp("cycle"), database, scenario()) as house,
    ):
        (house.config / "consistency.yaml").write_text(
            yaml.safe_dump(
                {
                    "defaults": {
                        "max_missing": 5,
                        "max_orphan": 5,
                        "max_unmanaged": 5,
                        "delete_unmanaged": True,
                        "unmanaged": [{"prefix": "/store/unmerged", "max_age": "P14D"}],
                    }
                }
            )
        )
        cycle = Cycle(house, datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0))
        house.sync()
        for back in (2, 1, 0):
            cycle.run(
                "popularity_aggregation", f"popularity {back}", logical_date=cycle.midnight - timedelta(days=back)
            )
        for dataset, sites in ((TAPE_ONLY, ["T1_*_Disk"]), (HALF, ["T1_AA_Disk", "T2_CC"])):
            request_copy(
                database, dataset, sites, num_copies=1 if dataset == TAPE_ONLY else 0, group="physics", by=TESTER
            )
        cycle.proofs["before"] = house.prove()
        cycle.check_sites("first look")
        for dag_id in ("detox_physics", "detox_express", "dealer_physics", "dealer_express"):
            cycle.run(dag_id)
        cycle.subscriptions = {
            (action, origin): number
            for action, origin, number in house.rows("SELECT action, origin, count(*) FROM subscriptions GROUP BY 1, 2")
        }
        cycle.run("transfers")
        cycle.run("deletions")
        cycle.check_sites("second look")
        cycle.run("transfers", "transfers again")
        cycle.run("housekeeping")
        cycle.proofs["after"] = house.prove()
        yield cycle


def test_every_run_is_green(cycle: Cycle) -> None:
    assert {name: run.failed for name, run in cycle.runs.items() if run.state != "success"} == {}
    assert cycle.house.mails() == []


def test_no_task_of_a_cycle_that_goes_well_is_skipped(cycle: Cycle) -> None:
    """Pink is for what a person has kept from happening: see decision 30."""
    assert {name: run.not_green for name, run in cycle.runs.items() if run.not_green} == {}


def test_three_days_of_accesses_are_in_and_rank_the_datasets(cycle: Cycle) -> None:
    days = [day for (day,) in cycle.house.rows("SELECT day FROM aggregated_days ORDER BY day")]
    yesterday = cycle.midnight.date() - timedelta(days=1)
    assert days == [yesterday - timedelta(days=back) for back in (2, 1, 0)]
    ranks = dict(
        cycle.house.rows("""
        SELECT d.name, a.value FROM dataset_attributes a JOIN datasets d ON d.id = a.dataset_id
        WHERE a.name = 'usage_rank'""")
    )
    assert ranks[MISSING] < ranks[UNPOPULAR]


def test_detox_deletes_the_least_popular_data_at_the_full_site_only(cycle: Cycle) -> None:
    deleted = cycle.house.rows("""
        SELECT DISTINCT x.name, d.name FROM subscriptions s
        JOIN sites x ON x.id = s.site_id JOIN files f ON f.id = s.file_id
        JOIN blocks b ON b.id = f.block_id JOIN datasets d ON d.id = b.dataset_id WHERE s.action = 'delete'""")
    assert deleted == [("T2_BB", UNPOPULAR)]
    assert cycle.subscriptions["delete", "detox"] == 15
    assert cycle.house.rows(
        """
        SELECT count(*) FROM block_replicas r JOIN sites s ON s.id = r.site_id JOIN datasets d ON d.id = r.dataset_id
        WHERE s.name = 'T2_BB' AND d.name = :dataset""",
        dataset=UNPOPULAR,
    ) == [(0,)]


def test_requests_are_served_from_tape_and_from_disk_and_completed(cycle: Cycle) -> None:
    assert cycle.subscriptions["copy", "dealer"] == 6 + 4
    served = cycle.house.rows("""
        SELECT d.name, x.name, count(*) FROM transfers t JOIN subscriptions s ON s.id = t.subscription_id
        JOIN sites x ON x.id = t.source_site_id JOIN files f ON f.id = s.file_id JOIN blocks b ON b.id = f.block_id
        JOIN datasets d ON d.id = b.dataset_id WHERE s.origin = 'dealer' AND t.state = 'done'
        GROUP BY 1, 2 ORDER BY 1""")
    assert served == [(TAPE_ONLY, "T1_AA_Tape", 6), (HALF, "T1_AA_Disk", 4)]
    assert cycle.house.rows("SELECT state, closed_at IS NOT NULL FROM requests") == [("completed", True)] * 2


def test_waiting_for_tape_is_a_task_of_its_own(cycle: Cycle) -> None:
    assert cycle.house.rows("SELECT count(*) FROM transfer_batches WHERE is_staging AND state = 'finished'") == [(1,)]
    assert cycle.runs["transfers"].states("wait_for_tape") == {"success": 1}


def test_what_differs_counts_when_it_differs_twice(cycle: Cycle) -> None:
    assert cycle.findings == {
        "first look": [("missing", "seen", 2), ("orphan", "seen", 2), ("unmanaged", "seen", 1)],
        "second look": [("missing", "repaired", 2), ("orphan", "repaired", 2), ("unmanaged", "repaired", 1)],
    }


def test_the_storages_differed_from_the_inventory_and_do_no_more(cycle: Cycle) -> None:
    assert len(cycle.proofs["before"].differences) == 4  # two missing, two orphans
    after = cycle.proofs["after"]
    assert after.differences == []
    # what was there, the copies and the repaired files, less what was deleted
    assert after.num_files == cycle.proofs["before"].num_files + 10 + 2 - 15


def test_no_subscription_is_left(cycle: Cycle) -> None:
    assert cycle.house.rows("SELECT DISTINCT state FROM subscriptions") == [("done",)]


@pytest.mark.slow
def test_all_dags_once_more_change_nothing(cycle: Cycle) -> None:
    before = contents(cycle.house)
    not_green = {}
    for dag_id in sorted(DAG_IDS - {"popularity_aggregation"}):
        run = cycle.house.run(dag_id)
        not_green |= {f"{dag_id}.{task}": state for task, state in run.not_green.items()}
    assert not_green == {}
    cycle.house.runs("popularity_aggregation", logical_date=cycle.midnight)
    after = contents(cycle.house)
    assert {table: rows for table, rows in after.items() if rows != before[table]} == {}
    assert cycle.house.prove().differences == []


def contents(house: House) -> dict[str, list[tuple[str]]]:
    """What the inventory says, without the times at which it was told so."""
    tables = {
        "sites": "id, name, storage_type, status",
        "datasets": "id, name, status, is_open, size_bytes, num_files",
        "files": "id, block_id, lfn, size_bytes, adler32",
        "dataset_replicas": "dataset_id, site_id, is_growing, group_id",
        "block_replicas": "block_id, site_id, group_id, is_complete, size_bytes",
        "block_replica_files": "block_id, site_id, file_id",
        "quotas": "site_id, partition, quota_bytes",
        "subscriptions": "id, file_id, site_id, action, state",
        "transfers": "id, state",
        "deletions": "id, state",
        "requests": "id, state",
        "accesses_daily": "day, source, dataset_id, site_id, num_accesses",
    }
    return {table: house.rows(f"SELECT {columns} FROM {table} ORDER BY {columns}") for table, columns in tables.items()}
