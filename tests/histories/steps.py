"""What can happen: one function a step, each by three numbers that say which, of what there is at the moment.

A step may be about nothing (``NothingToDoError``), be refused (a ``DynamoError``), or die in the middle.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from dynamo_ops.base.errors import DynamoError
from dynamo_ops.base.settings import DeletionSettings, FtsSettings
from dynamo_ops.consistency import repair as repairs
from dynamo_ops.consistency import tasks as checks
from dynamo_ops.consistency.settings import SiteRules
from dynamo_ops.dealer.commit import commit as commit_copies
from dynamo_ops.dealer.engine.plan import COPIES
from dynamo_ops.deletion import execute, queue, waiting
from dynamo_ops.detox.commit import commit as commit_deletions
from dynamo_ops.detox.enforced import ENFORCED
from dynamo_ops.detox.engine.plan import POLICY_LINES
from dynamo_ops.fts.job import JobSettings
from dynamo_ops.inventory.catalogue.invalidation import invalidate
from dynamo_ops.inventory.catalogue.merge import merge_metadata
from dynamo_ops.inventory.catalogue.undo import undo_invalidation
from dynamo_ops.inventory.doubt.declare import call_good as call_it_good
from dynamo_ops.inventory.doubt.declare import declare_bad, judge_again, report_suspicious
from dynamo_ops.inventory.doubt.settings import DamageSettings
from dynamo_ops.inventory.doubt.suspect import suspect
from dynamo_ops.inventory.site import override, shared
from dynamo_ops.inventory.staging import pull
from dynamo_ops.inventory.subscription import subscribe
from dynamo_ops.lock.store import add_lock, remove_lock
from dynamo_ops.pause import pauses
from dynamo_ops.plan import store as plan_store
from dynamo_ops.plan.verdict import GATE, approve
from dynamo_ops.quality.suites.metadata import check_source
from dynamo_ops.quality.thresholds import Gates
from dynamo_ops.request import advance
from dynamo_ops.request.cancel import cancel
from dynamo_ops.request.copy_request import request_copy
from dynamo_ops.request.deletion_request import request_deletion
from dynamo_ops.sources.source import BLOCKS, DATASETS, FILES, Details
from dynamo_ops.transfer import batches, hold, leftover, observe, recovery
from dynamo_ops.transfer.batches import PlanRules
from dynamo_ops.transfer.submission import submit
from dynamo_ops.transfer.submission.limits import TransferLimits
from tests.detox.small import NOW
from tests.histories.fts import IDENTITY, Fate
from tests.histories.places import Content, Mode
from tests.histories.world import OWNER, NothingToDoError, World, pick
from tests.people import ADA, TESTER
from tests.plan.made_of import made_of

Step = Callable[[World, int, int, int], None]

LIMITS = TransferLimits(files_per_job=3, backoff_s=0)
DELETIONS = DeletionSettings(files_per_batch=3, files_per_chunk=2, backoff_s=0)
JOBS = JobSettings(FtsSettings(retries=0, retry_delay_s=1))
RULES = SiteRules(max_missing=1000, max_orphan=1000, max_shrink=1.0)
SOURCE = "books"
PATIENCE = timedelta(days=7)
AGES = (timedelta(hours=6), timedelta(days=1), timedelta(days=3), timedelta(days=10))
FATES = (*[Fate.WELL] * 6, Fate.HALF, Fate.WRONG, Fate.BROKEN, Fate.REFUSED)
BY_WHOM = ("never", "delete_lines", "always")


# -- data come into being ------------------------------------------------------------------------------------------


def make(world: World, a: int, b: int, c: int) -> None:
    """New files, in a block that is there or a new one, at a site; nobody is told yet."""
    world.make(a % 4, b % 3, 1 + c % 2, pick(list(world.layout.places), a // 4 + b))


def tell(world: World, a: int, b: int, c: int) -> None:
    """The source tells of all there is, and is merged."""
    run_key = f"run {world.num_runs}"
    world.num_runs += 1
    now, names = datetime.now(UTC), list(dict.fromkeys(name for name, _ in world.made))
    lfns = {lfn for files in world.made.values() for lfn in files}
    datasets = pl.DataFrame([(name, "valid", True, None, now) for name in names], schema=DATASETS, orient="row")
    blocks = pl.DataFrame(
        [
            (name, block, True, sum(content.size_bytes for content in files.values()), len(files), now)
            for (name, block), files in world.made.items()
        ],
        schema=BLOCKS,
        orient="row",
    )
    files = pl.DataFrame(
        [
            (name, block, lfn, content.size_bytes, content.adler32, True)
            for (name, block), contents in world.made.items()
            for lfn, content in contents.items()
        ],
        schema=FILES,
        orient="row",
    )
    for page in pull.stage_datasets(world.db, run_key, SOURCE, datasets, 50, num_source_datasets=len(names)):
        pull.stage_details(world.db, run_key, SOURCE, page, [Details(blocks, files)])
    check_source(world.db, run_key, SOURCE, Gates().metadata, now)
    merge_metadata(world.db, run_key, SOURCE, now)
    world.is_told_by_source = True
    world.untold -= lfns


def declare(world: World, a: int, b: int, c: int) -> None:
    """Somebody who knows injects which files of a block are at a site; of an incomplete block too."""
    (dataset, block), files = pick(list(world.made.items()), a)
    site = pick(list(world.layout.places), b)
    there = [lfn for lfn, content in files.items() if world.place(site).has(lfn, content)]
    if not there:
        raise NothingToDoError
    replica = {"name": f"{dataset}#{block}", "files": "*" if len(there) == len(files) else there}
    world.inject(
        datasets=[world.told(dataset)],
        dataset_replicas=[
            {"dataset": dataset, "site": site, "group": OWNER, "growing": c % 2 == 0, "blocks": [replica]}
        ],
    )
    world.untold -= {lfn for (name, _), contents in world.made.items() if name == dataset for lfn in contents}


def declare_invalid(world: World, a: int, b: int, c: int) -> None:
    """A person says that a file, or a block, is not to be used any more."""
    (dataset, block), files = pick(list(world.made.items()), a)
    lfn = pick(list(files), b)
    document = {"files": [lfn]} if c % 3 else {"blocks": [f"{dataset}#{block}"]}
    invalidate(world.db, document, reason="it is wrong", by=TESTER)
    world.witness.invalid |= {lfn} if c % 3 else set(files)


def take_back_invalid(world: World, a: int, b: int, c: int) -> None:
    """A person says that what was declared invalid may come in again."""
    names = [name for (name,) in world.select("SELECT name FROM invalidations ORDER BY id")]
    undo_invalidation(world.db, [pick(names, a)], reason="made again", by=TESTER, keep=timedelta(days=90))


def call_bad(world: World, a: int, b: int, c: int) -> None:
    """A person says that a copy is bad, or suspicious; they may be wrong."""
    site = pick(sorted(world.site_ids), a)
    lfn = pick(sorted(lfn for name, lfn in world.witness.facts().present if name == site), b)
    say = declare_bad if c % 3 else report_suspicious
    say(world.db, site, [lfn], reason="it cannot be read", by=TESTER)


def call_good(world: World, a: int, b: int, c: int) -> None:
    """A person takes back what was said against a copy."""
    called = world.select(
        """SELECT site.name, file.lfn FROM bad_replicas AS bad JOIN sites AS site ON site.id = bad.site_id
           JOIN files AS file ON file.id = bad.file_id ORDER BY 1, 2"""
    )
    site, lfn = pick(called, a)
    if not world.place(site).has(lfn, world.witness.facts().files[lfn]):
        raise NothingToDoError  # they look first
    call_it_good(world.db, site, [lfn], reason="it can", by=TESTER)


def judge_bad(world: World, a: int, b: int, c: int) -> None:
    """Sources of copies that came wrong are suspected, and what is called bad is judged again."""
    suspect(world.db, DamageSettings(), datetime.now(UTC))
    judge_again(world.db)


# -- decisions -----------------------------------------------------------------------------------------------------


def plan_deletions(world: World, a: int, b: int, c: int) -> None:
    """Detox decides that block replicas of a site go; what it thought of is not asked: any plan must be safe."""
    site = pick(sorted(world.site_ids), a)
    replicas = world.select(
        """SELECT block_id, dataset_id, site_id::bigint, group_id::bigint, size_bytes FROM block_replicas
           WHERE site_id = :site AND group_id IS NOT NULL ORDER BY block_id""",
        site=world.site_ids[site],
    )
    first = pick(replicas, b)
    _decide(world, [first, *(replicas[:2] if c % 3 == 0 else [])], c)


def _decide(world: World, chosen: list[tuple[Any, ...]], c: int) -> None:
    numbers = dict.fromkeys(["block_id", "dataset_id", "site_id", "group_id", "size_bytes", "line"], pl.Int64)
    flags = dict.fromkeys(["whole_dataset", "is_last_copy_allowed"], pl.Boolean)
    deletions = pl.DataFrame(
        [(*replica, 1, c % 5 == 0, c % 2 == 0, "valid") for replica in dict.fromkeys(chosen)],
        orient="row",
        schema={**numbers, **flags, "dataset_status": pl.String},
    )
    handed = ["block_id", "dataset_id", "site_id", "group_id", "from_group_id", "line", "size_bytes"]
    decisions = {"dataset_id": pl.Int64, "site_id": pl.Int64, "decision": pl.String, "line": pl.Int32}
    amounts = {"num_blocks": pl.Int64, "size_bytes": pl.Int64}
    stored = _save(
        world,
        made_of(policy="Delete dataset.name == /*/*/*", now=NOW),
        {
            "deletions": deletions,
            "reowned": pl.DataFrame(schema=dict.fromkeys(handed, pl.Int64)),
            "enforced": pl.DataFrame(schema=dict(ENFORCED)),
            "replica_decisions": pl.DataFrame(schema={**decisions, **amounts}),
            "site_states": pl.DataFrame(schema=_SITE_STATES),
            "policy_lines": pl.DataFrame(schema=POLICY_LINES),
        },
        {"triggered_sites": []},
    )
    world.plans.append(("detox", stored))


_SITE_STATES = {
    "site_id": pl.Int64,
    "site": pl.String,
    "quota_bytes": pl.Int64,
    "is_triggered": pl.Boolean,
    "bytes_before": pl.Int64,
    "bytes_after": pl.Int64,
    "occupancy_before": pl.Float64,
    "occupancy_after": pl.Float64,
    "protected_bytes": pl.Int64,
}


_PLACEABLE = """
    SELECT block.id, block.dataset_id, site.name, site.id::bigint FROM blocks AS block CROSS JOIN sites AS site
    WHERE NOT EXISTS (SELECT FROM block_replicas AS replica WHERE replica.block_id = block.id
                      AND replica.site_id = site.id AND replica.is_complete) ORDER BY 1, 4"""


def plan_copies(world: World, a: int, b: int, c: int) -> None:
    """The Dealer decides that a block shall be at a site too."""
    block_id, dataset_id, site, site_id = pick(world.select(_PLACEABLE), a * 7 + b)
    group_id = world.select("SELECT min(id) FROM groups")[0][0]
    keys = dict.fromkeys(["block_id", "dataset_id", "site_id", "group_id"], pl.Int64)
    asked = world.select(
        "SELECT request_id FROM request_actions WHERE dataset_id = :dataset AND site_id = :site ORDER BY 1",
        dataset=dataset_id,
        site=site_id,
    )
    copy = {
        "copy": 1,
        "plugin": "requests",
        "request_id": asked[0][0] if asked and c % 2 else None,
        "dataset_id": dataset_id,
        "block_id": block_id,
        "site_id": site_id,
        "site": site,
        "group_id": group_id,
        "size_bytes": 1000,
        "reason": "so",
        "weight": None,
    }
    is_growing = c % 3 == 0
    owned = {"dataset_id": pl.Int64, "site_id": pl.Int64, "group_id": pl.Int64, "is_growing": pl.Boolean}
    stored = _save(
        world,
        made_of("dealer", now=NOW),
        {
            "block_copies": pl.DataFrame([(block_id, dataset_id, site_id, group_id)], orient="row", schema=keys),
            "dataset_copies": pl.DataFrame([(dataset_id, site_id, group_id, is_growing)], orient="row", schema=owned),
            "copies": pl.DataFrame([copy | {"block_id": None} if is_growing else copy], schema=dict(COPIES)),
            "refused": pl.DataFrame(schema={"request_id": pl.Int64, "reason": pl.String}),
        },
        {},
    )
    world.plans.append(("dealer", stored))


def _save(world: World, inputs: Any, frames: dict[str, pl.DataFrame], summary: dict[str, Any]) -> int:
    world.num_runs += 1
    stored = plan_store.save(
        world.db,
        inputs,
        run_key=f"run {world.num_runs}",
        frames=frames,
        summary=summary,
        location=str(world.folder / "plans"),
    )
    approve(world.db, stored.id, GATE)
    return stored.id


def commit_plan(world: World, a: int, b: int, c: int) -> None:
    """A plan is committed, the newest or one that was made long ago."""
    kind, plan_id = pick(world.plans[::-1], a if b % 2 else 0)
    if kind == "dealer":
        commit_copies(world.db, plan_id)
        return
    last_copies: Any = pick(BY_WHOM, c)
    deletions = plan_store.load(world.db, plan_id).frame("deletions")
    if last_copies != "never":
        blocks = deletions.filter(pl.lit(last_copies == "always") | pl.col("is_last_copy_allowed"))
        _permit(world, list(blocks.select("block_id", "site_id").iter_rows()))
    commit_deletions(world.db, plan_id, last_copies=last_copies)


def _permit(world: World, block_replicas: list[tuple[int, int]]) -> None:
    for block_id, site_id in block_replicas:
        copies = world.select(
            """SELECT site.name, file.lfn FROM files AS file CROSS JOIN sites AS site
               WHERE file.block_id = :block AND site.id = :site""",
            block=block_id,
            site=site_id,
        )
        world.witness.permitted |= set(copies)  # type: ignore[arg-type]


# -- people --------------------------------------------------------------------------------------------------------


def ask_copy(world: World, a: int, b: int, c: int) -> None:
    """A person asks for a copy of a dataset, or of a block."""
    request_copy(world.db, _item(world, a, c), [pick(sorted(world.site_ids), b)], num_copies=0, group=OWNER, by=ADA)


def ask_deletion(world: World, a: int, b: int, c: int) -> None:
    """A person asks for a deletion, and may let last copies go."""
    item, site = _item(world, a, c), pick(sorted(world.site_ids), b)
    allow_last = 100 if c % 3 == 0 else 0
    if allow_last:
        dataset, _, block = item.partition("#")
        blocks = world.select(
            """SELECT block.id FROM blocks AS block JOIN datasets AS dataset ON dataset.id = block.dataset_id
               WHERE dataset.name = :dataset AND :block IN ('', block.name)""",
            dataset=dataset,
            block=block,
        )
        _permit(world, [(block_id, world.site_ids[site]) for (block_id,) in blocks])
    request_deletion(
        world.db,
        item,
        [site],
        reason="no room",
        by=TESTER,
        now=datetime.now(UTC),
        allow_tape=c % 2 == 0,
        allow_last=allow_last,
    )


def cancel_request(world: World, a: int, b: int, c: int) -> None:
    """A person takes a request back."""
    requests = world.select(
        "SELECT id FROM requests WHERE state NOT IN ('completed', 'cancelled', 'rejected') ORDER BY 1"
    )
    cancel(world.db, pick(requests, a)[0], by=TESTER, reason="no more")


def lock(world: World, a: int, b: int, c: int) -> None:
    """A person locks a dataset or a block, at a site or everywhere, for ever or for some days."""
    sites = "" if b % 2 else pick(sorted(world.site_ids), b // 2)
    until = None if c % 2 else "5 days"
    add_lock(world.db, _item(world, a, c), sites=sites, until=until, reason="thesis", by=ADA, now=datetime.now(UTC))


def unlock(world: World, a: int, b: int, c: int) -> None:
    """A person takes a lock back."""
    locks = world.select("SELECT id FROM locks WHERE removed_at IS NULL ORDER BY 1")
    remove_lock(world.db, pick(locks, a)[0], reason="done", by=TESTER)


def _item(world: World, a: int, c: int) -> str:
    dataset, block = pick(list(world.made), a)
    return dataset if c % 2 else f"{dataset}#{block}"


def pause(world: World, a: int, b: int, c: int) -> None:
    """A person stops everything, or goes on with it."""
    if world.select("SELECT 1 FROM pauses WHERE ended_at IS NULL"):
        pauses.resume(world.db, by=TESTER)
    else:
        pauses.stop(world.db, by=TESTER, reason="what is this?")


def say_status(world: World, a: int, b: int, c: int) -> None:
    """A person says of a site that it is ready, waits, or is given up."""
    status = pick(("ready", "ready", "waitroom", "morgue", "unknown"), b)
    override.set_status(world.db, pick(sorted(world.site_ids), a), status, by=TESTER, reason="so")


def rename_storage(world: World, a: int, b: int, c: int) -> None:
    """The host of a site gets another name; the old one leads there too."""
    site = pick(sorted(world.site_ids), a)
    place = world.place(site)
    if len(world.sites_at(place.name)) > 1:
        raise NothingToDoError  # nobody could know that they are one storage still
    place.num_names += 1
    status = world.select("SELECT status FROM sites WHERE name = :site", site=site)[0][0]
    world.inject(sites=[{**world.told_site(site), "status": status}])


# -- transfers -----------------------------------------------------------------------------------------------------


def recover_transfers(world: World, a: int, b: int, c: int) -> None:
    """A run of transfers begins."""
    recovery.recover(world.db, world.fts)  # type: ignore[arg-type]
    subscribe.resubscribe_incomplete(world.db)


def plan_transfers(world: World, a: int, b: int, c: int) -> None:
    """Subscriptions are held, released and taken into batches."""
    hold.hold_and_release(world.db)
    batches.plan_batches(world.db, IDENTITY, LIMITS, PlanRules())


def submit_transfers(world: World, a: int, b: int, c: int) -> None:
    """A batch is sent to FTS: one that waits, or any (a task that was cleared)."""
    waiting_only = "WHERE state = 'planned'" if b % 3 else ""
    planned = world.select(f"SELECT id FROM transfer_batches {waiting_only} ORDER BY id DESC")
    submit.submit_batch(world.db, world.fts, pick(planned, a)[0], JOBS, LIMITS)  # type: ignore[arg-type]


def copy_at_fts(world: World, a: int, b: int, c: int) -> None:
    """FTS turns to some files."""
    for turn in range(1 + c % 4):
        world.fts.move(*pick(world.fts.open_files(), a + turn), fate=pick(FATES, b + turn * (c % 2)))


def forget_at_fts(world: World, a: int, b: int, c: int) -> None:
    """FTS loses a job, as when its database is set back."""
    del world.fts.jobs[pick(list(world.fts.jobs), a)]


def observe_transfers(world: World, a: int, b: int, c: int) -> None:
    """Dynamo asks FTS how its jobs are."""
    observe.observe_and_apply(world.db, world.fts)  # type: ignore[arg-type]


def look_at_leftovers(world: World, a: int, b: int, c: int) -> None:
    """What copies that have ended left at their destinations is looked at."""
    world.witness.is_repair = True  # it is no deletion of a copy
    try:
        leftover.look_at_leftovers(world.db, world.open_storage)
    finally:
        world.witness.is_repair = False


# -- deletions -----------------------------------------------------------------------------------------------------


def plan_deletion_batches(world: World, a: int, b: int, c: int) -> None:
    """Deletions are taken into batches."""
    queue.recover_deletions(world.db)
    queue.plan_deletions(world.db, DELETIONS)


def delete(world: World, a: int, b: int, c: int) -> None:
    """A batch is executed: one that waits, or any."""
    waiting_only = "WHERE state = 'planned'" if b % 4 else ""
    planned = world.select(f"SELECT id FROM deletion_batches {waiting_only} ORDER BY id DESC")
    execute.execute_batch(world.db, pick(planned, a)[0], world.open_storage, DELETIONS)


def take_back(world: World, a: int, b: int, c: int) -> None:
    """What has waited too long is given back; requests follow."""
    waiting.take_back_what_must_stay(world.db, PATIENCE)
    advance.advance(world.db)


# -- whole runs, as the DAGs make them -----------------------------------------------------------------------------


def run_detox(world: World, a: int, b: int, c: int) -> None:
    """A cycle of Detox."""
    plan_deletions(world, a, b, c)
    commit_plan(world, 0, 0, c)


def run_dealer(world: World, a: int, b: int, c: int) -> None:
    """A cycle of the Dealer."""
    plan_copies(world, a, b, c)
    commit_plan(world, 0, 0, c)


def begin_transfers(world: World, a: int, b: int, c: int) -> None:
    """A run of transfers, up to where FTS has its jobs."""
    recovered = recovery.recover(world.db, world.fts)  # type: ignore[arg-type]
    subscribe.resubscribe_incomplete(world.db)
    hold.hold_and_release(world.db)
    planned = batches.plan_batches(world.db, IDENTITY, LIMITS, PlanRules())
    for batch_id in [*recovered.unsubmitted, *planned.disk, *planned.tape]:
        submit.submit_batch(world.db, world.fts, batch_id, JOBS, LIMITS)  # type: ignore[arg-type]


def end_transfers(world: World, a: int, b: int, c: int) -> None:
    """FTS turns to all that it has, and Dynamo sees what came of it."""
    for turn, (job, file) in enumerate(world.fts.open_files()):
        world.fts.move(job, file, fate=pick(FATES, b + turn * (c % 2)))
    observe.observe_and_apply(world.db, world.fts)  # type: ignore[arg-type]


def run_deletions(world: World, a: int, b: int, c: int) -> None:
    """A run of deletions."""
    unfinished = queue.recover_deletions(world.db).unfinished
    for batch_id in [*unfinished, *queue.plan_deletions(world.db, DELETIONS)]:
        execute.execute_batch(world.db, batch_id, world.open_storage, DELETIONS)


# -- consistency ---------------------------------------------------------------------------------------------------


def list_site(world: World, a: int, b: int, c: int) -> None:
    """A check begins: both lists are taken."""
    site = pick(checks.choose_sites(world.db, ()), a)
    world.num_runs += 1
    run_key = f"run {world.num_runs}"
    check_id = checks.start_check(world.db, run_key, site, world.folder / "checks" / str(world.num_runs))
    world.witness.expect(check_id, site)
    checks.list_inventory(world.db, check_id)
    try:
        checks.list_storage(world.db, check_id, world.open_storage, RULES)
    finally:
        world.witness.follow_checks()


def compare_lists(world: World, a: int, b: int, c: int) -> None:
    """Lists are compared, those taken last or earlier ones."""
    begun = world.select("SELECT id FROM consistency_checks WHERE storage_listed_at IS NOT NULL ORDER BY id DESC")
    checks.compare_lists(world.db, pick(begun, a if b % 3 == 0 else 0)[0], RULES)
    world.witness.follow_checks()


def repair(world: World, a: int, b: int, c: int) -> None:
    """A compared check is acted on, the last one or an earlier."""
    compared = world.select("SELECT id FROM consistency_checks WHERE state <> 'running' ORDER BY id DESC")
    check_id = pick(compared, a if b % 3 == 0 else 0)[0]
    world.witness.is_repair = True
    try:
        repairs.repair(world.db, check_id, world.open_storage, RULES)
    finally:
        world.witness.is_repair = False


def check_site(world: World, a: int, b: int, c: int) -> None:
    """A whole check, acted on at once."""
    list_site(world, a, b, c)
    compare_lists(world, 0, 1, c)
    repair(world, 0, 1, c)


# -- while others are at work --------------------------------------------------------------------------------------


def delete_while(world: World, a: int, b: int, c: int) -> None:
    """A run of deletions; while a storage is asked, something else happens."""
    _while(world, run_deletions, a, b, c)


def delete_unheard(world: World, a: int, b: int, c: int) -> None:
    """A storage deletes, its answers are lost, the deletions are taken back, and it is away; then the same blocks shall
    go elsewhere."""
    run_detox(world, a, b, c)
    plan_deletion_batches(world, a, b, c)
    planned = world.select("SELECT id, site_id FROM deletion_batches WHERE state = 'planned' ORDER BY id DESC")
    batch_id, site_id = pick(planned, a)
    site = next(name for name, number in world.site_ids.items() if number == site_id)
    place = world.place(site)
    place.mode = Mode.DEAF
    execute.execute_batch(world.db, batch_id, world.open_storage, DELETIONS)
    place.mode = Mode.DOWN
    for (item,) in world.select(_ITEMS_OF_BATCH, batch=batch_id):
        add_lock(world.db, item, sites=site, until=None, reason="thesis", by=ADA, now=datetime.now(UTC))
    elsewhere = world.select(_ELSEWHERE, batch=batch_id)
    if elsewhere:
        _decide(world, [pick(elsewhere, b)], 1)  # not as a last copy
        commit_plan(world, 0, 0, c)
        run_deletions(world, a, b, c)


_ITEMS_OF_BATCH = """
    SELECT DISTINCT dataset.name || '#' || block.name
    FROM deletions AS attempt JOIN subscriptions AS wish ON wish.id = attempt.subscription_id
    JOIN files AS file ON file.id = wish.file_id JOIN blocks AS block ON block.id = file.block_id
    JOIN datasets AS dataset ON dataset.id = block.dataset_id WHERE attempt.batch_id = :batch ORDER BY 1"""
_ELSEWHERE = """
    SELECT DISTINCT replica.block_id, replica.dataset_id, replica.site_id::bigint, replica.group_id::bigint,
           replica.size_bytes
    FROM deletions AS attempt JOIN subscriptions AS wish ON wish.id = attempt.subscription_id
    JOIN files AS file ON file.id = wish.file_id
    JOIN block_replicas AS replica ON replica.block_id = file.block_id AND replica.site_id <> wish.site_id
    WHERE attempt.batch_id = :batch AND replica.group_id IS NOT NULL ORDER BY 1, 3"""


def check_while(world: World, a: int, b: int, c: int) -> None:
    """A check that finds again what one before has seen; something happens between its lists, or before its repair."""
    list_site(world, a, b, c)
    compare_lists(world, 0, 1, c)
    _while(world, lambda *_: list_site(world, a, b, c), a, b, c) if c % 2 else list_site(world, a, b, c)
    compare_lists(world, 0, 1, c)
    if c % 2 == 0:
        with suppress(NothingToDoError, DynamoError):
            pick(OTHERS, b)(world, a, b, c)
    _while(world, repair, 0, 1, b) if c % 3 else repair(world, 0, 1, c)


def copy_while(world: World, a: int, b: int, c: int) -> None:
    """A run of transfers; while FTS is asked, something else happens."""
    _while(world, begin_transfers, a, b, c)
    _while(world, end_transfers, b, a, c)


def _while(world: World, step: Step, a: int, b: int, c: int) -> None:
    other = pick(OTHERS, a + b)
    world.meanwhile = lambda: other(world, b, c, a)
    try:
        step(world, a, b, c)
    finally:
        world.meanwhile = world.witness.before = None


# -- storages and time ---------------------------------------------------------------------------------------------


def lose(world: World, a: int, b: int, c: int) -> None:
    """A storage loses a file, or cuts it, or spoils its bytes."""
    place = pick(list(world.places.values()), a)
    lfn = pick(sorted(place.files), b)
    content = place.files[lfn].content
    world.witness.storage_took(place.name, [lfn])
    if c % 3 == 0:
        place.put(lfn, Content(0, "00000001"), age=pick(AGES, c))
    elif c % 3 == 1:
        place.put(lfn, Content(content.size_bytes, "22222222"), age=pick(AGES, c))
    else:
        del place.files[lfn]


def come_back(world: World, a: int, b: int, c: int) -> None:
    """A storage finds again what it had lost, or what was deleted there long ago."""
    place = pick(list(world.places.values()), a)
    known = [lfn for files in world.made.values() for lfn in files]
    lfn = pick(known, b)
    content = world.content(lfn)
    if content and lfn not in place.files:
        place.put(lfn, content, age=pick(AGES, c))


def leave_litter(world: World, a: int, b: int, c: int) -> None:
    """Somebody leaves a file that belongs to nobody."""
    pick(list(world.places.values()), a).put(f"/store/data/litter/{b % 5}", Content(1, "00000001"), age=pick(AGES, c))


def change_mode(world: World, a: int, b: int, c: int) -> None:
    """A storage goes away, or comes back."""
    pick(list(world.places.values()), a).mode = pick((*[Mode.WELL] * 4, *Mode), b)


def wait(world: World, a: int, b: int, c: int) -> None:
    """Time passes."""
    world.grow_older(pick(AGES, a))


def heal(world: World) -> None:
    """Everything is well: no step, but what comes after the last one."""
    for place in world.places.values():
        place.mode = Mode.WELL
    if world.select("SELECT 1 FROM pauses WHERE ended_at IS NULL"):
        pauses.resume(world.db, by=TESTER)
    for (lock_id,) in world.select(
        "SELECT id FROM locks WHERE removed_at IS NULL AND (expires_at IS NULL OR expires_at > now())"
    ):
        remove_lock(world.db, lock_id, reason="done", by=TESTER)
    for (site,) in world.select("SELECT name FROM sites WHERE status <> 'ready'"):
        override.set_status(world.db, site, "ready", by=TESTER, reason="well again")
    for site, other in world.select(SHARED):
        shared.declare(world.db, site, other, by=TESTER, reason="they are one storage")


SHARED = """
    SELECT one.name, other.name FROM site_endpoints AS here JOIN site_endpoints AS there
        ON there.prefix = here.prefix AND there.site_id > here.site_id
    JOIN sites AS one ON one.id = here.site_id JOIN sites AS other ON other.id = there.site_id
    WHERE (one.id, other.id) NOT IN (SELECT site_id, other_id FROM shared_storages)"""


OTHERS: tuple[Step, ...] = (
    declare,
    cancel_request,
    lock,
    ask_deletion,
    run_detox,
    run_dealer,
    begin_transfers,
    end_transfers,
    run_deletions,
    call_bad,
    lose,
    say_status,
    tell,
)
"""What may happen while a request is under way."""
WEIGHTS: Mapping[Step, int] = {
    run_dealer: 12,
    begin_transfers: 9,
    end_transfers: 8,
    run_detox: 9,
    run_deletions: 7,
    check_site: 3,
    delete_while: 5,
    delete_unheard: 3,
    check_while: 4,
    copy_while: 3,
    wait: 5,
    make: 2,
    tell: 1,
    declare: 2,
    declare_invalid: 1,
    take_back_invalid: 1,
    call_bad: 3,
    call_good: 1,
    judge_bad: 2,
    plan_deletions: 1,
    plan_copies: 1,
    commit_plan: 2,
    ask_copy: 1,
    ask_deletion: 5,
    cancel_request: 4,
    lock: 2,
    unlock: 1,
    pause: 1,
    say_status: 3,
    recover_transfers: 1,
    plan_transfers: 2,
    submit_transfers: 2,
    copy_at_fts: 3,
    forget_at_fts: 1,
    observe_transfers: 2,
    look_at_leftovers: 4,
    plan_deletion_batches: 3,
    delete: 3,
    take_back: 2,
    list_site: 2,
    compare_lists: 2,
    repair: 2,
    lose: 4,
    come_back: 2,
    leave_litter: 1,
    rename_storage: 1,
    change_mode: 2,
}
"""How often each step is drawn, among the others."""
STEPS: Mapping[str, Step] = {step.__name__: step for step in WEIGHTS}
