"""A task of a DAG run is killed with -9 in Airflow, and the run is cleared: its tasks run again, and all is well."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dynamo_ops.database.embedded import EmbeddedPostgres
from dynamo_ops.inventory.subscription.subscribe import subscribe
from tests.chaos.conftest import TABLES
from tests.dags.house import ROOT, House, fresh_database, leave_airflow, open_house, prepare_airflow

pytestmark = [pytest.mark.chaos, pytest.mark.slow]

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
DATASET = "/Electrons/Run2026A-v1/MINI"
POINTS = [
    ("transfers", "after POST /jobs, answer not used"),
    ("transfers", "before COMMIT of COPY transfers"),
    ("transfers", "before COMMIT of UPDATE transfer_batches"),
    ("transfers", "after COMMIT of UPDATE transfer_batches"),
    ("deletions", "after DELETE at the storage, answer not used"),
    ("deletions", "before COMMIT of UPDATE deletion_batches"),
]


@pytest.fixture(scope="session")
def airflow(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    prepare_airflow(postgres, tmp_path_factory.mktemp("airflow"))
    yield
    leave_airflow()


@pytest.fixture
def stocked(airflow: None, postgres: EmbeddedPostgres, tmp_path: Path) -> Iterator[House]:
    """A house of its own, that knows what is where."""
    with fresh_database(postgres, "dag_kills") as database, open_house(tmp_path, database) as house:
        house.sync()
        yield house


def subscription(house: House, action: str, site: str) -> int:
    with house.database.begin() as connection:
        return subscribe(
            connection,
            action,  # type: ignore[arg-type]
            """SELECT f.id AS file_id, s.id AS site_id FROM datasets d JOIN blocks b ON b.dataset_id = d.id
            JOIN files f ON f.block_id = b.id, sites s WHERE d.name = :dataset AND s.name = :site""",
            origin="test",
            params={"dataset": DATASET if action == "delete" else "/Muons/Run2025B-v1/AOD", "site": site},
        ).num_created


@pytest.mark.parametrize(("dag_id", "point"), POINTS, ids=[f"{dag_id}: {point}" for dag_id, point in POINTS])
def test_killed_and_cleared(stocked: House, dag_id: str, point: str) -> None:
    number = subscription(stocked, "copy" if dag_id == "transfers" else "delete", "T2_CC")
    before = stocked.prove().differences
    killed = subprocess.run(
        [sys.executable, "-m", "tests.chaos.dag_worker", dag_id, MOMENT.isoformat(), point],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'plugins'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-3000:]
    again = stocked.run(dag_id, logical_date=MOMENT)  # clears the run of that date and runs it once more
    assert again.state == "success", stocked.last_mail_text()
    assert stocked.rows("SELECT state, count(*) FROM subscriptions GROUP BY 1") == [("done", number)]
    assert stocked.prove().differences == before
    if dag_id == "transfers":
        assert stocked.rows("SELECT state, count(*) FROM transfer_batches GROUP BY 1") == [("finished", 1)]
        assert stocked.grid._fts is not None
        assert [job.job_state for job in stocked.grid._fts.store.jobs.values()] == ["FINISHED"]
    TABLES.setdefault("a DAG run killed with -9, cleared and run again", [("DAG", "point", "died of", "")]).append(
        (dag_id, point, "SIGKILL", "all well")
    )
