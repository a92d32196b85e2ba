"""Ingest at CMS scale: pull, staging, gate and merge of metadata, what a file costs, and how that grows.

    python -m benchmarks.ingest                         # 10 k, 100 k and 1 M files; from Parquet, from a DBS
    python -m benchmarks.ingest --huge                  # 5 M files as well
    python -m benchmarks.ingest --sizes 10000 --dbs 0

Each size has a PostgreSQL of its own and a client process of its own. Datasets have 25 blocks of 20 files, LFNs are 90
bytes long. ``staging`` and ``merge`` are the merge path: rows that are in memory go by COPY into staging, page by page,
then into the inventory. Making the rows is not counted. The ``gate`` stands on a line of its own, and so does the pull
from a source: Parquet files read by the source ``files``, a pocket grid's DBS (a process not counted) by ``dbs``.
``again``: the same rows pulled by another run, nothing changes.

CPU is of client and server (the processes of PostgreSQL); memory the client's peak, and the server's without what its
processes share. ``growth``: the exponent of CPU over files. Nothing is judged: machines differ.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import psutil

from benchmarks.dealer import peak_mb
from benchmarks.detox import server, server_seconds
from dynamo_ops.base.settings import Settings
from dynamo_ops.database import embedded, migrate
from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.catalogue.merge import merge_metadata
from dynamo_ops.inventory.staging import pull as staging
from dynamo_ops.sources import tasks as steps
from dynamo_ops.sources.source import BLOCKS, DATASETS, FILES, Details

SIZES = (10_000, 100_000, 1_000_000)
HUGE = 5_000_000
DBS_FILES = 100_000
FILES_PER_BLOCK = 20
BLOCKS_PER_DATASET = 25
FILES_PER_DATASET = FILES_PER_BLOCK * BLOCKS_PER_DATASET
DATASETS_PER_PART = 50
NOW = datetime(2026, 3, 1, tzinfo=UTC)
UNTIL = datetime.now(UTC)
SOURCE = "bench"


def main() -> None:
    """Measure each size in processes of its own, and print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES)
    parser.add_argument("--huge", action="store_true", help=f"{HUGE:,} files as well")
    parser.add_argument("--parquet", type=int, nargs="*", default=SIZES[1:], help="files to pull from Parquet")
    parser.add_argument("--dbs", type=int, default=DBS_FILES, help="files to pull from a pocket grid's DBS; 0: none")
    parser.add_argument("--no-gate", action="store_true")
    parser.add_argument("--inside", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.inside:
        print(json.dumps(inside(*arguments.inside)))
        return
    sizes = [*arguments.sizes, *([HUGE] if arguments.huge else [])]
    gate = "no gate" if arguments.no_gate else "gate"
    print_table("rows in memory", (run_size("memory", size, gate) for size in sizes))
    if arguments.parquet:
        print_table("source files, Parquet", (run_size("parquet", size, gate) for size in arguments.parquet))
    if arguments.dbs:
        print_table("source dbs, pocket grid", [run_size("dbs", arguments.dbs, gate)])


def run_size(kind: str, num_files: int, gate: str) -> dict[str, Any]:
    """The figures of one size: steps by name, each with wall, client and server seconds and memory."""
    print(f"{kind}, {num_files:,} files …", file=sys.stderr, flush=True)
    with server() as (postgres, folder):
        postgres.create_database("bench")
        migrate.upgrade(Database(postgres.url("bench")))
        with origin(kind, num_files, folder) as options:
            command = [sys.executable, "-m", "benchmarks.ingest", "--inside"]
            command += [kind, str(num_files), gate, str(folder), json.dumps(options)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def inside(kind: str, files: str, gate: str, folder: str, options: str) -> dict[str, Any]:
    """All steps, in this process."""
    postgres = embedded.find(Path(folder) / "postgres")
    assert postgres is not None
    bench = Bench(postgres, int(files), Settings(**json.loads(options)))
    stage = bench.stage if kind == "memory" else bench.pull
    first = "staging" if kind == "memory" else "pull, staging"
    for run, suffix in (("first", ""), ("second", ", again")):
        bench.step(first + suffix, lambda run=run: stage(run))
        if gate == "gate":
            bench.step("gate" + suffix, lambda run=run: bench.gate(run))
        else:
            bench.accept(run)
        bench.step("merge" + suffix, lambda run=run: bench.merge(run))
    return {"num_files": bench.num_files, "steps": bench.found}


class Bench:
    """The steps of a run of ``metadata_sync``, timed; ``num_files`` as asked for, rounded to whole datasets."""

    def __init__(self, postgres: embedded.EmbeddedPostgres, num_files: int, settings: Settings) -> None:
        self.found: dict[str, dict[str, float]] = {}
        self.num_datasets = math.ceil(num_files / FILES_PER_DATASET)
        self.num_files = self.num_datasets * FILES_PER_DATASET
        self._postgres = postgres
        self._settings = settings
        self._db = Database(postgres.url("bench"))
        self._not_ours = [0.0, 0.0]  # wall and CPU seconds of making rows

    def step(self, name: str, work: Callable[[], Any]) -> None:
        """Run one step and note what it took."""
        self._not_ours = [0.0, 0.0]
        with server_memory(self._postgres) as memory:
            before = time.perf_counter(), time.process_time(), server_seconds(self._postgres)
            work()
            after = time.perf_counter(), time.process_time(), server_seconds(self._postgres)
        wall, client, server_s = (a - b for a, b in zip(after, before, strict=True))
        self.found[name] = {
            "wall_s": wall - self._not_ours[0],
            "client_s": client - self._not_ours[1],
            "server_s": server_s,
            "peak_mb": peak_mb(),
            "server_mb": max(memory),
        }

    def stage(self, run: str) -> None:
        """Staging of rows that are in memory."""
        page_size = max(50, -(-self.num_datasets // steps.PAGES_AT_MOST))
        pages = staging.stage_datasets(self._db, run, SOURCE, datasets(self.num_datasets), page_size)
        for page in pages:
            numbers = range(page * page_size, min((page + 1) * page_size, self.num_datasets))
            staging.stage_details(self._db, run, SOURCE, page, self._parts(numbers))

    def pull(self, run: str) -> None:
        """Pull and staging from the source of the settings."""
        for page in steps.pull_datasets(self._db, self._settings, run, SOURCE, UNTIL, UNTIL, full=True):
            steps.pull_details(self._db, self._settings, run, SOURCE, page)

    def gate(self, run: str) -> None:
        """The gate, as the task runs it; importing Great Expectations is not counted."""
        started, cpu = time.perf_counter(), time.process_time()
        import great_expectations  # noqa: F401

        from dynamo_ops.quality.suites.metadata import check_metadata
        from dynamo_ops.quality.thresholds import Gates

        self._not_ours = [time.perf_counter() - started, time.process_time() - cpu]
        check_metadata(self._db, run, [SOURCE], [], Gates())

    def accept(self, run: str) -> None:
        """In the place of the gate, which makes no part of the rows' way."""
        staged = staging.staged_now(self._db, run, SOURCE, "metadata")
        with self._db.begin() as connection:
            staging.note_judgement(connection, run, staged, is_accepted=True)

    def merge(self, run: str) -> None:
        """The merge; the first must bring everything, the second nothing."""
        summary = merge_metadata(self._db, run, SOURCE, UNTIL)
        assert summary.new_files == (self.num_files if run == "first" else 0), summary

    def _parts(self, numbers: range) -> Iterator[Details]:
        for first in range(numbers.start, numbers.stop, DATASETS_PER_PART):
            started, cpu = time.perf_counter(), time.process_time()
            part = details(range(first, min(first + DATASETS_PER_PART, numbers.stop)))
            self._not_ours[0] += time.perf_counter() - started
            self._not_ours[1] += time.process_time() - cpu
            yield part


@contextmanager
def server_memory(postgres: embedded.EmbeddedPostgres) -> Iterator[list[float]]:
    """What all processes of the server hold for themselves, in MB, looked at four times a second."""
    pid = int(next(postgres.folder.rglob("postmaster.pid")).read_text().splitlines()[0])
    seen, ended = [0.0], threading.Event()

    def look() -> None:
        while not ended.wait(0.25):
            found = 0.0
            for process in psutil.Process(pid).children():
                try:
                    memory = process.memory_info()
                except psutil.NoSuchProcess:
                    continue
                found += (memory.rss - memory.shared) / 2**20
            seen.append(found)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()


# -- where rows come from --------------------------------------------------------------------------------------------


@contextmanager
def origin(kind: str, num_files: int, folder: Path) -> Iterator[dict[str, Any]]:
    """The settings with a source that has so many files."""
    source: dict[str, Any] = {"name": SOURCE, "type": "dbs"}
    if kind == "parquet":
        write_parquet(folder / "drop", math.ceil(num_files / FILES_PER_DATASET))
        yield {"metadata_sources": [{**source, "type": "files", "options": {"path": str(folder / "drop")}}]}
    elif kind == "dbs":
        with grid(num_files, folder) as ends:
            yield {"metadata_sources": [{**source, "options": {"url": ends["dbs"]}}], "tls": {"ca": ends["ca"]}}
    else:
        yield {"metadata_sources": [source]}


def datasets(number: int) -> pl.DataFrame:
    """So many datasets, as a source tells them."""
    return (
        pl.DataFrame({"n": range(number)})
        .select(
            dataset=_dataset_name(),
            status=pl.lit("valid"),
            is_open=pl.lit(False),
            software_release=pl.lit("SW_14_0_1"),
            last_update_at=pl.lit(NOW),
        )
        .cast(dict(DATASETS))
    )


def details(numbers: range) -> Details:
    """The blocks and files of the datasets with these numbers."""
    files = pl.DataFrame({"i": range(numbers.start * FILES_PER_DATASET, numbers.stop * FILES_PER_DATASET)})
    files = files.with_columns(n=pl.col("i") // FILES_PER_DATASET, b=pl.col("i") // FILES_PER_BLOCK)
    number = pl.col("i").cast(pl.String).str.zfill(12)
    mixed = pl.col("i").hash(1)
    files = files.with_columns(
        dataset=_dataset_name(),
        block=pl.col("b").hash(2).cast(pl.String).str.zfill(20) + "-" + pl.col("b").cast(pl.String).str.zfill(15),
        lfn="/store/mc/Run2026A/Sim_"
        + pl.col("n").cast(pl.String)
        + "/MINIAODSIM/"
        + number
        + "-"
        + mixed.cast(pl.String)
        + ".root",
        size_bytes=(1_500_000_000 + mixed % 1_000_000_000).cast(pl.Int64),
        adler32=(mixed % 90_000_000 + 10_000_000).cast(pl.String),
        is_valid=pl.lit(True),
    )
    blocks = files.group_by("dataset", "block", maintain_order=True).agg(
        is_open=pl.lit(False), size_bytes=pl.col("size_bytes").sum(), num_files=pl.len(), last_update_at=pl.lit(NOW)
    )
    return Details(
        blocks.select(list(BLOCKS)).cast(dict(BLOCKS)),
        files.select(list(FILES)).cast(dict(FILES)),
    )


def _dataset_name() -> pl.Expr:
    return "/Sim_" + pl.col("n").cast(pl.String) + "_TuneCP5_13TeV-madgraphMLM/Run2026A-v1/MINIAODSIM"


def write_parquet(folder: Path, number: int) -> None:
    """A drop of Parquet files for the source ``files``."""
    folder.mkdir()
    datasets(number).write_parquet(folder / "datasets.parquet")
    for first in range(0, number, 500):
        blocks, files, _ = details(range(first, min(first + 500, number)))
        blocks.write_parquet(folder / f"blocks-{first:07d}.parquet")
        files.write_parquet(folder / f"files-{first:07d}.parquet")


@contextmanager
def grid(num_files: int, folder: Path) -> Iterator[dict[str, Any]]:
    """The endpoints of a pocket grid without any replica."""
    scenario = folder / "scenario.json"  # JSON is YAML
    generator = {
        "name": "/Sim{n:05d}/Run2026A-v1/{tier}",
        "count": math.ceil(num_files / FILES_PER_DATASET),
        "blocks": BLOCKS_PER_DATASET,
        "files_per_block": FILES_PER_BLOCK,
        "file_size_bytes": [500, 1500],
    }
    scenario.write_text(json.dumps({"sites": [{"name": "T2_A"}], "generators": [generator]}))
    command = [sys.executable, "-m", "simgrid", "serve", "--scenario", str(scenario), "--dir", str(folder / "grid")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert "serving" in process.stdout.readline()
        yield json.loads((folder / "grid" / "simgrid.json").read_text())
    finally:
        process.terminate()
        process.wait()


# -- tables ----------------------------------------------------------------------------------------------------------


def print_table(title: str, found: Iterable[dict[str, Any]]) -> None:
    """A line a step and size, and one for the merge path (staging and merge) of each run."""
    print(f"\n{title}")
    print("     files   step                   wall s   files/s   CPU ms a file: client  server     both   growth"
          "   client MB   server MB")  # fmt: skip
    last: dict[str, float] = {}
    for row in found:
        files, seconds = row["num_files"], {"files": float(row["num_files"])}
        for name, taken in _with_sums(row["steps"]):
            seconds[name] = taken["client_s"] + taken["server_s"]
            growth = f"{math.log(seconds[name] / last[name]) / math.log(files / last['files']):.2f}" if last else ""
            client, server_, both = (s / files * 1000 for s in (taken["client_s"], taken["server_s"], seconds[name]))
            print(
                f"{files:>10,}   {name:<22} {taken['wall_s']:>6.1f} {files / taken['wall_s']:>9,.0f}"
                f" {client:>23.4f} {server_:>7.4f} {both:>8.4f} {growth:>8}"
                f" {taken['peak_mb']:>11,.0f} {taken['server_mb']:>11,.0f}",
                flush=True,
            )
        last = seconds


def _with_sums(found: dict[str, dict[str, float]]) -> list[tuple[str, dict[str, float]]]:
    rows = list(found.items())
    for suffix in ("", ", again"):
        parts = [
            taken
            for name, taken in rows
            if name in {f"{step}{suffix}" for step in ("staging", "pull, staging", "merge")}
        ]
        sums = {key: sum(part[key] for part in parts) for key in ("wall_s", "client_s", "server_s")}
        peaks = {key: max(part[key] for part in parts) for key in ("peak_mb", "server_mb")}
        rows.append((f"without gate{suffix}", sums | peaks))
    return rows


if __name__ == "__main__":
    main()
