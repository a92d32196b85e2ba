"""Detox at CMS scale: from PostgreSQL to the stored plan, for images of growing size; CPU s, peak memory, growth.

    python -m benchmarks.detox                      # 15 k, 46 k, 182 k and 5 M dataset replicas
    python -m benchmarks.detox --sizes 15000 46000

For each size a seeded inventory (``benchmarks.synthetic``, 100 sites) is written into a fresh database, and one process
makes and stores one plan under a policy of 25 lines: what the task ``plan`` of the DAG does. CPU seconds are those of
that process; what the database server spent in the meantime stands beside them. Nothing is judged: machines differ.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import psutil
from sqlalchemy import text

from benchmarks.synthetic import NOW, inventory
from dynamo_ops.base.settings import Settings
from dynamo_ops.database import embedded, migrate
from dynamo_ops.database.connection import Database, insert_frame
from dynamo_ops.detox import tasks as steps
from dynamo_ops.detox.engine import plan
from dynamo_ops.detox.engine.cycle import Cycle
from dynamo_ops.inventory.frames import InventoryFrames
from dynamo_ops.plan import store as plan_store

SIZES = (15_000, 46_000, 182_000, 5_000_000)
BLOCK_REPLICAS = 1.2
POLICY = Path(__file__).with_name("policy_25_lines.txt")
PARTITION = "Physics"
STAGES = {
    (steps, "read_inventory"): "read from PostgreSQL",
    (plan, "load_state"): "lay out",
    (Cycle, "run"): "evaluate and delete",
    (plan, "_plan"): "name the decisions",
    (steps, "deletion_facts"): "facts for gate and commit",
    (plan_store, "save"): "store",
}
"""Functions that are timed; they do not call each other."""


def main() -> None:
    """Run all sizes and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="dataset replicas")
    parser.add_argument("--blocks", type=float, default=BLOCK_REPLICAS, help="block replicas a dataset replica, mean")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.url:
        print(json.dumps(plan_once(options.url, Path(options.folder))))
        return
    found = [run_size(size, options.blocks, options.seed) for size in sorted(options.sizes)]
    print_table(found)


def run_size(size: int, blocks: float, seed: int) -> dict[str, Any]:
    """The figures of one size."""
    frames = inventory(size, blocks_per_dataset=blocks, seed=seed)
    counts = {"dataset_replicas": frames.dataset_replicas.height, "block_replicas": frames.block_replicas.height}
    print(f"{counts['dataset_replicas']:,} dataset replicas: loading …", file=sys.stderr, flush=True)
    with server() as (postgres, folder):
        postgres.create_database("bench")
        url = postgres.url("bench")
        load(Database(url), frames)
        del frames
        before = server_seconds(postgres)
        command = [sys.executable, "-m", "benchmarks.detox", "--url", url, "--folder", str(folder / "home")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr)
        return {**counts, **json.loads(done.stdout.splitlines()[-1]), "server_s": server_seconds(postgres) - before}


@contextmanager
def server() -> Iterator[tuple[embedded.EmbeddedPostgres, Path]]:
    """A PostgreSQL of its own, and a folder; both gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="dynamo-bench-"))
    try:
        yield embedded.start(folder / "postgres", durable=False, create=True), folder
    finally:
        embedded.stop(folder / "postgres")
        shutil.rmtree(folder, ignore_errors=True)


def server_seconds(postgres: embedded.EmbeddedPostgres) -> float:
    """CPU seconds of the database server, with those of its processes that have ended."""
    postmaster = psutil.Process(int(next(postgres.folder.rglob("postmaster.pid")).read_text().splitlines()[0]))
    times = []
    for process in (postmaster, *postmaster.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended: among the reaped
            times.append(process.cpu_times())
    reaped = postmaster.cpu_times()
    return sum(t.user + t.system for t in times) + reaped.children_user + reaped.children_system


def load(database: Database, frames: InventoryFrames) -> None:
    """Write the frames as an inventory; foreign keys are not checked meanwhile."""
    migrate.upgrade(database)
    tables = {
        "sites": frames.sites.rename({"site_id": "id", "site": "name"}),
        "groups": frames.groups.rename({"group_id": "id", "group": "name"}),
        "datasets": frames.datasets.rename({"dataset_id": "id", "dataset": "name"}),
        "blocks": frames.blocks.rename({"block_id": "id", "block": "name"}).with_columns(is_open=pl.lit(False)),
        "dataset_replicas": frames.dataset_replicas,
        "block_replicas": frames.block_replicas,
        "quotas": frames.quotas.with_columns(changed_by=pl.lit("bench")),
        "locks": frames.locks.with_columns(reason=pl.lit("bench"), created_by=pl.lit("bench")),
        "attributes": frames.attributes.with_columns(producer=pl.lit("bench")),
        "dataset_attributes": frames.attribute_values,
    }
    with database.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        for name, frame in tables.items():
            for part in frame.iter_slices(500_000):
                insert_frame(connection, name, part)
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))
    database.dispose()


def plan_once(url: str, home: Path) -> dict[str, Any]:
    """One plan, as the task ``plan`` makes it, in this process; the figures."""
    (home / "policies").mkdir(parents=True)
    (home / "config").mkdir()
    shutil.copy(POLICY, home / "policies" / f"{PARTITION}.txt")
    (home / "config" / "partitions.txt").write_text(f"{PARTITION}: dataset.name == *\n")
    (home / "config" / "gates.yaml").write_text("{}\n")
    settings = Settings(db_url=url, home=home, policy_dir=home / "policies", config_dir=home / "config")
    database = Database(url)
    seconds = dict.fromkeys(STAGES.values(), 0.0)
    for (owner, function), name in STAGES.items():
        setattr(owner, function, timed(getattr(owner, function), seconds, name))
    imported, wall = time.process_time(), time.perf_counter()
    plan_id = steps.plan_cycle(database, settings, PARTITION, run_key="bench", now=NOW)
    cpu, wall = time.process_time() - imported, time.perf_counter() - wall
    with database.begin() as connection:
        summary = connection.execute(text("SELECT summary FROM plans WHERE id = :id"), {"id": plan_id}).scalar_one()
    return {
        "cpu_s": cpu,
        "wall_s": wall,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "deletions": summary["num_deletions"],
        "seconds": {**seconds, "all else": cpu - sum(seconds.values())},
    }


def timed(function: Callable[..., Any], seconds: dict[str, float], name: str) -> Callable[..., Any]:
    """``function``, adding the CPU seconds of each call to ``seconds[name]``."""

    def measured(*args: Any, **kwargs: Any) -> Any:
        started = time.process_time()
        try:
            return function(*args, **kwargs)
        finally:
            seconds[name] += time.process_time() - started

    return measured


def print_table(found: list[dict[str, Any]]) -> None:
    """One line a size; the growth is the exponent of CPU seconds over dataset replicas, against the line above."""
    largest = found[-1]
    print("dataset replicas  block replicas    deleted   CPU s  wall s  server s  peak MB  of largest  growth")
    for last, row in zip([None, *found], found, strict=False):
        print(
            f"{row['dataset_replicas']:>16,} {row['block_replicas']:>15,} {row['deletions']:>10,} {row['cpu_s']:>7.2f} "
            f"{row['wall_s']:>7.2f} {row['server_s']:>9.2f} {row['peak_mb']:>8,.0f} "
            f"{row['cpu_s'] / largest['cpu_s']:>11.3f} {f'{growth(last, row):.2f}' if last else '-':>7}"
        )
    if len(found) > 1:
        print(f"over all sizes: CPU s grows as replicas^{growth(found[0], largest):.2f}")
    for row in found:
        stages = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in row["seconds"].items())
        print(f"{row['dataset_replicas']:,}: {stages}")


def growth(small: dict[str, Any], big: dict[str, Any]) -> float:
    """The exponent of CPU seconds over dataset replicas."""
    replicas = big["dataset_replicas"] / small["dataset_replicas"]
    return math.log(big["cpu_s"] / small["cpu_s"]) / math.log(replicas)


if __name__ == "__main__":
    main()
