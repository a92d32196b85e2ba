"""The pages over an inventory of CMS's size: what each costs, and how long one waits for it.

    python -m benchmarks.pages --url postgresql://…   # a database that is filled (``catalogue``, ``acts``)
    python -m benchmarks.pages --size 0.1             # one of its own, gone afterwards

Of each page: CPU of the api-server's processes and of PostgreSQL a load, kB, and of 20 loads the median and p95 until
it is there. Nothing is judged.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from urllib.parse import quote

from sqlalchemy import text

from benchmarks.load import Load, called, p95
from benchmarks.reads import GROUP, SITE

LOADS = 20
UI = "/dynamo/ui"


def main() -> None:
    """Fill if there is nothing, serve, measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url")
    parser.add_argument("--size", type=float, default=0.1)
    chosen = parser.parse_args()
    with called(chosen.url, chosen.size, 1, 1) as load:
        measure(load)


def measure(load: Load) -> None:
    """Page by page."""
    print(f"{'page: CPU ms a load':<46}{'api':>8}{'postgres':>9}{'p50 ms':>9}{'p95 ms':>9}{'kB':>8}")
    for path in paths(load):
        load.clients[0].ask("GET", f"{UI}/{path}")
        before, waits, size = load.spent(), list[float](), 0
        for _ in range(LOADS):
            status, content, wait = load.clients[0].ask("GET", f"{UI}/{path}")
            assert status == 200, f"{path}: {status} {content[-400:]!r}"
            waits.append(1000 * wait)
            size += len(content)
        api, postgres = (1000 * (after - begin) / LOADS for begin, after in zip(before, load.spent(), strict=True))
        print(
            f"{path[:45]:<46}{api:>8.1f}{postgres:>9.1f}{statistics.median(waits):>9.1f}{p95(waits):>9.1f}"
            f"{size / LOADS / 1000:>8.1f}",
            flush=True,
        )


def paths(load: Load) -> list[str]:
    """One page of each kind, about something that is there."""
    dataset, lfn = load.datasets[0], quote(load.lfns[0])
    with load.database.begin() as connection:
        subscription = connection.execute(text("SELECT max(id) FROM subscriptions")).scalar_one()
        request = connection.execute(text("SELECT max(id) FROM requests")).scalar_one()
        plans = connection.execute(
            text("SELECT kind, max(id) FROM plans WHERE location LIKE '/%' GROUP BY kind ORDER BY kind DESC")
        ).all()
    of_plans = {
        "detox": ("", "/decisions", f"/decisions?site={SITE}", "/order", "/left-out", "/what-if"),
        "dealer": ("", "/proposals", "/proposals?which=rejected"),
    }
    return [
        "today",
        "search?q=nothing",
        "data",
        "data?name=/Data17*",
        f"data?site={SITE}",
        f"data/{dataset.id}",
        f"data/{dataset.id}/files",
        f"data/{dataset.id}/blocks",
        f"data/file?lfn={lfn}",
        "requests",
        f"requests/{request}",
        "plans",
        *(f"plans/{plan}{part}" for kind, plan in plans for part in of_plans[kind]),
        "transfers",
        "transfers?since=30d",
        "transfers/queue",
        f"transfers/queue?site={SITE}&state=held",
        "transfers/under-way",
        "transfers/ended?state=failed",
        f"transfers/why/{subscription}",
        "deletions",
        "deletions/queue",
        "deletions/ended",
        "sites",
        f"sites/{SITE}",
        f"sites/{SITE}/only-here",
        "inventory",
        "inventory?by=group&also=site",
        "inventory?by=tier&also=status",
        "groups",
        f"groups/{GROUP}",
        f"groups/{GROUP}/datasets",
        "locks",
        "gates",
        "errands",
    ]


if __name__ == "__main__":
    sys.exit(main())
