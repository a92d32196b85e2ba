"""Where the files that are subscribed can be copied from: read set-wise, put together in columns.

Sources are complete holders at ready sites that are not in a downtime. Sites in the morgue are being emptied: what only
they can give is read there, as a last resort. Sites in the waitroom come back, and of unknown ones nothing is known:
these are not read. Files of one block mostly have the same holders, so that these are read once a block.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from sqlalchemy import Connection, text

from dynamo_ops.base.glob import is_named
from dynamo_ops.database.connection import select_frame
from dynamo_ops.fts.servers import FtsLinks
from dynamo_ops.inventory.kinds import SiteStatus, StorageType
from dynamo_ops.inventory.replica.copies import DOOMED_FILES, DOUBTED_FILES
from dynamo_ops.inventory.site.endpoint import MOVING
from dynamo_ops.inventory.site.shared import SAME_STORAGE
from dynamo_ops.inventory.site.usable import READABLE
from dynamo_ops.inventory.states import (
    LIVE_TRANSFERS,
    OPEN_BATCHES,
    UNSTARTED_TRANSFERS,
    TransferState,
)
from dynamo_ops.inventory.subscription.blame import OF_OTHERS
from dynamo_ops.inventory.subscription.under_way import is_archiving
from dynamo_ops.transfer.choice import CANDIDATES, IN_FLIGHT

QUEUE = {
    "subscription_id": pl.Int64,
    "file_id": pl.Int64,
    "block_id": pl.Int64,
    "site_id": pl.Int16,
    "size_bytes": pl.Int64,
    "num_attempts": pl.Int32,
    "created_us": pl.Int64,
    "activity": pl.String,
    "turn": pl.Int64,
}
"""The temporary table ``queue``: subscriptions that could be copied now. ``created_us``: unix microseconds. ``turn``:
place among the subscriptions of the destination, from 1."""

HOLDERS_SQL = f"""
    SELECT r.block_id, r.site_id FROM block_replicas r
    WHERE r.is_complete AND r.site_id IN {READABLE} AND r.site_id NOT IN {MOVING}
      AND r.block_id IN (SELECT block_id FROM queue)"""
PARTIAL_SQL = f"""
    SELECT p.file_id, p.site_id FROM (SELECT DISTINCT block_id, file_id FROM queue) q
    JOIN block_replicas r ON r.block_id = q.block_id AND NOT r.is_complete AND r.site_id IN {READABLE}
        AND r.site_id NOT IN {MOVING}
    JOIN block_replica_files p ON p.block_id = r.block_id AND p.site_id = r.site_id AND p.file_id = q.file_id"""
DOOMED_SQL = f"""
    SELECT DISTINCT d.file_id, d.site_id FROM {DOOMED_FILES} AS d WHERE d.file_id IN (SELECT file_id FROM queue)"""
DOUBTED_SQL = f"""
    SELECT d.file_id, d.site_id FROM {DOUBTED_FILES} AS d WHERE d.file_id IN (SELECT file_id FROM queue)"""

# Every source that an attempt had: the one chosen, and those that FTS tried after it.
PAST_SOURCES = """(
    SELECT t.id, t.subscription_id, o.site_id AS source_site_id, t.state, t.is_recoverable, t.blame
    FROM transfers t
    CROSS JOIN LATERAL unnest(array_prepend(t.source_site_id, t.other_source_site_ids)) AS o (site_id))"""
# Sources from which the last attempt failed for good are refused. What others were to blame for makes none the worse.
PAST_SQL = f"""
    SELECT p.subscription_id, p.source_site_id,
           count(*) FILTER (WHERE p.state = '{TransferState.FAILED}'
             AND (p.blame IS NULL OR p.blame NOT IN {OF_OTHERS})),
           coalesce((array_agg(p.state = '{TransferState.FAILED}' AND p.is_recoverable IS FALSE
             ORDER BY p.id DESC))[1], false)::int
    FROM queue q JOIN {PAST_SOURCES} p ON p.subscription_id = q.subscription_id
    WHERE q.num_attempts > 0 GROUP BY p.subscription_id, p.source_site_id"""

IN_FLIGHT_SQL = f"""
    SELECT t.source_site_id, b.site_id, count(*) FILTER (WHERE NOT {is_archiving("t")}),
           count(*) FILTER (WHERE b.is_staging AND t.state IN {UNSTARTED_TRANSFERS}),
           count(*) FILTER (WHERE {is_archiving("t")})
    FROM transfer_batches b JOIN transfers t ON t.batch_id = b.id
    WHERE b.state IN {OPEN_BATCHES} AND t.state IN {LIVE_TRANSFERS}
    GROUP BY t.source_site_id, b.site_id"""


@dataclass(frozen=True)
class DirectRule:
    """Pairs of sites between which Dynamo copies by itself. Globs on names (``glob.is_named``)."""

    sources: tuple[str, ...] = ("*",)
    destinations: tuple[str, ...] = ("*",)

    def holds(self, source: str, destination: str) -> bool:
        """Whether the rule names this pair."""
        return is_named(source, self.sources) and is_named(destination, self.destinations)


@dataclass(frozen=True)
class Routes:
    """Which pairs of sites copies can take, and how.

    ``protocols``: those that FTS may use; source and destination must share one. ``fts``: which server takes a pair.
    ``direct``: pairs that Dynamo copies itself, where both have one of ``direct_protocols``; to tape sites only where a
    copy counts when it arrives (``on_arrival``), since Dynamo itself does not see what is on tape.
    """

    protocols: Sequence[str]
    fts: FtsLinks
    direct: Sequence[DirectRule] = ()
    direct_protocols: Collection[str] = ()
    on_arrival: Sequence[str] = ()

    def is_direct(self, source: str, destination: str) -> bool:
        """Whether a rule has Dynamo copy between these sites itself."""
        return any(rule.holds(source, destination) for rule in self.direct)


def read_queue(connection: Connection) -> pl.DataFrame:
    """The table ``queue`` (``QUEUE``)."""
    return select_frame(connection, f"SELECT {', '.join(QUEUE)} FROM queue", QUEUE)


def read_in_flight(connection: Connection) -> pl.DataFrame:
    """What is under way on each link (``IN_FLIGHT``)."""
    return select_frame(connection, IN_FLIGHT_SQL, IN_FLIGHT)


NO_ROUTE = (
    "no site that has the file shares a transfer protocol with the destination, or no FTS server takes the link, "
    "or it is the same storage under another name"
)
NOT_ONTO_TAPE = (
    "the destination is tape, and FTS does not copy there (no server takes the link, or the sites share no protocol of "
    "its): Dynamo does not copy onto tape itself, since it cannot see what is on tape; have FTS take the link "
    "(fts.url, fts.servers), or set transfers.sites: {SITE: {archived: on_arrival}}"
)


def read_candidates(
    connection: Connection, queue: pl.DataFrame, routes: Routes
) -> tuple[pl.DataFrame, dict[str, list[int]]]:
    """Usable sources of the subscriptions in ``queue`` (``CANDIDATES``), and by reason those of which no source can be
    reached: a person must look at them. Where the server of a link does not answer now, they are neither.
    """
    pair = {"file_id": pl.Int64, "source_site_id": pl.Int16}
    whole = select_frame(connection, HOLDERS_SQL, {"block_id": pl.Int64, "source_site_id": pl.Int16})
    partial = select_frame(connection, PARTIAL_SQL, pair)
    subscriptions = queue.select("subscription_id", "file_id", "block_id", "site_id", "turn", "num_attempts")
    held = pl.concat(
        [
            subscriptions.join(whole, on="block_id"),
            subscriptions.join(partial, on="file_id").select(*subscriptions.columns, "source_site_id"),
        ]
    )
    held = held.filter(pl.col("source_site_id") != pl.col("site_id")).join(
        read_pairs(connection, routes), on=["source_site_id", "site_id"]
    )
    reach = held.group_by("subscription_id").agg(pl.col("is_reachable").any(), pl.col("is_refused_tape").any())
    lost = reach.filter(~pl.col("is_reachable")).sort("subscription_id")
    unreachable = {
        NO_ROUTE: lost.filter(~pl.col("is_refused_tape"))["subscription_id"].to_list(),
        NOT_ONTO_TAPE: lost.filter("is_refused_tape")["subscription_id"].to_list(),
    }
    if routes.fts.on_trial:
        held = _on_trial(held, routes.fts.on_trial)
    usable = held.filter("is_reachable", "is_served").drop("is_reachable", "is_served", "is_refused_tape", "block_id")
    return _with_history(connection, usable, queue, pair).select(list(CANDIDATES)), unreachable


def _on_trial(held: pl.DataFrame, on_trial: Mapping[str | None, int]) -> pl.DataFrame:
    """Servers on trial get so many files, the least tried first; with the others it is as if they were ill."""
    least_tried = pl.struct("num_attempts", "turn", "subscription_id").rank("dense").over("server") <= pl.col("most")
    most = pl.DataFrame(list(on_trial.items()), schema={"server": pl.String, "most": pl.Int64}, orient="row")
    is_more = ~least_tried.fill_null(True)
    return (
        held.join(most, on="server", how="left")
        .with_columns(
            server=pl.when(is_more).then("other_server").otherwise("server"),
            is_served=pl.when(is_more).then("is_other_served").otherwise("is_served"),
        )
        .drop("most")
    )


def _with_history(
    connection: Connection, usable: pl.DataFrame, queue: pl.DataFrame, pair: Mapping[str, Any]
) -> pl.DataFrame:
    """Adds ``is_doomed``, ``is_doubted`` and ``num_failed``, and leaves out the sources that were refused."""
    for flag, sql in (("is_doomed", DOOMED_SQL), ("is_doubted", DOUBTED_SQL)):
        flagged = select_frame(connection, sql, pair).unique().with_columns(pl.lit(True).alias(flag))
        usable = usable.join(flagged, on=list(pair), how="left").with_columns(pl.col(flag).fill_null(False))
    if queue["num_attempts"].max() == 0:
        return usable.with_columns(num_failed=pl.lit(0, dtype=pl.Int32))
    past = select_frame(
        connection,
        PAST_SQL,
        {
            "subscription_id": pl.Int64,
            "source_site_id": pl.Int16,
            "num_failed": pl.Int32,
            "is_refused": pl.Int8,
        },
    )
    return (
        usable.join(past, on=["subscription_id", "source_site_id"], how="left")
        .filter(pl.col("is_refused").fill_null(0) == 0)
        .with_columns(pl.col("num_failed").fill_null(0))
    )


def read_pairs(connection: Connection, routes: Routes) -> pl.DataFrame:
    """Every pair of sites: source_site_id, site_id, is_reachable, is_direct, is_tape, is_last_resort (of the source),
    server (the address of the FTS that takes it), is_served (it answers now), other_server, is_other_served (the same
    for what is more than the trial of a server), is_refused_tape (Dynamo would copy there itself, were it no tape).

    Tapes are staged by FTS only: no direct copy from them, and none onto them. Between two names of one storage there
    is no copy at all: it would overwrite what it reads.
    """
    sites = connection.execute(
        text(f"""
        SELECT s.id, s.name, s.storage_type = '{StorageType.MSS}', s.status <> '{SiteStatus.READY}',
               array(SELECT protocol FROM site_endpoints e WHERE e.site_id = s.id) FROM sites s ORDER BY s.id""")
    ).all()
    same = {tuple(pair) for pair in connection.execute(text(f"SELECT * FROM {SAME_STORAGE} AS same"))}
    rows, beyond_trial = [], routes.fts.without_trial()
    for source, source_name, is_tape, is_last_resort, offered in sites:
        for site, name, is_to_tape, _, taken in sites:
            is_direct = not is_tape and routes.is_direct(source_name, name)
            is_same = (source, site) in same
            is_refused_tape = is_direct and is_to_tape and not is_named(name, routes.on_arrival)
            is_direct = is_direct and not is_refused_tape
            server = None if is_direct else routes.fts.server(source_name, name)
            other = None if is_direct else beyond_trial.server(source_name, name)
            if is_direct:
                here, there = set(routes.direct_protocols) & set(offered), set(routes.direct_protocols) & set(taken)
                is_reachable = bool(here and there)
            else:
                is_reachable = server is not None and bool(set(routes.protocols) & set(offered) & set(taken))
            is_reachable = is_reachable and not is_same
            address = server.address if server else None
            is_served = server is None or address in routes.fts.identities
            other_address = other.address if other else None
            is_other_served = other is None or other_address in routes.fts.identities
            pair = (source, site, is_reachable, is_direct, is_tape, is_last_resort, address, is_served)
            rows.append((*pair, other_address, is_other_served, is_refused_tape and not is_same))
    return pl.DataFrame(
        rows,
        orient="row",
        schema={
            "source_site_id": pl.Int16,
            "site_id": pl.Int16,
            "is_reachable": pl.Boolean,
            "is_direct": pl.Boolean,
            "is_tape": pl.Boolean,
            "is_last_resort": pl.Boolean,
            "server": pl.String,
            "is_served": pl.Boolean,
            "other_server": pl.String,
            "is_other_served": pl.Boolean,
            "is_refused_tape": pl.Boolean,
        },
    )
