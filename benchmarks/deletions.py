"""Deletions at CMS scale: what a file costs from its queued subscription to the inventory without it.

    python -m benchmarks.deletions                              # 1 M files; 5,000 by each protocol
    python -m benchmarks.deletions --files 100000 --by-protocol 1000 --protocols davs s3

``inventory``: a PostgreSQL of its own, blocks of 20 files, and a storage in this process that says *deleted* of every
file at once: what is left is Dynamo's, and the server's. ``plain``: 20 sites, two copies of each block, one to be
deleted. ``busy``: 100 sites, three copies, and what the last look before each chunk (docs/transfers.md) must get past:
every site was checked 30 times and misses one file in a thousand; one other copy in ten is incomplete, one in ten to be
deleted too; one in five files is being copied to a further site, 20,000 of them by FTS now; 500 locks; 2 % are the last
good copy and stay. As the DAG does, under its default limits: recover, plan and execute, until nothing is planned.

``protocols``: the real clients against real servers in a process of their own: WebDAV of the pocket grid, an S3 server
(moto), XRootD. They serve some hundred files a second here: so fewer files, counted, not scaled up. Requests are
counted at the servers.

CPU is that of this process, Dynamo's, and that of the database server, by phase. Nothing is judged: machines differ.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import text

from benchmarks.dealer import peak_mb
from benchmarks.deletions_servers import SERVED
from benchmarks.detox import server
from dynamo_ops.database import migrate
from dynamo_ops.database.connection import Database
from dynamo_ops.deletion import claim, execute, queue
from dynamo_ops.inventory.site.mapping import Endpoint
from dynamo_ops.inventory.states import DeletionObservation
from dynamo_ops.storage.protocol import DeletionOutcome, StorageOptions
from dynamo_ops.storage.registry import load_plugin, plugins

Result = TypeVar("Result")
FILES = 1_000_000
BY_PROTOCOL = 5_000
FILES_PER_BLOCK = 20
WORLDS = {"plain": {"sites": 20, "others": 1}, "busy": {"sites": 100, "others": 2}}
PHASES = ("plan", "judge, claim", "delete", "record", "rest")

FILL = (
    """INSERT INTO sites (name, storage_type, status)
       SELECT 'T2_' || n, 'disk', 'ready' FROM generate_series(1, :sites + 1) n""",
    """INSERT INTO site_endpoints (site_id, protocol, prefix)
       SELECT id, protocol, protocol || '://' || lower(name) || '.org:1094/' FROM sites,
              (VALUES ('davs'), ('root')) AS spoken (protocol)""",
    "INSERT INTO groups (name, ownership_level) VALUES ('ops', 'dataset')",
    """INSERT INTO datasets (name, status, is_open, last_update_at)
       SELECT '/D' || n || '/R-v1/AOD', 'valid', false, now() FROM generate_series(1, :blocks / 25 + 1) n""",
    """INSERT INTO blocks (dataset_id, name, is_open, num_files, size_bytes, last_update_at)
       SELECT 1 + n / 25, 'b' || n, false, :per_block, :per_block * CAST(2000000000 AS bigint), now()
       FROM generate_series(0, :blocks - 1) n""",
    """INSERT INTO files (block_id, lfn, size_bytes, adler32)
       SELECT b.id, '/store/data/d' || b.dataset_id || '/b' || b.id || '/f' || n || '.root', 2000000000, '0a1b2c3d'
       FROM blocks b, generate_series(1, :per_block) n""",
    # The last site's number is kept free: it is in the waitroom in the busy world.
    """INSERT INTO block_replicas (block_id, site_id, dataset_id, group_id, is_complete, size_bytes, last_update_at)
       SELECT b.id, 1 + (b.dataset_id * 7 + k * 3) % :sites, b.dataset_id, CASE WHEN k > 0 THEN 1 END, true,
              b.size_bytes, now()
       FROM blocks b, generate_series(0, :others) k""",
    """INSERT INTO dataset_replicas (dataset_id, site_id)
       SELECT DISTINCT dataset_id, site_id FROM block_replicas""",
    """INSERT INTO subscriptions (file_id, site_id, action, origin, created_at, updated_at)
       SELECT f.id, 1 + (b.dataset_id * 7) % :sites, 'delete', 'detox', now() - interval '1 day' * (b.dataset_id % 7),
              now() - interval '1 day' FROM files f JOIN blocks b ON b.id = f.block_id""",
)

BUSY = (
    "UPDATE sites SET status = 'waitroom' WHERE id = :sites + 1",
    # 2 %: nobody but the waitroom has it besides.
    "DELETE FROM block_replicas r WHERE group_id = 1 AND block_id % 50 = 0",
    """INSERT INTO block_replicas (block_id, site_id, dataset_id, group_id, is_complete, size_bytes, last_update_at)
       SELECT id, :sites + 1, dataset_id, 1, true, size_bytes, now() FROM blocks WHERE id % 50 = 0""",
    """WITH halved AS (
         UPDATE block_replicas r SET is_complete = false, size_bytes = size_bytes / 2
         WHERE group_id = 1 AND (block_id + site_id) % 10 = 0 AND block_id % 50 > 0 RETURNING block_id, site_id)
       INSERT INTO block_replica_files (block_id, site_id, file_id)
       SELECT h.block_id, h.site_id, f.id FROM halved h JOIN files f USING (block_id) WHERE f.id % 2 = 0""",
    """INSERT INTO subscriptions (file_id, site_id, action, origin, state)
       SELECT f.id, min(r.site_id), 'delete', 'detox', 'held' FROM block_replicas r JOIN files f USING (block_id)
       WHERE r.group_id = 1 AND r.is_complete AND r.block_id % 10 = 3 GROUP BY f.id""",
    """INSERT INTO subscriptions (file_id, site_id, action, origin, state)
       SELECT f.id, 1 + (b.dataset_id * 7 + 1) % :sites, 'copy', 'dealer', CASE WHEN b.id % 2 = 0 THEN 'new' ELSE
              'held' END FROM files f JOIN blocks b ON b.id = f.block_id WHERE b.id % 5 = 1""",
    """INSERT INTO transfer_batches (sid, job_id, site_id, is_staging, state)
       SELECT 'job' || n, gen_random_uuid(), 1, false, 'submitted' FROM generate_series(1, 100) n""",
    """INSERT INTO transfers (batch_id, subscription_id, file_index, source_site_id, state, size_bytes)
       SELECT 1 + s.id % 100, s.id, s.id, 1 + (b.dataset_id * 7 + 3) % :sites, 'active', f.size_bytes
       FROM subscriptions s JOIN files f ON f.id = s.file_id JOIN blocks b ON b.id = f.block_id
       WHERE s.action = 'copy' AND s.state = 'new' LIMIT 20000""",
    """UPDATE subscriptions s SET state = 'inbatch' FROM transfers t WHERE t.subscription_id = s.id""",
    """INSERT INTO consistency_checks (run_key, site_id, state, started_at)
       SELECT 'day' || day, id, 'repaired', now() - interval '1 day' * day FROM sites, generate_series(1, 30) day""",
    """INSERT INTO consistency_findings (check_id, kind, state, lfn, size_bytes, file_id)
       SELECT c.id, 'missing', 'seen', f.lfn, f.size_bytes, f.id
       FROM files f JOIN block_replicas r ON r.block_id = f.block_id AND r.group_id = 1
       JOIN consistency_checks c ON c.site_id = r.site_id AND c.run_key IN ('day1', 'day2', 'day3')
       WHERE (f.id * 31 + r.site_id) % 1000 = 0""",
    """INSERT INTO locks (item, sites, reason, created_by)
       SELECT '/Other' || n || CASE n % 2 WHEN 0 THEN '/R-v1/AOD' ELSE '/*' END,
              CASE n % 3 WHEN 0 THEN 'T2_' || n % 50 ELSE '' END, 'benchmark', 'nobody'
       FROM generate_series(1, 500) n""",
)


def main() -> None:
    """Measure each world and each protocol in a process of its own, and print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=FILES, help="through the inventory, in each world; 0: none")
    parser.add_argument("--worlds", nargs="*", default=list(WORLDS), choices=WORLDS)
    parser.add_argument("--by-protocol", type=int, default=BY_PROTOCOL, help="files by each protocol")
    parser.add_argument("--protocols", nargs="*", default=list(SERVED), choices=SERVED)
    parser.add_argument("--inside", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.inside:
        print(json.dumps(delete_all(*arguments.inside)))
        return
    if arguments.files:
        print_worlds({world: world_of(world, arguments.files) for world in arguments.worlds})
    if arguments.by_protocol:
        print_protocols({name: protocol_of(name, arguments.by_protocol) for name in arguments.protocols})


# -- worlds ----------------------------------------------------------------------------------------------------------


def world_of(world: str, num_files: int) -> dict[str, Any]:
    """Fill a database with ``num_files`` deletions in these surroundings, and make them."""
    print(f"{world}: {num_files:,} files: filling …", file=sys.stderr, flush=True)
    with filled(num_files, WORLDS[world], BUSY if world == "busy" else ()) as (postgres, _):
        return inside(postgres.url("bench"), str(postmaster(postgres)))


def protocol_of(protocol: str, num_files: int) -> dict[str, Any]:
    """The plain world at one site, whose files lie at a real server."""
    print(f"{protocol}: {num_files:,} files: filling …", file=sys.stderr, flush=True)
    with filled(num_files, {"sites": 1, "others": 0}, KEPT_ELSEWHERE) as (postgres, folder):
        lfns = folder / "lfns"
        db = Database(postgres.url("bench"))
        with db.begin() as connection:
            lfns.write_text("\n".join(connection.execute(text("SELECT lfn FROM files")).scalars()))
        db.dispose()
        command = [sys.executable, "-m", "benchmarks.deletions_servers", protocol, str(lfns)]
        fake = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert fake.stdin is not None
        assert fake.stdout is not None
        try:
            place = fake.stdout.readline()
            figures = inside(postgres.url("bench"), str(postmaster(postgres)), place)
            counts, _ = fake.communicate("end\n")
        finally:
            fake.kill()
        return figures | json.loads(counts)


KEPT_ELSEWHERE = (
    """INSERT INTO block_replicas (block_id, site_id, dataset_id, group_id, is_complete, size_bytes, last_update_at)
       SELECT id, 2, dataset_id, 1, true, size_bytes, now() FROM blocks""",
)


@contextlib.contextmanager
def filled(num_files: int, values: dict[str, int], more: Sequence[str]) -> Iterator[tuple[Any, Path]]:
    """A server with a database ``bench``, and a folder."""
    counts = {"blocks": math.ceil(num_files / FILES_PER_BLOCK), "per_block": min(num_files, FILES_PER_BLOCK)}
    with server() as (postgres, folder):
        postgres.create_database("bench")
        db = Database(postgres.url("bench"))
        migrate.upgrade(db)
        for statement in (*FILL, *more, "ANALYZE"):
            with db.begin() as connection:
                connection.execute(text(statement), values | counts)
        db.dispose()
        yield postgres, folder


def inside(*arguments: str) -> dict[str, Any]:
    """One measurement in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.deletions", "--inside", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


# -- the DAG's tasks, and what they take -----------------------------------------------------------------------------


def delete_all(url: str, pid: str, place: str | None = None) -> dict[str, Any]:
    """Plan and execute until nothing is planned. ``place``: where the files of site 1 lie; else nowhere."""
    db, meter = Database(url), Meter(int(pid))
    open_storage: Callable[[int], Any] = Nowhere
    if place is not None:
        open_storage = opener(**json.loads(place))
    execute.claim.claim_chunk = meter.timed("judge, claim", claim.claim_chunk)
    execute._record = meter.timed("record", execute._record)
    plan = meter.timed("plan", queue.plan_deletions)
    idle_mb, started = peak_mb(), time.perf_counter()
    totals = {"cycles": 0, "num_deleted": 0, "num_left_out": 0, "num_failed": 0, "num_gone": 0}
    with meter.phase("rest"):
        while True:
            queue.recover_deletions(db)
            batch_ids = plan(db)
            if not batch_ids:
                break
            totals["cycles"] += 1
            for batch_id in (batch_id for lot in queue.by_site(db, batch_ids) for batch_id in lot):
                summary = execute.execute_batch(db, batch_id, lambda site: Metered(open_storage(site), meter))
                for name in totals:
                    totals[name] += getattr(summary, name, 0)
    assert totals["num_deleted"] > 0 == totals["num_failed"] + totals["num_gone"], totals
    return totals | {
        "wall_s": time.perf_counter() - started,
        "cpu_s": meter.client_s,
        "server_s": meter.server_s,
        "peak_mb": peak_mb(),
        "idle_mb": idle_mb,
        "waiting": _num_waiting(db),
    }


def _num_waiting(db: Database) -> int:
    with db.begin() as connection:
        return int(
            connection.execute(
                text("SELECT count(*) FROM subscriptions WHERE action = 'delete' AND state IN ('new', 'retry')")
            ).scalar_one()
        )


class Meter:
    """CPU seconds of this process (all threads) and of the database server by phase; an inner phase interrupts."""

    def __init__(self, postmaster_pid: int) -> None:
        self._pid = postmaster_pid
        self._phases: list[str] = []
        self._read = (0.0, 0.0)
        self.client_s = dict.fromkeys(PHASES, 0.0)
        self.server_s = dict.fromkeys(PHASES, 0.0)

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        self._turn()
        self._phases.append(name)
        try:
            yield
        finally:
            self._turn()
            self._phases.pop()

    def timed(self, name: str, function: Callable[..., Result]) -> Callable[..., Result]:
        def measured(*args: Any, **kwargs: Any) -> Result:
            with self.phase(name):
                return function(*args, **kwargs)

        return measured

    def _turn(self) -> None:
        """What was used since the last turn is of the phase that lasted."""
        client_s, server_s = time.process_time(), backend_seconds(self._pid)
        if self._phases:
            self.client_s[self._phases[-1]] += client_s - self._read[0]
            self.server_s[self._phases[-1]] += server_s - self._read[1]
        self._read = (time.process_time(), server_s)


def backend_seconds(postmaster_pid: int) -> float:
    """CPU seconds of a database server with all its processes, those that ended included; to the µs for those that
    run, and at no cost: it is asked some thousand times."""
    stat = Path(f"/proc/{postmaster_pid}/stat").read_text().rpartition(")")[2].split()
    seconds = (int(stat[13]) + int(stat[14])) / 100
    for child in Path(f"/proc/{postmaster_pid}/task/{postmaster_pid}/children").read_text().split():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            seconds += int(Path(f"/proc/{child}/schedstat").read_text().split()[0]) / 1e9
    return seconds


def postmaster(postgres: Any) -> int:
    return int(next(postgres.folder.rglob("postmaster.pid")).read_text().splitlines()[0])


# -- storages --------------------------------------------------------------------------------------------------------


class Nowhere:
    """A storage that has deleted what it is asked."""

    def __init__(self, site_id: int) -> None:
        self.site_id = site_id

    def delete(self, lfns: Sequence[str]) -> list[DeletionOutcome]:
        return [DeletionOutcome(lfn, DeletionObservation.DELETED) for lfn in lfns]

    def close(self) -> None:
        """Nothing is open."""


class Metered:
    """A storage whose deletions are a phase of their own."""

    def __init__(self, storage: Any, meter: Meter) -> None:
        self._storage = storage
        self.stat, self.close = getattr(storage, "stat", None), storage.close
        self.delete = meter.timed("delete", storage.delete)


def opener(protocol: str, prefix: str, options: dict[str, Any]) -> Callable[[int], Any]:
    """The plugin of a protocol, at a server of ``deletions_servers``."""
    factory = load_plugin(plugins()[protocol])
    return lambda site_id: factory(Endpoint("T2_1", protocol, prefix, site_id=site_id), StorageOptions(**options))


# -- tables ----------------------------------------------------------------------------------------------------------


def print_worlds(figures: dict[str, dict[str, Any]]) -> None:
    """CPU µs a file by phase, this process / the server; then the whole."""
    print("\ninventory: CPU µs a file that was deleted, Dynamo / database server")
    print("world   " + "".join(f"{name:>17}" for name in PHASES) + f"{'all':>17}")
    for world, row in figures.items():
        print(f"{world:<8}" + "".join(_pair(row, names) for names in (*((name,) for name in PHASES), PHASES)))
    print("\nworld        deleted   left waiting   cycles   wall s    files/s   peak MB (at start)")
    for world, row in figures.items():
        print(
            f"{world:<8} {row['num_deleted']:>11,} {row['waiting']:>14,} {row['cycles']:>8,} {row['wall_s']:>8.1f}"
            f" {row['num_deleted'] / row['wall_s']:>10,.0f} {row['peak_mb']:>9,.0f} ({row['idle_mb']:,.0f})"
        )


def print_protocols(figures: dict[str, dict[str, Any]]) -> None:
    """What the client of a protocol takes, and the requests that its server saw."""
    print("\nprotocols: the files stand in the first column; no figure is of more")
    print("protocol    files    files/s   CPU µs/file: delete       all   requests/file")
    for protocol, row in figures.items():
        number = row["num_deleted"]
        delete_us, all_us = (cpu_s / number * 1e6 for cpu_s in (row["cpu_s"]["delete"], sum(row["cpu_s"].values())))
        requests = ", ".join(f"{count / number:.2f} {name}" for name, count in sorted(row["requests"].items()))
        print(
            f"{protocol:<9} {number:>7,} {number / row['wall_s']:>10,.0f} {delete_us:>21,.0f} {all_us:>9,.0f}"
            f"   {requests}"
        )


def _pair(row: dict[str, Any], names: Sequence[str]) -> str:
    client_us, server_us = (
        sum(row[side][name] for name in names) / row["num_deleted"] * 1e6 for side in ("cpu_s", "server_s")
    )
    return f"{client_us:>8,.0f} / {server_us:>6,.0f}"


if __name__ == "__main__":
    main()
