"""What a person waits for: CPU seconds (user and system, median of five) of commands, and of the modules of tasks.

    python -m benchmarks.start

``dynamo inventory summary`` is asked of the installation that ``DYNAMO_HOME`` names, and left out without one.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import polars as pl

from benchmarks.synthetic import NOW, inventory
from dynamo_ops.inventory.frames import InventoryFrames
from tests import ROOT

CASE = ROOT / "tests" / "golden" / "cases" / "k01_dealer"
POLICY = CASE / "detox" / "Physics" / "policy.txt"
TASKS = ("detox.tasks", "dealer.tasks", "transfer.tasks", "deletion.tasks", "consistency.tasks", "popularity.tasks")
TIMES = 5
DYNAMO = (sys.executable, "-m", "dynamo_ops.cli")


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        frames = inventory(15_000, blocks_per_dataset=8)
        write_folder(frames, Path(scratch))
        print(f"{'CPU s':>6}  (median of {TIMES})")
        report("dynamo --help", *DYNAMO, "--help")
        if os.environ.get("DYNAMO_HOME"):
            report("dynamo inventory summary", *DYNAMO, "inventory", "summary")
        plan = (*DYNAMO, "detox", "plan", "--policy", str(POLICY), "--inventory")
        report("dynamo detox plan, golden case", *plan, str(CASE))
        size = f"{frames.dataset_replicas.height:,} dataset and {frames.block_replicas.height:,} block replicas"
        report(f"dynamo detox plan, {size}", *plan, scratch)
        for name in TASKS:
            report(f"import dynamo_ops.{name}", sys.executable, "-c", f"import dynamo_ops.{name}")


def report(what: str, *command: str) -> None:
    """Run the command a few times; the CPU of its processes, without those that it leaves running. The first run, not
    counted, leaves the byte code of the modules, as an installation has it."""
    used = []
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    quiet = {"cwd": ROOT, "env": environment, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    for run in range(TIMES + 1):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, **quiet)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if run:
            used.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    print(f"{statistics.median(used):>6.2f}  {what}", flush=True)


def write_folder(frames: InventoryFrames, folder: Path) -> None:
    """The inventory as CSV files (docs/detox.md); block replicas count as complete."""
    seconds = pl.col("last_update_at").dt.epoch("s").alias("last_update")
    sites, groups = frames.sites, frames.groups.with_columns(olevel="ownership_level")
    datasets = frames.datasets.with_columns(seconds, software_version="software_release")
    blocks = frames.blocks.join(datasets.select("dataset_id", "dataset"), on="dataset_id")
    held = frames.dataset_replicas.join(datasets, on="dataset_id").join(sites, on="site_id")
    parts = frames.block_replicas.join(blocks.select("block_id", "block", "dataset"), on="block_id")
    parts = parts.join(sites, on="site_id").join(groups, on="group_id", how="left")
    parts = parts.with_columns(seconds, size="size_bytes", complete=pl.lit(1), files=pl.lit(""))
    values = frames.attribute_values.pivot("name", index="dataset_id", values="value").join(datasets, on="dataset_id")
    attributes = frames.attributes["name"].to_list()
    files = {
        "sites.csv": sites.select("site", "storage_type", "status"),
        "groups.csv": groups.select("group", "olevel"),
        "datasets.csv": datasets.select("dataset", "status", "last_update", "is_open", "software_version"),
        "blocks.csv": blocks.with_columns(seconds, size="size_bytes").select(
            "dataset", "block", "size", "num_files", "last_update"
        ),
        "dataset_replicas.csv": held.join(groups, on="group_id", how="left").select(
            "dataset", "site", pl.col("is_growing").cast(pl.Int8).alias("growing"), "group"
        ),
        "block_replicas.csv": parts.select(
            "dataset", "block", "site", "group", "size", "complete", "files", "last_update", "is_custodial"
        ),
        "quotas.csv": frames.quotas.join(sites, on="site_id").select("site", "partition", "quota_bytes"),
        "dataset_attrs.csv": values.select("dataset", *attributes),
    }
    for name, frame in files.items():
        frame.write_csv(folder / name)
    (folder / "case.json").write_text(f'{{"now": {int(NOW.timestamp())}}}')
    (folder / "partitions.txt").write_text("Physics: dataset.name == /*\n")


if __name__ == "__main__":
    main()
