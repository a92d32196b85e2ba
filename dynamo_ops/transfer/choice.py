"""From which site each file is copied, and which subscriptions wait since a site or a link is full. Pure, columns.

Order of the sources: what no check doubts before what one does; ready before morgue; disk before tape; a file that
stays before one that is to be deleted; never failed before failed. Among equals a weighted draw spreads the copies, the
less loaded a source and its link the likelier; the draw is a hash of the subscription, its attempt and the site, so
that it can be repeated.

Order of the subscriptions: destinations in turn, each its oldest first (``turn``). A subscription whose best source is
full takes the next best; where all are full, it waits, and is in nobody's way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import polars as pl

from dynamo_ops.base.settings import TransferSettings
from dynamo_ops.transfer.submission.limits import TransferLimits

CANDIDATES = {
    "subscription_id": pl.Int64,
    "site_id": pl.Int16,
    "turn": pl.Int64,
    "num_attempts": pl.Int32,
    "source_site_id": pl.Int16,
    "is_last_resort": pl.Boolean,
    "is_tape": pl.Boolean,
    "is_doomed": pl.Boolean,
    "is_doubted": pl.Boolean,
    "is_direct": pl.Boolean,
    "num_failed": pl.Int32,
    "server": pl.String,
}
"""One row per subscription and site that it can be copied from. ``is_direct``: we copy it ourselves. ``server``: the
address of the FTS that does; null: of the only one, or none."""

IN_FLIGHT = {
    "source_site_id": pl.Int16,
    "site_id": pl.Int16,
    "num_files": pl.Int64,
    "num_staging": pl.Int64,
    "num_archiving": pl.Int64,
}
"""What is under way on each link: files that are to come over, of these those of tapes that are not online yet; and
files that have come to a tape site and fill its buffer, which keep nobody else back."""

CHOSEN = {
    "subscription_id": pl.Int64,
    "site_id": pl.Int16,
    "turn": pl.Int64,
    "source_site_id": pl.Int16,
    "is_tape": pl.Boolean,
    "is_direct": pl.Boolean,
    "server": pl.String,
    "other_source_site_ids": pl.List(pl.Int16),
}

MAX_ROUNDS = 8  # of giving subscriptions their next best source; who is not served then waits for the next cycle
MAX_OTHER_SOURCES = 3
_LINK = ("source_site_id", "site_id")


@dataclass(frozen=True)
class _Bound:
    """So many files at most for each value of ``keys`` (None: any number); with ``staging``, of those from tape; with
    ``archiving``, those that are not on tape yet besides; with ``more``, of this cycle alone. ``own``: by the only key,
    where it is another number."""

    keys: tuple[str, ...]
    limit: int | None
    own: Mapping[Any, int] = field(default_factory=dict)
    staging: bool = False
    archiving: bool = False
    more: bool = False

    @property
    def is_kept(self) -> pl.Expr:
        """Whether ``used`` files leave room for one more."""
        limit = pl.lit(self.limit, dtype=pl.Int64)
        if self.own:
            limit = pl.col(self.keys[0]).replace_strict(self.own, default=limit, return_dtype=pl.Int64)
        return pl.col("used") < limit


def choose_sources(
    candidates: pl.DataFrame,
    in_flight: pl.DataFrame,
    limits: TransferLimits,
    at_sites: Mapping[int, TransferSettings] = MappingProxyType({}),
    server_room: Mapping[str | None, int] = MappingProxyType({}),
) -> pl.DataFrame:
    """One row (``CHOSEN``) per subscription that is to be copied now, within all limits, with its source.

    ``candidates`` (``CANDIDATES``): usable ones only. ``in_flight`` (``IN_FLIGHT``) counts against the limits.
    ``at_sites``: the limits at sites that have their own, by id. ``server_room``: how many more files FTS servers are
    given, by address, where that is bounded.
    """
    bounds = _bounds(limits, at_sites)
    if server_room:
        bounds.append(_Bound(("server",), None, server_room, more=True))
    room = min(limits.files_per_cycle, limits.files_in_flight - int(in_flight["num_files"].sum()))
    waiting = _in_order(candidates, in_flight)
    all_sources, taken = waiting, pl.DataFrame(schema=waiting.schema)
    for _ in range(MAX_ROUNDS):
        best = waiting.filter(pl.col("subscription_id").ne_missing(pl.col("subscription_id").shift()))
        accepted = _within_bounds(best.sort("turn", "site_id"), taken, in_flight, bounds)
        accepted = accepted.head(max(0, room - taken.height))
        if accepted.is_empty():
            break
        taken = pl.concat([taken, accepted])
        waiting = waiting.join(accepted.select("subscription_id"), on="subscription_id", how="anti")
        waiting = _with_room(waiting, taken, in_flight, bounds)
    return _with_others(taken, all_sources, limits).select(list(CHOSEN))


def _in_order(candidates: pl.DataFrame, in_flight: pl.DataFrame) -> pl.DataFrame:
    """The candidates, each subscription's best first."""
    by_source = in_flight.group_by("source_site_id").agg(from_source=pl.col("num_files").sum())
    on_link = in_flight.select(*_LINK, on_link="num_files")
    load = pl.col("from_source").fill_null(0) + pl.col("on_link").fill_null(0)
    seed = pl.col("subscription_id") * 1_000_003 + pl.col("num_attempts") * 50_021 + pl.col("source_site_id")
    uniform = ((seed.hash(20_061) % 1_000_003).cast(pl.Float64) + 0.5) / 1_000_003
    # An exponential variate with rate 1 / (subscriptions + load): the smallest wins, with probability ∝ its rate. The
    # number of subscriptions steadies the draw: an idle site does not take all of them. Squeezed below 1: it decides
    # among equals.
    num_subscriptions = max(1, candidates["subscription_id"].n_unique())
    draw = -uniform.log() * (1 + load / num_subscriptions)
    worst_first = ("is_doubted", "is_last_resort", "is_tape", "is_doomed")
    rank = pl.sum_horizontal(pl.col(name).cast(pl.Int32) * 2 ** (3 - n) for n, name in enumerate(worst_first))
    return (
        candidates.join(by_source, on="source_site_id", how="left")
        .join(on_link, on=_LINK, how="left")
        .with_columns(cost=rank * 1024 + pl.col("num_failed").clip(0, 1000) + draw / (1 + draw))
        .drop("from_source", "on_link")
        .sort("subscription_id", "cost", "source_site_id")
    )


def _bounds(limits: TransferLimits, at_sites: Mapping[int, TransferSettings]) -> list[_Bound]:
    from_site = {site_id: own.files_from_site for site_id, own in at_sites.items()}
    staging = {site_id: own.files_staging_per_site for site_id, own in at_sites.items()}
    to_site = {site_id: own.files_to_site for site_id, own in at_sites.items()}
    return [
        _Bound(_LINK, limits.files_per_link),
        _Bound(("source_site_id",), limits.files_from_site, from_site),
        _Bound(("source_site_id",), limits.files_staging_per_site, staging, staging=True),
        _Bound(("site_id",), limits.files_to_site, to_site, archiving=True),
    ]


def _used(bound: _Bound, taken: pl.DataFrame, in_flight: pl.DataFrame) -> pl.DataFrame:
    """Columns of the bound's keys, and ``used``: files under way and taken in this cycle."""
    now = taken.filter("is_tape") if bound.staging else taken
    counted = now.select(*bound.keys, used=pl.lit(1, dtype=pl.Int64))
    if not bound.more:
        count = pl.col("num_staging" if bound.staging else "num_files")
        if bound.archiving:
            count += pl.col("num_archiving")
        counted = pl.concat([in_flight.select(*bound.keys, used=count), counted])
    return counted.group_by(bound.keys).agg(pl.col("used").sum())


def _within_bounds(
    picks: pl.DataFrame, taken: pl.DataFrame, in_flight: pl.DataFrame, bounds: Sequence[_Bound]
) -> pl.DataFrame:
    """Of ``picks``, in their order, those for which every bound has room."""
    for bound in bounds:
        position = pl.int_range(pl.len()).over(bound.keys)
        if bound.staging:
            position = pl.when("is_tape").then(pl.col("is_tape").cum_sum().over(bound.keys).cast(pl.Int64) - 1)
        picks = (
            picks.join(_used(bound, taken, in_flight), on=bound.keys, how="left", maintain_order="left")
            .with_columns(used=position + pl.col("used").fill_null(0))
            .filter(bound.is_kept.fill_null(True))
            .drop("used")
        )
    return picks


def _with_room(
    waiting: pl.DataFrame, taken: pl.DataFrame, in_flight: pl.DataFrame, bounds: Sequence[_Bound]
) -> pl.DataFrame:
    """The candidates whose site and link have room left."""
    for bound in bounds:
        full = _used(bound, taken, in_flight).filter(~bound.is_kept).select(bound.keys)
        if full.is_empty():
            continue
        if bound.staging:
            full = full.with_columns(is_tape=True)
        waiting = waiting.join(full, on=full.columns, how="anti", maintain_order="left")
    return waiting


def _with_others(taken: pl.DataFrame, candidates: pl.DataFrame, limits: TransferLimits) -> pl.DataFrame:
    """``other_source_site_ids``: for subscriptions that failed repeatedly, the other disk sources, best first, whose
    links the same FTS server takes.

    Such a file costs FTS a job of its own (FTS_CONTRACT §3), so only where it helps, and only so many of them.
    """
    stubborn = (
        taken.filter((pl.col("num_attempts") >= limits.multi_source_after) & ~pl.col("is_tape") & ~pl.col("is_direct"))
        .head(limits.multi_source_per_cycle)
        .select("subscription_id", chosen="source_site_id", chosen_server="server")
    )
    others = (
        candidates.join(stubborn, on="subscription_id", maintain_order="left")
        .filter(~pl.col("is_tape") & ~pl.col("is_direct") & (pl.col("source_site_id") != pl.col("chosen")))
        .filter(pl.col("server").eq_missing(pl.col("chosen_server")))
        .group_by("subscription_id", maintain_order=True)
        .agg(other_source_site_ids=pl.col("source_site_id").head(MAX_OTHER_SOURCES))
    )
    return taken.join(others, on="subscription_id", how="left", maintain_order="left")
