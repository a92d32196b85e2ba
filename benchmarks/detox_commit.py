"""What a Detox commit costs: deletions, files, locks and history on the embedded PostgreSQL; CPU s of both sides.

python -m benchmarks.detox_commit                         # 100 k deletions, 1 M files, 10 k locks
python -m benchmarks.detox_commit --deletions 1000000     # 1 M deletions, 10 M files
"""

from __future__ import annotations

import argparse
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import polars as pl
import psutil
from sqlalchemy import text

from dynamo_ops.database import embedded, migrate
from dynamo_ops.database.connection import Database
from dynamo_ops.detox import commit as module
from dynamo_ops.detox.commit import commit
from dynamo_ops.detox.enforced import ENFORCED
from dynamo_ops.detox.engine.plan import POLICY_LINES
from dynamo_ops.plan import store as plan_store
from dynamo_ops.plan.inputs import DetoxInputs
from dynamo_ops.plan.verdict import GATE, approve
from dynamo_ops.policy.language.source import SourceText

Result = TypeVar("Result")
FOLDER = Path(tempfile.mkdtemp(prefix="dynamo-bench-"))
FILES, BLOCKS_PER_DATASET = 10, 10
STEPS = (
    "_load",
    "recheck",
    "let_go",
    "_reown",
    "record_plan",
    "mark_committed",
)
FILL = (
    "INSERT INTO groups (name, ownership_level) VALUES ('ops', 'dataset')",
    """INSERT INTO sites (name, storage_type, status)
       SELECT 'T2_' || n, 'disk', 'ready' FROM generate_series(1, 50) n""",
    """INSERT INTO datasets (name, status, is_open, last_update_at)
       SELECT '/P' || n % 5000 || '/Era-v1-' || n || '/AOD', 'valid', false, now()
       FROM generate_series(1, :datasets) n""",
    """INSERT INTO blocks (dataset_id, name, is_open, size_bytes, num_files, last_update_at)
       SELECT d.id, 'b' || b, false, 1000000, :files, now() FROM datasets d, generate_series(1, :per_dataset) b""",
    """INSERT INTO files (block_id, lfn, size_bytes)
       SELECT b.id, '/store/data/' || b.id || '/' || f || '.root', 100000
       FROM blocks b, generate_series(1, :files) f""",
    """INSERT INTO dataset_replicas (dataset_id, site_id)
       SELECT d.id, 1 + (d.id + c * 7) % 50 FROM datasets d, generate_series(0, 1) c""",
    """INSERT INTO block_replicas (block_id, site_id, dataset_id, group_id, is_complete, size_bytes, last_update_at)
       SELECT b.id, r.site_id, b.dataset_id, 1, true, b.size_bytes, now()
       FROM blocks b JOIN dataset_replicas r USING (dataset_id)""",
    """INSERT INTO locks (item, sites, reason, created_by)
       SELECT d.name || CASE d.id % 3 WHEN 0 THEN '' WHEN 1 THEN '#b' || d.id % 10 ELSE '*' END,
              CASE d.id % 2 WHEN 0 THEN 'T2_' || d.id % 50 ELSE '' END, 'benchmark', 'nobody'
       FROM datasets d ORDER BY d.id DESC LIMIT :locks""",
    "ANALYZE",
)


def main() -> None:
    """Fill, plan by hand, commit; print what each part took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--deletions", type=int, default=100_000)
    parser.add_argument("--locks", type=int, default=10_000)
    arguments = parser.parse_args()
    server = embedded.start(FOLDER / "postgres", create=True)
    try:
        server.create_database("bench")
        database = Database(server.url("bench"))
        migrate.upgrade(database)
        values = {
            "datasets": arguments.deletions // BLOCKS_PER_DATASET,
            "per_dataset": BLOCKS_PER_DATASET,
            "files": FILES,
            "locks": arguments.locks,
        }
        _measured("filled", lambda: _fill(database, values))
        plan_id = _measured("plan stored", lambda: _plan(database, FOLDER / "frames"))
        for name in STEPS:
            setattr(module, name, _timed(getattr(module, name), f"  {name}"))
        summary = _measured("commit", lambda: commit(database, plan_id))
        print(summary)
        print(f"peak memory of Python {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")
    finally:
        embedded.stop(FOLDER / "postgres")
        shutil.rmtree(FOLDER, ignore_errors=True)


def _fill(database: Database, values: dict[str, int]) -> None:
    for statement in FILL:
        with database.begin() as connection:
            connection.execute(text(statement), values)


def _plan(database: Database, folder: Path) -> int:
    """A plan that deletes one of the two copies of every block, and says something of the other."""
    rows = database.frame("""
        SELECT r.block_id, r.dataset_id, r.site_id::bigint AS site_id, r.group_id::bigint AS group_id, r.size_bytes,
               (r.site_id = 1 + r.dataset_id % 50) AS is_going
        FROM block_replicas r""")
    deletions = rows.filter("is_going").with_columns(
        line=pl.lit(1),
        dataset_status=pl.lit("valid"),
        is_last_copy_allowed=pl.lit(False),
        whole_dataset=pl.lit(True),
    )
    said = rows.with_columns(
        decision=pl.when("is_going").then(pl.lit("delete")).otherwise(pl.lit("protect")), line=pl.lit(1)
    )
    enforced = (
        rows.group_by("dataset_id", "site_id")
        .agg(is_left=~pl.col("is_going").first())
        .with_columns(rule=pl.lit("a copy"), num_copies=pl.lit(1))
    )
    stored = plan_store.save(
        database,
        DetoxInputs(
            partition="bench",
            now=datetime.now(UTC),
            policy=SourceText("bench", "Dismiss"),
            partitions=SourceText("bench", ""),
            rules=None,
            attribute_max_age_h=1,
            deletion_per_iteration=0.01,
            protected_sites=(),
        ),
        run_key="1",
        frames={
            "deletions": deletions,
            "reowned": deletions.head(0).with_columns(from_group_id=pl.lit(1)),
            "enforced": enforced.select(pl.col(name).cast(kind) for name, kind in ENFORCED.items()),
            "replica_decisions": said.group_by("dataset_id", "site_id", "decision", "line").agg(
                num_blocks=pl.len(), size_bytes=pl.col("size_bytes").sum()
            ),
            "site_states": rows.group_by("site_id").agg(
                quota_bytes=pl.lit(10**15),
                is_triggered=pl.lit(True),
                bytes_before=pl.col("size_bytes").sum(),
                bytes_after=pl.lit(0),
                protected_bytes=pl.lit(0),
            ),
            "policy_lines": pl.DataFrame([(1, "Dismiss", 1, "Dismiss")], schema=POLICY_LINES, orient="row"),
        },
        summary={},
        location=str(folder),
    )
    approve(database, stored.id, GATE)
    return stored.id


def _measured(what: str, work: Callable[[], Result]) -> Result:
    python, server, began = time.process_time(), _server_cpu(), time.monotonic()
    found = work()
    print(
        f"{what}: {time.monotonic() - began:.1f} s, CPU {time.process_time() - python:.1f} s Python, "
        f"{_server_cpu() - server:.1f} s PostgreSQL",
        flush=True,
    )
    return found


def _timed(function: Callable[..., Result], what: str) -> Callable[..., Result]:
    return lambda *args, **kwargs: _measured(what, lambda: function(*args, **kwargs))


def _server_cpu() -> float:
    """CPU s of this benchmark's server: of its processes that are there now."""
    pid = int(next(FOLDER.rglob("postmaster.pid")).read_text().split()[0])
    return sum(sum(process.cpu_times()[:2]) for process in psutil.Process(pid).children())


if __name__ == "__main__":
    main()
