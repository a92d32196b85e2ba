"""The tasks of the DAG ``transfers``: settings in, small summaries out. No logic of their own."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from dynamo_ops.base.errors import DynamoError, SettingsError
from dynamo_ops.base.settings import Settings
from dynamo_ops.base.spans import span
from dynamo_ops.base.text import counts_text
from dynamo_ops.base.units import size_text
from dynamo_ops.database.connection import Database
from dynamo_ops.fts.job import JobSettings
from dynamo_ops.fts.servers import FtsServers, fts_servers
from dynamo_ops.inventory.doubt.settings import damage_settings
from dynamo_ops.inventory.doubt.suspect import suspect
from dynamo_ops.inventory.replica import usage
from dynamo_ops.inventory.subscription import subscribe
from dynamo_ops.pause.pauses import PauseKind, look
from dynamo_ops.storage.connect import site_storages
from dynamo_ops.storage.registry import served
from dynamo_ops.transfer import batches, direct, hold, leftover, observe, recovery
from dynamo_ops.transfer.batches import PlanRules
from dynamo_ops.transfer.server.health import forget, note_answers
from dynamo_ops.transfer.server.holding import adopt, batches_by_server
from dynamo_ops.transfer.server.moving import move_away
from dynamo_ops.transfer.source_choice import DirectRule
from dynamo_ops.transfer.submission.limits import transfer_limits
from dynamo_ops.transfer.submission.lot import submit_lot
from dynamo_ops.transfer.verification import ask, read_back

log = logging.getLogger(__name__)

BATCHES_PER_LOT = 25  # jobs of 200 files: one task submits 5000 of them
PATIENCE = timedelta(minutes=30)  # younger jobs are looked into once they have ended


def plan_rules(settings: Settings) -> PlanRules:
    """Which copies go first, and which Dynamo makes itself."""
    given = settings.transfers
    rules = tuple(DirectRule(tuple(rule.sources), tuple(rule.destinations)) for rule in given.direct)
    return PlanRules(
        head_starts={name: timedelta(hours=activity.head_start_h) for name, activity in given.activities.items()},
        direct=rules if settings.fts.named_servers else (DirectRule(),),
        direct_protocols=served(settings.protocols.own),
        on_arrival=given.on_arrival,
    )


def recover(database: Database, settings: Settings) -> dict[str, Any]:
    """Finish what killed runs left; take in jobs that have ended, give up those that hang; take from FTS servers that
    are ill what others can do; ask storages whether they tell checksums, where copies failed for lack of one; call
    sources suspicious from which too much came wrong; subscribe again what incomplete replicas lack.
    """
    if not plan_rules(settings).direct:
        recovery.abandon_direct(database)
    if not settings.fts.named_servers:
        recovery.abandon_fts(database)
    forget(database, [server.url for server in settings.fts.named_servers])
    with fts_servers(settings) as servers:
        if servers:
            adopt(database, servers.addresses[0])
        recovered = recovery.recover(database, servers)
        found: dict[str, Any] = {"recovered": asdict(recovered), "observed": None, "num_stuck_jobs": 0}
        if servers:
            copying = timedelta(hours=settings.fts.stuck_after_h)
            staging = copying + timedelta(seconds=settings.fts.bring_online_s)
            archiving = timedelta(seconds=settings.fts.archive_timeout_s)
            found["num_stuck_jobs"] = recovery.cancel_stuck(database, servers, copying, staging, archiving)
            found["observed"] = _observed(database, servers, settings)
            found["moved"] = asdict(move_away(database, servers, timedelta(hours=settings.fts.move_after_h)))
            storage = site_storages(database, settings)
            found["tell_checksums"] = ask.find_out(database, settings.transfers, storage, datetime.now(UTC))
    found["leftovers"] = asdict(leftover.look_at_leftovers(database, site_storages(database, settings)))
    found["num_suspicious"] = suspect(database, damage_settings(settings), datetime.now(UTC))
    found["subscribed_again"] = subscribe.resubscribe_incomplete(database).num_created
    log.info("of earlier runs: %s", counts_text(found))
    return found


def hold_and_release(database: Database, settings: Settings) -> dict[str, Any]:
    """Park the subscriptions that cannot be served now, free those that can be again; suspend copies that failed for
    too long."""
    counts = asdict(hold.hold_and_release(database, settings.transfers))
    log.info("subscriptions: %s", counts_text(counts))
    return counts


def is_anything_to_copy(database: Database, settings: Settings, unsubmitted: Sequence[int] = ()) -> bool:
    """Whether a run would find something: batches that an earlier one recorded and did not submit, direct copies that
    were not finished, or subscriptions that can be served now. Changes nothing; PausedError where copies stand still.
    """
    look(database, PauseKind.TRANSFERS)
    if unsubmitted or recovery.unfinished_direct(database):
        return True
    return batches.is_any_queued(database, transfer_limits(settings), plan_rules(settings))


def plan_transfer_batches(database: Database, settings: Settings, unsubmitted: Sequence[int] = ()) -> list[list[int]]:
    """Lots of FTS jobs, one for each submitting task: those that an earlier run recorded and did not submit, and new
    ones. A lot reads from disk only, or from tape only, and is for one server. Batches of direct copies are recorded
    only."""
    look(database, PauseKind.TRANSFERS)
    with fts_servers(settings) as servers:
        links = servers.links() if servers else None
        if servers:
            note_answers(database, servers)
        planned = batches.plan_batches(database, links, transfer_limits(settings), plan_rules(settings))
    log.info(
        "%d files, %s, in %d jobs from disk, %d from tape, %d direct copies of ours",
        planned.num_files,
        size_text(planned.size_bytes),
        len(planned.disk),
        len(planned.tape),
        len(planned.direct),
    )
    tapes = recovery.staging_batches(database, unsubmitted)
    disks = [batch for batch in unsubmitted if batch not in tapes]
    return [*_lots(database, [*disks, *planned.disk]), *_lots(database, [*tapes, *planned.tape])]


def submit(database: Database, settings: Settings, batch_ids: Sequence[int]) -> dict[str, list[str]]:
    """Submit a lot of batches; the ids of their jobs: from ``disk``, from ``tape``, and to tape from wherever
    (``archive``), where that is waited for. Run again, it goes on where it was.

    One that FTS does not take keeps none of the others back; an error of the gravest kind names them, at the end. Where
    other servers work, those of one that is away wait for a later run.
    """
    job, limits = job_settings(settings), transfer_limits(settings)
    with fts_servers(settings) as servers:
        if servers is None:
            raise SettingsError("there is no FTS, but there are batches for it", key="fts.url", reason="no FTS")
        done = submit_lot(database, servers, batch_ids, job, limits)
        is_for_later = servers.can_wait(list(done.failed.values()))
    if done.failed and not is_for_later:
        worst = min((error for _, error in done.failed.values()), key=lambda error: error.retryable)
        message = f"{len(done.failed)} of {len(batch_ids)} batches are not submitted, {sorted(done.failed)}"
        raise type(worst)(f"{message}: {worst.message}", **worst.facts)
    taken = list(done.jobs)
    kinds = dict.fromkeys(taken, "disk") | dict.fromkeys(recovery.staging_batches(database, taken), "tape")
    kinds |= dict.fromkeys(recovery.archiving_batches(database, taken, settings.transfers.on_arrival), "archive")
    jobs: dict[str, list[str]] = {"disk": [], "tape": [], "archive": []}
    for batch_id, job_id in done.jobs.items():
        jobs[kinds[batch_id]].append(job_id)
    log.info("jobs submitted: %s", counts_text({kind: len(ids) for kind, ids in jobs.items()}))
    return jobs


def job_settings(settings: Settings) -> JobSettings:
    """The parameters of our FTS jobs."""
    return JobSettings(
        settings.fts,
        on_arrival_at=settings.transfers.on_arrival,
        priorities={name: activity.priority for name, activity in settings.transfers.activities.items()},
    )


def direct_workers(database: Database, settings: Settings) -> list[int]:
    """Numbers of the tasks that shall make direct copies: one for each batch that waits, up to ``direct_tasks``."""
    waiting = len(recovery.unfinished_direct(database))
    return list(range(min(waiting, settings.transfers.direct_tasks)))


def copy_directly(database: Database, settings: Settings) -> dict[str, Any]:
    """Copy the files of waiting batches ourselves, from storage to storage, batch by batch, until each is done or in
    another task's hands. One that fails keeps none of the others back; the gravest error is raised at the end.
    """
    storage = site_storages(database, settings)
    counts: Counter[str] = Counter()
    failed: dict[int, DynamoError] = {}
    for batch_id in recovery.unfinished_direct(database):
        look(database, PauseKind.TRANSFERS)
        try:
            with span("transfer.copy_directly", batch=batch_id):
                done = direct.execute_direct(database, batch_id, storage, settings.transfers)
        except DynamoError as error:
            log.warning("direct batch %d: %s", batch_id, error.message)
            failed[batch_id] = error
            continue
        counts.update({done.outcome: 1, "files": done.num_done, "bytes": done.bytes_done, "failed": done.num_failed})
    if failed:
        worst = min(failed.values(), key=lambda error: error.retryable)
        raise type(worst)(
            f"{len(failed)} direct batches were not finished, {sorted(failed)}: {worst.message}", **worst.facts
        )
    log.info("direct copies: %s", counts_text(counts))
    return dict(counts)


def read_copies_back(database: Database, settings: Settings) -> dict[str, Any]:
    """Read a sample of what came to storages that tell no checksums, and call bad what is not the file."""
    storage = site_storages(database, settings)
    with span("transfer.read_back"):
        counts = asdict(read_back.read_back(database, settings.transfers, storage, datetime.now(UTC)))
    log.info("read back: %s", counts_text(counts))
    return counts


def apply_transfers(database: Database, settings: Settings) -> dict[str, Any]:
    """Take in the results of all jobs that have ended, whoever waited for them."""
    with fts_servers(settings) as servers:
        return _observed(database, servers, settings) if servers else {}


def _observed(database: Database, servers: FtsServers, settings: Settings) -> dict[str, Any]:
    """What came of all jobs that have ended; ``ill``: by address, what those servers said that could not be asked."""
    summary = observe.observe_and_apply(database, servers, patience=PATIENCE, illness=settings.transfers)
    usage.fold(database)
    counts = {**asdict(summary), "ill": {address: error.message for address, error in servers.ill.items()}}
    log.info("taken in: %s", counts_text(counts))
    return counts


def _lots(database: Database, batch_ids: Sequence[int]) -> list[list[int]]:
    return [
        share[n : n + BATCHES_PER_LOT]
        for share in batches_by_server(database, batch_ids).values()
        for n in range(0, len(share), BATCHES_PER_LOT)
    ]
