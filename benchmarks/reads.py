"""What reads cost at CMS's size: pages, cards and look-ups (CPU of the server, wall), streams (rows a second, memory).

    python -m benchmarks.reads                       # a tenth of CMS's size: some minutes to fill
    python -m benchmarks.reads --size 1              # all of it: half an hour, 15 GB of disk
    python -m benchmarks.reads --url postgresql://…  # on a database that is filled (catalogue, acts) already

A PostgreSQL of its own, filled inside the server. Each read is made twice, then ``--times`` times: CPU is that of all
processes of the server, the client's is in the wall only. ``pending``: the same sums with notes of changes not folded
yet. Machines differ, and others may use them: compare CPU, not walls. Nothing is judged.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import psutil
from sqlalchemy import text

from benchmarks import acts
from benchmarks.catalogue import fill
from benchmarks.dealer import peak_mb
from benchmarks.detox import server
from dynamo_ops.database.connection import Database
from dynamo_ops.inventory.replica.read import summary
from dynamo_ops.inventory.replica.usage import check, fold
from dynamo_ops.inventory.states import SubscriptionAction
from dynamo_ops.query.contents import BLOCKS, FILES, ContentFilter, files_by_name
from dynamo_ops.query.dataset import DATASETS, DatasetFilter
from dynamo_ops.query.dataset_card import dataset_card
from dynamo_ops.query.decision.past import PAST, PastFilter
from dynamo_ops.query.decision.plan import PLANS, PlanFilter
from dynamo_ops.query.group import OWNED, OwnedFilter, group_card
from dynamo_ops.query.locate import locate
from dynamo_ops.query.movement.attempt import TRANSFERS_ENDED, TRANSFERS_UNDER_WAY, AttemptFilter
from dynamo_ops.query.movement.figures import standing
from dynamo_ops.query.movement.series import Span, links, transfer_series
from dynamo_ops.query.movement.subscription import SUBSCRIPTIONS, SubscriptionFilter
from dynamo_ops.query.only_here import ONLY_HERE, OnlyHereFilter
from dynamo_ops.query.paging.listing import Window, read_page
from dynamo_ops.query.paging.stream import csv_text, ndjson
from dynamo_ops.query.record.audit import AUDIT, AuditFilter
from dynamo_ops.query.record.consistency import CHECKS, FINDINGS, CheckFilter, FindingFilter
from dynamo_ops.query.record.gate import GATE_RESULTS, GateFilter
from dynamo_ops.query.record.popularity import popularity
from dynamo_ops.query.record.quota import QUOTA_CHANGES, QuotaChangeFilter
from dynamo_ops.query.record.request import REQUESTS, RequestFilter
from dynamo_ops.query.replica import BLOCK_REPLICAS, DATASET_REPLICAS, ReplicaFilter
from dynamo_ops.query.site_card import site_card
from dynamo_ops.query.usage import usage_now
from dynamo_ops.request.unique_quota import group_usage

SITE, TAPE, GROUP = "T2_42_Disk", "T1_3_MSS", "group3"
CHEAP = tuple(name for name in DATASETS.columns if name != "num_copies")


def main() -> None:
    """Fill, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=float, default=0.1)
    parser.add_argument("--url")
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--rows", type=int, default=500_000, help="of a stream, at most")
    arguments = parser.parse_args()
    if arguments.url:
        measure(Database(arguments.url), arguments.times, arguments.rows)
        return
    with server() as (postgres, _):
        postgres.create_database("bench")
        database = Database(postgres.url("bench"))
        fill(database, arguments.size)
        acts.fill(database, arguments.size)
        measure(database, arguments.times, arguments.rows)
        database.dispose()


@dataclass
class Clock:
    """CPU of the server: of its processes, and of those that have ended."""

    database: Database

    def __post_init__(self) -> None:
        with self.database.begin() as connection:
            backend = psutil.Process(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())
        parent = backend.parent()
        assert parent is not None
        self.postmaster = parent

    def seconds(self) -> float:
        """So far."""
        total = 0.0
        for process in (self.postmaster, *self.postmaster.children(recursive=True)):
            try:
                times = process.cpu_times()
            except psutil.NoSuchProcess:
                continue
            total += times.user + times.system
        reaped = self.postmaster.cpu_times()
        return total + reaped.children_user + reaped.children_system


def measure(database: Database, times: int, most_rows: int) -> None:
    """All reads, one line each."""
    clock = Clock(database)
    fold(database)
    print(f"{'read':<58}{'CPU ms':>9}{'wall ms':>9}{'rows':>8}")
    for name, read in reads(database).items():
        tell(clock, name, read, times)
    with pending(database) as number:
        print(f"pending: {number:,} notes")
        for name, read in sums(database).items():
            tell(clock, f"pending: {name}", read, times)
    began, before = time.monotonic(), clock.seconds()
    num_folded = fold(database)
    print(f"fold of {num_folded:,} notes: {clock.seconds() - before:.2f} CPU s, {time.monotonic() - began:.2f} s")
    began, before = time.monotonic(), clock.seconds()
    print(f"{check(database)}: {clock.seconds() - before:.2f} CPU s, {time.monotonic() - began:.2f} s")
    for name, pieces in streams(database, most_rows):
        began, start, num_rows, first = time.monotonic(), clock.seconds(), 0, 0.0
        for piece in pieces:
            first = first or time.monotonic() - began
            num_rows += piece.count("\n")
        wall = time.monotonic() - began
        print(
            f"stream {name:<44}{num_rows:>9,} rows {num_rows / wall:>9,.0f} rows/s, first after {first:.2f} s, "
            f"server {clock.seconds() - start:.1f} CPU s, peak {peak_mb():.0f} MB"
        )


def tell(clock: Clock, name: str, read: Callable[[], Any], times: int) -> None:
    """One line of the table."""
    for _ in range(2):
        rows = read()
    began, before = time.monotonic(), clock.seconds()
    for _ in range(times):
        read()
    wall, used = time.monotonic() - began, clock.seconds() - before
    number = len(rows) if hasattr(rows, "__len__") else len(getattr(rows, "rows", ())) or 1
    print(f"{name:<58}{1000 * used / times:>9.1f}{1000 * wall / times:>9.1f}{number:>8,}", flush=True)


def reads(database: Database) -> dict[str, Callable[[], Any]]:
    """By name, what is read."""

    def page(listing: Any, asked: Any, **window: Any) -> Callable[[], Any]:
        return lambda: read_page(database, listing, asked, Window(**window))

    large = DatasetFilter(min_size_bytes=3 * 10**12)
    (dataset,) = read_page(database, DATASETS, large, Window(1, fields=("name",))).rows[0]
    lfns = [row["lfn"] for row in read_page(database, FILES, ContentFilter(dataset), Window(1000)).records()]
    second = read_page(database, DATASETS, DatasetFilter(), Window(fields=CHEAP)).next
    return {
        "datasets, all, first page, with copies": page(DATASETS, DatasetFilter()),
        "datasets, all, first page": page(DATASETS, DatasetFilter(), fields=CHEAP),
        "datasets, all, second page": page(DATASETS, DatasetFilter(), fields=CHEAP, cursor=second),
        "datasets, count (more)": page(DATASETS, DatasetFilter(), fields=("name",), limit=1, with_count=True),
        "datasets, by name": page(DATASETS, DatasetFilter([dataset]), fields=CHEAP),
        "datasets, /Data12*": page(DATASETS, DatasetFilter(["/Data12*"]), fields=CHEAP),
        "datasets, /*/*/NANOAODSIM": page(DATASETS, DatasetFilter(["/*/*/NANOAODSIM"]), fields=CHEAP),
        "datasets, /Data1[23]*/*/RAW": page(DATASETS, DatasetFilter(["/Data1[23]*/*/RAW"]), fields=CHEAP),
        "datasets, a glob that matches few, at the end": page(DATASETS, DatasetFilter(["*99-v3/*"]), fields=CHEAP),
        "datasets, of a site": page(DATASETS, DatasetFilter(sites=[SITE]), fields=CHEAP),
        "datasets, of a group at a site": page(DATASETS, DatasetFilter(sites=[SITE], groups=[GROUP]), fields=CHEAP),
        "datasets, none (all looked at)": page(
            DATASETS, DatasetFilter(statuses=["production"], min_size_bytes=10**15), fields=CHEAP
        ),
        "dataset card": lambda: dataset_card(database, dataset),
        "blocks of a dataset": page(BLOCKS, ContentFilter(dataset)),
        "files of a dataset": page(FILES, ContentFilter(dataset)),
        "files by name, 1,000": lambda: files_by_name(database, lfns),
        "locate 1,000 files": lambda: locate(database, lfns),
        "locate one file": lambda: locate(database, lfns[:1]),
        "dataset replicas, of a dataset": page(DATASET_REPLICAS, ReplicaFilter([dataset])),
        "dataset replicas, of a site": page(DATASET_REPLICAS, ReplicaFilter(sites=[SITE])),
        "dataset replicas, of a group at a site": page(DATASET_REPLICAS, ReplicaFilter(sites=[SITE], groups=[GROUP])),
        "dataset replicas, incomplete": page(DATASET_REPLICAS, ReplicaFilter(is_complete=False)),
        "block replicas, of a site": page(BLOCK_REPLICAS, ReplicaFilter(sites=[SITE])),
        "block replicas, of a site, incomplete": page(BLOCK_REPLICAS, ReplicaFilter(sites=[SITE], is_complete=False)),
        "only here, first page": page(ONLY_HERE, OnlyHereFilter(SITE)),
        "site card": lambda: site_card(database, SITE),
        "group card": lambda: group_card(database, GROUP),
        "datasets of a group, first page": page(OWNED, OwnedFilter(GROUP)),
        "datasets of a group at a site": page(OWNED, OwnedFilter(GROUP, [SITE])),
        **of_acts(database, page),
        **sums(database),
    }


def of_acts(database: Database, page: Callable[..., Callable[[], Any]]) -> dict[str, Callable[[], Any]]:
    """What was asked, decided, moved and checked."""
    check_id = read_page(database, CHECKS, CheckFilter(), Window(1)).records()[0]["id"]
    dataset_id, name = read_page(database, DATASETS, DatasetFilter(), Window(5, fields=("id", "name"))).rows[4]
    week = Span(since="7d")
    return {
        "requests, newest": page(REQUESTS, RequestFilter()),
        "requests, open": page(REQUESTS, RequestFilter(states=["open"])),
        "requests, of a person": page(REQUESTS, RequestFilter(users=["user77"])),
        "requests, of a dataset": page(REQUESTS, RequestFilter(datasets=[name])),
        "plans, newest": page(PLANS, PlanFilter()),
        "what was done to a dataset": page(PAST, PastFilter(dataset_id)),
        "subscriptions": page(SUBSCRIPTIONS, SubscriptionFilter()),
        "subscriptions, held": page(SUBSCRIPTIONS, SubscriptionFilter(states=["held"])),
        "subscriptions, of a site": page(SUBSCRIPTIONS, SubscriptionFilter(sites=[SITE])),
        "subscriptions, of a dataset": page(SUBSCRIPTIONS, SubscriptionFilter(datasets=[name])),
        "copies that ended, newest": page(TRANSFERS_ENDED, AttemptFilter()),
        "copies that failed, to a site": page(TRANSFERS_ENDED, AttemptFilter(sites=[SITE], states=["failed"])),
        "copies under way": page(TRANSFERS_UNDER_WAY, AttemptFilter()),
        "checks, newest": page(CHECKS, CheckFilter()),
        "findings of a check": page(FINDINGS, FindingFilter(check_id)),
        "results of gates, newest": page(GATE_RESULTS, GateFilter()),
        "results of gates, refused": page(GATE_RESULTS, GateFilter(verdicts=["refused"])),
        "audit, newest": page(AUDIT, AuditFilter()),
        "audit, of a person": page(AUDIT, AuditFilter(persons=["user77"])),
        "changes of quotas of a site": page(QUOTA_CHANGES, QuotaChangeFilter(sites=[SITE])),
        "popularity of a dataset": lambda: popularity(database, [name], date(2020, 1, 1)),
        "copies in figures": lambda: standing(database, SubscriptionAction.COPY, (), "24h", datetime.now(UTC)),
        "copies of a week, by hour": lambda: transfer_series(database, week),
        "copies of a week, by day and source": lambda: transfer_series(database, week, ["source"], step="day"),
        "links of a week": lambda: links(database, week),
    }


def sums(database: Database) -> dict[str, Callable[[], Any]]:
    """Those that are kept."""
    return {
        "inventory summary": lambda: summary(database),
        "unique data of groups": lambda: group_usage(database),
        "usage by site": lambda: usage_now(database),
        "usage by site and group": lambda: usage_now(database, ["site", "group"]),
        "usage by site, group, status, release": lambda: usage_now(database, ["site", "group", "status", "release"]),
    }


@contextmanager
def pending(database: Database) -> Iterator[int]:
    """Half of a site's block replicas changed hands, and nobody has folded that."""
    with database.begin() as connection:
        connection.execute(
            text("""UPDATE block_replicas SET group_id = 1 + coalesce(group_id, 0) % 8
                    WHERE site_id = (SELECT id FROM sites WHERE name = :site) AND block_id % 2 = 0"""),
            {"site": SITE},
        )
        number = connection.execute(text("SELECT count(*) FROM usage_changes")).scalar_one()
    yield number


def streams(database: Database, most_rows: int) -> Iterator[tuple[str, Iterator[str]]]:
    """By name, pieces of text."""
    for name, listing, asked, fields, write in (
        ("datasets, ndjson", DATASETS, DatasetFilter(), (), ndjson),
        ("datasets, csv", DATASETS, DatasetFilter(), (), csv_text),
        ("datasets with copies, ndjson", DATASETS, DatasetFilter(), ("name", "num_copies"), ndjson),
        ("dataset replicas, ndjson", DATASET_REPLICAS, ReplicaFilter(), (), ndjson),
        ("block replicas, ndjson", BLOCK_REPLICAS, ReplicaFilter(), (), ndjson),
        ("block replicas of a site, csv", BLOCK_REPLICAS, ReplicaFilter(sites=[SITE]), (), csv_text),
        ("last copies at a site, ndjson", ONLY_HERE, OnlyHereFilter(SITE), (), ndjson),
        ("datasets of a group, ndjson", OWNED, OwnedFilter(GROUP), (), ndjson),
    ):
        yield name, write(database, listing, asked, fields, limit=most_rows)  # type: ignore[arg-type]


if __name__ == "__main__":
    sys.exit(main())
