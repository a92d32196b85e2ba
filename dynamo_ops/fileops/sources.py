"""From which site each wished file is copied. Candidates are read set-wise; the choice itself is pure.

Sources are complete holders at ready sites. Sites in the morgue are being emptied: what only they can give is read
there, as a last resort. Sites in the waitroom come back, and of unknown ones nothing is known: these are not read.

Order: ready before morgue; disk before tape; a file that stays before one that is to be deleted; never failed before
failed. Among equals a weighted draw spreads the copies over sites, the less loaded the likelier; the draw is a hash of
the wish, its attempt and the site, so that it can be repeated.
"""

from __future__ import annotations

import polars as pl

from dynamo_ops.inventory.database import Database

CANDIDATES = {
    "subscription_id": pl.Int64,
    "source_site_id": pl.Int64,
    "is_last_resort": pl.Boolean,
    "is_tape": pl.Boolean,
    "is_doomed": pl.Boolean,
    "num_failed": pl.Int64,
    "is_refused": pl.Boolean,
    "is_reachable": pl.Boolean,
}
READABLE = "('ready', 'morgue')"
"""Statuses of sites that files are read from, as an SQL list."""
LOADS = {"source_site_id": pl.Int64, "num_in_flight": pl.Int64}


def choose_sources(candidates: pl.DataFrame, loads: pl.DataFrame, attempts: pl.DataFrame) -> pl.DataFrame:
    """One row per wish that has a candidate: ``subscription_id``, ``source_site_id``, ``is_tape``.

    ``candidates`` (``CANDIDATES``): one row per (wish, site that has the file). ``loads``: files now read from each
    site; no row: none. ``attempts``: ``subscription_id``, ``num_attempts``. Sites where this wish failed for good, or
    that share no protocol with the destination, are never taken.
    """
    preferred = (
        candidates.filter(~pl.col("is_refused") & pl.col("is_reachable"))
        .join(loads, on="source_site_id", how="left")
        .join(attempts, on="subscription_id", how="left")
        .with_columns(draw=_draw())
    )
    return (
        preferred.sort(
            "subscription_id",
            "is_last_resort",
            "is_tape",
            "is_doomed",
            pl.col("num_failed") > 0,
            "num_failed",
            "draw",
            "source_site_id",
        )
        .unique("subscription_id", keep="first", maintain_order=True)
        .select("subscription_id", "source_site_id", "is_tape")
    )


def _draw() -> pl.Expr:
    """An exponential variate with rate 1 / (wishes + load): the smallest wins, with probability ∝ its rate."""
    seed = pl.struct("subscription_id", pl.col("num_attempts").fill_null(0), "source_site_id").hash(20_061)
    uniform = ((seed % 1_000_003).cast(pl.Float64) + 0.5) / 1_000_003
    # The number of wishes of this cycle steadies the draw: an idle site does not take all of them.
    return -uniform.log() * (pl.col("subscription_id").n_unique() + pl.col("num_in_flight").fill_null(0))


CANDIDATES_SQL = f"""
    SELECT q.subscription_id, r.site_id::bigint AS source_site_id, o.status <> 'ready' AS is_last_resort,
           o.storage_type = 'mss' AS is_tape, (doomed.id IS NOT NULL) AS is_doomed,
           coalesce(past.num_failed, 0)::bigint AS num_failed, coalesce(past.is_refused, false) AS is_refused,
           EXISTS (SELECT FROM site_endpoints here JOIN site_endpoints there USING (protocol)
                   WHERE here.site_id = r.site_id AND there.site_id = q.site_id
                     AND protocol = ANY(:protocols)) AS is_reachable
    FROM queue q JOIN files f ON f.id = q.file_id
    JOIN block_replicas r ON r.block_id = f.block_id AND r.site_id <> q.site_id
    JOIN sites o ON o.id = r.site_id AND o.status IN {READABLE}
    LEFT JOIN block_replica_files p ON NOT r.is_complete
         AND p.block_id = r.block_id AND p.site_id = r.site_id AND p.file_id = q.file_id
    LEFT JOIN subscriptions doomed ON doomed.file_id = q.file_id AND doomed.site_id = r.site_id
         AND doomed.action = 'delete' AND doomed.state IN ('new', 'inbatch', 'retry', 'held')
    LEFT JOIN LATERAL (
      SELECT count(*) FILTER (WHERE t.state = 'failed') AS num_failed,
             (array_agg(t.state = 'failed' AND t.is_recoverable IS FALSE ORDER BY t.id DESC))[1] AS is_refused
      FROM transfers t
      WHERE q.num_attempts > 0 AND t.subscription_id = q.subscription_id AND t.source_site_id = r.site_id) past ON true
    WHERE r.is_complete OR p.file_id IS NOT NULL
"""

LOADS_SQL = """
    SELECT t.source_site_id::bigint AS source_site_id, count(*) AS num_in_flight
    FROM transfer_batches b JOIN transfers t ON t.batch_id = b.id
    WHERE b.state IN ('planned', 'submitted') AND t.state IN ('planned', 'submitted', 'staging', 'active')
    GROUP BY t.source_site_id
"""


def load_in_flight(db: Database) -> pl.DataFrame:
    """Files being read from each site now, for reports."""
    return db.frame(LOADS_SQL)


def unreachable(candidates: pl.DataFrame) -> list[int]:
    """The wishes that have candidates, but none by a protocol that the destination shares: for a person to look at."""
    by_wish = candidates.group_by("subscription_id").agg(pl.col("is_reachable").any())
    return by_wish.filter(~pl.col("is_reachable"))["subscription_id"].sort().to_list()
