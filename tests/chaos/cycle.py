"""Both DAGs as plain calls: one cycle of transfers and one of deletions, with this folder's limits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dynamo_ops.base.errors import RemoteError
from dynamo_ops.database.connection import Database
from dynamo_ops.deletion import directories, execute, queue
from dynamo_ops.fts.client import FtsClient
from dynamo_ops.fts.servers import servers_of
from dynamo_ops.inventory.subscription import subscribe
from dynamo_ops.storage.protocol import Storage, StorageOptions
from dynamo_ops.storage.registry import open_storage
from dynamo_ops.transfer import batches, direct, hold, leftover, observe, recovery
from dynamo_ops.transfer.submission import lot
from tests.chaos.limits import DELETIONS, DIRECT, JOBS, RULES, TRANSFERS
from tests.patience import wait_until

MOVING = "SELECT count(*) FROM subscriptions WHERE state IN ('new', 'retry', 'inbatch')"
OPEN = """SELECT (SELECT count(*) FROM transfer_batches WHERE state IN ('planned', 'submitted'))
    + (SELECT count(*) FROM deletion_batches WHERE state = 'planned')"""


@dataclass
class Hands:
    """What tasks are given: database, FTS, storages."""

    db: Database
    client: FtsClient
    options: StorageOptions

    def storage(self, site_id: int) -> Storage:
        return open_storage(self.db, site_id, self.options)

    # -- tasks -----------------------------------------------------------------------------------------------------

    def plan_batches(self) -> batches.PlannedBatches:
        return batches.plan_batches(self.db, self.client.whoami(), TRANSFERS, RULES)

    def submit(self, batch_ids: list[int]) -> None:
        done = lot.submit_lot(self.db, servers_of(self.client), batch_ids, JOBS, TRANSFERS)
        for _, error in done.failed.values():
            raise error

    def execute_direct(self, batch_ids: list[int]) -> None:
        for batch_id in batch_ids:
            direct.execute_direct(self.db, batch_id, self.storage, DIRECT)

    def execute(self, batch_ids: list[int]) -> None:
        for batch_id in batch_ids:
            execute.execute_batch(self.db, batch_id, self.storage, DELETIONS)

    def follow(self) -> None:
        """Observe until no job is open."""

        def all_ended() -> bool:
            observe.observe_and_apply(self.db, self.client, illness=TRANSFERS)
            return not observe.open_batch_job_ids(self.db)

        wait_until(all_ended, lambda: "jobs do not end")

    # -- cycles ----------------------------------------------------------------------------------------------------

    def transfer(self) -> None:
        recovered = recovery.recover(self.db, self.client)
        leftover.look_at_leftovers(self.db, self.storage)
        unfinished = recovery.unfinished_direct(self.db)
        hold.hold_and_release(self.db)
        planned = self.plan_batches()
        self.submit([*recovered.unsubmitted, *planned.disk, *planned.tape])
        self.execute_direct([*unfinished, *planned.direct])
        self.follow()

    def delete(self) -> None:
        unfinished = queue.recover_deletions(self.db).unfinished
        batch_ids = [*unfinished, *queue.plan_deletions(self.db, DELETIONS)]
        self.execute(batch_ids)
        directories.clean_directories(self.db, batch_ids, self.storage)

    def cycle(self, tell: Callable[[str], None]) -> None:
        """One run of both DAGs. Where a task fails its run ends, and leaves the rest to the next."""
        for run in (self.transfer, self.delete):
            try:
                run()
            except RemoteError as error:
                tell(f"{type(error).__name__}: {error.message}")

    def run_to_the_end(self, tell: Callable[[str], None], most_cycles: int = 60) -> int:
        """Cycles until nothing is left that could move by itself; how many it took."""
        for number in range(1, most_cycles + 1):
            self.cycle(tell)
            subscribe.resubscribe_incomplete(self.db)
            if self.db.frame(MOVING).item() == 0 and self.db.frame(OPEN).item() == 0:
                return number
        raise AssertionError(f"still moving after {most_cycles} cycles")
