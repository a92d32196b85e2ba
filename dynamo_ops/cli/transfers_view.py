"""How transfers are told: figures, one file, one subscription, what a move touches."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from dynamo_ops.cli.terminal.cells import age, cell, count, moment, size
from dynamo_ops.cli.terminal.page import say
from dynamo_ops.cli.terminal.tables import Record, Records, print_table
from dynamo_ops.inventory.states import (
    HoldReason,
    ServerIllness,
    SubscriptionAction,
    SubscriptionState,
    TransferState,
    VerifiedBy,
)
from dynamo_ops.inventory.subscription.blame import WHOSE, Blame

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
SERVERS = {
    "server": "server",
    "is": "state",
    "ill_since": "since",
    "num_jobs": "jobs",
    "num_files": "files",
    "oldest_at": "oldest sent",
    "reason": "because",
}
ASK = {"subscription_id": "for example\nid"}
"""Under the figures, one of the subscriptions that they count: to ask why of."""
SOURCES = {"site": "site", "storage_type": "storage", "status": "status", "because": "now"}
ATTEMPTS = {
    "subscription_id": "id",
    "batch_id": "batch",
    "source": "from",
    "state": "outcome",
    "fault": "fault of",
    "again": "again",
    "verified": "verified by",
    "finished_at": "ended",
    "job_id": "FTS job",
    "reason": "because",
}
VERIFIED_BY = {
    VerifiedBy.BOTH_ENDS: "checksum at both ends",
    VerifiedBy.SOURCE: "checksum at the source",
    VerifiedBy.DESTINATION: "checksum at the destination",
    VerifiedBy.READ_BACK: "reading it back",
    VerifiedBy.SIZE: "size only",
    VerifiedBy.WRONG: "reading it back: it is wrong",
}
DONE = {"hold": "held", "release": "released", "retry": "tried again", "cancel": "cancelled"}
BY_HAND = {"operator", "refused", "all_failed", "suspended"}


def print_status(standing: Record, *, now: datetime, since: datetime) -> None:
    """Tables: subscriptions, batches, attempts that ended, FTS servers."""
    subscriptions, ended = standing["subscriptions"], standing["ended"]
    under_way = [{**batch, "staging": _staging(batch)} for batch in standing["under_way"]]
    print_table(_with_age(subscriptions, now), "Active subscriptions", {**SUBSCRIPTIONS, "age": "oldest", **ASK})
    print_table(_with_age(under_way, now), "Under way", {**UNDER_WAY, **ASK})
    print_table(ended, f"Ended since {moment(since)}", {**ENDED, **ASK}, wrap=["example"])
    servers = [
        {**server, "is": ServerIllness(server["illness"]).words if server["illness"] else "well"}
        for server in standing["servers"]
    ]
    if servers:
        print_table(servers, "FTS servers", SERVERS, wrap=["reason"])
    if subscriptions or ended:
        say("why: `dynamo transfers why ID`, with the id of one of them")


def print_file(file: Record) -> None:
    """One file: where it is, and what is subscribed where."""
    say(f"{file['lfn']}\n{file['dataset']}#{file['block']}, {size(file['size_bytes'])}\n")
    print_table(file["sources"], "Sites that have it", SOURCES, wrap=["because"])
    if not file["subscriptions"]:
        say("no site is subscribed to it, or was")
    for subscription in file["subscriptions"]:
        _print_state(subscription)
        _print_attempts(subscription["attempts"])
        if any(source["num_failed"] for source in subscription["sources"]):
            title = f"Sites that have it, for subscription {subscription['subscription_id']}"
            print_table(subscription["sources"], title, SOURCES, wrap=["because"])


def print_subscription(subscription: Record) -> None:
    """One subscription, its attempts, and where the file can be read."""
    say(f"{subscription['lfn']}, {size(subscription['size_bytes'])}")
    _print_state(subscription)
    _print_attempts(subscription["attempts"])
    if subscription["action"] == SubscriptionAction.COPY:
        print_table(subscription["sources"], "Sites that have it", SOURCES, wrap=["because"])


def _print_state(subscription: Record) -> None:
    is_copy, state = subscription["action"] == SubscriptionAction.COPY, subscription["state"]
    action = f"copy to {subscription['site']}" if is_copy else f"deletion at {subscription['site']}"
    say(f"subscription {subscription['subscription_id']}, {action}: {subscription['because']}")
    created, since = (cell(name, subscription[name]) for name in ("created_at", "updated_at"))
    say(f"  subscribed by {subscription['origin']} ({subscription['activity']}), {created}; so since {since}")
    is_by_operator = subscription["hold_reason"] == HoldReason.OPERATOR
    if subscription["note"] and not is_by_operator and state != SubscriptionState.CANCELLED:
        say(f"  note of {subscription['note']}")
    attempts = subscription["attempts"]
    if state == SubscriptionState.INBATCH and attempts and attempts[0]["url"]:
        say(f"  {attempts[0]['url']}")
    if state == SubscriptionState.HELD and subscription["hold_reason"] in BY_HAND:
        say(f"  by hand: dynamo transfers release --id {subscription['subscription_id']}")


def _print_attempts(attempts: Records) -> None:
    if not attempts:
        say("no attempt so far\n")
        return
    rows = [
        {**attempt, "again": _again(attempt), "fault": _fault(attempt), "verified": _verified(attempt)}
        for attempt in attempts
    ]
    shown = {name: text for name, text in ATTEMPTS.items() if any(row[name] is not None for row in rows)}
    print_table(rows, "Attempts, newest first", shown, wrap=["reason"])


def _again(attempt: Record) -> str | None:
    """Whether the same may be tried again."""
    recoverable = attempt["is_recoverable"]
    if attempt["state"] != TransferState.FAILED or recoverable is None:
        return None
    return "may be" if recoverable else "in vain"


def _fault(attempt: Record) -> str | None:
    """Whose fault it was that an attempt failed, and whether it counts."""
    blame = attempt.get("blame")
    if blame is None:
        return None
    return WHOSE[Blame(blame)] + (" (not counted)" if attempt.get("is_excused") else "")


def _verified(attempt: Record) -> str | None:
    """How what is done was compared with the catalogue."""
    verified_by = attempt["verified_by"]
    return VERIFIED_BY[VerifiedBy(verified_by)] if verified_by else None


def print_touched(move: str, touched: Record) -> None:
    """What a move is about, before it is made."""
    print_table(touched["rows"], f"To be {DONE[move]}", SUBSCRIPTIONS)
    if touched["num_more_files"]:
        say(f"not selected themselves: {touched['num_more_files']:,} of these, the rest of blocks to be disowned")


def question(move: str, touched: Record) -> str:
    """What a person is asked before it is made."""
    files = f"{count(touched['num_files'], 'file')}, {size(touched['size_bytes'])}"
    num_disowned = touched["num_disowned"]
    disowning = f", and take {count(num_disowned, 'block replica')} from their groups" if num_disowned else ""
    return f"{move.capitalize()} {files}{disowning}?"


def print_moved(move: str, touched: Record, *, dry_run: bool) -> None:
    """What a move did, or would do."""
    if not touched["num_files"]:
        say(f"nothing to {move}")
        return
    would = "would be " if dry_run else ""
    say(f"{would}{DONE[move]}: {count(touched['num_files'], 'file')}, {size(touched['size_bytes'])}")
    if touched["num_disowned"]:
        gone = f"; forgotten, since no file had come: {touched['num_removed']:,}" if touched["num_removed"] else ""
        say(f"without an owner: {count(touched['num_disowned'], 'block replica')}{gone}")
    if touched["num_unowned"]:
        keeps = "keeps" if touched["num_unowned"] == 1 else "keep"
        unowned = f"{count(touched['num_unowned'], 'block replica')} {keeps} these files, still without an owner"
        say(f"{unowned}: Detox decides, or a group claims them")


def _with_age(rows: Records, now: datetime) -> list[dict[str, Any]]:
    return [{**row, "age": age(now - row["oldest_at"])} for row in rows]


def _staging(batch: Record) -> str | None:
    """Where its files are read; nowhere, of deletions."""
    if batch["is_staging"]:
        return "tape"
    return None if batch["backend"] == "deletion" else "disk"
