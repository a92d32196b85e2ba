"""How transfers are told: figures, one file, one subscription, what a move touches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import polars as pl

from dynamo_ops.cli.terminal.cells import age, cell, count, moment, size
from dynamo_ops.cli.terminal.page import say
from dynamo_ops.cli.terminal.tables import print_table
from dynamo_ops.inventory.states import HoldReason, SubscriptionAction, SubscriptionState, TransferState
from dynamo_ops.inventory.subscription.operate import Move, Touched
from dynamo_ops.query.explanation import Explanation, FileExplanation
from dynamo_ops.query.movement.subscription import JobPage, job_url

SUBSCRIPTIONS = {
    "action": "action",
    "state": "state",
    "hold_reason": "held by",
    "site": "site",
    "num_files": "files",
    "size_bytes": "size",
}
UNDER_WAY = {
    "backend": "backend",
    "staging": "from",
    "state": "files are",
    "site": "site",
    "num_batches": "batches",
    "num_files": "files",
    "size_bytes": "size",
    "age": "oldest",
}
ENDED = {
    "action": "action",
    "state": "outcome",
    "source": "from",
    "site": "site",
    "num_files": "files",
    "size_bytes": "size",
    "example": "because",
}
ASK = {"subscription_id": "for example\nid"}
"""Under the figures, one of the subscriptions that they count: to ask why of."""
SOURCES = {"site": "site", "storage_type": "storage", "status": "status", "because": "now"}
ATTEMPTS = {
    "subscription_id": "id",
    "batch_id": "batch",
    "source": "from",
    "state": "outcome",
    "again": "again",
    "finished_at": "ended",
    "job_id": "FTS job",
    "reason": "because",
}
DONE = {"hold": "held", "release": "released", "retry": "tried again", "cancel": "cancelled"}
BY_HAND = {"operator", "refused", "all_failed"}


def print_status(
    subscriptions: pl.DataFrame, under_way: pl.DataFrame, ended: pl.DataFrame, *, now: datetime, since: datetime
) -> None:
    """Three tables: subscriptions, batches, attempts that ended."""
    staging = pl.when("is_staging").then(pl.lit("tape")).when(pl.col("backend") != "deletion").then(pl.lit("disk"))
    print_table(_with_age(subscriptions, now), "Active subscriptions", {**SUBSCRIPTIONS, "age": "oldest", **ASK})
    print_table(_with_age(under_way.with_columns(staging=staging), now), "Under way", {**UNDER_WAY, **ASK})
    print_table(ended, f"Ended since {moment(since)}", {**ENDED, **ASK}, wrap=["example"])
    if not (subscriptions.is_empty() and ended.is_empty()):
        say("why: `dynamo transfers why ID`, with the id of one of them")


def print_file(file: FileExplanation, page: JobPage) -> None:
    """One file: where it is, and what is subscribed where."""
    say(f"{file.lfn}\n{file.dataset}#{file.block}, {size(file.size_bytes)}\n")
    _print_sources(file.sources, "Sites that have it")
    if not file.subscriptions:
        say("no site is subscribed to it, or was")
    for subscription in file.subscriptions:
        _print_state(subscription, page)
        _print_attempts(subscription.attempts)
        if any(source["num_failed"] for source in subscription.sources):
            _print_sources(subscription.sources, f"Sites that have it, for subscription {subscription.subscription_id}")


def print_subscription(subscription: Explanation, page: JobPage) -> None:
    """One subscription, its attempts, and where the file can be read."""
    say(f"{subscription.lfn}, {size(subscription.size_bytes)}")
    _print_state(subscription, page)
    _print_attempts(subscription.attempts)
    if subscription.action == SubscriptionAction.COPY:
        _print_sources(subscription.sources, "Sites that have it")


def _print_state(subscription: Explanation, page: JobPage) -> None:
    is_copy = subscription.action == SubscriptionAction.COPY
    action = f"copy to {subscription.site}" if is_copy else f"deletion at {subscription.site}"
    say(f"subscription {subscription.subscription_id}, {action}: {subscription.because}")
    since = cell("updated_at", subscription.updated_at)
    say(
        f"  subscribed by {subscription.origin} ({subscription.activity}), "
        f"{cell('created_at', subscription.created_at)}; so since {since}"
    )
    if (
        subscription.note
        and subscription.hold_reason != HoldReason.OPERATOR
        and subscription.state != SubscriptionState.CANCELLED
    ):
        say(f"  note of {subscription.note}")
    url = (
        job_url(subscription.attempts[0] if subscription.attempts else {}, page)
        if subscription.state == SubscriptionState.INBATCH
        else None
    )
    if url:
        say(f"  {url}")
    if subscription.state == SubscriptionState.HELD and subscription.hold_reason in BY_HAND:
        say(f"  by hand: dynamo transfers release --id {subscription.subscription_id}")


def _print_attempts(attempts: Sequence[Mapping[str, Any]]) -> None:
    if not attempts:
        say("no attempt so far\n")
        return
    frame = pl.DataFrame(
        [
            {**{name: attempt[name] for name in ATTEMPTS if name != "again"}, "again": _again(attempt)}
            for attempt in attempts
        ],
        schema_overrides={"finished_at": pl.Datetime("us", "UTC"), "job_id": pl.String, "source": pl.String},
        infer_schema_length=None,
    )
    shown = [name for name in ATTEMPTS if frame[name].null_count() < frame.height]
    print_table(frame, "Attempts, newest first", {name: ATTEMPTS[name] for name in shown}, wrap=["reason"])


def _again(attempt: Mapping[str, Any]) -> str | None:
    """Whether the same may be tried again."""
    recoverable = attempt["is_recoverable"]
    return (
        None
        if attempt["state"] != TransferState.FAILED or recoverable is None
        else "may be"
        if recoverable
        else "in vain"
    )


def _print_sources(sources: Sequence[Mapping[str, Any]], title: str) -> None:
    source_rows = [{name: source[name] for name in SOURCES} for source in sources]
    print_table(pl.DataFrame(source_rows, schema=dict.fromkeys(SOURCES, pl.String)), title, SOURCES, wrap=["because"])


def print_touched(move: Move, touched: Touched) -> None:
    """What a move is about, before it is made."""
    print_table(touched.rows, f"To be {DONE[move]}", SUBSCRIPTIONS)
    if touched.num_more_files:
        say(f"not selected themselves: {touched.num_more_files:,} of these, the rest of blocks to be disowned")


def question(move: Move, touched: Touched) -> str:
    """What a person is asked before it is made."""
    files = f"{count(touched.num_files, 'file')}, {size(touched.size_bytes)}"
    disowning = (
        f", and take {count(touched.num_disowned, 'block replica')} from their groups" if touched.num_disowned else ""
    )
    return f"{move.capitalize()} {files}{disowning}?"


def print_moved(move: Move, touched: Touched, *, dry_run: bool) -> None:
    """What a move did, or would do."""
    if not touched.num_files:
        say(f"nothing to {move}")
        return
    would = "would be " if dry_run else ""
    say(f"{would}{DONE[move]}: {count(touched.num_files, 'file')}, {size(touched.size_bytes)}")
    if touched.num_disowned:
        gone = f"; forgotten, since no file had come: {touched.num_removed:,}" if touched.num_removed else ""
        say(f"without an owner: {count(touched.num_disowned, 'block replica')}{gone}")
    if touched.num_unowned:
        keeps = "keeps" if touched.num_unowned == 1 else "keep"
        unowned = f"{count(touched.num_unowned, 'block replica')} {keeps} these files, still without an owner"
        say(f"{unowned}: Detox decides, or a group claims them")


def touched_document(move: Move, touched: Touched, *, dry_run: bool) -> dict[str, Any]:
    """What a move did, or would do, for programs."""
    numbers = {name: number for name, number in vars(touched).items() if name != "rows"}
    return {
        "move": move,
        "dry_run": dry_run,
        "num_files": touched.num_files,
        "size_bytes": touched.size_bytes,
        **numbers,
        "rows": touched.rows.to_dicts(),
    }


def _with_age(frame: pl.DataFrame, now: datetime) -> pl.DataFrame:
    return frame.with_columns(
        age=pl.Series([age(now - oldest_at) for oldest_at in frame["oldest_at"]], dtype=pl.String)
    )
