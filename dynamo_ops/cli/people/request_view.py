"""How requests are told: lists, one request with its actions, the answer to a deletion, what a cancel did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import polars as pl

from dynamo_ops.cli.terminal.cells import cell, count, moment, size
from dynamo_ops.cli.terminal.page import say
from dynamo_ops.cli.terminal.tables import print_table, tell_cut
from dynamo_ops.inventory.states import LAST_COPY
from dynamo_ops.request.cancel import CancelSummary
from dynamo_ops.request.deletion_request import DeletionAnswer
from dynamo_ops.request.registry import RequestDetails
from dynamo_ops.request.states import RequestKind, RequestState

LISTED = {
    "id": "request",
    "kind": "kind",
    "state": "state",
    "items": "items",
    "sites": "sites",
    "copies": "copies",
    "group": "group",
    "asked_by": "asked by",
    "created_at": "asked",
    "closed_at": "closed",
    "closed_because": "because",
}
ACTIONS = {"item": "item", "site": "site", "state": "state", "progress": "files", "bytes": "size", "reason": "because"}
GOING_ON = ("queued", "done")
VERDICTS = {
    "item": "item",
    "site": "site",
    "state": "state",
    "num_blocks": "block\nreplicas",
    "size_bytes": "size",
    "reason": "because",
}


def print_requests(requests: pl.DataFrame, limit: int) -> None:
    """A table of requests; says so when there may be more."""
    times = pl.when(pl.col("num_asked") > 1).then(pl.format(" ({} times)", "num_asked")).otherwise(pl.lit(""))
    copies = (
        pl.when(pl.col("kind") == RequestKind.DELETION)
        .then(pl.lit("-"))
        .when(pl.col("num_copies") == 0)
        .then(pl.lit("each"))
        .otherwise(pl.col("num_copies").cast(pl.String))
    )
    shown = requests.with_columns(copies=copies, asked_by=pl.format("{}{}", "requested_by", times))
    print_table(shown, "Requests", LISTED, wrap=["items", "sites", "closed_because"])
    tell_cut(requests.height, limit)


def print_details(details: RequestDetails) -> None:
    """One request in lines, then its actions."""
    request = details.request
    is_copy = request["kind"] == RequestKind.COPY
    number = "one at each" if request["num_copies"] == 0 else request["num_copies"]
    say(f"{request['kind']} request {request['id']}: {request['state']}")
    _line("because", request["closed_because"])
    _line("items", " ".join(_texts(request["items"])))
    _line("sites", request["sites"])
    _line("copies", number if is_copy else None)
    _line("group", request["group"])
    _line("reason", request["reason"])
    _line("asked by", f"{request['requested_by']}, {cell('created_at', request['created_at'])}")
    tell_asked_again(request)
    if request["closed_at"]:
        _line(
            "closed",
            f"{cell('closed_at', request['closed_at'])}"
            + (f" by {request['closed_by']}" if request["closed_by"] else ""),
        )
    if details.actions.is_empty():
        if request["state"] == RequestState.NEW:
            say("nothing is done for it yet: the next Dealer cycle looks at it")
        return
    outcome = "there" if is_copy else "gone"
    actions = _progress(details.actions)
    because = pl.coalesce("reason", "waits") if "waits" in actions.columns else pl.col("reason")
    print_table(
        actions.with_columns(reason=because),
        f"What happens where: files and bytes that are {outcome}",
        ACTIONS,
        wrap=["item", "reason"],
    )
    waiting = actions.filter(pl.col("subscription_id").is_not_null()) if "waits" in actions.columns else pl.DataFrame()
    if waiting.height:
        say(f"more of what waits: `dynamo transfers why {waiting['subscription_id'][0]}`")
    done_bytes, size_bytes = _sums(details.actions)
    if size_bytes:
        say(f"in all: {size(done_bytes)} of {size(size_bytes)} {outcome} ({100 * done_bytes / size_bytes:.1f} %)")


def tell_asked_again(request: Mapping[str, Any]) -> None:
    """A line, when the request was made more than once."""
    if request["num_asked"] > 1:
        when = moment(request["last_asked_at"])
        say(f"asked {request['num_asked']:,} times, last by {request['last_asked_by']}, {when}")


def print_answer(answer: DeletionAnswer) -> None:
    """What a deletion request got: the verdicts, and in a line what that is in all."""
    print_table(answer.verdicts, "Deletion", VERDICTS, wrap=["item", "reason"])
    if LAST_COPY in answer.refused["reason"]:
        say(f"last copies of {count(answer.num_last_files, 'file')}: they go only with --allow-last NUMBER")
    print_outcome(answer)


def print_outcome(answer: DeletionAnswer) -> None:
    """What a deletion request got, in a line."""
    accepted, refused = _amount(answer.accepted), _amount(answer.refused)
    if answer.request_id is None:
        say(f"would be deleted: {accepted}; must stay: {refused}. Nothing was changed")
    elif answer.state == RequestState.REJECTED:
        say(f"deletion request {answer.request_id} is rejected: nothing of it may be deleted")
    else:
        say(f"deletion request {answer.request_id}: deleted are {accepted}; must stay: {refused}")


def deletion_question(planned: DeletionAnswer) -> str:
    """What a person is asked before it is done: datasets, sites, bytes, and last copies."""
    going = planned.accepted
    datasets = count(going["item"].str.split("#").list.first().n_unique(), "dataset")
    last = f", with the last copies of {count(planned.num_last_files, 'file')}" if planned.num_last_files else ""
    last = "" if LAST_COPY in planned.refused["reason"] else last
    return f"Delete {_amount(going)}, of {datasets} at {count(going['site'].n_unique(), 'site')}{last}?"


def _amount(verdicts: pl.DataFrame) -> str:
    return f"{count(_blocks(verdicts), 'block replica')}, {size(int(verdicts['size_bytes'].sum()))}"


def answer_document(answer: DeletionAnswer) -> dict[str, Any]:
    """The answer for programs."""
    return {
        "request_id": answer.request_id,
        "state": answer.state,
        "accepted_bytes": answer.accepted_bytes,
        "num_last_files": answer.num_last_files,
        "verdicts": answer.verdicts.to_dicts(),
    }


def print_cancelled(request_id: int, summary: CancelSummary) -> None:
    """What a cancel withdrew, and what goes on all the same."""
    subscriptions = count(summary.num_subscriptions, "file") + (
        " no longer subscribed" if summary.kind == RequestKind.COPY else " not deleted"
    )
    say(f"{summary.kind} request {request_id} is cancelled: {subscriptions}")
    if summary.num_too_late:
        late = count(summary.num_too_late, "file")
        say(f"too late for {late}: the storage has been asked. What is gone is copied again if another site has it")
    if summary.num_given_back:
        say(f"{_with_verb(summary.num_given_back, 'has its owner', 'have their owner')} again")
    if summary.num_removed:
        say(f"{_with_verb(summary.num_removed, 'is', 'are')} forgotten: no file had come yet")
    if summary.num_unowned:
        unowned = _with_verb(summary.num_unowned, "is", "are")
        say(f"{unowned} incomplete and nobody's now: Detox cleans up")
    if summary.num_kept:
        copies = "1 copy goes" if summary.num_kept == 1 else f"{summary.num_kept:,} copies go"
        say(f"{copies} on: somebody else asks for the same")


def cancel_document(request_id: int, summary: CancelSummary) -> dict[str, Any]:
    """What a cancel did, for programs."""
    return {"request_id": request_id, **asdict(summary)}


def _with_verb(number: int, one: str, many: str) -> str:
    """``1 block replica is``, ``2 block replicas are``."""
    return f"{count(number, 'block replica')} {one if number == 1 else many}"


def _line(name: str, value: object) -> None:
    if value not in (None, ""):
        say(f"{name}: {value}")


def _texts(value: object) -> list[str]:
    return list(map(str, value)) if isinstance(value, list) else []


def _blocks(verdicts: pl.DataFrame) -> int:
    return int(verdicts["num_blocks"].sum())


def _progress(actions: pl.DataFrame) -> pl.DataFrame:
    """``actions`` with the columns ``progress`` (files) and ``bytes``: done of all, or all where nothing is done."""
    is_going_on = pl.col("state").is_in(GOING_ON)
    sizes = [
        f"{size(done_bytes)} of {size(size_bytes)}" if state in GOING_ON else size(size_bytes)
        for state, done_bytes, size_bytes in actions.select("state", "done_bytes", "size_bytes").iter_rows()
    ]
    files = pl.format("{} of {}", "num_files_done", "num_files")
    return actions.with_columns(
        progress=pl.when(is_going_on).then(files).otherwise(pl.col("num_files").cast(pl.String)),
        bytes=pl.Series(sizes, dtype=pl.String),
    )


def _sums(actions: pl.DataFrame) -> tuple[int, int]:
    counted = actions.filter(pl.col("state").is_in(GOING_ON))
    return int(counted["done_bytes"].sum()), int(counted["size_bytes"].sum())
