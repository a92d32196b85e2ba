"""Storages that tell no checksums: files come to them and from them, and what they were compared by is known."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dynamo_ops.base.errors import PermanentRemoteError, SettingsError
from dynamo_ops.base.patience import Checksums
from dynamo_ops.base.settings import FtsSettings, SiteTransfers
from dynamo_ops.fts.identity import FtsIdentity
from dynamo_ops.fts.job import JobSettings
from dynamo_ops.inventory.doubt.settings import DamageSettings
from dynamo_ops.inventory.doubt.suspect import suspect
from dynamo_ops.storage.protocol import Storage
from dynamo_ops.transfer.batches import plan_batches
from dynamo_ops.transfer.observe import ObserveSummary
from dynamo_ops.transfer.submission.limits import TransferLimits
from dynamo_ops.transfer.submission.submit import submit_batch
from dynamo_ops.transfer.verification.ask import find_out
from dynamo_ops.transfer.verification.read_back import ReadBackSummary, read_back
from tests.inventory.factory import Inventory
from tests.transfer.test_direct import Disk
from tests.transfer.test_end_to_end import follow
from tests.world import World

JOBS = JobSettings(FtsSettings(retries=0, retry_delay_s=1))
AUTO = TransferLimits(files_per_job=10)
NOW = datetime.now(UTC)
MISMATCH = (
    "TRANSFER [5] TRANSFER ERROR: Copy failed (3rd pull). Last attempt: {} CHECKSUM MISMATCH x: 0a1b2c3d != 00000000"
)
UNSUPPORTED = "TRANSFER [95] Operation not supported"


def limits(sites: Mapping[str, Checksums] | None = None, **more: float) -> TransferLimits:
    own = {name: SiteTransfers(checksums=word) for name, word in (sites or {}).items()}
    return TransferLimits(files_per_job=10, sites=own, **more)  # type: ignore[arg-type]


# -- on the pocket grid ------------------------------------------------------------------------------------------------


def attempt(world: World, settings: TransferLimits = AUTO) -> ObserveSummary:
    """Submit what can be copied now, and take in what came of it."""
    world.inventory.rows("UPDATE subscriptions SET updated_at = now() - interval '30 days'")
    for batch in plan_batches(world.inventory.db, world.client.whoami(), settings).all:
        assert submit_batch(world.inventory.db, world.client, batch, JOBS, settings).outcome == "submitted"
    return follow(world)


def ask(world: World, settings: TransferLimits = AUTO) -> dict[str, bool]:
    return find_out(world.inventory.db, settings, world.open_storage, datetime.now(UTC))


def silence(world: World, site: str, how: str) -> None:
    world.pocket.grid.fault(sites={site: {"no_checksums": how}})


@pytest.mark.parametrize(
    ("silent", "how", "verified"), [("T2_A", "405", "destination"), ("T2_B", "no header", "source")]
)
def test_files_come_to_and_from_a_storage_that_tells_none(world: World, silent: str, how: str, verified: str) -> None:
    contents = world.block("b1", "T2_A")
    world.block("b2", "T2_B", num_files=1)
    silence(world, silent, how)
    world.inventory.subscription("copy", list(contents), "T2_B")
    assert attempt(world).num_failed == 3
    reasons = {row[0] for row in world.inventory.rows("SELECT reason FROM transfers")}
    assert all(reason.startswith("TRANSFER [5] ") and reason.endswith(" != 00000000") for reason in reasons)
    assert ask(world) == {silent: False}
    assert attempt(world).num_done == 3
    assert {lfn: world.pocket.path("T2_B", lfn).read_bytes() for lfn in contents} == contents
    assert set(world.inventory.subscriptions().values()) == {"done"}
    assert world.inventory.rows("SELECT DISTINCT verified_by FROM transfers WHERE state = 'done'") == [(verified,)]


def test_without_it_they_fail_for_ever_and_no_source_is_to_blame(world: World) -> None:
    contents = world.block("b1", "T2_A", num_files=1)
    for site in ("T2_A", "T2_B"):
        silence(world, site, "no header")
    world.inventory.subscription("copy", list(contents), "T2_B")
    told = limits({"T2_*": Checksums.TOLD})
    for _ in range(4):
        assert attempt(world, told).num_failed == 1
        assert ask(world, told) == {}
    assert set(world.inventory.subscriptions().values()) == {"retry"}
    assert world.inventory.rows("SELECT DISTINCT is_recoverable FROM transfers") == [(True,)]
    assert suspect(world.inventory.db, DamageSettings(suspicious_after=2), datetime.now(UTC)) == 0
    assert attempt(world, limits({"T2_*": Checksums.NOT_TOLD})).num_done == 1
    assert world.inventory.rows("SELECT verified_by FROM transfers WHERE state = 'done'") == [("size",)]
    assert world.inventory.rows("SELECT DISTINCT verify_checksum FROM transfer_batches ORDER BY 1") == [
        ("both",),
        ("none",),
    ]


# -- who is asked ------------------------------------------------------------------------------------------------------


class Sites:
    """T2_A and T2_B, each with a file of its own, and copies from the one to the other."""

    def __init__(self, inventory: Inventory, root: Path) -> None:
        self.inventory, self.db = inventory, inventory.db
        self.disks = {inventory.site(name): Disk(name, root / name) for name in ("T2_A", "T2_B")}
        self.source, self.destination = self.disks.values()
        for block, site, disk in (("b1", "T2_A", self.source), ("b2", "T2_B", self.destination)):
            contents = {f"/store/{block}/f{n}": f"{block} {n}".encode() for n in range(3)}
            inventory.block(block, contents=contents)
            inventory.replica(block, site)
            for lfn, data in contents.items():
                disk.put(lfn, data)
        inventory.subscription("copy", inventory.files_of["b1"], "T2_B")

    def transfers(self, state: str, reason: str | None = None, verified_by: str | None = None) -> None:
        """The copies have ended so, now."""
        self.inventory.rows(
            """WITH b AS (INSERT INTO transfer_batches (sid, job_id, site_id, is_staging, state)
                 VALUES (gen_random_uuid()::text, gen_random_uuid(), :b, false, 'finished') RETURNING id)
               INSERT INTO transfers (batch_id, subscription_id, file_index, source_site_id, size_bytes, state, reason,
                 verified_by, finished_at)
               SELECT b.id, s.id, s.id, :a, 5, :state, :reason, :verified_by, clock_timestamp()
               FROM b, subscriptions s WHERE s.action = 'copy'""",
            a=self.inventory.site_ids["T2_A"],
            b=self.inventory.site_ids["T2_B"],
            state=state,
            reason=reason,
            verified_by=verified_by,
        )

    def ask(self, later: timedelta = timedelta(0)) -> dict[str, bool]:
        return find_out(self.db, AUTO, self.disks.__getitem__, datetime.now(UTC) + later)

    def ask_nobody(self, later: timedelta = timedelta(0)) -> dict[str, bool]:
        """As where no protocol of theirs is served."""

        def refuse(site_id: int) -> Storage:
            raise SettingsError(f"no protocol for {site_id}", key="protocols.own", reason="none")

        return find_out(self.db, AUTO, refuse, datetime.now(UTC) + later)

    def come(self) -> None:
        """The copies are there, and FTS has compared them at the source."""
        self.inventory.replica("b1", "T2_B")
        for lfn in self.inventory.files_of["b1"]:
            self.destination.put(lfn, self.source.path(lfn).read_bytes())
        self.inventory.rows("UPDATE subscriptions SET state = 'done'")
        self.transfers("done", verified_by="source")

    def look(self, **settings: float) -> ReadBackSummary:
        given = {"read_back_fraction": 1, **settings}
        return read_back(self.db, limits(**given), self.disks.__getitem__, datetime.now(UTC))


@pytest.fixture
def sites(inventory: Inventory, tmp_path: Path) -> Sites:
    return Sites(inventory, tmp_path)


def test_the_end_that_fts_names_is_asked(sites: Sites) -> None:
    sites.source.has_checksums = sites.destination.has_checksums = False
    assert sites.ask() == {}
    sites.transfers("failed", MISMATCH.format("SOURCE"))
    assert sites.ask() == {"T2_A": False}


@pytest.mark.parametrize("words", [UNSUPPORTED, "DESTINATION [14] Could not get the checksum"])
def test_where_fts_names_none_its_word_is_no_more_than_a_hint(sites: Sites, words: str) -> None:
    sites.destination.has_checksums = False
    sites.transfers("failed", words)
    known = sites.ask()
    assert known.pop("T2_B") is False
    assert known in ({}, {"T2_A": True})


def test_a_storage_that_tells_is_believed_until_copies_fail_again_and_again(sites: Sites) -> None:
    sites.transfers("failed", MISMATCH.format("DESTINATION"))
    assert sites.ask() == {"T2_B": True}
    assert sites.ask() == {}
    sites.transfers("failed", MISMATCH.format("DESTINATION"))
    assert sites.ask() == {"T2_B": False}
    assert "3 copies by FTS failed" in sites.inventory.scalar("SELECT because FROM site_checksums")


def test_what_the_storage_cannot_be_asked_is_left_to_fts(sites: Sites) -> None:
    sites.transfers("failed", MISMATCH.format("DESTINATION"))
    assert sites.ask_nobody() == {"T2_B": False}
    assert sites.ask_nobody(timedelta(days=6)) == {}
    assert sites.inventory.scalar("SELECT count(*) FROM site_checksums") == 1
    assert sites.ask_nobody(timedelta(days=8)) == {}
    assert sites.inventory.scalar("SELECT count(*) FROM site_checksums") == 0  # the next copies ask FTS


def test_it_is_asked_again_after_some_days(sites: Sites) -> None:
    sites.destination.has_checksums = False
    sites.transfers("failed", MISMATCH.format("DESTINATION"))
    assert sites.ask() == {"T2_B": False}
    sites.destination.has_checksums = True
    assert sites.ask(timedelta(days=6)) == {}
    assert sites.ask(timedelta(days=8)) == {"T2_B": True}


def test_files_of_a_job_are_compared_alike(inventory: Inventory, identity: FtsIdentity) -> None:
    """A file without a checksum in the catalogue can be compared between two ends only."""
    for name in ("T2_A", "T2_B", "T2_C"):
        inventory.site(name)
    for block, source in (("b1", "T2_A"), ("b2", "T2_C")):
        inventory.block(block, 2)
        inventory.replica(block, source)
    first, *_ = inventory.files_of["b1"]
    inventory.rows("UPDATE files SET adler32 = CASE WHEN lfn <> :first THEN '0a1b2c3d' END", first=first)
    inventory.subscription("copy", [*inventory.files_of["b1"], *inventory.files_of["b2"]], "T2_B")
    plan_batches(inventory.db, identity, limits({"T2_A": Checksums.NOT_TOLD}))
    batches = inventory.rows(
        """SELECT b.verify_checksum, count(*) FROM transfer_batches b JOIN transfers t ON t.batch_id = b.id
           GROUP BY b.id, 1 ORDER BY 1"""
    )
    assert batches == [("both", 2), ("none", 1), ("target", 1)]


# -- what is read back -------------------------------------------------------------------------------------------------


def verified(sites: Sites) -> list[tuple[str, int]]:
    return sites.inventory.rows("SELECT verified_by, count(*) FROM transfers GROUP BY 1 ORDER BY 1")


def test_a_sample_is_read_back(sites: Sites) -> None:
    sites.come()
    sites.destination.put("/store/b1/f0", b"?????")
    done = sites.look()
    assert (done.num_read, done.num_wrong, done.num_unread) == (3, 1, 0)
    assert verified(sites) == [("read_back", 2), ("wrong", 1)]
    called = sites.inventory.rows("SELECT f.lfn, c.state FROM bad_replicas c JOIN files f ON f.id = c.file_id")
    assert called == [("/store/b1/f0", "bad")]
    assert sites.look().num_read == 0


def test_what_nobody_compared_is_suspicious_when_it_is_wrong(sites: Sites) -> None:
    sites.come()
    sites.inventory.rows("UPDATE transfers SET verified_by = 'size'")
    sites.destination.put("/store/b1/f0", b"half")
    assert sites.look().num_wrong == 1
    assert sites.inventory.rows("SELECT state FROM bad_replicas") == [("suspicious",)]


def test_what_is_read_back_is_bounded(sites: Sites) -> None:
    sites.come()
    assert sites.look(read_back_fraction=0).num_read == 0
    assert sites.look(read_back_bytes_per_run=11).num_read == 2
    assert verified(sites) == [("read_back", 2), ("source", 1)]


def test_what_is_not_there_any_more_is_left_alone(sites: Sites) -> None:
    sites.come()
    for name in ("f0", "f1"):
        sites.destination.put(f"/store/b1/{name}", b"?????")
    sites.inventory.subscription("delete", ["/store/b1/f0"], "T2_B")

    def gone(what: str, lfn: str) -> None:
        if (what, lfn) == ("read", "/store/b1/f1"):
            raise PermanentRemoteError("404", service="storage", status=404)

    sites.destination.trouble = gone
    done = sites.look()
    assert (done.num_read, done.num_wrong, done.num_unread) == (1, 0, 1)
    assert sites.inventory.scalar("SELECT count(*) FROM bad_replicas") == 0
