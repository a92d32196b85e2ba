"""A day of accesses at CMS scale: pull, gate, aggregation and ranks, what an access costs, and how that grows.

    python -m benchmarks.popularity                          # 100 k, 1 M and 10 M accesses
    python -m benchmarks.popularity --sizes 100000 --levels file

A PostgreSQL of its own with 20,000 datasets of 50 files at 100 sites (40,000 dataset replicas, 400,000 block
replicas), and for each size a day of Parquet drops: one record an access, as monitoring tells them, of datasets or of
files; one name in twenty is not in the inventory. As the tasks of the DAG do: the source ``files`` reads and sums up,
COPY into staging, the gate (importing Great Expectations not counted), ``replace_day``, and ``rank`` (all attributes;
its cost follows the inventory, not the day). ``again``: the same day once more, as after late data.

CPU is of client and server (the processes of PostgreSQL), memory the client's peak. ``growth``: the exponent of CPU
over accesses, without the ranks. Nothing is judged: machines differ.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from sqlalchemy import text

from benchmarks.dealer import peak_mb
from benchmarks.detox import server, server_seconds
from dynamo_ops.base.settings import Settings, SourceSettings
from dynamo_ops.database import embedded, migrate
from dynamo_ops.database.connection import Database
from dynamo_ops.popularity import tasks as steps
from dynamo_ops.popularity.days import DayOfSource
from dynamo_ops.quality.thresholds import Gates

SIZES = (100_000, 1_000_000, 10_000_000)
LEVELS = ("dataset", "file")
DATASETS, SITES, FILES_PER_DATASET, BLOCKS_PER_DATASET = 20_000, 100, 50, 10
RECORDS_PER_DROP = 1_000_000
DAY = date(2026, 3, 1)
WHAT = DayOfSource(DAY.isoformat(), "drops", "accesses")

FILL = (
    "INSERT INTO sites (name, storage_type, status) SELECT 'T2_' || n, 'disk', 'ready' FROM generate_series(0, 99) n",
    """INSERT INTO datasets (name, status, is_open, last_update_at)
       SELECT '/D' || n || '/Run2026A-PromptReco-v1/MINIAOD', 'valid', false, now() FROM generate_series(0, 19999) n""",
    """INSERT INTO blocks (dataset_id, name, is_open, num_files, size_bytes, last_update_at)
       SELECT d.id, 'b' || n, false, 5, 10000000000, now() FROM datasets d, generate_series(0, 9) n""",
    """INSERT INTO files (block_id, lfn, size_bytes)
       SELECT b.id, '/store/data/Run2026A/D' || b.dataset_id - 1 || '/MINIAOD/' || b.name || '/' || n || '.root',
              2000000000 FROM blocks b, generate_series(0, 4) n""",
    """INSERT INTO block_replicas (block_id, site_id, dataset_id, is_complete, size_bytes, last_update_at)
       SELECT b.id, 1 + (b.dataset_id * 7 + k * 31) % 100, b.dataset_id, true, b.size_bytes, now() - interval '90 days'
       FROM blocks b, generate_series(0, 1) k""",
    "ANALYZE",
)


def main() -> None:
    """Measure each size in a process of its own, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES)
    parser.add_argument("--levels", nargs="*", default=LEVELS, choices=LEVELS)
    parser.add_argument("--inside", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.inside:
        print(json.dumps(inside(*arguments.inside)))
        return
    for level in arguments.levels:
        print_table(level, [run_size(level, size) for size in arguments.sizes])


def run_size(level: str, size: int) -> dict[str, Any]:
    """The figures of one size: steps by name, each with wall, client and server seconds and memory."""
    print(f"{level}, {size:,} accesses …", file=sys.stderr, flush=True)
    with server() as (postgres, folder):
        postgres.create_database("bench")
        db = Database(postgres.url("bench"))
        migrate.upgrade(db)
        for statement in FILL:
            with db.begin() as connection:
                connection.execute(text(statement))
        db.dispose()
        command = [sys.executable, "-m", "benchmarks.popularity", "--inside"]
        for purpose in ("write", "measure"):
            done = subprocess.run(
                [*command, purpose, level, str(size), str(folder)], stdout=subprocess.PIPE, text=True, check=True
            )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def inside(purpose: str, level: str, size: str, folder: str) -> dict[str, Any]:
    """Write the drops, or measure; each in a process of its own, so that memory is that of the work."""
    drops = Path(folder) / "drops"
    if purpose == "write":
        drops.mkdir()
        write_drops(drops, level, int(size))
        return {}
    return measure(Path(folder), drops, level, int(size))


def write_drops(drops: Path, level: str, size: int) -> None:
    """Some datasets are read much more than others, as it is."""
    chance = np.random.default_rng(7)
    for number, start in enumerate(range(0, size, RECORDS_PER_DROP)):
        rows = min(RECORDS_PER_DROP, size - start)
        dataset = (DATASETS * 1.05 * chance.random(rows) ** 2).astype(np.int64)
        place = pl.DataFrame({"d": dataset, "b": chance.integers(0, BLOCKS_PER_DATASET, rows)})
        place = place.with_columns(f=pl.Series(chance.integers(0, 5, rows)))
        name = (
            pl.format("/D{}/Run2026A-PromptReco-v1/MINIAOD", "d").alias("dataset")
            if level == "dataset"
            else pl.format("/store/data/Run2026A/D{}/MINIAOD/b{}/{}.root", "d", "b", "f").alias("lfn")
        )
        sites = pl.format("T2_{}", pl.Series((place["d"] * 7 + 31 * place["f"].clip(0, 1)) % SITES)).alias("site")
        frame = place.select(name, sites, day=pl.lit(DAY), num_accesses=pl.lit(1, pl.Int64))
        frame.write_parquet(drops / f"{DAY}-{number:03d}.parquet")


def measure(folder: Path, drops: Path, level: str, size: int) -> dict[str, Any]:
    """All steps of the day, twice."""
    import great_expectations  # noqa: F401

    from dynamo_ops.quality.suites.accesses import check_accesses

    postgres = embedded.find(folder / "postgres")
    assert postgres is not None
    db = Database(postgres.url("bench"))
    options = {"path": f"{drops}/{{day:%Y-%m-%d}}-*.parquet", "level": level}
    settings = Settings(home=folder, access_sources=[SourceSettings(name="drops", type="files", options=options)])
    found: dict[str, dict[str, float]] = {}

    def step(name: str, work: Callable[[], Any]) -> None:
        before = time.perf_counter(), time.process_time(), server_seconds(postgres)
        work()
        after = time.perf_counter(), time.process_time(), server_seconds(postgres)
        wall, client, server_s = (a - b for a, b in zip(after, before, strict=True))
        found[name] = {"wall_s": wall, "client_s": client, "server_s": server_s, "peak_mb": peak_mb()}

    for run, suffix in (("first", ""), ("second", ", again")):
        key = steps.staging_key(run, WHAT.day)
        step("pull, staging" + suffix, lambda run=run: steps.pull(db, settings, run, WHAT))
        step("gate" + suffix, lambda key=key: check_accesses(db, key, WHAT.day, ["drops"], Gates()))
        step("replace_day" + suffix, lambda run=run: steps.replace_day(db, run, WHAT))
        step("rank" + suffix, lambda: steps.rank(db, settings))
    return {"size": size, "steps": found}


def print_table(level: str, results: list[dict[str, Any]]) -> None:
    """A line a step and size, then the sum of all but the ranks."""
    print(f"\naccesses by {level}")
    print(
        f"{'accesses':>12}  {'step':<22}{'wall s':>8}{'client s':>10}{'server s':>10}{'CPU ms each':>13}{'peak MB':>9}"
    )
    before: tuple[int, float] | None = None
    for result in results:
        size = result["size"]
        for name, took in result["steps"].items():
            print_line(size, name, took)
        counted = [took for name, took in result["steps"].items() if "rank" not in name and "again" not in name]
        total = {key: sum(each[key] for each in counted) for key in ("wall_s", "client_s", "server_s")}
        print_line(size, "a day, without ranks", {**total, "peak_mb": max(each["peak_mb"] for each in counted)})
        cpu = total["client_s"] + total["server_s"]
        if before:
            print(f"{'':>14}growth {math.log(cpu / before[1]) / math.log(size / before[0]):.2f}")
        before = (size, cpu)


def print_line(size: int, name: str, took: dict[str, float]) -> None:
    """One line of the table."""
    each = 1000 * (took["client_s"] + took["server_s"]) / size
    print(
        f"{size:>12,}  {name:<22}{took['wall_s']:>8.1f}{took['client_s']:>10.1f}{took['server_s']:>10.1f}"
        f"{each:>13.4f}{took['peak_mb']:>9.0f}"
    )


if __name__ == "__main__":
    main()
