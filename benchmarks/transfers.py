"""Transfers at CMS scale: choosing and batching of queued subscriptions, what a file costs from queue to inventory.

    python -m benchmarks.transfers                        # plan 10 k, 100 k and 1 M subscriptions; move 20 k files
    python -m benchmarks.transfers --sizes 10000 --files 2000

``plan``: a PostgreSQL of its own, 100 sites (7 with tape), 20 files a block, three holders a block; every subscription
is for a site that lacks the file, one in ten has failed before. Then, as the tasks of the DAG do: ``hold_and_release``,
and ``plan_batches`` with no limit but the size, so that all of them are chosen, cut and recorded in one transaction.

``cycle``: a pocket grid (its own process) with real files of a kilobyte; the tasks of the DAG, with all that they do:
recover → hold → plan → submit in jobs of 200 → poll as the trigger does → apply, until all files are in the inventory,
→ read back. CPU seconds are those of this process, which
are Dynamo's, and those of the server; the grid's are not counted. SQL statements are those sent to PostgreSQL, COPY
included, without BEGIN and COMMIT. Airflow's own cost a task is not in it. Nothing is judged: machines differ.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from sqlalchemy import event, text

from benchmarks.dealer import peak_mb
from benchmarks.detox import server, server_seconds
from dynamo_ops.base.settings import Settings
from dynamo_ops.database import connection as database_module
from dynamo_ops.database import migrate
from dynamo_ops.database.connection import Database
from dynamo_ops.fts import watch
from dynamo_ops.fts.identity import FtsIdentity
from dynamo_ops.transfer import batches, hold, observe, tasks
from dynamo_ops.transfer.submission.limits import TransferLimits

SIZES = (10_000, 100_000, 1_000_000)
FILES = 20_000
FILES_PER_BLOCK = 20
NOBODY = FtsIdentity("/CN=bench", "01874efb-4735-4595-bc9c-591aef8240c9", "cms", "c3a622c34b769920", "certificate")
ALL = 100_000_000
BOUNDS = (
    "files_per_cycle",
    "files_in_flight",
    "files_to_site",
    "files_from_site",
    "files_per_link",
    "files_staging_per_site",
    "look_ahead",
)
UNLIMITED = TransferLimits(**dict.fromkeys(BOUNDS, ALL))

FILL = (
    """INSERT INTO sites (name, storage_type, status)
       SELECT CASE WHEN n < 7 THEN 'T1_' ELSE 'T2_' END || n, CASE WHEN n < 7 THEN 'mss' ELSE 'disk' END, 'ready'
       FROM generate_series(0, 99) n""",
    "INSERT INTO site_endpoints (site_id, protocol, prefix) SELECT id, 'davs', 'davs://' || name FROM sites",
    "INSERT INTO groups (name, ownership_level) VALUES ('ops', 'dataset')",
    """INSERT INTO datasets (name, status, is_open, last_update_at)
       SELECT '/D' || n || '/R-v1/AOD', 'valid', false, now() FROM generate_series(1, :blocks / 25 + 1) n""",
    """INSERT INTO blocks (dataset_id, name, is_open, num_files, size_bytes, last_update_at)
       SELECT 1 + n / 25, 'b' || n, false, :per_block, :per_block * CAST(2000000000 AS bigint), now()
       FROM generate_series(0, :blocks - 1) n""",
    """INSERT INTO files (block_id, lfn, size_bytes, adler32)
       SELECT b.id, '/store/data/d' || b.dataset_id || '/b' || b.id || '/f' || n || '.root', 2000000000, '0a1b2c3d'
       FROM blocks b, generate_series(1, :per_block) n""",
    """INSERT INTO block_replicas (block_id, site_id, dataset_id, group_id, is_complete, size_bytes, last_update_at)
       SELECT b.id, 1 + (b.id * 7 + k * 31) % 100, b.dataset_id, 1, true, b.size_bytes, now()
       FROM blocks b, generate_series(0, 2) k""",
    """INSERT INTO subscriptions
       (file_id, site_id, action, origin, activity, state, num_attempts, created_at, updated_at)
       SELECT f.id, 8 + (f.block_id * 13 + 5) % 93, 'copy', 'dealer', CASE WHEN f.block_id % 5 = 0 THEN 'request'
              ELSE 'rebalancing' END, CASE WHEN f.id % 10 = 0 THEN 'retry' ELSE 'new' END,
              CASE WHEN f.id % 10 = 0 THEN 1 ELSE 0 END, now() - f.id % 1000 * interval '1 minute',
              now() - interval '1 day'
       FROM files f""",
    """INSERT INTO transfer_batches (sid, job_id, site_id, is_staging, state)
       SELECT 'old', gen_random_uuid(), 8, false, 'finished'""",
    """INSERT INTO transfers (batch_id, subscription_id, file_index, source_site_id, state, is_recoverable, size_bytes)
       SELECT 1, s.id, s.id, 1 + (f.block_id * 7) % 100, 'failed', true, f.size_bytes
       FROM subscriptions s JOIN files f ON f.id = s.file_id WHERE s.state = 'retry'""",
    """DELETE FROM subscriptions s USING files f WHERE f.id = s.file_id AND s.state = 'new' AND EXISTS (
       SELECT FROM block_replicas r WHERE r.block_id = f.block_id AND r.site_id = s.site_id)""",
    "ANALYZE",
)


def main() -> None:
    """Measure each size in a process of its own, and print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES)
    parser.add_argument("--files", type=int, default=FILES)
    parser.add_argument("--inside", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.inside:
        what, *rest = arguments.inside
        print(json.dumps(plan_once(*rest) if what == "plan" else cycle_once(*rest)))
        return
    print_plans([plan_size(size) for size in arguments.sizes])
    if arguments.files:
        print_cycle(cycle_size(arguments.files))


# -- choosing and batching -------------------------------------------------------------------------------------------


def plan_size(size: int) -> dict[str, Any]:
    """Fill a database with about ``size`` subscriptions, and plan them."""
    with server() as (postgres, _):
        postgres.create_database("bench")
        db = Database(postgres.url("bench"))
        migrate.upgrade(db)
        values = {"blocks": math.ceil(size / FILES_PER_BLOCK), "per_block": FILES_PER_BLOCK}
        for statement in FILL:
            with db.begin() as connection:
                connection.execute(text(statement), values)
        db.dispose()
        before = server_seconds(postgres)
        found = inside("plan", postgres.url("bench"))
        return found | {"server_s": server_seconds(postgres) - before}


def plan_once(url: str) -> dict[str, Any]:
    """What ``hold_and_release`` and ``plan_batches`` take on this database."""
    db = Database(url)
    with db.begin() as connection:
        num_subscriptions = connection.execute(text("SELECT count(*) FROM subscriptions")).scalar_one()
    idle_mb = peak_mb()
    started, cpu = time.perf_counter(), time.process_time()
    hold.hold_and_release(db)
    held = time.perf_counter()
    held_cpu = time.process_time()
    planned = batches.plan_batches(db, NOBODY, UNLIMITED)
    return {
        "num_subscriptions": num_subscriptions,
        "num_files": planned.num_files,
        "num_batches": len(planned.all),
        "hold_s": held - started,
        "plan_s": time.perf_counter() - held,
        "hold_cpu_s": held_cpu - cpu,
        "plan_cpu_s": time.process_time() - held_cpu,
        "peak_mb": peak_mb(),
        "idle_mb": idle_mb,
    }


def inside(*arguments: str) -> dict[str, Any]:
    """One measurement in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.transfers", "--inside", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


# -- a file's way, end to end ----------------------------------------------------------------------------------------


def cycle_size(num_files: int) -> dict[str, Any]:
    """Files on a pocket grid, subscriptions for all of them, and the whole way."""
    blocks = math.ceil(num_files / FILES_PER_BLOCK)
    with server() as (postgres, folder):
        postgres.create_database("bench")
        scenario = folder / "scenario.json"  # JSON is YAML
        scenario.write_text(json.dumps(grid_of(blocks)))
        command = [sys.executable, "-m", "simgrid", "serve", "--scenario", str(scenario), "--dir", str(folder / "grid")]
        grid = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert grid.stdout is not None
            assert "serving" in grid.stdout.readline()
            fill_from_grid(Database(postgres.url("bench")), folder / "grid")
            before = server_seconds(postgres)
            found = inside("cycle", postgres.url("bench"), str(folder / "grid" / "simgrid.json"))
            return found | {"server_s": server_seconds(postgres) - before}
        finally:
            grid.terminate()
            grid.wait()


def grid_of(blocks: int) -> dict[str, Any]:
    """Two sites with everything, four with nothing."""
    names = [f"T2_{letter}" for letter in "ABCDEF"]
    return {
        "sites": [{"name": name} for name in names],
        "groups": [{"name": "ops"}],
        "fts": {"workers": 8, "per_link": 8},
        "time_scale": 0.01,
        "generators": [
            {
                "name": "/Sim{n:05d}/Run2026A-v1/{tier}",
                "count": math.ceil(blocks / 25),
                "blocks": 25,
                "files_per_block": FILES_PER_BLOCK,
                "file_size_bytes": [500, 1500],
            }
        ],
        "replicas": [{"dataset": "*", "sites": names[:2], "group": "ops"}],
    }


def fill_from_grid(db: Database, folder: Path) -> None:
    """The grid's sites and files as an inventory, with a subscription for every file at one of the empty sites."""
    migrate.upgrade(db)
    endpoints = json.loads((folder / "simgrid.json").read_text())
    catalogue = json.loads((folder / "catalogue.json").read_text())
    with db.begin() as connection:
        raw = connection.connection.cursor()
        for name, site in endpoints["sites"].items():
            raw.execute("INSERT INTO sites (name, storage_type, status) VALUES (%s, 'disk', 'ready')", (name,))
            raw.execute(
                "INSERT INTO site_endpoints (site_id, protocol, prefix) SELECT max(id), 'davs', %s FROM sites",
                (site["prefix"],),
            )
        raw.execute("INSERT INTO groups (name, ownership_level) VALUES ('ops', 'dataset')")
        for dataset in catalogue["datasets"]:
            raw.execute(
                "INSERT INTO datasets (name, status, is_open, last_update_at) VALUES (%s, 'valid', false, now())",
                (dataset["name"],),
            )
            for block in dataset["blocks"]:
                raw.execute(
                    """INSERT INTO blocks (dataset_id, name, is_open, num_files, last_update_at)
                    SELECT max(id), %s, false, %s, now() FROM datasets""",
                    (block["name"], len(block["files"])),
                )
                for file in block["files"]:
                    raw.execute(
                        """INSERT INTO files (block_id, lfn, size_bytes, adler32)
                        SELECT max(id), %s, %s, %s FROM blocks""",
                        (file["lfn"], file["size"], file["adler32"]),
                    )
        raw.execute(
            """INSERT INTO block_replicas
            (block_id, site_id, dataset_id, group_id, is_complete, size_bytes, last_update_at)
            SELECT b.id, s, b.dataset_id, 1, true, 1, now() FROM blocks b, generate_series(1, 2) s"""
        )
        raw.execute(
            """INSERT INTO subscriptions (file_id, site_id, action, origin)
            SELECT id, 3 + block_id % 4, 'copy', 'dealer' FROM files"""
        )
        raw.execute("ANALYZE")


def cycle_once(url: str, grid: str) -> dict[str, Any]:
    """The tasks of the DAG one after another, with their CPU seconds and statements."""
    db, ends = Database(url), json.loads(Path(grid).read_text())
    statements = counted(db)
    seconds: dict[str, float] = {}
    sent: dict[str, int] = {}

    def step(name: str, work: Any) -> Any:
        started, count = time.process_time(), len(statements)
        result = work()
        seconds[name] = seconds.get(name, 0.0) + time.process_time() - started
        sent[name] = sent.get(name, 0) + len(statements) - count
        return result

    tls = {"ca": ends["ca"], "cert": ends["user_cert"], "key": ends["user_key"]}
    unlimited = {"transfers": dict.fromkeys(BOUNDS, ALL), "fts": {"url": ends["fts"]}, "tls": tls}
    settings = Settings.model_validate(unlimited)
    begun = time.perf_counter()
    recovered = step("recover", lambda: tasks.recover(db, settings))
    step("hold", lambda: tasks.hold_and_release(db, settings))
    unsubmitted = recovered["recovered"]["unsubmitted"]
    lots = step("plan", lambda: tasks.plan_transfer_batches(db, settings, unsubmitted))
    for lot in lots:
        step("submit", lambda lot=lot: tasks.submit(db, settings, lot))
    jobs = observe.open_batch_job_ids(db)

    def poll() -> bool:
        return watch.all_ended(asyncio.run(watch.poll(ends["fts"], **tls, job_ids=jobs)))

    polls = 1
    while not step("poll", poll):
        polls += 1
        time.sleep(10)
    applied = step("apply", lambda: tasks.apply_transfers(db, settings))
    step("read back", lambda: tasks.read_copies_back(db, settings))
    num_files = db.frame("SELECT count(*) AS n FROM transfers").item()
    assert applied["num_done"] == num_files, applied
    return {
        "num_files": num_files,
        "num_jobs": sum(map(len, lots)),
        "polls": polls,
        "seconds": seconds,
        "statements": sent,
        "wall_s": time.perf_counter() - begun,
        "peak_mb": peak_mb(),
    }


def counted(db: Database) -> list[str]:
    """Every statement sent from now on, COPY included."""
    statements: list[str] = []
    event.listen(db.engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    for name in ("insert_frame", "select_frame"):
        original = getattr(database_module, name)
        for module in list(sys.modules.values()):
            if getattr(module, name, None) is original:
                setattr(module, name, _noting(original, statements))
    return statements


def _noting(function: Any, statements: list[str]) -> Any:
    def noting(*args: Any, **kwargs: Any) -> Any:
        statements.append("COPY")
        return function(*args, **kwargs)

    return noting


# -- tables ----------------------------------------------------------------------------------------------------------


def print_plans(found: list[dict[str, Any]]) -> None:
    """One line a size; growth: exponent of the planning time over files, against the line above."""
    print("\nchoosing, batching, recording")
    print("subscriptions   batches   hold s   plan s    files/s   CPU s   server CPU s   peak MB   growth")
    last: dict[str, Any] | None = None
    for row in found:
        growth = ""
        if last:
            growth = f"{math.log(row['plan_s'] / last['plan_s']) / math.log(row['num_files'] / last['num_files']):.2f}"
        print(
            f"{row['num_subscriptions']:>13,} {row['num_batches']:>9,} {row['hold_s']:>8.1f} {row['plan_s']:>8.1f}"
            f" {row['num_files'] / row['plan_s']:>10,.0f} {row['plan_cpu_s'] + row['hold_cpu_s']:>7.1f}"
            f" {row['server_s']:>14.1f} {row['peak_mb']:>9,.0f} {growth:>8}"
        )
        last = row


def print_cycle(found: dict[str, Any]) -> None:
    """A line a step, and the whole by file."""
    files = found["num_files"]
    print(f"\n{files:,} files in {found['num_jobs']} jobs, {found['polls']} polls, {found['wall_s']:.0f} s of copying")
    print("step       CPU s   CPU ms a file   statements   statements a file")
    for name, seconds in found["seconds"].items():
        sent = found["statements"][name]
        print(f"{name:<9} {seconds:>6.2f} {seconds / files * 1000:>15.4f} {sent:>12,} {sent / files:>19.4f}")
    total, sent = sum(found["seconds"].values()), sum(found["statements"].values())
    print(f"{'all':<9} {total:>6.2f} {total / files * 1000:>15.4f} {sent:>12,} {sent / files:>19.4f}")
    per_file = found["server_s"] / files * 1000
    print(f"server    {found['server_s']:>6.2f} {per_file:>15.4f}    peak memory {found['peak_mb']:,.0f} MB")


if __name__ == "__main__":
    main()
