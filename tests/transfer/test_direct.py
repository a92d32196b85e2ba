"""Copies that Dynamo makes itself: right bytes or none, resumed, run again, on directories and over WebDAV."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from dynamo_ops.base.errors import CredentialError, InventoryError, PermanentRemoteError, RetryableRemoteError
from dynamo_ops.base.settings import TransferSettings
from dynamo_ops.inventory.lfn import upload_lfn
from dynamo_ops.inventory.site.downtime import drain
from dynamo_ops.inventory.site.mapping import Endpoint
from dynamo_ops.inventory.states import DeletionObservation
from dynamo_ops.inventory.subscription import operate
from dynamo_ops.inventory.subscription.selection import Selection
from dynamo_ops.storage.posix import PosixStorage
from dynamo_ops.storage.protocol import DeletionOutcome, Storage, StorageOptions, StoredFile
from dynamo_ops.storage.xrootd import XrootdStorage
from dynamo_ops.transfer.direct import DirectSummary, execute_direct
from dynamo_ops.transfer.hold import hold_and_release
from tests import ROOT
from tests.inventory.factory import Inventory, withdraw
from tests.patience import PATIENCE_S
from tests.people import ADA
from tests.world import World
from tests.xrootd.servers import XrootdServer, running_servers

PIECE = 64


def no_trouble(what: str, lfn: str) -> None:
    """Nothing is wrong with ``what`` for the file."""


class Disk:
    """A site's storage on a directory. ``trouble``: called with (what, LFN) before each call, may raise."""

    def __init__(self, site: str, root: Path) -> None:
        self.endpoint = Endpoint(site, "file", f"file://{root}")
        self.root = root
        self.finished = root.with_suffix(".finished")
        self.has_checksums = True
        self.can_append = True
        self.tells_sizes = True
        self.trouble: Callable[[str, str], None] = no_trouble
        self.num_bytes_read = 0
        self.num_finished = 0
        self.num_closed = 0

    def path(self, lfn: str) -> Path:
        return self.root / lfn.lstrip("/")

    def put(self, lfn: str, data: bytes) -> None:
        self.path(lfn).parent.mkdir(parents=True, exist_ok=True)
        self.path(lfn).write_bytes(data)

    def stat(self, lfn: str) -> StoredFile | None:
        self.trouble("stat", lfn)
        if not self.path(lfn).exists():
            return None
        return StoredFile(lfn, self.path(lfn).stat().st_size if self.tells_sizes else -1, None)

    def checksum(self, lfn: str) -> str | None:
        self.trouble("checksum", lfn)
        return f"{zlib.adler32(self.path(lfn).read_bytes()):08x}" if self.has_checksums else None

    def read(self, lfn: str, start: int = 0) -> Iterator[bytes]:
        self.trouble("read", lfn)
        with self.path(lfn).open("rb") as file:
            file.seek(start)
            while piece := file.read(PIECE):
                self.num_bytes_read += len(piece)
                yield piece
                self.trouble("piece", lfn)

    def upload(self, lfn: str, size_bytes: int) -> DiskUpload:
        self.trouble("upload", lfn)
        return DiskUpload(self, lfn, size_bytes)

    def delete(self, lfns: Sequence[str]) -> list[DeletionOutcome]:
        for lfn in lfns:
            self.path(lfn).unlink(missing_ok=True)
        return [DeletionOutcome(lfn, DeletionObservation.DELETED) for lfn in lfns]

    def close(self) -> None:
        self.num_closed += 1


class DiskUpload:
    def __init__(self, disk: Disk, lfn: str, size_bytes: int) -> None:
        self.disk, self.lfn, self.part = disk, lfn, disk.path(upload_lfn(lfn))
        self.part.parent.mkdir(parents=True, exist_ok=True)
        left = self.part.stat().st_size if self.part.exists() else 0
        self.num_resumed_bytes = left if disk.can_append and left < size_bytes else 0
        self.file = self.part.open("ab" if self.num_resumed_bytes else "wb")

    def write(self, piece: bytes) -> None:
        self.disk.trouble("write", self.lfn)
        self.file.write(piece)

    def finish(self) -> None:
        self.close()
        self.disk.trouble("finish", self.lfn)
        self.part.rename(self.disk.path(self.lfn))
        self.disk.num_finished += 1
        with self.disk.finished.open("a") as log:
            log.write(f"{self.lfn}\n")
        self.disk.trouble("finished", self.lfn)

    def close(self) -> None:
        self.file.close()


class Lab:
    """T2_A and T2_C have the files of b1, T2_B subscriptions for them; one batch of direct copies is planned."""

    def __init__(self, inventory: Inventory, root: Path, num_files: int = 4) -> None:
        self.inventory, self.db = inventory, inventory.db
        self.contents = {f"/store/b1/f{n}": bytes([65 + n]) * (300 + n) for n in range(num_files)}
        self.disks = {}
        for name in ("T2_A", "T2_B", "T2_C"):
            self.disks[inventory.site(name)] = Disk(name, root / name)
        self.source, self.destination, self.other = self.disks.values()
        inventory.block("b1", contents=self.contents)
        for site in ("T2_A", "T2_C"):
            inventory.replica("b1", site)
        for lfn, data in self.contents.items():
            self.source.put(lfn, data)
            self.other.put(lfn, data)
        inventory.subscription("copy", list(self.contents), "T2_B")
        self.batch = self.plan()

    def plan(self, source: str = "T2_A") -> int:
        """Put the queued subscriptions into one batch of direct copies."""
        batch = self.inventory.scalar(
            """INSERT INTO transfer_batches (sid, job_id, site_id, is_staging, backend)
            VALUES (gen_random_uuid()::text, gen_random_uuid(), :d, false, 'direct') RETURNING id""",
            d=self.inventory.site_ids["T2_B"],
        )
        self.inventory.rows(
            """INSERT INTO transfers (batch_id, subscription_id, file_index, source_site_id, size_bytes)
            SELECT :b, s.id, row_number() OVER (ORDER BY s.id) - 1, :s, f.size_bytes
            FROM subscriptions s JOIN files f ON f.id = s.file_id WHERE s.state IN ('new', 'retry')""",
            b=batch,
            s=self.inventory.site_ids[source],
        )
        self.inventory.rows("""UPDATE subscriptions SET state = 'inbatch', num_attempts = num_attempts + 1
                               WHERE state IN ('new', 'retry')""")
        return int(batch)

    def run(self, **limits: Any) -> DirectSummary:
        given = {"direct_files_at_once": 2, "direct_files_per_record": 2, **limits}
        return execute_direct(self.db, self.batch, self.open, TransferSettings(**given))

    def open(self, site_id: int) -> Storage:
        return self.disks[site_id]  # type: ignore[return-value]

    def verified_by(self) -> list[str]:
        return [row[0] for row in self.inventory.rows("SELECT verified_by FROM transfers ORDER BY file_index")]

    def arrived(self) -> dict[str, bytes]:
        found = {lfn: self.destination.path(lfn) for lfn in self.contents}
        return {lfn: path.read_bytes() for lfn, path in found.items() if path.exists()}

    def attempts(self) -> list[tuple[str, str, bool | None]]:
        return self.inventory.rows("SELECT state, coalesce(reason, ''), is_recoverable FROM transfers ORDER BY id")

    def batch_state(self) -> str:
        return str(self.inventory.scalar("SELECT state FROM transfer_batches WHERE id = :b", b=self.batch))


@pytest.fixture
def lab(inventory: Inventory, tmp_path: Path) -> Lab:
    return Lab(inventory, tmp_path)


def trouble(what: str, error: Exception, lfn: str = "/store/b1/f0", times: int = 1_000) -> Callable[[str, str], None]:
    """A fault of one storage at one call for one file, so many times."""
    left = [times]

    def raise_it(called: str, of: str) -> None:
        if (called, of) == (what, lfn) and left[0]:
            left[0] -= 1
            raise error

    return raise_it


def test_a_tape_gets_no_copies_of_ours(lab: Lab) -> None:
    """A batch that was planned when the site was a disk, or its copies counted on arrival."""
    lab.inventory.rows("UPDATE sites SET storage_type = 'mss' WHERE name = 'T2_B'")
    assert lab.run() == DirectSummary(lab.batch, "refused")
    assert lab.arrived() == {}
    assert set(lab.inventory.subscriptions().values()) == {"retry"}
    assert lab.batch_state() == "cancelled"


def test_a_tape_whose_copies_count_on_arrival_keeps_what_it_has(lab: Lab) -> None:
    lab.inventory.rows("UPDATE sites SET storage_type = 'mss' WHERE name = 'T2_B'")
    whole, half, other, absent = lab.contents
    lab.destination.put(whole, lab.contents[whole])
    lab.destination.put(half, lab.contents[half][:-1])
    lab.destination.put(other, b"x" * len(lab.contents[other]))
    before = lab.arrived()
    summary = lab.run(sites={"T2_*": {"archived": "on_arrival"}})
    assert (summary.num_done, summary.num_found, summary.num_failed) == (2, 1, 2)
    assert lab.arrived() == before | {absent: lab.contents[absent]}
    states = {lfn: state for (_, lfn, _), state in lab.inventory.subscriptions().items()}
    assert states == {whole: "done", half: "held/refused", other: "held/refused", absent: "done"}
    assert sum("nothing is overwritten" in reason for _, reason, _ in lab.attempts()) == 2


def test_files_are_copied_and_the_inventory_knows(lab: Lab) -> None:
    summary = lab.run()
    size = sum(map(len, lab.contents.values()))
    assert summary == DirectSummary(lab.batch, "finished", num_done=4, bytes_done=size)
    assert lab.arrived() == lab.contents
    assert lab.inventory.replica_state("b1", "T2_B") == (True, size, 0)
    assert set(lab.inventory.subscriptions().values()) == {"done"}
    assert lab.batch_state() == "finished"
    assert lab.inventory.scalar("SELECT count(*) FROM transfers WHERE started_at <= finished_at") == 4
    assert lab.run().outcome == "ended"
    assert (lab.source.num_closed, lab.destination.num_closed) == (1, 1)


@pytest.mark.parametrize("has_checksums", [True, False], ids=["told", "read back"])
def test_what_is_there_is_not_copied_again(lab: Lab, has_checksums: bool) -> None:
    lab.destination.has_checksums = has_checksums
    whole, wrong, short, absent = lab.contents
    lab.destination.put(whole, lab.contents[whole])
    lab.destination.put(wrong, b"x" * len(lab.contents[wrong]))
    lab.destination.put(short, b"x")
    summary = lab.run()
    assert (summary.num_done, summary.num_found, lab.destination.num_finished) == (4, 1, 3)
    assert lab.arrived() == lab.contents
    assert absent in lab.contents
    assert lab.verified_by() == (["destination", *["both_ends"] * 3] if has_checksums else ["read_back"] * 4)


def test_what_is_called_bad_is_written_anew_though_its_checksum_is_right(lab: Lab) -> None:
    """A storage may tell a checksum that it noted when the file was written."""
    whole, *_ = lab.contents
    lab.destination.put(whole, lab.contents[whole])
    lab.inventory.rows(
        """INSERT INTO bad_replicas (file_id, site_id, state, reason, created_by)
           VALUES (:f, :s, 'copying', 'reads fail', 'ada')""",
        f=lab.inventory.file_ids[whole],
        s=lab.inventory.site_ids["T2_B"],
    )
    summary = lab.run()
    assert (summary.num_done, summary.num_found, lab.destination.num_finished) == (4, 0, 4)
    assert lab.inventory.scalar("SELECT count(*) FROM bad_replicas") == 0


def test_sources_of_a_batch_may_differ(lab: Lab) -> None:
    lab.inventory.rows(
        "UPDATE transfers SET source_site_id = :s WHERE file_index >= 2", s=lab.inventory.site_ids["T2_C"]
    )
    assert lab.run().num_done == 4
    assert lab.source.num_bytes_read == 300 + 301
    assert lab.other.num_bytes_read == 302 + 303


def test_an_attempt_that_was_cut_is_taken_up(lab: Lab) -> None:
    lfn, data = "/store/b1/f0", lab.contents["/store/b1/f0"]
    lab.destination.put(upload_lfn(lfn), data[:128])
    assert lab.run().num_done == 4
    assert lab.arrived() == lab.contents
    assert lab.source.num_bytes_read == sum(map(len, lab.contents.values())) - 128


def test_what_was_begun_of_a_file_that_nobody_wants_any_more_goes(lab: Lab) -> None:
    lfn = "/store/b1/f0"
    lab.destination.put(upload_lfn(lfn), lab.contents[lfn][:128])
    withdraw(lab.inventory.db, [lab.inventory.scalar("SELECT min(id) FROM subscriptions")])
    assert (lab.run().num_cancelled, lfn in lab.arrived()) == (1, False)
    assert not lab.destination.path(upload_lfn(lfn)).exists()


def test_what_was_taken_up_and_is_wrong_is_begun_anew(lab: Lab) -> None:
    lfn = "/store/b1/f0"
    lab.destination.put(upload_lfn(lfn), b"?" * 128)
    assert (lab.run().num_done, lfn in lab.arrived()) == (3, False)
    state, reason, is_recoverable = lab.attempts()[0]
    assert (state, is_recoverable) == ("failed", True)
    assert reason.startswith("DESTINATION [5] Source and destination checksum do not match")
    assert "after an earlier attempt was taken up (/store/b1/f0, removed)" in reason
    lab.batch = lab.plan()
    assert lab.run().num_done == 1
    assert lab.arrived() == lab.contents


@pytest.mark.parametrize(
    ("side", "what", "error", "is_recoverable", "reason"),
    [
        ("source", "stat", RetryableRemoteError("503 busy", status=503), True, "SOURCE 503 busy"),
        ("source", "read", PermanentRemoteError("404 Not Found", status=404), False, "SOURCE [2] 404"),
        ("source", "read", CredentialError("403 Forbidden", status=403), True, "SOURCE [13] 403"),
        ("source", "piece", RetryableRemoteError("no answer", status=None), True, "SOURCE no answer"),
        ("destination", "stat", RetryableRemoteError("no answer", status=None), True, "DESTINATION no answer"),
        ("destination", "upload", RetryableRemoteError("507 full", status=507), True, "DESTINATION 507 full"),
        ("destination", "upload", InventoryError("outside"), True, "DESTINATION outside"),
        ("destination", "write", RetryableRemoteError("507 full", status=507), True, "DESTINATION 507 full"),
        ("destination", "write", CredentialError("3010", status=3010), True, "DESTINATION [13] 3010"),
        ("source", "read", CredentialError("TLS refused", status=None), True, "SOURCE TLS refused"),
        ("destination", "finish", RetryableRemoteError("500 oops", status=500), True, "DESTINATION 500 oops"),
    ],
    ids=lambda value: str(value),
)
def test_one_file_fails_the_others_are_copied(
    lab: Lab, side: str, what: str, error: Exception, is_recoverable: bool, reason: str
) -> None:
    getattr(lab, side).trouble = trouble(what, error)
    summary = lab.run()
    assert (summary.outcome, summary.num_done, summary.num_failed) == ("finished", 3, 1)
    assert "/store/b1/f0" not in lab.arrived()
    state, told, recoverable = lab.attempts()[0]
    assert (state, recoverable) == ("failed", is_recoverable)
    assert told.startswith(reason)
    assert lab.inventory.subscriptions()["copy", "/store/b1/f0", "T2_B"] == "retry"
    assert lab.inventory.replica_state("b1", "T2_B") == (False, 301 + 302 + 303, 3)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "SOURCE [2] /store/b1/f0 is not at T2_A"),
        (b"x", "SOURCE /store/b1/f0 at T2_A has 1 bytes, the inventory knows 300"),
        (b"x" * 300, "SOURCE [5] /store/b1/f0 at T2_A has the checksum"),
    ],
    ids=["gone", "short", "wrong"],
)
def test_a_bad_source_is_known_before_the_file_is_seen(lab: Lab, content: bytes | None, reason: str) -> None:
    lfn = "/store/b1/f0"
    lab.source.path(lfn).unlink() if content is None else lab.source.put(lfn, content)
    assert (lab.run().num_failed, lfn in lab.arrived()) == (1, False)
    assert not lab.destination.path(upload_lfn(lfn)).exists()
    assert lab.attempts()[0][0] == "failed"
    assert lab.attempts()[0][1].startswith(reason)
    assert lab.attempts()[0][2] is False
    lab.batch = lab.plan("T2_C")
    assert lab.run().num_done == 1
    assert lab.arrived() == lab.contents


def test_a_source_that_ends_early_or_never(lab: Lab) -> None:
    lab.source.stat = lambda lfn: StoredFile(lfn, len(lab.contents[lfn]), None)  # type: ignore[method-assign]
    lab.source.put("/store/b1/f0", b"A" * 200)
    lab.source.put("/store/b1/f1", b"B" * 2_000)
    assert lab.run().num_failed == 2
    assert [(reason, again) for _, reason, again in lab.attempts()[:2]] == [
        ("SOURCE /store/b1/f0 at T2_A ended after 200 of 300 bytes", True),
        ("SOURCE /store/b1/f1 gives more than its 301 bytes", False),
    ]
    assert [lab.destination.path(upload_lfn(f"/store/b1/f{n}")).exists() for n in (0, 1)] == [True, False]


@pytest.mark.parametrize("has_checksums", [True, False], ids=["told", "read back"])
def test_a_file_that_arrives_wrong_is_removed(lab: Lab, has_checksums: bool) -> None:
    lab.destination.has_checksums = has_checksums
    lfn = "/store/b1/f0"

    def spoil(what: str, of: str) -> None:
        if (what, of) == ("finish", lfn):
            part = lab.destination.path(upload_lfn(lfn))
            part.write_bytes(b"?" * part.stat().st_size)

    lab.destination.trouble = spoil
    assert (lab.run().num_failed, lfn in lab.arrived()) == (1, False)
    state, reason, is_recoverable = lab.attempts()[0]
    assert (state, is_recoverable) == ("failed", True)
    assert reason.startswith("DESTINATION [5] Source and destination checksum do not match")


def test_without_a_checksum_in_the_catalogue_the_source_is_asked(lab: Lab) -> None:
    lab.inventory.rows("UPDATE files SET adler32 = NULL")
    lab.destination.put("/store/b1/f0", b"?" * 300)
    lab.other.has_checksums = False
    assert lab.run().num_done == 4
    assert lab.arrived() == lab.contents


@pytest.mark.parametrize("adler", [True, False], ids=["known checksum", "unknown checksum"])
def test_a_storage_that_tells_no_sizes_will_do(lab: Lab, adler: bool) -> None:
    if not adler:
        lab.inventory.rows("UPDATE files SET adler32 = NULL")
        lab.source.has_checksums = False
    for disk in (lab.source, lab.destination):
        disk.tells_sizes = False
    lab.destination.put("/store/b1/f0", lab.contents["/store/b1/f0"])
    summary = lab.run()
    assert (summary.num_done, summary.num_found) == (4, int(adler))
    assert lab.arrived() == lab.contents
    assert lab.verified_by()[1:] == ["both_ends"] * 3


def test_no_longer_subscribed_for_is_not_copied(lab: Lab) -> None:
    operate.cancel(lab.db, Selection(files=["/store/b1/f0"]), by=ADA, reason="x")
    operate.hold(lab.db, Selection(files=["/store/b1/f1"]), by=ADA, reason="x")
    summary = lab.run()
    assert (summary.num_done, summary.num_cancelled) == (2, 2)
    assert set(lab.arrived()) == {"/store/b1/f2", "/store/b1/f3"}
    assert [attempt[:2] for attempt in lab.attempts()[:2]] == [("cancelled", "no longer subscribed")] * 2
    hold_and_release(lab.db)
    assert sorted(lab.inventory.subscriptions().values()) == ["cancelled", "done", "done", "held/operator"]
    assert lab.batch_state() == "finished"


@pytest.mark.parametrize(("site", "side"), [("T2_A", "SOURCE"), ("T2_B", "DESTINATION")])
def test_in_a_downtime_nothing_new_is_begun(lab: Lab, site: str, side: str) -> None:
    drain(lab.db, site, by=ADA, reason="x")
    assert lab.run().num_cancelled == 4
    assert {reason for _, reason, _ in lab.attempts()} == {f"{side} {site} is not available any more"}
    assert set(lab.inventory.subscriptions().values()) == {"retry"}


def test_a_killed_task_is_run_again_and_copies_only_the_rest(lab: Lab) -> None:
    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    lab.db.begin, alive = _dying_after(lab.db.begin, 3, die), lab.db.begin  # type: ignore[method-assign]
    with pytest.raises(Killed):
        lab.run(direct_files_at_once=1)
    lab.db.begin = alive  # type: ignore[method-assign]
    finished = lab.destination.num_finished
    assert finished >= 1
    assert lab.batch_state() == "planned"
    summary = lab.run()
    assert (summary.num_done, summary.num_found) == (4, finished)
    assert lab.destination.num_finished == 4
    assert lab.batch_state() == "finished"


def _dying_after(begin: Callable[[], Any], number: int, die: Callable[[], None]) -> Callable[[], Any]:
    """``begin``, but from the ``number``-th transaction on the process dies before it."""
    count = iter(range(1, 1_000))
    return lambda: begin() if next(count) < number else die()


def test_a_refused_credential_ends_the_task_and_keeps_what_was_done(lab: Lab) -> None:
    lab.source.trouble = trouble("stat", CredentialError("401 expired", status=401), "/store/b1/f3")
    with pytest.raises(CredentialError, match="401 expired"):
        lab.run(direct_files_at_once=1)
    assert [state for state, _, _ in lab.attempts()] == ["done", "done", "done", "planned"]
    assert lab.batch_state() == "planned"
    lab.source.trouble = no_trouble
    assert lab.run().num_done == 1
    assert lab.destination.num_finished == 4


def test_an_error_breaks_off_the_other_copies(lab: Lab) -> None:
    begun, other_failed = threading.Event(), threading.Event()

    def slow(what: str, lfn: str) -> None:
        if (what, lfn) == ("piece", "/store/b1/f0"):
            begun.set()
            other_failed.wait(30)
        if (what, lfn) == ("stat", "/store/b1/f1"):
            begun.wait(30)
            other_failed.set()
            raise CredentialError("401 expired", status=401)

    lab.source.trouble = slow
    with pytest.raises(CredentialError):
        lab.run()
    lab.source.trouble = no_trouble
    assert lab.run().num_done + len([s for s, _, _ in lab.attempts() if s == "done"]) >= 4
    assert lab.arrived() == lab.contents


def test_two_tasks_at_one_batch_do_not_meet(lab: Lab) -> None:
    inside, go_on = threading.Event(), threading.Event()

    def wait_here(what: str, lfn: str) -> None:
        if what == "read":
            inside.set()
            go_on.wait(30)

    lab.source.trouble = wait_here
    first = threading.Thread(target=lab.run)
    first.start()
    try:
        assert inside.wait(30)
        assert lab.run() == DirectSummary(lab.batch, "busy")
    finally:
        go_on.set()
        first.join()
    assert lab.batch_state() == "finished"
    assert lab.destination.num_finished == 4


@pytest.mark.parametrize("backend", ["fts", None], ids=["a batch of FTS", "no batch"])
def test_only_batches_of_direct_copies(lab: Lab, backend: str | None) -> None:
    lab.inventory.rows("UPDATE transfer_batches SET backend = 'fts'")
    batch = lab.batch if backend else 99
    with pytest.raises(InventoryError, match=f"transfer batch {batch}"):
        execute_direct(lab.db, batch, lab.open)


WORKER = """
import os, signal, sys
from pathlib import Path
from dynamo_ops.base.settings import TransferSettings
from dynamo_ops.transfer.direct import execute_direct
from dynamo_ops.database.connection import Database
from tests.transfer.test_direct import Disk

url, root, batch, what, lfn = sys.argv[1:]
disks = {1: Disk("T2_A", Path(root) / "T2_A"), 2: Disk("T2_B", Path(root) / "T2_B")}

def die(called, of):
    if (called, of) == (what, lfn):
        os.kill(os.getpid(), signal.SIGKILL)

for disk in disks.values():
    disk.trouble = die
limits = TransferSettings(direct_files_at_once=1, direct_files_per_record=2)
execute_direct(Database(url), int(batch), disks.__getitem__, limits)
"""


@pytest.mark.chaos
@pytest.mark.parametrize(
    ("what", "lfn"),
    [("piece", "/store/b1/f2"), ("finish", "/store/b1/f3"), ("finished", "/store/b1/f1")],
    ids=["in the middle of a file", "before it is seen", "after it is seen, before the record"],
)
def test_killed_with_9_and_run_again(lab: Lab, tmp_path: Path, what: str, lfn: str) -> None:
    worker = [sys.executable, "-c", WORKER, lab.db.url, str(tmp_path), str(lab.batch), what, lfn]
    assert subprocess.run(worker, cwd=ROOT, check=False).returncode == -signal.SIGKILL
    assert lab.batch_state() == "planned"
    deadline = time.monotonic() + PATIENCE_S
    while (summary := lab.run()).outcome == "busy":  # until the server knows that the other is dead
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert summary.outcome == "finished"
    assert lab.arrived() == lab.contents
    assert sorted(lab.destination.finished.read_text().split()) == sorted(lab.contents)
    assert set(lab.inventory.subscriptions().values()) == {"done"}
    assert not list(lab.destination.root.rglob(".*"))
    assert lab.inventory.replica_state("b1", "T2_B") == (True, sum(map(len, lab.contents.values())), 0)


def test_over_webdav(world: World) -> None:
    contents = world.block("b1", "T2_A", num_files=3)
    world.inventory.subscription("copy", list(contents), "T2_B")
    lfn = next(iter(contents))
    world.inventory.rows(
        """INSERT INTO transfer_batches (sid, job_id, site_id, is_staging, backend)
        VALUES ('x', gen_random_uuid(), :d, false, 'direct')""",
        d=world.inventory.site_ids["T2_B"],
    )
    world.inventory.rows(
        """INSERT INTO transfers (batch_id, subscription_id, file_index, source_site_id, size_bytes)
        SELECT 1, s.id, s.id, :s, f.size_bytes FROM subscriptions s JOIN files f ON f.id = s.file_id""",
        s=world.inventory.site_ids["T2_A"],
    )
    world.inventory.rows("UPDATE subscriptions SET state = 'inbatch'")
    world.pocket.path("T2_A", lfn).write_bytes(b"?" * len(contents[lfn]))
    summary = execute_direct(world.inventory.db, 1, world.open_storage)
    assert (summary.num_done, summary.num_failed) == (2, 1)
    assert {name: world.pocket.path("T2_B", name).exists() for name in contents} == {
        name: name != lfn for name in contents
    }
    for name in list(contents)[1:]:
        assert world.pocket.path("T2_B", name).read_bytes() == contents[name]
    assert "SOURCE [5]" in world.inventory.scalar("SELECT last_error FROM subscriptions WHERE state = 'retry'")
    assert world.inventory.replica_state("b1", "T2_B") == (False, summary.bytes_done, 2)


@pytest.fixture(scope="module")
def server() -> Iterator[XrootdServer]:
    """A real XRootD server."""
    with running_servers({"T2_A": None}) as servers:
        yield servers["T2_A"]


@pytest.mark.parametrize("into", ["root", "file"])
def test_between_xrootd_and_a_file_system(lab: Lab, server: XrootdServer, tmp_path: Path, into: str) -> None:
    server.clear()
    folder = tmp_path / "data"
    (folder / "store").mkdir(parents=True)
    root = XrootdStorage(Endpoint("T2_A", "root", server.prefix("root")), StorageOptions(connect_timeout=2))
    file = PosixStorage(Endpoint("T2_B", "file", f"file://{folder}"), StorageOptions())
    places: dict[str, Any] = {"root": (root, server.path), "file": (file, lambda lfn: folder / lfn.lstrip("/"))}
    (destination, at), (source, there) = places.pop(into), *places.values()
    for lfn, data in lab.contents.items():
        there(lfn).parent.mkdir(exist_ok=True)
        there(lfn).write_bytes(data)
    cut, whole, wrong, _ = lab.contents
    at(whole).parent.mkdir(exist_ok=True)
    for lfn, data in ((upload_lfn(cut), lab.contents[cut][:128]), (whole, lab.contents[whole]), (wrong, b"?" * 302)):
        at(lfn).write_bytes(data)
    server.own()
    storages: dict[int, Storage] = {1: source, 2: destination}
    summary = execute_direct(lab.db, lab.batch, storages.__getitem__)
    assert (summary.num_done, summary.num_found, lab.attempts()[0]) == (4, 1, ("done", "", None))
    assert {lfn: at(lfn).read_bytes() for lfn in lab.contents} == lab.contents
    assert not at(upload_lfn(cut)).exists()
