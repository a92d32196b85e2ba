"""REST under load: twenty people at once on a real api-server, over an inventory of CMS's size.

    python -m benchmarks.load --url postgresql://…   # a database that is filled (``catalogue``, ``acts``)
    python -m benchmarks.load --size 0.1             # one of its own, gone afterwards; 1: half an hour to fill

Each kind of call alone: CPU of the api-server's processes and of PostgreSQL a call, and how long one waits. Then all
kinds mixed, ``--clients`` people without a pause between their calls, for ``--seconds``: how long they wait, calls a
second, memory. Then streams. Clients run on the same machine: walls hold their share. Nothing is judged.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import random
import statistics
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import psutil
from sqlalchemy import text

from benchmarks import acts
from benchmarks.catalogue import fill
from benchmarks.detox import server
from benchmarks.reads import GROUP, SITE, Clock
from dynamo_ops.access import grants, tokens
from dynamo_ops.access.person import Grant, Role, Scope
from dynamo_ops.configuration.new_installation import mark
from dynamo_ops.database import migrate
from dynamo_ops.database.connection import Database
from tests import ROOT
from tests.api_server import ApiServer, api_server
from tests.people import ROOT_USER

MB = 1_000_000
ALONE = 40
STREAMS = {
    "datasets, ndjson": ("/datasets?limit=200000", "application/x-ndjson"),
    "dataset replicas, ndjson": ("/replicas?limit=400000", "application/x-ndjson"),
    "dataset replicas, csv": ("/replicas?limit=400000", "text/csv"),
    "block replicas, ndjson": ("/replicas?level=block&limit=1000000", "application/x-ndjson"),
}


@dataclass(frozen=True)
class Call:
    """``often``: its share of the mix. ``make`` gives method, path and body."""

    often: int
    make: Callable[[], tuple[str, str, bytes | None]]


def main() -> None:
    """Fill if there is nothing, serve, measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url")
    parser.add_argument("--size", type=float, default=0.1)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--workers", type=int, default=2)
    chosen = parser.parse_args()
    with called(chosen.url, chosen.size, chosen.workers, chosen.clients) as load:
        load.measure(chosen.seconds)


@contextmanager
def called(url: str | None, size: float, workers: int, num_clients: int) -> Iterator[Load]:
    """Who calls an api-server, over the database of that address, or over one that is filled and gone afterwards."""
    with server() as (postgres, folder):
        postgres.create_database("airflow")
        if url:
            database = Database(url)
            migrate.upgrade(database)
        else:
            postgres.create_database("bench")
            database = Database(postgres.url("bench"))
            fill(database, size)
            acts.fill(database, size)
        airflow_url = postgres.url("airflow").replace("postgresql://", "postgresql+psycopg2://")
        with served(database, folder, airflow_url, workers) as api:
            yield Load(database, api, num_clients)
        database.dispose()


@contextmanager
def served(database: Database, folder: Path, airflow_url: str, workers: int) -> Iterator[ApiServer]:
    """An api-server on an installation of the shipped configuration."""
    home = folder / "home"
    home.mkdir()
    mark(home, config=str(ROOT / "include" / "config"), policies=str(ROOT / "include" / "policies"))
    with api_server(folder / "api", home, airflow_url, workers=workers, DYNAMO_DB_URL=database.url) as api:
        yield api


class Client:
    """One person with a token; a connection that stays."""

    def __init__(self, api: ApiServer, secret: str) -> None:
        place = urlsplit(api.v1)
        self._connection = http.client.HTTPConnection(place.netloc, timeout=300)
        self._base, self._headers = place.path, {"authorization": f"Bearer {secret}"}

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes, float]:
        """Status, answer, seconds. ``path``: below /v1, or whole."""
        sent = self._headers | headers | ({"content-type": "application/json"} if body else {})
        began = time.monotonic()
        self._connection.request(method, path if path.startswith("/dynamo/") else self._base + path, body, sent)
        answer = self._connection.getresponse()
        content = answer.read()
        return answer.status, content, time.monotonic() - began

    def stream(self, path: str, kind: str) -> tuple[int, float, float]:
        """Lines, seconds to the first piece, seconds in all."""
        began, first, lines = time.monotonic(), 0.0, 0
        self._connection.request("GET", self._base + path, headers=self._headers | {"accept": kind})
        answer = self._connection.getresponse()
        assert answer.status == 200, answer.read()
        while piece := answer.read1(1 << 16):
            first = first or time.monotonic() - began
            lines += piece.count(b"\n")
        return lines, first, time.monotonic() - began


class Load:
    """What is asked, of whom, and what it cost."""

    def __init__(self, database: Database, api: ApiServer, num_clients: int) -> None:
        self.database, self.api, self.clock = database, api, Clock(database)
        self.clients = [Client(api, self._secret(f"bench{number}")) for number in range(num_clients)]
        with database.begin() as connection:
            self.datasets = connection.execute(text("SELECT id, name FROM datasets ORDER BY random() LIMIT 2000")).all()
            chosen = "SELECT lfn FROM files WHERE id % 97 = 5 ORDER BY id DESC LIMIT 2000"
            self.lfns = connection.execute(text(chosen)).scalars().all()
        self.calls = self._calls()

    def _secret(self, name: str) -> str:
        for held in (Grant(Role.USER, Scope()), Grant(Role.OPERATOR, Scope())):
            grants.grant(self.database, name, held, by=ROOT_USER, reason="benchmark")
        return tokens.make(self.database, f"bench {time.time()}", days=1, by=ROOT_USER, person=name).secret

    def _calls(self) -> dict[str, Call]:
        numbers = itertools.count()

        def get(path: Callable[[], str]) -> Callable[[], tuple[str, str, bytes | None]]:
            return lambda: ("GET", path(), None)

        def dataset() -> int:
            return int(random.choice(self.datasets).id)

        def name() -> str:
            return quote(random.choice(self.datasets).name)

        def site() -> str:
            return f"T2_{random.randrange(7, 100)}_Disk"

        def post(path: str, about: Callable[[str], dict[str, Any]]) -> Callable[[], tuple[str, str, bytes | None]]:
            def call() -> tuple[str, str, bytes | None]:
                asked = {**about(random.choice(self.datasets).name), "reason": f"benchmark {next(numbers)}"}
                return "POST", path, json.dumps(asked).encode()

            return call

        return {
            "me": Call(2, get(lambda: "/me")),
            "dataset by name": Call(10, get(lambda: f"/datasets?name={name()}")),
            "datasets, a glob": Call(5, get(lambda: f"/datasets?name=/Data{random.randrange(10, 99)}*&fields=id,name")),
            "datasets of a site": Call(3, get(lambda: f"/datasets?site={site()}&fields=id,name,size_bytes")),
            "dataset": Call(8, get(lambda: f"/datasets/{dataset()}")),
            "blocks of a dataset": Call(4, get(lambda: f"/datasets/{dataset()}/blocks")),
            "files of a dataset": Call(3, get(lambda: f"/datasets/{dataset()}/files")),
            "file by name": Call(6, get(lambda: f"/files?lfn={quote(random.choice(self.lfns))}")),
            "where a file is": Call(6, get(lambda: f"/replicas/locate?lfn={quote(random.choice(self.lfns))}")),
            "replicas of a dataset": Call(10, get(lambda: f"/replicas?dataset={name()}")),
            "replicas of a site": Call(5, get(lambda: f"/replicas?site={site()}")),
            "block replicas of a site": Call(3, get(lambda: f"/replicas?site={site()}&level=block")),
            "history of a dataset": Call(3, get(lambda: f"/datasets/{dataset()}/history")),
            "sites": Call(2, get(lambda: "/sites")),
            "site": Call(3, get(lambda: f"/sites/{site()}")),
            "only here": Call(1, get(lambda: f"/sites/{site()}/only-here?limit=20")),
            "group": Call(2, get(lambda: f"/groups/{GROUP}")),
            "usage by site and group": Call(2, get(lambda: "/usage?by=site&by=group")),
            "requests, newest": Call(3, get(lambda: "/requests")),
            "requests of a person": Call(2, get(lambda: f"/requests?user=user{random.randrange(500)}")),
            "plans": Call(2, get(lambda: "/plans")),
            "subscriptions of a site": Call(3, get(lambda: f"/subscriptions?site={SITE}")),
            "copies that failed": Call(3, get(lambda: f"/transfers/ended?site={site()}&state=failed")),
            "copies in figures": Call(1, get(lambda: "/transfers")),
            "links of a week": Call(1, get(lambda: "/transfers/links?since=7d")),
            "popularity": Call(2, get(lambda: f"/popularity?dataset={name()}")),
            "gates": Call(1, get(lambda: "/gates/results")),
            "deletion, dry run": Call(
                1, post("/requests/deletions?dry_run=true", lambda name: {"items": [name], "sites": ["T2_*"]})
            ),
            "lock": Call(1, post("/locks", lambda name: {"item": name, "until": "30 days"})),
        }

    def measure(self, seconds: float) -> None:
        """All of it, in lines as it becomes known."""
        before_mb = self._memory_mb()
        print(f"{'alone: CPU ms a call':<28}{'api':>8}{'postgres':>9}{'p50 ms':>9}{'p95 ms':>9}{'kB':>8}")
        for name, call in self.calls.items():
            self._alone(name, call)
        self._mixed(seconds)
        for name, (path, kind) in STREAMS.items():
            self._stream(name, path, kind)
        print(f"memory of the api-server: {before_mb:.0f} MB before, {self._memory_mb():.0f} MB after")

    def _alone(self, name: str, call: Call) -> None:
        for client in self.clients:  # both workers have connections and compiled statements
            client.ask(*call.make())
        api, postgres, waits, size = self._api_seconds(), self.clock.seconds(), [], 0
        for number in range(ALONE):
            status, content, wait = self.clients[number % len(self.clients)].ask(*call.make())
            assert status < 300, f"{name}: {status} {content[:300]!r}"
            waits.append(1000 * wait)
            size += len(content)
        api, postgres = self._api_seconds() - api, self.clock.seconds() - postgres
        print(
            f"{name:<28}{1000 * api / ALONE:>8.1f}{1000 * postgres / ALONE:>9.1f}{statistics.median(waits):>9.1f}"
            f"{p95(waits):>9.1f}{size / ALONE / 1000:>8.1f}",
            flush=True,
        )

    def _mixed(self, seconds: float) -> None:
        names, weights = [*self.calls], [call.often for call in self.calls.values()]
        waits: dict[str, list[float]] = defaultdict(list)
        refused: Counter[str] = Counter()
        until = time.monotonic() + seconds

        def work(client: Client) -> None:
            while time.monotonic() < until:
                (name,) = random.choices(names, weights)
                status, content, wait = client.ask(*self.calls[name].make())
                if status >= 300:
                    refused[f"{name}: {status} {content[:120]!r}"] += 1
                else:
                    waits[name].append(1000 * wait)

        api, postgres = self._api_seconds(), self.clock.seconds()
        workers = [threading.Thread(target=work, args=(client,)) for client in self.clients]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        api, postgres = self._api_seconds() - api, self.clock.seconds() - postgres
        every = [wait for kind in waits.values() for wait in kind]
        print(
            f"mixed: {len(self.clients)} clients, {seconds:.0f} s, {len(every):,} calls, {len(every) / seconds:.0f} a "
            f"second, p50 {statistics.median(every):.0f} ms, p95 {p95(every):.0f} ms; CPU ms a call: api "
            f"{1000 * api / len(every):.1f}, postgres {1000 * postgres / len(every):.1f}; "
            f"{self._memory_mb():.0f} MB"
        )
        for name, kind in sorted(waits.items()):
            print(f"  {name:<28}{len(kind):>7,} calls, p50 {statistics.median(kind):>6.0f}, p95 {p95(kind):>6.0f} ms")
        for what, number in refused.most_common(10):
            print(f"  not answered: {number:,} × {what}")

    def _stream(self, name: str, path: str, kind: str) -> None:
        api, postgres = self._api_seconds(), self.clock.seconds()
        rows, first, wall = self.clients[0].stream(path, kind)
        print(
            f"stream {name:<26}{rows:>10,} rows, {rows / wall:>8,.0f} a second, first after {first:.2f} s; CPU s: api "
            f"{self._api_seconds() - api:.1f}, postgres {self.clock.seconds() - postgres:.1f}; "
            f"{self._memory_mb():.0f} MB",
            flush=True,
        )

    def spent(self) -> tuple[float, float]:
        """CPU seconds so far, of the api-server and of PostgreSQL."""
        return self._api_seconds(), self.clock.seconds()

    def _processes(self) -> list[psutil.Process]:
        leader = psutil.Process(self.api.pid)
        return [leader, *leader.children(recursive=True)]

    def _api_seconds(self) -> float:
        return sum(times.user + times.system for times in (process.cpu_times() for process in self._processes()))

    def _memory_mb(self) -> float:
        return sum(process.memory_full_info().pss for process in self._processes()) / MB


def p95(values: list[float]) -> float:
    """Of some waits."""
    return sorted(values)[int(0.95 * len(values))] if values else 0.0


if __name__ == "__main__":
    sys.exit(main())
