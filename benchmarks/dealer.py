"""The Dealer at CMS scale: the engine from frames, and the whole cycle from PostgreSQL to the stored plan.

    python -m benchmarks.dealer                       # 20 k, 60 k and 200 k datasets, 25 blocks each
    python -m benchmarks.dealer --sizes 20000 60000

For each size a seeded inventory (``benchmarks.synthetic``, 100 sites, 1.2 copies a dataset) and one proposal for every
four datasets, by four plugins with priorities 1 to 4: to named sites, to some sites to draw from, to be drawn anywhere,
for whole datasets and for blocks. Two processes are measured: one that has the frames and decides, and one that reads
them from a PostgreSQL of its own, decides and stores the plan, as the task ``decide`` of the DAG does. CPU seconds are
those of these processes. Nothing is judged: machines differ.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import psutil

from benchmarks.detox import load, server, server_seconds, timed
from benchmarks.synthetic import NOW, NUM_TAPE, inventory
from dynamo_ops.base.settings import Settings
from dynamo_ops.database.connection import Database
from dynamo_ops.dealer import tasks as steps
from dynamo_ops.dealer.engine import plan
from dynamo_ops.dealer.engine.config import load_config
from dynamo_ops.dealer.engine.decide import Cycle
from dynamo_ops.dealer.engine.plugin import WITH_PLUGIN
from dynamo_ops.dealer.proposals import store_proposals
from dynamo_ops.inventory.frames import InventoryFrames
from dynamo_ops.plan import store as plan_store
from dynamo_ops.plan.inputs import read_dealer_inputs
from dynamo_ops.policy.partition import load_partitions

SIZES = (20_000, 60_000, 200_000)
BLOCKS = 25.0
COPIES = 1.2
DATASETS_A_PROPOSAL = 4
ROOMY_SITES = 0.15
PARTITION = "Physics"
PARTITIONS = f"{PARTITION}: dataset.name == *\n"
CONFIG = """
partition: Physics
group: AnalysisOps
target_sites: ["T2_*", "T1_*_Disk", "!T2_99*"]
target_site_occupancy: 0.93
max_site_pending_fraction: 0.9
max_total_cycle_volume: 10000000
placement:
  - {condition: "dataset.name == /Data1*/*", sites: ["T2_*", "!T2_1*"]}
  - {groups: [tracker], sites: ["T2_[2-9]*"]}
plugins:
  requests: {priority: 1}
  undertaker: {priority: 2}
  enforcer: {priority: 3}
  popularity: {priority: 4, source_groups: [AnalysisOps], max_replication: 3, request_to_replica_threshold: 20}
"""
PLUGINS = ("requests", "undertaker", "enforcer", "popularity")
STAGES = {
    (steps, "read_inventory"): "read from PostgreSQL",
    (plan, "set_table"): "look up",
    (Cycle, "run"): "decide one by one",
    (plan_store, "save"): "store",
}
"""Functions that are timed; they do not call each other."""
ENGINE_STAGES = {key: name for key, name in STAGES.items() if key[0] in (plan, Cycle)}


def main() -> None:
    """Run all sizes and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="datasets")
    parser.add_argument("--blocks", type=float, default=BLOCKS, help="blocks a dataset, mean")
    parser.add_argument("--copies", type=float, default=COPIES, help="dataset replicas a dataset, mean; at most 2.6")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--frames", help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.url:
        print(json.dumps(cycle_once(options.url, Path(options.frames))))
    elif options.frames:
        print(json.dumps(decide_once(Path(options.frames))))
    else:
        print_tables([run_size(n, options.blocks, options.copies, options.seed) for n in sorted(options.sizes)])


def run_size(datasets: int, blocks: float, copies: float, seed: int) -> dict[str, Any]:
    """The figures of one size: ``engine`` and ``cycle``."""
    frames = with_room(
        thinned(inventory(int(datasets * 2.5), blocks_per_dataset=blocks, seed=seed), copies, seed), seed
    )
    asked = proposals(frames, datasets // DATASETS_A_PROPOSAL, seed)
    counts = {"datasets": frames.datasets.height, "block_replicas": frames.block_replicas.height}
    counts |= {"blocks": frames.blocks.height, "proposals": asked.height}
    print(f"{datasets:,} datasets: loading …", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="dynamo-bench-") as name, server() as (postgres, _):
        folder = Path(name)
        for each in fields(InventoryFrames):
            getattr(frames, each.name).write_parquet(folder / f"{each.name}.parquet")
        asked.write_parquet(folder / "proposals.parquet")
        postgres.create_database("bench")
        url = postgres.url("bench")
        load(Database(url), frames)
        del frames, asked
        engine = measured("--frames", name)
        before = server_seconds(postgres)
        cycle = measured("--frames", name, "--url", url)
        return {**counts, "engine": engine, "cycle": {**cycle, "server_s": server_seconds(postgres) - before}}


def measured(*arguments: str) -> dict[str, Any]:
    """What this program prints when it is run with these arguments, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.dealer", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def thinned(frames: InventoryFrames, copies: float, seed: int) -> InventoryFrames:
    """The inventory with so many dataset replicas a dataset; each dataset keeps one at least."""
    rng = np.random.default_rng(seed)
    drawn = frames.dataset_replicas.with_columns(draw=pl.Series(rng.random(frames.dataset_replicas.height)))
    first = drawn.sort("draw").unique("dataset_id", keep="first", maintain_order=True)
    others = drawn.join(first, on=["dataset_id", "site_id"], how="anti").sort("draw")
    number = max(0, round((copies - 1) * first.height))
    kept = pl.concat([first, others.head(number)]).drop("draw")
    there = frames.block_replicas.join(kept, on=["dataset_id", "site_id"], how="semi")
    return replace(frames, dataset_replicas=kept, block_replicas=there)


def with_room(frames: InventoryFrames, seed: int) -> InventoryFrames:
    """Some disk sites a third full, the others 97 %."""
    rng = np.random.default_rng(seed)
    used = frames.block_replicas.group_by("site_id").agg(pl.col("size_bytes").sum()).sort("site_id")
    share = np.where(rng.random(used.height) < ROOMY_SITES, rng.uniform(0.2, 0.5, used.height), 0.97)
    quota = (used["size_bytes"] / share).cast(pl.Int64)
    quotas = used.select("site_id", partition=pl.lit(PARTITION), quota_bytes=quota)
    return replace(frames, quotas=quotas.select(frames.quotas.columns))


def proposals(frames: InventoryFrames, number: int, seed: int) -> pl.DataFrame:
    """So many: 55 % to a named site, 35 % to be drawn among five, 10 % anywhere; one in six for a few blocks."""
    rng = np.random.default_rng(seed + 1)
    sites = frames.sites.height
    kind = rng.choice(3, number, p=[0.55, 0.35, 0.1])
    dataset = rng.integers(0, frames.datasets.height, number)
    named = rng.integers(NUM_TAPE, sites, number)
    among = rng.integers(NUM_TAPE, sites, (number, 5))
    first = frames.blocks.group_by("dataset_id").agg(first=pl.col("block_id").min(), count=pl.len()).sort("dataset_id")
    start, count = first["first"].to_numpy()[dataset], first["count"].to_numpy()[dataset]
    some = rng.random(number) < 1 / 6
    rows = pl.DataFrame(
        {
            "plugin": rng.choice(PLUGINS, number),
            "request_id": np.arange(number),
            "dataset_id": dataset,
            "block_ids": [
                list(range(a, a + min(3, n))) if few else None for a, n, few in zip(start, count, some, strict=True)
            ],
            "site_id": [int(site) if k == 0 else None for k, site in zip(kind, named, strict=True)],
            "candidate_site_ids": [of.tolist() if k == 1 else None for k, of in zip(kind, among, strict=True)],
            "group_id": rng.integers(0, frames.groups.height, number),
            "reason": "bench",
            "refused": None,
        }
    )
    return rows.select(pl.col(name).cast(dtype) for name, dtype in WITH_PLUGIN.items())


def decide_once(folder: Path) -> dict[str, Any]:
    """The engine alone, in this process; the figures."""
    frames = InventoryFrames(
        **{each.name: pl.read_parquet(folder / f"{each.name}.parquet") for each in fields(InventoryFrames)}
    )
    asked = pl.read_parquet(folder / "proposals.parquet")
    config, partitions = load_config(CONFIG), load_partitions(PARTITIONS, now=NOW)
    seconds = clocked(ENGINE_STAGES)
    held = psutil.Process().memory_info().rss / 2**20
    cpu, wall = time.process_time(), time.perf_counter()
    found = plan.plan_copies(frames, asked, config, partitions, now=NOW, seed=1)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    outcomes = found.proposals.group_by("outcome").len().sort("len", descending=True)
    return {
        "copies": int(found.proposals["copy"].count()),
        "drawn": int(found.proposals["weight"].count()),
        "block_copies": found.block_copies.height,
        "outcomes": dict(outcomes.with_columns(pl.col("outcome").fill_null("accepted")).iter_rows()),
        "cpu_s": cpu,
        "wall_s": wall,
        "held_mb": held,
        "peak_mb": peak_mb(),
        "seconds": {**seconds, "plan's frames": cpu - sum(seconds.values())},
    }


def cycle_once(url: str, folder: Path) -> dict[str, Any]:
    """The task ``decide``, in this process; the figures."""
    config = folder / "config"
    (config / "dealer").mkdir(parents=True)
    (config / "dealer" / f"{PARTITION}.yaml").write_text(CONFIG)
    (config / "partitions.txt").write_text(PARTITIONS)
    (config / "gates.yaml").write_text("{}\n")
    settings = Settings(db_url=url, home=folder / "home", config_dir=config)
    places = proposed(settings, pl.read_parquet(folder / "proposals.parquet"))
    seconds = clocked(STAGES)
    cpu, wall = time.process_time(), time.perf_counter()
    steps.plan_cycle(Database(url), settings, PARTITION, places, run_key="bench", now=NOW, seed=1)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    rest = {"all else": cpu - sum(seconds.values())}
    return {"cpu_s": cpu, "wall_s": wall, "peak_mb": peak_mb(), "seconds": {**seconds, **rest}}


def proposed(settings: Settings, asked: pl.DataFrame) -> list[str]:
    """Where the proposals of each plugin are stored, as its task ``propose`` stores them."""
    inputs = read_dealer_inputs(settings, PARTITION, NOW, seed=1)
    return [
        store_proposals(settings, asked.filter(pl.col("plugin") == name), inputs, name, run_key="bench", follows=None)
        for name in PLUGINS
    ]


def clocked(stages: dict[tuple[Any, str], str]) -> dict[str, float]:
    """CPU seconds by stage, added up as these functions are called from now on."""
    seconds = dict.fromkeys(stages.values(), 0.0)
    for (owner, function), name in stages.items():
        setattr(owner, function, timed(getattr(owner, function), seconds, name))
    return seconds


def peak_mb() -> float:
    """Of this process, so far. The kernel's own figure: what ``getrusage`` tells begins with the parent's."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024


def print_tables(found: list[dict[str, Any]]) -> None:
    """A line a size for the engine, one for the cycle; growth: the exponent of CPU seconds over datasets."""
    print("engine, from frames")
    print(
        "datasets     blocks  block replicas  proposals  copies  drawn   CPU s  frames MB  peak MB  of largest  growth"
    )
    for last, row in zip([None, *found], found, strict=False):
        engine = row["engine"]
        print(
            f"{row['datasets']:>8,} {row['blocks']:>10,} {row['block_replicas']:>15,} {row['proposals']:>10,} "
            f"{engine['copies']:>7,} {engine['drawn']:>6,} {engine['cpu_s']:>7.2f} {engine['held_mb']:>10,.0f} "
            f"{engine['peak_mb']:>8,.0f} {growth_columns(last, row, found[-1], 'engine')}"
        )
    print("\nfrom PostgreSQL to the stored plan")
    print("datasets   CPU s  wall s  server s  peak MB  of largest  growth")
    for last, row in zip([None, *found], found, strict=False):
        cycle = row["cycle"]
        print(
            f"{row['datasets']:>8,} {cycle['cpu_s']:>7.2f} {cycle['wall_s']:>7.2f} {cycle['server_s']:>9.2f} "
            f"{cycle['peak_mb']:>8,.0f} {growth_columns(last, row, found[-1], 'cycle')}"
        )
    print()
    for row in found:
        for part in ("engine", "cycle"):
            stages = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in row[part]["seconds"].items())
            print(f"{row['datasets']:,} {part}: {stages}")
    outcomes = ", ".join(f"{name} {number:,}" for name, number in found[-1]["engine"]["outcomes"].items())
    print(f"{found[-1]['datasets']:,} outcomes: {outcomes}")


def growth_columns(last: dict[str, Any] | None, row: dict[str, Any], largest: dict[str, Any], part: str) -> str:
    """The share of the largest size's CPU seconds, and the growth against the line above."""
    share = row[part]["cpu_s"] / largest[part]["cpu_s"]
    if last is None:
        return f"{share:>11.3f} {'-':>7}"
    growth = math.log(row[part]["cpu_s"] / last[part]["cpu_s"]) / math.log(row["datasets"] / last["datasets"])
    return f"{share:>11.3f} {growth:>7.2f}"


if __name__ == "__main__":
    main()
