"""Site consistency at CMS scale: what comparing the inventory's list with the storage's costs, a line of one list.

    python -m benchmarks.consistency                                   # 3 M lines a list
    python -m benchmarks.consistency --millions 3 10 30 --cms DIR

``DIR``: where rucio-consistency, the comparer of CMS, is: ``pip install --no-deps --target DIR rucio-consistency``.

Two lists of as many files, in different orders; 0.1 % are missing, 0.1 % orphans, 0.05 % of another size. ``write``:
both lists by Dynamo's writer, with their keys, as frames come. ``differences``: what differs, by name. ``compare``: the
task ``compare``, by the rules that we ship: differences, what follows of them, and what is counted of all lines. Beside
them ``sort`` and ``comm`` of the names, and CMS's ``rce_partition`` of both lists and ``rce_cmp3`` (the inventory's
list for before and after), both without sizes.

Every act has a process of its own: CPU and peak memory are that process's by the kernel, Dynamo's with the start of the
interpreter. Needs 1 GB of disk a million lines, in ``--folder``. Counts that are not what was made end it; nothing else
is judged: machines differ.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

# Nothing large is imported here: the kernel counts what a process had when it was begun into its child's peak.

FILES_A_DIRECTORY = 1000
SORT_MEMORY = "200M"
LINES_A_CMS_PART = 750_000
CMS = "import sys; from rucio_consistency.scripts.{} import main; main()"


class Cost(NamedTuple):
    """Of processes that ran one after the other."""

    cpu_s: float
    wall_s: float
    peak_mb: float
    output: str


class Counts(NamedTuple):
    """Files by what is wrong with them; None: not told."""

    missing: int
    orphans: int
    wrong_sizes: int | None = None


def made(num_lines: int) -> Counts:
    """What is wrong in lists of so many lines."""
    per_directory = num_lines // FILES_A_DIRECTORY
    return Counts(per_directory, per_directory, (per_directory + 1) // 2)


def cost(*commands: Sequence[str], to: Path | None = None, cms: Path | None = None) -> Cost:
    """What these cost together; CPU of both modes, the largest peak."""
    cpu, peak, output, began = 0.0, 0, "", time.perf_counter()
    environment = {**os.environ, "LC_ALL": "C"} | ({"PYTHONPATH": str(cms)} if cms else {})
    for command in commands:
        with (to or Path(os.devnull)).open("wb") as file:
            process = subprocess.Popen(command, stdout=file if to else subprocess.PIPE, env=environment)
            output += process.stdout.read().decode() if process.stdout else ""
            _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{command}: exit code {process.returncode}")
        cpu += used.ru_utime + used.ru_stime
        peak = max(peak, used.ru_maxrss)
    return Cost(cpu, time.perf_counter() - began, peak / 1024, output)


def frames(num_lines: int, step: int) -> Iterator[Any]:
    """The inventory's files as frames of a directory's or several; ``step``: which directory follows which."""
    import polars as pl

    directories = num_lines // FILES_A_DIRECTORY
    at_once = 25
    for begin in range(0, directories, at_once):
        visited = pl.Series([number * step % directories for number in range(begin, min(begin + at_once, directories))])
        files = pl.DataFrame({"directory": visited.cast(pl.UInt64)}).join(
            pl.DataFrame({"file": range(FILES_A_DIRECTORY)}, schema={"file": pl.UInt64}), how="cross"
        )
        mark = (pl.col("directory") * FILES_A_DIRECTORY + pl.col("file")).hash(1)
        top = pl.Series(["mc", "data", "hidata", "user"]).gather((visited % 4).cast(pl.UInt32))
        tops = dict(zip(visited, top, strict=True))
        yield files.select(
            "directory",
            file_id=(pl.col("directory") * FILES_A_DIRECTORY + pl.col("file")).cast(pl.Int64),
            lfn=pl.format(
                "/store/{}/RunIISummer20UL17MiniAODv2/DYJetsToLL_M-50_TuneCP5_13TeV-amcatnloFXFX/MINIAODSIM/v9-v2/{}/{}{}.root",
                pl.col("directory").replace_strict(tops, return_dtype=pl.String),
                pl.col("directory").cast(pl.String).str.zfill(6),
                mark.cast(pl.String).str.zfill(20),
                pl.col("file").cast(pl.String).str.zfill(4),
            ),
            size_bytes=(mark % 4_000_000_000 + 1).cast(pl.Int64),
            is_present=pl.lit(True),
            is_pending=pl.lit(False),
            number=pl.col("file"),
        )


def as_stored(files: Any) -> Any:
    """What the storage has of them: in each directory one is missing, one too many; in every second one is longer."""
    import polars as pl

    stored = files.filter(pl.col("number") != 1).with_columns(
        size_bytes=pl.when(pl.col("number") == 3, pl.col("directory") % 2 == 0)
        .then(pl.col("size_bytes") + 1)
        .otherwise("size_bytes")
    )
    orphans = files.filter(pl.col("number") == 2).with_columns(lfn=pl.col("lfn") + ".1")
    return pl.concat([stored, orphans]).select(
        "lfn", "size_bytes", modified_at=pl.lit(1_700_000_000_000_000).cast(pl.Datetime("us", "UTC"))
    )


def write(folder: Path, num_lines: int, is_plain: bool) -> dict[str, Any]:
    """Both lists; CPU of the writer alone. ``is_plain``: as text too."""
    from dynamo_ops.consistency.inventory_list import INVENTORY_FILES, INVENTORY_LIST
    from dynamo_ops.consistency.matching.writer import ListWriter
    from dynamo_ops.consistency.storage_list import STORAGE_LIST
    from dynamo_ops.storage.protocol import STORED_FILES

    cpu_s = 0.0
    for name, schema, step in ((INVENTORY_LIST, INVENTORY_FILES, 1), (STORAGE_LIST, STORED_FILES, 7919)):
        with ListWriter(folder / name, schema) as writer, (folder / f"{name}.txt").open("wb") as text:
            for files in frames(num_lines, step):
                lines = files if name == INVENTORY_LIST else as_stored(files)
                began = time.process_time()
                writer.write(lines)
                cpu_s += time.process_time() - began
                if is_plain:
                    lines.select("lfn").write_csv(text, include_header=False)
    return {"cpu_s": cpu_s}


def compare(folder: Path, is_bare: bool) -> dict[str, Any]:
    """Compare the lists in a folder. ``is_bare``: differences only."""
    from datetime import UTC, datetime

    import polars as pl

    from dynamo_ops.consistency.compare import PREVIOUS
    from dynamo_ops.consistency.compare import compare as compare_lists
    from dynamo_ops.consistency.inventory_list import INVENTORY_LIST
    from dynamo_ops.consistency.matching.differences import differences
    from dynamo_ops.consistency.matching.file_list import open_list
    from dynamo_ops.consistency.settings import AS_SHIPPED
    from dynamo_ops.consistency.storage_list import STORAGE_LIST

    lists = open_list(folder / INVENTORY_LIST), open_list(folder / STORAGE_LIST)
    if is_bare:
        differing = differences(*lists)
        frames_of = (differing.only_inventory, differing.only_storage, differing.other_size)
        return {"counts": [frame.height for frame in frames_of]}
    comparison = compare_lists(*lists, pl.DataFrame(schema=PREVIOUS), AS_SHIPPED, datetime.now(UTC))
    numbers = dict(comparison.findings.group_by("kind").len().iter_rows())
    return {"counts": [numbers.get(kind, 0) for kind in ("missing", "orphan", "wrong_size")]}


def ours(folder: Path, act: str, num_lines: int = 0) -> tuple[Cost, dict[str, Any]]:
    """An act of Dynamo in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.consistency", "--act", act, "--folder", str(folder)]
    done = cost([*command, "--lines", str(num_lines)])
    return done, json.loads(done.output)


def sort_and_comm(lists: Sequence[Path], folder: Path) -> tuple[Cost, Counts]:
    """The names of both lists by the tools of the system."""
    ordered = [folder / "here.sorted", folder / "there.sorted"]
    sorts = [
        ["sort", "-S", SORT_MEMORY, "-T", str(folder), "-o", str(to), str(of)]
        for of, to in zip(lists, ordered, strict=True)
    ]
    differing = folder / "differing"
    first, then = cost(*sorts), cost(["comm", "-3", *map(str, ordered)], to=differing)
    with differing.open() as file:
        sides = [line.startswith("\t") for line in file]
    for path in (*ordered, differing):
        path.unlink()
    both = Cost(first.cpu_s + then.cpu_s, first.wall_s + then.wall_s, max(first.peak_mb, then.peak_mb), "")
    return both, Counts(sides.count(False), sides.count(True))


def by_cms(lists: Sequence[Path], folder: Path, cms: Path, num_lines: int) -> tuple[Cost, Counts]:
    """The names of both lists by the comparer of CMS."""
    parts = str(max(10, num_lines // LINES_A_CMS_PART))
    prefixes = [str(folder / "cms-here"), str(folder / "cms-there")]
    python = [sys.executable, "-c"]
    commands = [
        [*python, CMS.format("partition"), "-q", "-n", parts, "-o", to, str(of)]
        for of, to in zip(lists, prefixes, strict=True)
    ]
    here, there = prefixes
    outputs = [str(folder / "cms.dark"), str(folder / "cms.missing")]
    done = cost(*commands, [*python, CMS.format("cmp3"), here, there, here, *outputs], cms=cms)
    words = done.output[done.output.index("Found") :].split()
    for path in folder.glob("cms*"):
        path.unlink()
    return done, Counts(missing=int(words[4]), orphans=int(words[1]))


def measure(num_lines: int, folder: Path, cms: Path | None) -> None:
    """Print one table."""
    from_made = made(num_lines)
    written, by_writer = ours(folder, "write", num_lines)
    lists = [folder / "inventory.parquet.txt", folder / "storage.parquet.txt"]
    print(f"\n{num_lines:,} lines a list; {from_made.missing:,} missing, {from_made.orphans:,} orphans, ", end="")
    print(f"{from_made.wrong_sizes:,} of another size")
    print(f"{'':12} {'CPU s':>8} {'us/line':>8} {'peak MB':>8} {'wall s':>8}")
    write_s = by_writer["cpu_s"]
    row("write", num_lines, written._replace(cpu_s=write_s), wall=False)
    compared = {}
    for act in ("differences", "compare"):
        compared[act], told = ours(folder, act)
        row(act, num_lines, compared[act])
        exact(act, Counts(*told["counts"]), from_made)
    others = {"sort, comm": lambda: sort_and_comm(lists, folder)}
    if cms:
        others["CMS"] = lambda: by_cms(lists, folder, cms, num_lines)
    for name, act in others.items():
        done, counts = act()
        row(name, num_lines, done)
        exact(name, counts, from_made._replace(wrong_sizes=None))
        ratio, with_lists = (
            done.cpu_s / ours_s for ours_s in (compared["compare"].cpu_s, compared["compare"].cpu_s + write_s)
        )
        print(f"{'':12} {ratio:.1f} x compare; {with_lists:.1f} x write and compare")


def row(name: str, num_lines: int, done: Cost, *, wall: bool = True) -> None:
    """One line of the table."""
    wall_s = f"{done.wall_s:8.1f}" if wall else ""
    print(f"{name:12} {done.cpu_s:8.2f} {done.cpu_s / num_lines * 1e6:8.3f} {done.peak_mb:8.0f} {wall_s}", flush=True)


def exact(name: str, counts: Counts, expected: Counts) -> None:
    """Stop where something was counted wrongly."""
    if counts != expected:
        raise SystemExit(f"{name}: {counts}, and {expected} were made")


def main() -> None:
    """Measure, or do one act of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--millions", type=float, nargs="+", default=[3])
    parser.add_argument("--cms", type=Path, help="where rucio-consistency is installed")
    parser.add_argument("--folder", type=Path, help="where the lists are made; a temporary one if not given")
    parser.add_argument("--act", help=argparse.SUPPRESS)
    parser.add_argument("--lines", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.act == "write":
        print(json.dumps(write(options.folder, options.lines, is_plain=True)))
    elif options.act:
        print(json.dumps(compare(options.folder, is_bare=options.act == "differences")))
    else:
        for millions in options.millions:
            lines = int(millions * 1_000_000) // FILES_A_DIRECTORY * FILES_A_DIRECTORY
            with TemporaryDirectory(dir=options.folder) as folder:
                measure(lines, Path(folder), options.cms)


if __name__ == "__main__":
    main()
