"""The last Detox cycle: of the newest committed plan, or of a file."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl
import pytest

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.database.connection import Database
from dynamo_ops.dealer.detox_cycle import cycle_of_file, last_cycle
from dynamo_ops.dealer.engine.plugin import DETOX_DECISIONS
from dynamo_ops.plan import store as plan_store
from dynamo_ops.plan.verdict import GATE, approve
from tests.detox.small import small_inventory
from tests.detox.test_tasks import House
from tests.inventory.factory import SIZE
from tests.plan.made_of import made_of

LINES = [
    (0, "Dismiss"),
    (1, "Protect  replica.incomplete"),
    (2, "DeleteBlock blockreplica.owner == None until 2030-01-01"),
]
ROWS = [(10, 1, "protect", 1, 3, 300), (10, 2, "delete", 2, 1, 100), (11, 1, "keep", 0, 2, 200)]
Store = Callable[..., int]


@pytest.fixture
def store(database: Database, tmp_path: Path) -> Store:
    """Stores a Detox plan; ``rows``: dataset, site, decision, line, blocks, bytes."""

    def save(rows: Sequence[tuple[object, ...]] = ROWS, *, state: str = "committed", **named: str) -> int:
        decisions = pl.DataFrame(
            rows,
            schema={
                "dataset_id": pl.Int64,
                "site_id": pl.Int64,
                "decision": pl.String,
                "line": pl.Int32,
                "num_blocks": pl.Int64,
                "size_bytes": pl.Int64,
            },
            orient="row",
        )
        lines = pl.DataFrame(LINES, schema={"line": pl.Int32, "text": pl.String}, orient="row")
        run_key = named.pop("run_key", "run")
        plan = plan_store.save(
            database,
            made_of(**named),
            run_key=run_key,
            frames={"replica_decisions": decisions, "policy_lines": lines},
            summary={},
            location=str(tmp_path),
        )
        if state != "planned":
            approve(database, plan.id, GATE)
        if state == "committed":
            with database.begin() as connection:
                plan_store.mark_committed(connection, plan, {})
        return plan.id

    return save


def test_the_newest_committed_plan_of_the_partition(database: Database, store: Store) -> None:
    store(ROWS[:1], run_key="1")
    newest = store(run_key="2")
    store(ROWS[:1], run_key="3", state="approved")
    store(ROWS[:1], run_key="4", partition="express")
    store(ROWS[:1], run_key="5", kind="dealer")
    found = last_cycle(database, "physics")
    assert found is not None
    assert found.plan_id == newest
    assert dict(found.decisions.schema) == dict(DETOX_DECISIONS)
    assert found.decisions.rows() == [
        (10, 1, "protect", "replica.incomplete", 300),
        (10, 2, "delete", "blockreplica.owner == None until 2030-01-01", 100),
        (11, 1, "keep", None, 200),
    ]


def test_there_is_none_until_one_is_committed(database: Database, store: Store) -> None:
    assert last_cycle(database, "physics") is None
    store(state="planned")
    assert last_cycle(database, "physics") is None


def test_a_plan_whose_frames_are_archived_is_none(database: Database, store: Store) -> None:
    folder = Path(plan_store.load(database, store()).location)
    (folder / "policy_lines.parquet").unlink()
    assert last_cycle(database, "physics") is None


def test_what_detox_stores_and_commits_can_be_read(database: Database, tmp_path: Path) -> None:
    house = House(database, tmp_path)
    house.policy("Protect site.name == T2_B\nDismiss\nOrder increasing replica.size\n")
    plan = house.plan()
    house.gate(plan)
    assert last_cycle(database, "all") is None
    house.commit(plan)
    found = last_cycle(database, "all")
    assert found is not None
    rows = found.decisions.select("site_id", "decision", "reason", "size_bytes").sort("site_id").rows()
    a, b = house.site_ids["T2_A"], house.site_ids["T2_B"]
    assert rows == [(a, "delete", None, 4 * SIZE), (b, "protect", "site.name == T2_B", 4 * SIZE)]


FRAMES = small_inventory([("/a", "T2_A"), ("/b", "T2_B")])
FILE = """site,dataset,size,decision,reason
T2_A,/a,200,protect,replica.incomplete
T2_B,/b,7,IGNORED,
T2_A,/b,0,reowned_out," dataset.name in [/a /b] "
"""


@pytest.mark.parametrize("is_gzipped", [False, True], ids=["plain", "gzipped"])
def test_a_file(tmp_path: Path, is_gzipped: bool) -> None:
    file = tmp_path / ("cycle.csv.gz" if is_gzipped else "cycle.csv")
    file.write_bytes(gzip.compress(FILE.encode()) if is_gzipped else FILE.encode())
    found = cycle_of_file(file, FRAMES)
    assert found.plan_id is None
    assert dict(found.decisions.schema) == dict(DETOX_DECISIONS)
    assert found.decisions.rows() == [
        (0, 0, "protect", "replica.incomplete", 200),
        (1, 1, "ignore", None, 7),
        (1, 0, "reowned", "dataset.name in [/a /b]", 0),
    ]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        pytest.param("T2_B,/b", "T2_BB,/b", r"unknown site 'T2_BB'\. Did you mean T2_B", id="site"),
        pytest.param(",/a,200", ",/aa,200", r"unknown dataset '/aa'\. Did you mean /a", id="dataset"),
        pytest.param("protect", "protct", r"unknown decision 'protct'\. Did you mean protect", id="decision"),
        pytest.param(",200,", ",much,", "size 'much' is no whole number of bytes", id="size"),
        pytest.param("dataset,size", "dataset,bytes", "lacks the columns size", id="column"),
        pytest.param("T2_A", "", "unknown site ''", id="no site"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, old: str, new: str, says: str) -> None:
    file = tmp_path / "cycle.csv"
    file.write_text(FILE.replace(old, new))
    with pytest.raises(InventoryError, match=says):
        cycle_of_file(file, FRAMES)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InventoryError, match=r"none\.csv: the Detox decisions cannot be read"):
        cycle_of_file(tmp_path / "none.csv", FRAMES)


def test_many_unknown_names_are_not_all_said(tmp_path: Path) -> None:
    file = tmp_path / "cycle.csv"
    file.write_text("site,dataset,size,decision,reason\n" + "".join(f"T2_A,/x{n},1,keep,\n" for n in range(9)))
    with pytest.raises(InventoryError, match="unknown dataset '/x0', '/x1', '/x2' and 6 more") as caught:
        cycle_of_file(file, FRAMES)
    assert len(caught.value.facts["unknown"]) == 9  # type: ignore[arg-type]
