"""One small installation in one grid: what is subscribed, the tasks that bring it about, and what must hold at the end.

Every scene has a database and LFNs of its own; the grid is shared. Jobs and files of other scenes are left out by name.
"""

from __future__ import annotations

import socket
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dynamo_ops.database.connection import Database
from dynamo_ops.fts.client import FtsClient
from dynamo_ops.storage.protocol import StorageOptions
from dynamo_ops.transfer import hold
from simgrid.fts.jobs import Job
from simgrid.fts.states import JOB_TERMINAL
from simgrid.grid import Grid
from tests.chaos.cycle import Hands
from tests.inventory.factory import Inventory
from tests.patience import wait_until


@dataclass
class Scene:
    """``expected``: (site, LFN) → bytes that must be there in the end; ``gone``: (site, LFN) that must not."""

    grid: Grid
    db: Database
    client: FtsClient
    inventory: Inventory
    name: str = field(default_factory=lambda: f"k{uuid.uuid4().hex[:10]}")
    expected: dict[tuple[str, str], bytes] = field(default_factory=dict)
    gone: set[tuple[str, str]] = field(default_factory=set)
    expected_subscriptions: dict[tuple[str, str, str], str] = field(
        default_factory=dict
    )  # where they do not end as done
    errors: list[str] = field(default_factory=list)
    _contents: dict[str, bytes] = field(default_factory=dict)

    # -- what there is, and what is subscribed ---------------------------------------------------------------------

    def block(self, short: str, *sites: str, num_files: int = 3) -> list[str]:
        """A block of real files, complete at these sites; its LFNs."""
        name = f"{self.name}-{short}"
        contents = {f"/store/{name}/f{n}": f"{name} {n} ".encode() * (50 + n) for n in range(num_files)}
        self.inventory.block(name, contents=contents)
        self._contents |= contents
        for site in sites:
            self.inventory.replica(name, site)
            for lfn, data in contents.items():
                path = self.path(site, lfn)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
                self.expected[site, lfn] = data
        return list(contents)

    def files_of(self, short: str) -> list[str]:
        """The LFNs of a block."""
        return self.inventory.files_of[f"{self.name}-{short}"]

    def copy(self, lfns: list[str], site: str) -> None:
        self.inventory.subscription("copy", lfns, site)
        self.expected |= {(site, lfn): self._contents[lfn] for lfn in lfns}

    def delete(self, lfns: list[str], site: str) -> None:
        self.inventory.subscription("delete", lfns, site)
        for lfn in lfns:
            self.expected.pop((site, lfn), None)
        self.gone |= {(site, lfn) for lfn in lfns}

    def never(self, lfns: list[str], site: str, state: str) -> None:
        """These copies will not come about; their subscriptions end in ``state``."""
        for lfn in lfns:
            self.expected.pop((site, lfn), None)
            self.expected_subscriptions["copy", lfn, site] = state

    def path(self, site: str, lfn: str) -> Path:
        return Path(self.grid.endpoints["sites"][site]["root"] + lfn)

    @property
    def hands(self) -> Hands:
        ends = self.grid.endpoints
        options = StorageOptions(ca=ends["ca"], cert=ends["user_cert"], key=ends["user_key"], threads=2)
        return Hands(self.db, self.client, options)

    # -- what is done ----------------------------------------------------------------------------------------------

    def plan(self) -> list[int]:
        hold.hold_and_release(self.db)
        planned = self.hands.plan_batches()
        return [*planned.disk, *planned.tape]

    def submit(self, batch_ids: list[int]) -> None:
        self.hands.submit(batch_ids)

    def cycle(self) -> None:
        self.hands.cycle(self.errors.append)

    def follow(self) -> None:
        self.hands.follow()

    def run_to_the_end(self, most_cycles: int = 60) -> int:
        """Cycles until nothing is left that could move by itself; how many it took."""
        try:
            return self.hands.run_to_the_end(self.errors.append, most_cycles)
        except AssertionError as error:
            raise AssertionError(
                f"{error}: {self.inventory.subscriptions()}, {self.own_jobs()}, {self.errors[-3:]}"
            ) from error

    def await_fts(self) -> None:
        """Wait until FTS has ended all jobs of this scene, without telling anybody."""
        wait_until(
            lambda: all(job.job_state in JOB_TERMINAL for job in self.own_jobs()), lambda: "FTS does not end the jobs"
        )

    @contextmanager
    def all_requests_end(self) -> Iterator[None]:
        """Wait until the grid is done with what it is asked meanwhile: a killed process's PUT may come to disk late."""
        before = self._connections()
        yield
        wait_until(lambda: not self._connections() - before, lambda: "the grid does not end its requests")

    def _connections(self) -> set[socket.socket]:
        return {connection for server in self.grid._servers for connection in list(server._open)}

    def own_jobs(self) -> list[Job]:
        """FTS's jobs that write files of this scene, as FTS itself knows them."""
        assert self.grid._fts is not None
        store = self.grid._fts.store
        with store.lock:
            return [job for job in store.jobs.values() if any(f"/{self.name}-" in f.dest_surl for f in job.files)]

    # -- what must hold at the end ---------------------------------------------------------------------------------

    def problems(self) -> list[str]:
        """What is wrong, in words; empty when all is well."""
        return [*self._wrong_files(), *self._wrong_subscriptions(), *self._wrong_jobs(), *self._wrong_inventory()]

    def stored(self) -> dict[tuple[str, str], int]:
        """(site, LFN) → bytes on disk, by looking into the directories."""
        return {
            (site, "/" + str(path.relative_to(ends["root"]))): path.stat().st_size
            for site, ends in self.grid.endpoints["sites"].items()
            for path in Path(ends["root"]).glob(f"store/{self.name}-*/*")
        }

    def known(self) -> dict[tuple[str, str], int]:
        """(site, LFN) → bytes that the inventory has at its sites."""
        rows = self.inventory.rows("""
            SELECT d.name, f.lfn, f.size_bytes FROM block_replicas r JOIN files f ON f.block_id = r.block_id
            JOIN sites d ON d.id = r.site_id
            WHERE r.is_complete OR EXISTS (SELECT FROM block_replica_files p
              WHERE p.block_id = r.block_id AND p.site_id = r.site_id AND p.file_id = f.id)""")
        return {(site, lfn): size for site, lfn, size in rows}

    def _wrong_files(self) -> list[str]:
        found = [
            f"{lfn} at {site}: " + ("wrong bytes" if self.path(site, lfn).exists() else "not there")
            for (site, lfn), data in self.expected.items()
            if not self.path(site, lfn).exists() or self.path(site, lfn).read_bytes() != data
        ]
        found += [f"{lfn} at {site}: still there" for site, lfn in self.gone if self.path(site, lfn).exists()]
        emptied = {self.path(site, lfn).parent for site, lfn in self.gone}
        return found + [f"{path}: empty directory" for path in emptied if path.exists() and not any(path.iterdir())]

    def _wrong_subscriptions(self) -> list[str]:
        return [
            f"subscription {key}: {state}"
            for key, state in self.inventory.subscriptions().items()
            if state != self.expected_subscriptions.get(key, "done")
        ]

    def _wrong_jobs(self) -> list[str]:
        """No job unknown to us, none unfinished on either side, no file copied twice to completion."""
        batches: dict[str, Any] = dict(self.inventory.rows("SELECT job_id::text, state FROM transfer_batches"))
        jobs = self.own_jobs()
        found = [f"job {job.job_id}: orphan" for job in jobs if batches.get(job.job_id) != "finished"]
        found += [f"job {job.job_id}: {job.job_state}" for job in jobs if job.job_state not in JOB_TERMINAL]
        found += [f"batch of job {key}: {state}" for key, state in batches.items() if state in ("planned", "submitted")]
        copies = Counter(f.dest_surl for job in jobs for f in job.files if f.file_state == "FINISHED")
        return found + [f"{url}: copied {count} times" for url, count in copies.items() if count > 1]

    def _wrong_inventory(self) -> list[str]:
        stored, known = self.stored(), self.known()
        found = [f"{key}: on disk, not in the inventory" for key in stored.keys() - known.keys()]
        found += [f"{key}: in the inventory, not on disk" for key in known.keys() - stored.keys()]
        found += [
            f"{key}: {stored[key]} B, not {known[key]}" for key in stored.keys() & known if stored[key] != known[key]
        ]
        wrong = self.inventory.rows("""
            SELECT b.name, d.name, r.size_bytes, r.is_complete FROM block_replicas r JOIN sites d ON d.id = r.site_id
            JOIN blocks b ON b.id = r.block_id CROSS JOIN LATERAL (
              SELECT count(*) AS num, coalesce(sum(f.size_bytes), 0) AS size_bytes FROM files f
              WHERE f.block_id = b.id AND (r.is_complete OR EXISTS (SELECT FROM block_replica_files p
                WHERE p.block_id = r.block_id AND p.site_id = r.site_id AND p.file_id = f.id))) x
            WHERE r.size_bytes <> x.size_bytes OR (x.num = b.num_files) <> r.is_complete""")
        return found + [f"replica {row}: wrong size or completeness" for row in wrong]
