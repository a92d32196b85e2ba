"""Queued copy subscriptions → batches: taken fairly, given a source, cut, recorded before anybody is asked."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

import polars as pl
from sqlalchemy import Connection, text

from dynamo_ops.base.settings import TransferSettings
from dynamo_ops.base.spans import span
from dynamo_ops.database.connection import Database, insert_frame, select_frame
from dynamo_ops.database.locks import Lock, hold
from dynamo_ops.fts.identity import FtsIdentity
from dynamo_ops.fts.job import choose_sid
from dynamo_ops.fts.servers import FtsLinks, links_of
from dynamo_ops.inventory.replica.copies import is_present
from dynamo_ops.inventory.site.endpoint import MOVING
from dynamo_ops.inventory.site.lookup import at_sites
from dynamo_ops.inventory.site.shared import SAME_STORAGE
from dynamo_ops.inventory.site.usable import READABLE, WRITABLE
from dynamo_ops.inventory.states import QUEUED, Backend, HoldReason, SubscriptionAction, SubscriptionState
from dynamo_ops.inventory.subscription.backoff import backoff_of, is_over
from dynamo_ops.inventory.subscription.illness import IllPlace, ill_places
from dynamo_ops.inventory.subscription.under_way import OPEN_DELETIONS, OPEN_TRANSFERS
from dynamo_ops.transfer.choice import choose_sources
from dynamo_ops.transfer.server.share import shared_out
from dynamo_ops.transfer.source_choice import DirectRule, Routes, read_candidates, read_in_flight, read_queue
from dynamo_ops.transfer.submission.limits import DEFAULT_TRANSFER_LIMITS, TransferLimits
from dynamo_ops.transfer.verification.ability import with_verification

# Nothing that is still being copied there or deleted there, or at another site on the same storage. A subscription of
# an urgent activity counts as older than it is, by the head start: it goes first, and yet nothing waits for ever.
# Destinations in turn. To a destination that is ill only so many go, the least tried first.
QUEUE_SQL = f"""
    CREATE TEMPORARY TABLE queue ON COMMIT DROP AS
    WITH head_starts AS (
      SELECT * FROM unnest(CAST(:activities AS text[]), CAST(:seconds AS float8[])) AS h (activity, seconds)),
    rooms AS (
      SELECT d.id, ill.num_files AS probe FROM sites d LEFT JOIN busy b ON b.site_id = d.id AND b.is_transfer
      LEFT JOIN unnest(CAST(:own_sites AS bigint[]), CAST(:own_to_site AS bigint[])) AS own (site_id, to_site)
        ON own.site_id = d.id
      LEFT JOIN unnest(CAST(:ill_sites AS bigint[]), CAST(:ill_files AS bigint[])) AS ill (site_id, num_files)
        ON ill.site_id = d.id
      WHERE d.id IN {WRITABLE} AND d.id NOT IN {MOVING} AND (ill.site_id IS NULL OR ill.num_files > 0)
      GROUP BY d.id, own.to_site, ill.num_files HAVING count(b.site_id) < coalesce(own.to_site, :to_site)),
    numbered AS (
      SELECT s.id AS subscription_id, s.file_id, s.site_id, s.num_attempts, s.created_at, s.activity, rooms.probe,
             row_number() OVER (PARTITION BY s.site_id ORDER BY
               CASE WHEN rooms.probe IS NOT NULL THEN s.num_attempts END,
               s.created_at - coalesce(h.seconds, 0) * interval '1 second', s.id) AS turn
      FROM subscriptions s JOIN rooms ON rooms.id = s.site_id LEFT JOIN head_starts h ON h.activity = s.activity
      WHERE s.action = '{SubscriptionAction.COPY}' AND s.state IN {QUEUED}
        AND {is_over("s")}
        AND NOT EXISTS (SELECT FROM busy b WHERE b.file_id = s.file_id AND b.site_id = s.site_id)),
    waiting AS (SELECT * FROM numbered WHERE probe IS NULL OR turn <= probe ORDER BY turn LIMIT :look_ahead)
    SELECT w.subscription_id, w.file_id, f.block_id, w.site_id, f.size_bytes, w.num_attempts,
           (extract(epoch FROM w.created_at) * 1000000)::bigint AS created_us, w.activity, w.turn
    FROM waiting w JOIN files f ON f.id = w.file_id
"""
# A subscription that somebody is withdrawing at this moment is left to them.
CLAIM_SQL = f"""
    WITH free AS (
      SELECT s.id FROM subscriptions s JOIN chosen c ON c.subscription_id = s.id WHERE s.state IN {QUEUED}
      FOR UPDATE OF s SKIP LOCKED),
    moved AS (
      UPDATE subscriptions s SET state = '{SubscriptionState.INBATCH}', num_attempts = s.num_attempts + 1,
          updated_at = now()
      FROM free WHERE s.id = free.id RETURNING s.id)
    INSERT INTO claimed SELECT id FROM moved"""


@dataclass(frozen=True)
class PlanRules:
    """Beside the limits: ``head_starts`` by activity; ``direct``: pairs of sites that Dynamo copies between itself, by
    one of ``direct_protocols``; ``on_arrival``: tape sites among them (globs, ``glob.is_named``)."""

    head_starts: Mapping[str, timedelta] = field(default_factory=dict)
    direct: tuple[DirectRule, ...] = ()
    direct_protocols: tuple[str, ...] = ()
    on_arrival: tuple[str, ...] = ()


DEFAULT_RULES = PlanRules()


@dataclass(frozen=True)
class PlannedBatches:
    """Ids of the batches that were recorded: FTS jobs of disk sources, of tapes (to be staged), and direct copies."""

    disk: list[int] = field(default_factory=list)
    tape: list[int] = field(default_factory=list)
    direct: list[int] = field(default_factory=list)
    num_files: int = 0
    size_bytes: int = 0

    @property
    def all(self) -> list[int]:
        """All of them, in the order of their numbers."""
        return sorted([*self.disk, *self.tape, *self.direct])


@span("transfer.plan")
def plan_batches(
    db: Database,
    identity: FtsIdentity | FtsLinks | None,
    limits: TransferLimits = DEFAULT_TRANSFER_LIMITS,
    rules: PlanRules = DEFAULT_RULES,
) -> PlannedBatches:
    """Take queued copy subscriptions and record the batches that serve them, in one transaction.

    ``identity``: who we are to FTS, where several servers are to each; None: there is no FTS, only direct copies. Run
    again after a kill it takes up what is still queued; batches recorded before are found by ``recover``. One plans at
    a time, so that the limits hold.
    """
    with db.begin() as connection:
        hold(connection, Lock.TRANSFER_PLAN)
        fts = shared_out(connection, links_of(identity), limits)
        routes = Routes(limits.protocols, fts, rules.direct, rules.direct_protocols, rules.on_arrival)
        own: dict[int, TransferSettings] = at_sites(connection, "transfers", limits)
        places = ill_places(connection, limits)
        _make_queue(connection, limits, own, rules, places)
        queue = read_queue(connection)
        if queue.is_empty():
            return PlannedBatches()
        candidates, unreachable = read_candidates(connection, queue, routes)
        for reason, subscription_ids in unreachable.items():
            _refuse(connection, subscription_ids, reason)
        candidates = _on_ill_links(candidates, places, limits)
        chosen = choose_sources(candidates, read_in_flight(connection), limits, own, fts.room)
        chosen = _claim(connection, chosen)
        subscriptions = queue.select(
            "subscription_id", "block_id", "size_bytes", "num_attempts", "created_us", "activity"
        )
        chosen = with_verification(connection, chosen.join(subscriptions, on="subscription_id"), limits, own)
        of_servers = {server.address: server.files_per_job for server in fts.servers if server.files_per_job}
        transfers = make_batches(chosen, limits, of_servers)
        return _record(connection, transfers, fts)


def is_any_queued(
    db: Database, limits: TransferLimits = DEFAULT_TRANSFER_LIMITS, rules: PlanRules = DEFAULT_RULES
) -> bool:
    """Whether ``plan_batches`` would look for a source of any subscription now. Changes nothing."""
    with db.begin() as connection:
        own: dict[int, TransferSettings] = at_sites(connection, "transfers", limits)
        places = ill_places(connection, limits)
        _make_queue(connection, limits.model_copy(update={"look_ahead": 1}), own, rules, places)
        return bool(connection.execute(text("SELECT EXISTS (SELECT FROM queue)")).scalar_one())


def make_batches(
    chosen: pl.DataFrame, limits: TransferLimits, files_per_job: Mapping[str | None, int] = MappingProxyType({})
) -> pl.DataFrame:
    """Cut subscriptions with sources into batches: the rows of ``chosen`` with ``batch`` (0, 1, …) and ``file_index``.
    ``files_per_job``: of FTS servers that have another than all.

    A batch has one destination, one activity, one backend, one FTS server and one ``verify_checksum``. What must be
    staged goes apart, by tape site, and there block by block, since the files of a block lie together on tape. A file
    with several sources is a batch of its own (FTS_CONTRACT §3). Batches are numbered by destination in turn, so that
    the first ones serve every destination.
    """
    group = ["site_id", "activity", "is_direct", "server", "verify_checksum", "is_tape", "apart"]
    size = (
        pl.when("is_direct").then(limits.files_per_direct_batch)
        .when("is_tape").then(limits.files_per_staging_job)
        .otherwise(
            pl.col("server").replace_strict(dict(files_per_job), default=limits.files_per_job, return_dtype=pl.Int32)
            if files_per_job else limits.files_per_job
        )
    )  # fmt: skip
    alone = pl.when(pl.col("other_source_site_ids").is_not_null()).then("subscription_id")
    rows = (
        chosen.with_columns(apart=pl.when("is_tape").then("source_site_id").otherwise(alone), size=size)
        .sort(*group, pl.when("is_tape").then("block_id"), "turn", nulls_last=True)
        .with_columns(position=pl.int_range(pl.len()).over(group))
        .with_columns(part=pl.col("position") // pl.col("size"), file_index=pl.col("position") % pl.col("size"))
    )
    return (
        rows.sort("part", *group, "file_index")
        .with_columns(batch=pl.struct("part", *group).rle_id().cast(pl.Int64))
        .drop("position", "part", "apart", "size")
    )


def _make_queue(
    connection: Connection,
    limits: TransferLimits,
    own: Mapping[int, TransferSettings],
    rules: PlanRules,
    places: Sequence[IllPlace],
) -> None:
    now = datetime.now(UTC)
    ill = {place.site_id: _probe(place, limits, now) for place in places if place.source_site_id is None}
    connection.execute(
        text(f"""
        CREATE TEMPORARY TABLE busy ON COMMIT DROP AS
        SELECT file_id, site_id, true AS is_transfer FROM {OPEN_TRANSFERS} t
        UNION ALL SELECT file_id, site_id, false FROM {OPEN_DELETIONS} d""")
    )
    shares = connection.execute(
        text(f"CREATE TEMPORARY TABLE same_storage ON COMMIT DROP AS SELECT * FROM {SAME_STORAGE} AS pairs")
    ).rowcount
    if shares:
        connection.execute(
            text("""
            INSERT INTO busy SELECT b.file_id, same.other_id, false
            FROM busy b JOIN same_storage AS same ON same.site_id = b.site_id""")
        )
    connection.execute(text("CREATE INDEX ON busy (file_id, site_id)"))
    connection.execute(text("ANALYZE busy"))
    connection.execute(
        text(QUEUE_SQL),
        {
            "activities": list(rules.head_starts),
            "seconds": [head_start.total_seconds() for head_start in rules.head_starts.values()],
            "to_site": limits.files_to_site,
            "own_sites": list(own),
            "own_to_site": [at_site.files_to_site for at_site in own.values()],
            "ill_sites": list(ill),
            "ill_files": list(ill.values()),
            "look_ahead": limits.look_ahead,
            **backoff_of(limits).params,
        },
    )
    if shares:  # a file goes to one storage once at a time: a second copy would be written over the first
        connection.execute(
            text("""
            DELETE FROM queue q USING queue first JOIN same_storage AS same ON same.other_id = first.site_id
            WHERE q.file_id = first.file_id AND q.site_id = same.site_id
              AND first.subscription_id < q.subscription_id""")
        )
    connection.execute(text("ANALYZE queue"))


def _probe(place: IllPlace, limits: TransferLimits, now: datetime) -> int:
    """How many files are tried there now."""
    return limits.probe_files if place.is_probe_due(now, limits) else 0


def _on_ill_links(candidates: pl.DataFrame, places: Sequence[IllPlace], limits: TransferLimits) -> pl.DataFrame:
    """The candidates without those of links that are ill, but for some to try; other sources of a file stay."""
    now = datetime.now(UTC)
    links = [(p.source_site_id, p.site_id, _probe(p, limits, now)) for p in places if p.source_site_id is not None]
    if not links:
        return candidates
    schema = {"source_site_id": pl.Int16, "site_id": pl.Int16, "probe": pl.Int64}
    ill = pl.DataFrame(links, schema=schema, orient="row")
    link = ["source_site_id", "site_id"]
    tried = candidates.join(ill, on=link).sort("num_attempts", "turn")
    tried = tried.filter(pl.int_range(pl.len()).over(link) < pl.col("probe")).drop("probe")
    return pl.concat([candidates.join(ill, on=link, how="anti"), tried])


def _refuse(connection: Connection, subscription_ids: list[int], reason: str) -> None:
    """Hold what no site can give by any protocol. Where a site is out for a while, it may be the one that can."""
    if subscription_ids:
        connection.execute(
            text(f"""
            UPDATE subscriptions s SET state = '{SubscriptionState.HELD}',
              hold_reason = '{HoldReason.REFUSED}', updated_at = now(),
                last_error = :reason
            FROM files f
            WHERE s.id = ANY(:ids) AND s.state IN {QUEUED} AND f.id = s.file_id AND NOT EXISTS (
              SELECT FROM block_replicas r
              WHERE r.block_id = f.block_id AND r.site_id <> s.site_id AND r.site_id NOT IN {READABLE}
                AND {is_present("f.id", "r")})"""),
            {"ids": subscription_ids, "reason": reason},
        )


def _claim(connection: Connection, chosen: pl.DataFrame) -> pl.DataFrame:
    """Put the chosen subscriptions into a batch; those of them that could be."""
    connection.execute(text("CREATE TEMPORARY TABLE chosen (subscription_id bigint) ON COMMIT DROP"))
    connection.execute(text("CREATE TEMPORARY TABLE claimed (subscription_id bigint) ON COMMIT DROP"))
    insert_frame(connection, "chosen", chosen.select("subscription_id"))
    connection.execute(text("ANALYZE chosen"))
    if connection.execute(text(CLAIM_SQL)).rowcount == chosen.height:
        return chosen
    claimed = select_frame(connection, "SELECT subscription_id FROM claimed", {"subscription_id": pl.Int64})
    return chosen.join(claimed, on="subscription_id", how="semi")


def _record(connection: Connection, transfers: pl.DataFrame, fts: FtsLinks) -> PlannedBatches:
    """Store batches and their transfers. ``sid`` and job id are fixed here, before any submit."""
    jobs = [_job(rows, fts) for _, rows in transfers.group_by("batch", maintain_order=True)]
    if not jobs:
        return PlannedBatches()
    ids = (
        connection.execute(
            text("SELECT nextval(pg_get_serial_sequence('transfer_batches', 'id')) FROM generate_series(1, :n)"),
            {"n": len(jobs)},
        )
        .scalars()
        .all()
    )
    batches = pl.DataFrame(jobs, schema_overrides={"server": pl.String, "verify_checksum": pl.String}).with_columns(
        id=pl.Series(ids, dtype=pl.Int64)
    )
    insert_frame(connection, "transfer_batches", batches)
    others = pl.col("other_source_site_ids").cast(pl.List(pl.String)).list.join(",")
    numbered = transfers.with_columns(
        batch_id=pl.Series(ids, dtype=pl.Int64).gather(transfers["batch"]),
        other_source_site_ids=pl.when(pl.col("other_source_site_ids").is_not_null()).then("{" + others + "}"),
    )
    columns = ("batch_id", "subscription_id", "file_index", "source_site_id", "other_source_site_ids", "size_bytes")
    insert_frame(connection, "transfers", numbered.select(columns))
    return PlannedBatches(
        disk=batches.filter((pl.col("backend") == Backend.FTS) & ~pl.col("is_staging"))["id"].to_list(),
        tape=batches.filter("is_staging")["id"].to_list(),
        direct=batches.filter(pl.col("backend") == Backend.DIRECT)["id"].to_list(),
        num_files=transfers.height,
        size_bytes=int(transfers["size_bytes"].sum()),
    )


def _job(rows: pl.DataFrame, fts: FtsLinks) -> dict[str, Any]:
    """One row of ``transfer_batches``. The age of its oldest tells one inventory from another at the same FTS."""
    attempts = rows.select("subscription_id", pl.col("num_attempts") + 1).iter_rows()
    sid = choose_sid(attempts, salt=str(rows["created_us"].min()))
    is_direct, server = bool(rows["is_direct"][0]), rows["server"][0]
    return {
        "sid": sid,
        "job_id": str(uuid.UUID(sid[:32]) if is_direct else fts.identities[server].job_id(sid)),
        "site_id": rows["site_id"][0],
        "is_staging": rows["is_tape"][0],
        "backend": Backend.DIRECT if is_direct else Backend.FTS,
        "server": server,
        "activity": rows["activity"][0],
        "verify_checksum": rows["verify_checksum"][0],
    }
