"""What ended copies left at their destination: parts are removed, whole files taken in, all else stays."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dynamo_ops.base.errors import RetryableRemoteError
from dynamo_ops.fts.client import JobStatus
from dynamo_ops.fts.identity import FtsIdentity
from dynamo_ops.inventory.site.mapping import Endpoint
from dynamo_ops.pause import pauses
from dynamo_ops.storage.posix import PosixStorage
from dynamo_ops.storage.protocol import StorageOptions, StoredFile
from dynamo_ops.transfer import leftover
from dynamo_ops.transfer.batches import plan_batches
from dynamo_ops.transfer.hold import hold_and_release
from dynamo_ops.transfer.leftover import IN_VAIN, look_at_leftovers
from dynamo_ops.transfer.observe import apply, open_batch_job_ids
from tests.inventory.factory import SIZE, Inventory
from tests.people import ADA

WHOLE, PART, WRONG = b"x" * SIZE, b"x" * (SIZE // 2), b"y" * SIZE
BEGAN = datetime.now(UTC) - timedelta(minutes=30)


class Destination:
    """T2_B's storage. ``is_silent``: it answers nothing. ``tells``: checksums."""

    def __init__(self, root: Path) -> None:
        self.root, self.is_silent, self.tells = root, False, True
        self.num_asked = 0
        self.is_ahead: timedelta | None = None
        self.meanwhile: Callable[[], object] = lambda: None

    def __call__(self, site_id: int) -> Any:
        return _Storage(self)

    def put(self, lfn: str, content: bytes, age: timedelta = timedelta(0)) -> Path:
        path = self.root / lfn.removeprefix("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        written = (datetime.now(UTC) - age).timestamp()
        os.utime(path, (written, written))
        return path


class _Storage(PosixStorage):
    def __init__(self, at: Destination) -> None:
        super().__init__(Endpoint("T2_B", "file", at.root.as_uri()), StorageOptions())
        self._destination = at

    def stat(self, lfn: str) -> StoredFile | None:
        self._destination.num_asked += 1
        if self._destination.is_silent:
            raise RetryableRemoteError("no answer", service="storage")
        stored = super().stat(lfn)
        self._destination.meanwhile()
        return stored

    def clock(self) -> datetime | None:
        ahead = self._destination.is_ahead
        return None if ahead is None else datetime.now(UTC) + ahead

    def checksum(self, lfn: str) -> str | None:
        return f"{zlib.adler32(b''.join(self.read(lfn))):x}".upper() if self._destination.tells else None


@pytest.fixture
def there(tmp_path: Path) -> Destination:
    return Destination(tmp_path)


@pytest.fixture
def stock(inventory: Inventory, identity: FtsIdentity) -> Inventory:
    """A file of b1 goes from T2_A to T2_B, in a job that is under way."""
    inventory.site("T2_A")
    inventory.site("T2_B")
    inventory.block("b1", 1)
    inventory.rows("UPDATE files SET adler32 = :sum", sum=f"{zlib.adler32(WHOLE):08x}")
    inventory.replica("b1", "T2_A")
    inventory.subscription("copy", inventory.files_of["b1"], "T2_B")
    plan_batches(inventory.db, identity)
    inventory.rows("UPDATE transfer_batches SET state = 'submitted'")
    inventory.rows("UPDATE transfers SET state = 'submitted'")
    return inventory


def end(
    stock: Inventory,
    state: str = "CANCELED",
    *,
    began: datetime | None = BEGAN,
    withdrawn: bool = True,
    reason: str = "it",
) -> None:
    """FTS's job has ended; nobody wants the copy any more."""
    (job_id,) = open_batch_job_ids(stock.db)
    times = {"start_time": f"{began:%Y-%m-%dT%H:%M:%S}" if began else None, "finish_time": "2026-11-30T12:00:00"}
    file = {
        "file_state": state,
        "file_metadata": {"transfer_id": stock.scalar("SELECT id FROM transfers")},
        "reason": reason,
    }
    with stock.db.begin() as connection:
        apply(connection, [JobStatus(job_id, 200, state, files=[file | times])], datetime.now(UTC))
    if withdrawn:
        stock.rows("UPDATE subscriptions SET state = 'cancelled'")


def lfn(stock: Inventory) -> str:
    return stock.files_of["b1"][0]


def looked(stock: Inventory, there: Destination) -> dict[str, int]:
    """What came of it, without what is 0."""
    counts = asdict(look_at_leftovers(stock.db, there))
    return {name: number for name, number in counts.items() if number}


def reason(stock: Inventory) -> str:
    return str(stock.scalar("SELECT reason FROM transfers"))


@pytest.mark.parametrize("state", ["CANCELED", "FAILED"])
def test_a_part_is_removed(stock: Inventory, there: Destination, state: str) -> None:
    end(stock, state)
    path = there.put(lfn(stock), PART)
    assert looked(stock, there) == {"num_removed": 1, "removed_bytes": SIZE // 2}
    assert not path.exists()
    assert reason(stock) == "it; 500 bytes of 1,000 were left at the destination, and are to go; removed"
    assert looked(stock, there) == {}


def test_wrong_bytes_are_removed(stock: Inventory, there: Destination) -> None:
    end(stock, "FAILED")
    path = there.put(lfn(stock), WRONG)
    assert looked(stock, there) == {"num_removed": 1, "removed_bytes": SIZE}
    assert not path.exists()
    assert reason(stock) == "it; wrong bytes were left at the destination, and are to go; removed"


def test_a_whole_file_is_taken_in(stock: Inventory, there: Destination) -> None:
    """A copy whose end FTS could not see: held, and fulfilled by what is there."""
    end(stock, "FAILED", withdrawn=False)
    stock.rows("UPDATE subscriptions SET state = 'held', hold_reason = 'all_failed'")
    path = there.put(lfn(stock), WHOLE)
    assert looked(stock, there) == {"num_whole": 1}
    assert path.exists()
    assert stock.replica_state("b1", "T2_B") == (True, SIZE, 0)
    hold_and_release(stock.db)
    assert stock.subscriptions()["copy", lfn(stock), "T2_B"] == "done"


KEPT: dict[str, Callable[[Inventory, Destination], Path]] = {
    "older than the copy": lambda stock, there: there.put(lfn(stock), PART, age=timedelta(hours=2)),
    "of its size, and no checksum is told": lambda stock, there: there.put(lfn(stock), WRONG),
}


@pytest.mark.parametrize("what", KEPT)
def test_what_cannot_be_known_to_be_left_by_the_copy_stays(stock: Inventory, there: Destination, what: str) -> None:
    end(stock)
    there.tells = "checksum" not in what
    path = KEPT[what](stock, there)
    assert looked(stock, there) == {"num_kept": 1}
    assert path.exists()
    assert "it stays" in reason(stock)
    assert looked(stock, there) == {}


def is_tried_again(stock: Inventory) -> None:
    stock.rows("UPDATE subscriptions SET state = 'retry'")


def is_present(stock: Inventory) -> None:
    stock.replica("b1", "T2_B")


def has_two_names(stock: Inventory) -> None:
    stock.site("T2_C", prefix="davs://t2_b.invalid:443/dav")


def is_away(stock: Inventory) -> None:
    stock.rows("UPDATE sites SET status = 'waitroom' WHERE name = 'T2_B'")


@pytest.mark.parametrize("since", [is_tried_again, is_present, has_two_names, is_away])
def test_the_storage_is_not_even_asked(
    stock: Inventory, there: Destination, since: Callable[[Inventory], None]
) -> None:
    end(stock)
    path = there.put(lfn(stock), PART)
    since(stock)
    assert looked(stock, there) == {}
    assert there.num_asked == 0
    assert path.exists()


def test_a_copy_that_never_began_has_left_nothing(stock: Inventory, there: Destination) -> None:
    end(stock, began=None)
    there.put(lfn(stock), PART)
    assert looked(stock, there) == {}


def test_what_failed_at_its_source_has_left_nothing(stock: Inventory, there: Destination) -> None:
    """FTS had not come to the destination: what is there is somebody's."""
    end(stock, "FAILED", reason="SOURCE [2] Result HTTP 404 : File not found")
    path = there.put(lfn(stock), PART)
    assert looked(stock, there) == {}
    assert path.exists()


def test_a_clock_that_is_ahead_makes_no_old_file_young(stock: Inventory, there: Destination) -> None:
    end(stock)
    there.is_ahead = timedelta(hours=2)
    path = there.put(lfn(stock), PART, age=timedelta(hours=-1))  # by its clock: an hour before the copy began
    assert looked(stock, there) == {"num_kept": 1}
    assert path.exists()


def test_what_is_wanted_again_since_it_was_looked_at_stays(stock: Inventory, there: Destination) -> None:
    """Judged once more before it goes."""
    end(stock)
    path = there.put(lfn(stock), PART)
    there.meanwhile = lambda: is_tried_again(stock)
    assert looked(stock, there) == {"num_unseen": 1}
    assert path.exists()


def test_killed_before_it_is_recorded_what_was_to_go_stands_with_the_attempt(
    stock: Inventory, there: Destination, monkeypatch: pytest.MonkeyPatch
) -> None:
    end(stock)
    path = there.put(lfn(stock), PART)

    def deleted_and_killed(*arguments: Any) -> None:
        path.unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setattr(leftover, "delete_if", deleted_and_killed)
        with pytest.raises(KeyboardInterrupt):
            looked(stock, there)
    assert looked(stock, there) == {"num_none": 1}
    assert reason(stock) == "it; 500 bytes of 1,000 were left at the destination, and are to go"


def test_nothing_is_removed_while_deletions_stand_still(stock: Inventory, there: Destination) -> None:
    end(stock)
    path = there.put(lfn(stock), PART)
    pauses.stop(stock.db, by=ADA, reason="what is this?")
    assert looked(stock, there) == {"num_unseen": 1}
    assert path.exists()
    pauses.resume(stock.db, by=ADA)
    assert looked(stock, there) == {"num_removed": 1, "removed_bytes": SIZE // 2}


def test_a_storage_that_does_not_answer_is_asked_later_and_not_for_all(stock: Inventory, there: Destination) -> None:
    end(stock)
    stock.rows(
        """INSERT INTO files (block_id, lfn, size_bytes)
           SELECT 1, '/store/more/' || n, 1000 FROM generate_series(1, 30) AS n"""
    )
    stock.rows(
        """INSERT INTO subscriptions (file_id, site_id, action, state, origin)
           SELECT id, :b, 'copy', 'cancelled', 'test' FROM files WHERE lfn LIKE '/store/more/%'""",
        b=stock.site_ids["T2_B"],
    )
    stock.rows(
        """INSERT INTO transfers (batch_id, subscription_id, file_index, source_site_id, size_bytes, state, started_at,
             is_leftover)
           SELECT t.batch_id, s.id, s.id, t.source_site_id, 1000, 'failed', t.started_at, true
           FROM transfers t, subscriptions s WHERE s.origin = 'test' AND s.id <> t.subscription_id"""
    )
    there.is_silent = True
    assert looked(stock, there) == {"num_unseen": 31}
    assert there.num_asked == IN_VAIN
    there.is_silent = False
    assert looked(stock, there) == {"num_none": 31}
