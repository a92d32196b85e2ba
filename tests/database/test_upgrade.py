"""What is under way when an installation of schema 0009 is upgraded keeps its meaning, or it is told."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from alembic import command

from dynamo_ops.alerts.digest import read_digest
from dynamo_ops.base.settings import Settings
from dynamo_ops.consistency.repair import repair
from dynamo_ops.consistency.settings import SiteRules
from dynamo_ops.database import migrate
from dynamo_ops.database.embedded import EmbeddedPostgres
from dynamo_ops.deletion import tasks as deletion
from dynamo_ops.deletion.execute import execute_batch
from dynamo_ops.deletion.queue import plan_deletions, recover_deletions
from dynamo_ops.detox.tasks import make_plan
from dynamo_ops.fts import servers
from dynamo_ops.fts.identity import FtsIdentity
from dynamo_ops.fts.job import FileCopy, JobSettings, transfer_job
from dynamo_ops.inventory.replica.read import read_inventory
from dynamo_ops.inventory.site.shared import declare, shared_storages
from dynamo_ops.inventory.subscription.subscribe import resubscribe_incomplete
from dynamo_ops.lock.store import add_lock
from dynamo_ops.plan.inputs import read_detox_inputs
from dynamo_ops.query.status import under_way, why
from dynamo_ops.request.cancel import cancel
from dynamo_ops.transfer import recovery
from dynamo_ops.transfer import tasks as transfer
from dynamo_ops.transfer.batches import plan_batches
from dynamo_ops.transfer.hold import hold_and_release
from dynamo_ops.transfer.observe import observe_and_apply
from dynamo_ops.transfer.submission.submit import submit_batch
from tests import ROOT
from tests.database.before import Before, installation
from tests.deletion.test_deletions import Answers
from tests.inventory import told
from tests.inventory.factory import SIZE
from tests.patience import wait_until
from tests.people import ADA, BOB
from tests.request.stock import list_requests
from tests.transfer.test_servers import ONE, TWO, Server
from tests.transfer.test_submit import Fts
from tests.world import PocketGrid, World

NOW = datetime.now(UTC)
LONG_AGO = time.time() - 40 * 86_400


@pytest.fixture
def before(postgres: EmbeddedPostgres) -> Iterator[Before]:
    with installation(postgres, "0009") as installed:
        yield installed


@pytest.fixture
def settings(before: Before, tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, db_url=before.db.url)


def job_id(number: int) -> str:
    return str(UUID(int=number))


# -- the rows ------------------------------------------------------------------------------------------------------


def contents(before: Before) -> dict[str, list[dict[str, Any]]]:
    """All rows of all tables. A signing key is another one each time that it is made."""
    tables = before.rows(
        """SELECT table_name::text FROM information_schema.tables
           WHERE table_schema = 'public' AND table_name NOT IN ('alembic_version', 'signing_keys')
           ORDER BY 1"""
    )
    return {
        table: [row for (row,) in before.rows(f"SELECT to_jsonb(t) FROM {table} t ORDER BY 1")] for (table,) in tables
    }


def test_no_row_changes_and_what_is_new_says_only_what_was_known(before: Before) -> None:
    everything_under_way(before)
    old = contents(before)
    before.upgrade()
    new = contents(before)
    for table, rows in old.items():
        assert [{name: row[name] for name in was} for was, row in zip(rows, new[table], strict=True)] == rows
        known = [
            (row, name) for was, row in zip(rows, new[table], strict=True) for name in row.keys() - was if row[name]
        ]
        assert [(row["state"], name) for row, name in known] == [("planned", "is_unsettled")] * (table == "deletions")
    with before.db.engine.connect() as connection:
        command.downgrade(migrate._config(before.db, connection), "0009")
    assert contents(before) == old
    before.upgrade()
    assert contents(before) == new


def everything_under_way(before: Before) -> None:
    for name in ("T2_A", "T2_B", "T1_MSS"):
        before.site(name, "mss" if name == "T1_MSS" else "disk", prefix="davs://se.org/cms")
    lfns = before.block("b1", 6)
    before.replica("b1", "T2_A", growing=True)
    before.replica("b1", "T2_B", owned=False)
    planned, claimed = (before.asked("delete", lfn, "T2_B", "inbatch") for lfn in lfns[:2])
    before.deletion_batch("T2_B", [planned], [claimed])
    before.failed_deletion("T2_B", before.asked("delete", lfns[2], "T2_B", "retry", last_error="403"), "403")
    before.asked("delete", lfns[3], "T2_B", "held", hold_reason="refused", is_last_allowed=True)
    sent, unsent = (before.asked("copy", lfn, "T1_MSS", "inbatch") for lfn in lfns[:2])
    before.copy_batch("T1_MSS", "T2_A", [sent], job_id=job_id(1), state="submitted")
    before.copy_batch("T1_MSS", "T2_A", [unsent], job_id=job_id(2))
    before.rows("INSERT INTO locks (item, reason, created_by) VALUES ('/A/B-v1/AOD#b1', 'thesis', 'ada')")


# -- deletions -----------------------------------------------------------------------------------------------------


def on_disk(before: Before, root: Path, site: str) -> Callable[[str], Path]:
    """The site is a folder from now on."""
    before.rows(
        "UPDATE site_endpoints SET protocol = 'file', prefix = :p WHERE site_id = :s",
        p=f"file://{root / site}",
        s=before.site_ids[site],
    )
    return lambda lfn: root / site / lfn.lstrip("/")


def run_deletions(before: Before, settings: Settings) -> None:
    """One run of the DAG."""
    unfinished = deletion.recover_deletions(before.db)
    for lot in deletion.plan_deletion_batches(before.db, settings, unfinished):
        deletion.delete(before.db, settings, lot)


def test_open_deletions_delete_what_was_asked_and_nothing_else(
    before: Before, settings: Settings, tmp_path: Path
) -> None:
    for name in ("T2_A", "T2_B"):
        before.site(name)
    states = ("new", "planned", "claimed", "retry", "held", "kept", "withdrawn", "withdrawn late", "newer")
    lfns = dict(zip(states, before.block("b1", len(states)), strict=True))
    before.replica("b1", "T2_A")
    before.replica("b1", "T2_B", owned=False)
    path = on_disk(before, tmp_path, "T2_B")
    for lfn in lfns.values():
        path(lfn).parent.mkdir(parents=True, exist_ok=True)
        path(lfn).write_bytes(b"x" * SIZE)
        os.utime(path(lfn), (LONG_AGO, LONG_AGO))
    path(lfns["claimed"]).unlink()
    os.utime(path(lfns["newer"]))
    before.asked("delete", lfns["new"], "T2_B")
    before.asked("delete", lfns["newer"], "T2_B")
    before.asked("delete", lfns["held"], "T2_B", "held", hold_reason="refused", last_error="403")
    retried = before.asked("delete", lfns["retry"], "T2_B", "retry", last_error="503")
    before.failed_deletion("T2_B", retried, "503")
    planned, claimed = (before.asked("delete", lfns[name], "T2_B", "inbatch") for name in ("planned", "claimed"))
    early, late = (before.asked("delete", lfns[f"withdrawn{n}"], "T2_B", "cancelled") for n in ("", " late"))
    before.deletion_batch("T2_B", [planned, early], [claimed, late])

    before.upgrade()
    run_deletions(before, settings)

    assert {name for name, lfn in lfns.items() if path(lfn).exists()} == {
        "held", "kept", "withdrawn", "withdrawn late", "newer"
    }  # fmt: skip
    assert {name: before.subscriptions().get(("delete", lfn, "T2_B")) for name, lfn in lfns.items()} == {
        "new": "done", "planned": "done", "claimed": "done", "retry": "done", "held": "held/refused", "kept": None,
        "withdrawn": "cancelled", "withdrawn late": "cancelled", "newer": "retry",
    }  # fmt: skip
    assert before.replica_state("b1", "T2_A") == (True, 9 * SIZE, 0)
    assert before.replica_state("b1", "T2_B") == (False, 5 * SIZE, 5)
    assert before.scalar("SELECT count(*) FROM deletions WHERE state = 'planned'") == 0
    told_of_newer = before.scalar("SELECT last_error FROM subscriptions WHERE state = 'retry'")
    assert "later than its deletion was asked for" in told_of_newer


@pytest.mark.parametrize(
    ("revision", "permission", "is_planned", "is_deleted"),
    [
        ("0008", {}, False, False),
        ("0008", {}, True, False),
        ("0009", {}, True, False),
        ("0009", {"is_last_allowed": True}, False, True),
        ("0009", {"is_last_allowed": True}, True, True),
    ],
)
def test_a_last_copy_goes_only_with_the_permission_that_was_given(
    postgres: EmbeddedPostgres, revision: str, permission: dict[str, bool], is_planned: bool, is_deleted: bool
) -> None:
    with installation(postgres, revision) as before:
        before.site("T2_A")
        (lfn,) = before.block("b1", 1)
        before.replica("b1", "T2_A", owned=False)
        number = before.asked("delete", lfn, "T2_A", "inbatch" if is_planned else "new", **permission)
        if is_planned:
            before.deletion_batch("T2_A", [number])
        before.upgrade()
        storage = Answers()
        for batch in [*recover_deletions(before.db).unfinished, *plan_deletions(before.db)]:
            execute_batch(before.db, batch, storage)  # type: ignore[arg-type]
        assert storage.asked == ([[lfn]] if is_deleted else [])
        before.rows("UPDATE subscriptions SET updated_at = now() - interval '1 day'")
        assert is_deleted or "it is the last good copy of the file" in why(before.db, number).because


def test_deletions_that_are_taken_back_after_the_upgrade_stay_with_nobody(before: Before, settings: Settings) -> None:
    for name in ("T2_A", "T2_B"):
        before.site(name)
    lfns = before.block("b1", 2)
    before.replica("b1", "T2_A")
    before.replica("b1", "T2_B", owned=False)
    planned, claimed = (before.asked("delete", lfn, "T2_B", "inbatch") for lfn in lfns)
    before.deletion_batch("T2_B", [planned], [claimed])
    before.upgrade()
    lock = add_lock(before.db, "/A/B-v1/AOD", reason="thesis", by=ADA, now=NOW)
    assert (lock.given_back.num_files, lock.given_back.num_too_late, lock.given_back.num_block_replicas) == (1, 1, 0)
    storage = Answers()
    for batch in recover_deletions(before.db).unfinished:
        execute_batch(before.db, batch, storage)  # type: ignore[arg-type]
    assert storage.asked == []
    assert before.rows("SELECT group_id, former_group_id FROM block_replicas WHERE site_id = 2") == [(None, None)]
    assert section(before, settings, "taken_back") == [("T2_B", 2)]


def section(before: Before, settings: Settings, key: str) -> list[tuple[Any, ...]]:
    """The first two columns of a section of the digest."""
    digest = read_digest(before.db, settings, datetime.now(UTC) + timedelta(minutes=1))
    return [row[:2] for one in digest.sections if one.key == key for row in one.rows.rows()]


def test_a_lock_of_before_keeps_what_was_to_be_deleted(before: Before) -> None:
    for name in ("T2_A", "T2_B"):
        before.site(name)
    (lfn,) = before.block("b1", 1)
    before.replica("b1", "T2_A")
    before.replica("b1", "T2_B", owned=False)
    before.deletion_batch("T2_B", [before.asked("delete", lfn, "T2_B", "inbatch")])
    before.rows("INSERT INTO locks (item, reason, created_by) VALUES ('/A/B-v1/AOD#b1', 'thesis', 'ada')")
    before.upgrade()
    (batch,) = recover_deletions(before.db).unfinished
    storage = Answers()
    execute_batch(before.db, batch, storage)  # type: ignore[arg-type]
    assert storage.asked == []
    assert before.scalar("SELECT last_error FROM subscriptions") == "not deleted: it is locked"


# -- copies --------------------------------------------------------------------------------------------------------


def test_open_batches_are_finished_by_the_server_that_has_them(
    before: Before, settings: Settings, identity: FtsIdentity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One job is copying, one was sent by a task that was killed, one was not sent. New files go to another server."""
    for name in ("T2_A", "T2_B"):
        before.site(name)
    lfns = before.block("b1", 4)
    before.replica("b1", "T2_A")
    before.replica("b1", "T2_B", present=[])
    two = {url: Server(url, identity) for url in (ONE, TWO)}
    monkeypatch.setattr(servers, "_open", lambda _, address: two[address])
    states = ("submitted", "planned", "planned")
    batches = [
        before.copy_batch("T2_B", "T2_A", [before.asked("copy", lfn, "T2_B", "inbatch")], job_id=job_id(n), state=state)
        for n, (lfn, state) in enumerate(zip(lfns, states, strict=False), 1)
    ]
    for number, (_, (transfer_id,)) in enumerate(batches[:2], 1):
        two[ONE].jobs[job_id(number)] = {"files": [{"metadata": {"transfer_id": transfer_id}}]}
    before.asked("copy", lfns[3], "T2_B")

    before.upgrade()
    named = [{"url": ONE, "sources": ["T9_*"]}, {"url": TWO}]
    settings = settings.model_copy(update={"fts": settings.fts.model_validate({"servers": named})})
    recovered = transfer.recover(before.db, settings)["recovered"]
    assert (recovered["unsubmitted"], recovered["num_found"], recovered["num_freed"]) == ([batches[2][0]], 1, 0)
    assert set(under_way(before.db)["state"]) <= {"active", "submitted", "planned"}, "nothing of before is archiving"
    for lot in transfer.plan_transfer_batches(before.db, settings, recovered["unsubmitted"]):
        transfer.submit(before.db, settings, lot)
    assert set(two[ONE].jobs) == {job_id(1), job_id(2), job_id(3)}
    assert len(two[TWO].jobs) == 1

    two[ONE].is_done = two[TWO].is_done = True
    transfer.apply_transfers(before.db, settings)
    assert two[TWO].asked == set(two[TWO].jobs)
    assert set(before.subscriptions().values()) == {"done"}
    assert before.replica_state("b1", "T2_B") == (True, 4 * SIZE, 0)


def until(world: World, holds: Callable[[], bool]) -> None:
    def holds_now() -> bool:
        observe_and_apply(world.inventory.db, world.client)
        return holds()

    wait_until(holds_now, lambda: world.inventory.rows("SELECT * FROM transfers"))


def test_a_copy_to_tape_that_is_at_fts_counts_on_arrival_one_that_is_not_when_it_is_archived(
    before: Before, pocket: PocketGrid
) -> None:
    for name, site in pocket.grid.endpoints["sites"].items():
        before.site(name, site["storage_type"], prefix=site["prefix"])
    with pocket.client() as client:
        world = World(pocket, before, client)
        lfns = list(world.block("b1", "T2_A", num_files=2))
        me = client.whoami()
        ids = [before.asked("copy", lfn, "T1_TAPE", "inbatch") for lfn in lfns]
        sids = ["a" * 32, "b" * 32]
        (sent, (transfer_id,)), (unsent, _) = [
            before.copy_batch("T1_TAPE", "T2_A", [number], job_id=str(me.job_id(sid)), sid=sid, state=state)
            for number, sid, state in zip(ids, sids, ("submitted", "planned"), strict=True)
        ]
        size, adler = before.rows("SELECT size_bytes, adler32 FROM files WHERE lfn = :l", l=lfns[0])[0]
        source, destination = (pocket.storage(site).endpoint.pfn(lfns[0]) for site in ("T2_A", "T1_TAPE"))
        job = transfer_job(
            [FileCopy(transfer_id, ids[0], (source,), destination, size, adler, "default")],
            sids[0],
            JobSettings(),
            batch_id=sent,
        )
        assert job["params"]["overwrite"] is True
        assert "archive_timeout" not in job["params"]
        pocket.grid.fault(sites={"T1_TAPE": {"archive_stuck": True}})
        client.ensure_delegation()
        client.submit(job, str(me.job_id(sids[0])))

        before.upgrade()
        until(world, lambda: before.subscriptions()["copy", lfns[0], "T1_TAPE"] == "done")
        assert before.replica_state("b1", "T1_TAPE") == (False, size, 1)
        assert recovery.recover(before.db, client).unsubmitted == [unsent]
        assert submit_batch(before.db, client, unsent).outcome == "submitted"
        until(world, lambda: under_way(before.db)["state"].to_list() == ["archiving"])
        assert before.replica_state("b1", "T1_TAPE") == (False, size, 1)
        pocket.grid.heal()
        until(world, lambda: set(before.subscriptions().values()) == {"done"})
        assert before.scalar("SELECT is_complete FROM block_replicas WHERE site_id = :s", s=before.site_ids["T1_TAPE"])


def test_a_direct_copy_to_tape_that_was_planned_is_left_to_fts(
    before: Before, settings: Settings, identity: FtsIdentity
) -> None:
    before.site("T2_A")
    before.site("T1_MSS", "mss")
    (lfn,) = before.block("b1", 1)
    before.replica("b1", "T2_A")
    number = before.asked("copy", lfn, "T1_MSS", "inbatch")
    before.copy_batch("T1_MSS", "T2_A", [number], job_id=job_id(1), backend="direct")
    before.upgrade()
    assert transfer.copy_directly(before.db, settings)["refused"] == 1
    assert "T1_MSS is tape" in before.scalar("SELECT last_error FROM subscriptions")
    before.rows("UPDATE subscriptions SET updated_at = now() - interval '1 day'")
    assert len(plan_batches(before.db, identity).disk) == 1


POLICY = """Partition all
On site.status == READY
When site.occupancy > 0.1
Until site.occupancy < 0.05
Protect site.storage_type == MSS
Dismiss dataset.on_tape == FULL
Protect
Order increasing replica.size
"""


@pytest.mark.parametrize("is_complete", [True, False])
def test_what_is_on_tape_counts_as_archived_and_what_is_to_be_deleted_as_gone(
    before: Before, settings: Settings, tmp_path: Path, is_complete: bool
) -> None:
    for name in ("T2_A", "T2_B", "T1_MSS"):
        before.site(name, "mss" if name == "T1_MSS" else "disk")
        before.rows(
            "INSERT INTO quotas (site_id, partition, quota_bytes, changed_by) VALUES (:s, 'all', :q, 'ada')",
            s=before.site_ids[name],
            q=2 * SIZE,
        )
    lfns = before.block("b1", 2)
    before.replica("b1", "T2_A")
    before.replica("b1", "T2_B", owned=False)
    before.replica("b1", "T1_MSS", present=None if is_complete else lfns[:1])
    for lfn, state in zip(lfns, ("new", "held"), strict=True):
        before.asked("delete", lfn, "T2_B", state)
    before.rows("UPDATE block_replicas SET last_update_at = now() - interval '100 days'")

    before.upgrade()
    folders = {name: tmp_path / name for name in ("config_dir", "policy_dir")}
    for folder in folders.values():
        folder.mkdir()
    (folders["config_dir"] / "partitions.txt").write_text("all: dataset.name == /*/*/*\n")
    (folders["config_dir"] / "gates.yaml").write_text((ROOT / "include/config/gates.yaml").read_text())
    (folders["policy_dir"] / "all.txt").write_text(POLICY)
    inputs = read_detox_inputs(settings.model_copy(update=folders), "all", NOW)
    plan = make_plan(read_inventory(before.db), inputs)
    assert set(plan.decisions["site"]) == {"T2_A", "T1_MSS"}
    assert plan.deletions["site"].to_list() == (["T2_A"] if is_complete else [])
    before.subscription("delete", lfns, "T2_A", is_last_allowed=False)
    plan_deletions(before.db)
    in_batches = {
        lfn for (_, lfn, site), state in before.subscriptions().items() if (site, state) == ("T2_A", "inbatch")
    }
    assert in_batches == set(lfns if is_complete else lfns[:1])


# -- sites ---------------------------------------------------------------------------------------------------------


def test_endpoints_in_force_stay_and_others_are_proposed_while_something_is_open(before: Before) -> None:
    for name in ("T2_A", "T2_B"):
        before.site(name, prefix=f"davs://{name.lower()}.org/cms")
    chains = '[[["/store/(.*)", "davs://t2_b.org/cms/$1"]]]'
    before.rows("UPDATE site_endpoints SET mapping = CAST(:m AS jsonb) WHERE site_id = 2", m=chains)
    (lfn,) = before.block("b1", 1)
    for name in ("T2_A", "T2_B"):
        before.replica("b1", name)
    batch = before.deletion_batch("T2_A", [before.asked("delete", lfn, "T2_A", "inbatch")])
    old = before.rows("SELECT site_id, protocol, prefix, mapping FROM site_endpoints ORDER BY 1")

    before.upgrade()
    same = told.site("T2_B", prefix="davs://t2_b.org/cms")
    same["endpoints"] = f'[{{"protocol": "davs", "prefix": "davs://t2_b.org/cms", "mapping": {chains}}}]'
    told.sync_sites(before.db, told.site("T2_A", prefix="davs://t2_a.org/cms"), same)
    assert before.scalar("SELECT count(*) FROM site_endpoints WHERE proposed_at IS NOT NULL") == 0
    told.sync_sites(before.db, told.site("T2_A", prefix="davs://new.org/cms"), same, run_key="next")
    assert before.rows("SELECT site_id, protocol, prefix, mapping FROM site_endpoints ORDER BY 1") == old
    proposed = before.rows("SELECT site_id, proposed_prefix FROM site_endpoints WHERE proposed_at IS NOT NULL")
    assert proposed == [(1, "davs://new.org/cms")]
    storage = Answers()
    execute_batch(before.db, batch, storage)  # type: ignore[arg-type]
    assert storage.asked == [[lfn]], "what was open ends where it began"
    told.sync_sites(before.db, told.site("T2_A", prefix="davs://new.org/cms"), same, run_key="quiet")
    assert before.scalar("SELECT prefix FROM site_endpoints WHERE site_id = 1") == "davs://new.org/cms"


@pytest.mark.parametrize(
    "other", ["davs://se.org/cms", "davs://se.org//cms/", "davs://se.org/cms/t2b"], ids=["equal", "spelled", "nested"]
)
def test_of_sites_with_one_place_nothing_is_deleted_and_it_is_told(
    before: Before, settings: Settings, other: str
) -> None:
    before.site("T2_A", prefix="davs://se.org/cms")
    before.site("T2_B", prefix=other)
    before.site("T2_C")
    lfns = before.block("b1", 3)
    for name in ("T2_A", "T2_C"):
        before.replica("b1", name)
    queued = before.asked("delete", lfns[0], "T2_A")
    before.deletion_batch("T2_A", [before.asked("delete", lfns[1], "T2_A", "inbatch")])
    elsewhere = before.asked("delete", lfns[2], "T2_C")

    before.upgrade()
    storage = Answers()
    for batch in [*recover_deletions(before.db).unfinished, *plan_deletions(before.db)]:
        execute_batch(before.db, batch, storage)  # type: ignore[arg-type]
    assert storage.asked == [[lfns[2]]], "the others' deletions go on"
    assert before.scalar("SELECT state FROM subscriptions WHERE id = :i", i=elsewhere) == "done"
    assert "T2_B has the same storage as T2_A, or a part of it" in why(before.db, queued).because
    assert shared_storages(before.db).select("site", "other", "reason").rows() == [("T2_A", "T2_B", None)]
    assert section(before, settings, "shared") == [("T2_A", "T2_B")]
    if not other.endswith("t2b"):
        declare(before.db, "T2_A", "T2_B", by=ADA, reason="one dCache")
        for batch in [*recover_deletions(before.db).unfinished, *plan_deletions(before.db)]:
            execute_batch(before.db, batch, storage)  # type: ignore[arg-type]
        assert sorted(lfn for chunk in storage.asked[1:] for lfn in chunk) == lfns[:2]


@pytest.mark.parametrize("backend", ["fts", "direct"])
def test_a_copy_from_a_storage_onto_itself_is_not_begun(
    before: Before, settings: Settings, identity: FtsIdentity, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    """FTS overwrites: it would remove the file before it reads it."""
    for name in ("T2_A", "T2_B"):
        before.site(name, prefix="davs://se.org/cms")
    (lfn,) = before.block("b1", 1)
    before.replica("b1", "T2_A")
    number = before.asked("copy", lfn, "T2_B", "inbatch")
    batch, _ = before.copy_batch("T2_B", "T2_A", [number], job_id=job_id(1), backend=backend)
    before.upgrade()
    fts = Fts()
    if backend == "fts":
        assert submit_batch(before.db, fts, batch).outcome == "unwanted"  # type: ignore[arg-type]
    else:
        transfer.copy_directly(before.db, settings)
    assert fts.jobs == []
    assert "same storage" in (error := before.scalar("SELECT last_error FROM subscriptions")) or "one storage" in error
    before.rows("UPDATE subscriptions SET updated_at = now() - interval '1 day'")
    plan_batches(before.db, identity)
    assert why(before.db, number).because.startswith("held: refused")


def test_orphans_of_a_check_of_before_wait_for_the_next(before: Before) -> None:
    before.site("T2_A")
    before.rows(
        """INSERT INTO consistency_checks (run_key, site_id, state, inventory_read_at, storage_listed_at)
           VALUES ('run', 1, 'compared', now(), now())"""
    )
    before.rows(
        """INSERT INTO consistency_findings (check_id, kind, state, lfn, size_bytes)
           VALUES (1, 'orphan', 'found', '/store/loose', 5), (1, 'unmanaged', 'found', '/store/unmerged/loose', 5)"""
    )
    before.upgrade()
    storage = Answers()
    rules = SiteRules(delete_unmanaged=True, clean_directories=False)
    summary = repair(before.db, 1, storage, rules)  # type: ignore[arg-type]
    assert (storage.asked, summary.num_deleted, summary.num_skipped) == ([], 0, 2)
    assert "the next check decides" in before.scalar("SELECT DISTINCT reason FROM consistency_findings")


# -- requests ------------------------------------------------------------------------------------------------------


def request(before: Before, kind: str, site: str, state: str, **action: Any) -> int:
    """A request of ada for the dataset at the site; ``action``: what is done for it there."""
    number = before.scalar(
        """INSERT INTO requests (kind, digest, sites, num_copies, group_id, state, requested_by, last_asked_by)
           VALUES (:kind, :kind, ARRAY[:site], CASE :kind WHEN 'copy' THEN 1 END, :g, :state, 'ada', 'ada')
           RETURNING id""",
        kind=kind,
        site=site,
        g=before.group_id,
        state=state,
    )
    before.rows("INSERT INTO request_items VALUES (:r, 1, :d)", r=number, d=before.dataset_id)
    given = {"request_id": number, "dataset_id": before.dataset_id, "site_id": before.site_ids[site], "size_bytes": 0}
    given |= action
    before.rows(
        f"INSERT INTO request_actions ({', '.join(given)}) VALUES ({', '.join(f':{name}' for name in given)})", **given
    )
    return int(number)


def test_a_dataset_that_was_asked_for_goes_on_growing(before: Before) -> None:
    for name in ("T2_A", "T2_C"):
        before.site(name)
    lfns = before.block("b1", 1)
    before.replica("b1", "T2_A")
    before.replica("b1", "T2_C", present=[], growing=True)
    before.rows("UPDATE dataset_replicas SET group_id = :g WHERE is_growing", g=before.group_id)
    before.asked("copy", lfns[0], "T2_C")
    number = request(before, "copy", "T2_C", "activated")
    before.upgrade()
    assert list_requests(before.db).select("id", "state").rows() == [(number, "activated")]
    dataset = told.dataset("/A/B-v1/AOD")
    new = "/store/b2/f0"
    told.merge(before.db, [dataset], [told.block("b2", "/A/B-v1/AOD")], [told.file(new, "/A/B-v1/AOD", "b2")])
    resubscribe_incomplete(before.db)
    assert before.subscriptions() == {("copy", lfns[0], "T2_C"): "new", ("copy", new, "T2_C"): "new"}


def test_a_deletion_that_was_asked_for_can_be_cancelled_and_its_owner_has_it_again(before: Before) -> None:
    for name in ("T2_A", "T2_B"):
        before.site(name)
    lfns = before.block("b1", 3)
    before.replica("b1", "T2_A")
    before.replica("b1", "T2_B", owned=False)
    before.asked("delete", lfns[0], "T2_B", origin="ada")
    planned, claimed = (before.asked("delete", lfn, "T2_B", "inbatch", origin="ada") for lfn in lfns[1:])
    before.deletion_batch("T2_B", [planned], [claimed])
    owned = {"block_id": before.block_ids["b1"], "from_group_id": before.group_id, "was_growing": True}
    number = request(before, "deletion", "T2_B", "activated", **owned)
    before.upgrade()
    summary = cancel(before.db, number, by=BOB, reason="a mistake")
    assert (summary.num_given_back, summary.num_too_late) == (1, 1)
    assert before.rows("SELECT group_id, former_group_id FROM block_replicas WHERE site_id = 2") == [
        (before.group_id, None)
    ]
    assert before.scalar("SELECT is_growing FROM dataset_replicas WHERE site_id = 2")


# -- whose fault it was --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "state", "blame"),
    [
        ("DESTINATION [1] HTTP 403 : Permission refused", "retry", "destination"),
        ("DESTINATION [5] Source and destination checksum do not match (aa != 00000000)", "retry", "destination"),
        ("TRANSFER [13] Permission denied", "retry", "link"),
        ("SOURCE [1] HTTP 403 : Permission refused", "retry", "source"),
        ("SOURCE [2] No such file", "held/all_failed", None),
        ("SOURCE [5] Source and user-defined adler32 checksum do not match (1 != 2)", "held/all_failed", "file"),
        ("DESTINATION [5] Source and destination checksum do not match (1 != 2)", "held/all_failed", "arrival"),
    ],
)
def test_sources_that_were_given_up_for_others_faults_are_asked_again(
    before: Before, reason: str, state: str, blame: str | None
) -> None:
    for name in ("T2_A", "T2_B"):
        before.site(name)
    (lfn,) = before.block("b1", 1)
    before.replica("b1", "T2_A")
    copy = before.asked("copy", lfn, "T2_B", "held", hold_reason="all_failed")
    before.rows(
        """INSERT INTO transfers (batch_id, subscription_id, file_index, source_site_id, state, is_recoverable, reason,
             size_bytes, finished_at)
           VALUES (1, :copy, 0, :source, 'failed', false, :reason, 1000, now() - interval '1 day')""",
        copy=copy,
        source=before.site_ids["T2_A"],
        reason=reason,
    )
    before.upgrade()
    hold_and_release(before.db)
    assert before.subscriptions() == {("copy", lfn, "T2_B"): state}
    assert before.scalar("SELECT blame FROM transfers") == blame
