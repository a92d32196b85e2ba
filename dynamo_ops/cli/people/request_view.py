"""How requests are told: lists, one request with its actions, the answer to a deletion, what a cancel did."""

from __future__ import annotations

from typing import Any

from dynamo_ops.cli.terminal.cells import cell, count, moment, size
from dynamo_ops.cli.terminal.page import say
from dynamo_ops.cli.terminal.tables import Record, Records, print_table, tell_cut
from dynamo_ops.inventory.states import LAST_COPY
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


def print_requests(requests: Records, limit: int) -> None:
    """A table of requests; says so when there may be more."""
    shown = [{**request, "copies": _copies(request), "asked_by": _asked_by(request)} for request in requests]
    print_table(shown, "Requests", LISTED, wrap=["items", "sites", "closed_because"])
    tell_cut(len(requests), limit)


def print_request(request: Record) -> None:
    """One request in lines, then its actions."""
    is_copy = request["kind"] == RequestKind.COPY
    number = "one at each" if request["num_copies"] == 0 else request["num_copies"]
    say(f"{request['kind']} request {request['id']}: {request['state']}")
    _line("because", request["closed_because"])
    _line("items", " ".join(request["items"]))
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
    actions = request["actions"]
    if not actions:
        if request["state"] == RequestState.NEW:
            say("nothing is done for it yet: the next Dealer cycle looks at it")
        return
    outcome = "there" if is_copy else "gone"
    print_table(
        list(map(_with_progress, actions)),
        f"What happens where: files and bytes that are {outcome}",
        ACTIONS,
        wrap=["item", "reason"],
    )
    waiting = [action["subscription_id"] for action in actions if action["subscription_id"] is not None]
    if waiting:
        say(f"more of what waits: `dynamo transfers why {waiting[0]}`")
    counted = [action for action in actions if action["state"] in GOING_ON]
    done_bytes, size_bytes = (sum(action[name] for action in counted) for name in ("done_bytes", "size_bytes"))
    if size_bytes:
        say(f"in all: {size(done_bytes)} of {size(size_bytes)} {outcome} ({100 * done_bytes / size_bytes:.1f} %)")


def tell_asked_again(request: Record) -> None:
    """A line, when the request was made more than once."""
    if request["num_asked"] > 1:
        when = moment(request["last_asked_at"])
        say(f"asked {request['num_asked']:,} times, last by {request['last_asked_by']}, {when}")


def print_answer(answer: Record) -> None:
    """What a deletion request got: the verdicts, and in a line what that is in all."""
    print_table(answer["verdicts"], "Deletion", VERDICTS, wrap=["item", "reason"])
    if _are_last_refused(answer):
        say(f"last copies of {count(answer['num_last_files'], 'file')}: they go only with --allow-last NUMBER")
    print_outcome(answer)


def print_outcome(answer: Record) -> None:
    """What a deletion request got, in a line."""
    accepted = _amount(_accepted(answer))
    refused = _amount([verdict for verdict in answer["verdicts"] if verdict["reason"] is not None])
    if answer["request_id"] is None:
        say(f"would be deleted: {accepted}; must stay: {refused}. Nothing was changed")
    elif answer["state"] == RequestState.REJECTED:
        say(f"deletion request {answer['request_id']} is rejected: nothing of it may be deleted")
    else:
        say(f"deletion request {answer['request_id']}: deleted are {accepted}; must stay: {refused}")


def is_any_accepted(answer: Record) -> bool:
    """Whether something is deleted."""
    return bool(_accepted(answer))


def deletion_question(planned: Record) -> str:
    """What a person is asked before it is done: datasets, sites, bytes, and last copies."""
    going = _accepted(planned)
    datasets = count(len({verdict["item"].partition("#")[0] for verdict in going}), "dataset")
    sites = count(len({verdict["site"] for verdict in going}), "site")
    num_last = 0 if _are_last_refused(planned) else planned["num_last_files"]
    last = f", with the last copies of {count(num_last, 'file')}" if num_last else ""
    return f"Delete {_amount(going)}, of {datasets} at {sites}{last}?"


def print_cancelled(summary: Record) -> None:
    """What a cancel withdrew, and what goes on all the same."""
    subscriptions = count(summary["num_subscriptions"], "file") + (
        " no longer subscribed" if summary["kind"] == RequestKind.COPY else " not deleted"
    )
    say(f"{summary['kind']} request {summary['request_id']} is cancelled: {subscriptions}")
    if summary["num_too_late"]:
        late = count(summary["num_too_late"], "file")
        say(f"too late for {late}: the storage has been asked. What is gone is copied again if another site has it")
    if summary["num_given_back"]:
        say(f"{_with_verb(summary['num_given_back'], 'has its owner', 'have their owner')} again")
    if summary["num_removed"]:
        say(f"{_with_verb(summary['num_removed'], 'is', 'are')} forgotten: no file had come yet")
    if summary["num_unowned"]:
        unowned = _with_verb(summary["num_unowned"], "is", "are")
        say(f"{unowned} incomplete and nobody's now: Detox cleans up")
    if summary["num_kept"]:
        copies = "1 copy goes" if summary["num_kept"] == 1 else f"{summary['num_kept']:,} copies go"
        say(f"{copies} on: somebody else asks for the same")


def _with_verb(number: int, one: str, many: str) -> str:
    """``1 block replica is``, ``2 block replicas are``."""
    return f"{count(number, 'block replica')} {one if number == 1 else many}"


def _line(name: str, value: object) -> None:
    if value not in (None, ""):
        say(f"{name}: {value}")


def _copies(request: Record) -> str:
    if request["kind"] == RequestKind.DELETION:
        return "-"
    return str(request["num_copies"] or "each")


def _asked_by(request: Record) -> str:
    number = request["num_asked"]
    return f"{request['requested_by']} ({number} times)" if number > 1 else str(request["requested_by"])


def _accepted(answer: Record) -> Records:
    """The verdicts by which something is deleted."""
    return [verdict for verdict in answer["verdicts"] if verdict["reason"] is None]


def _are_last_refused(answer: Record) -> bool:
    return any(verdict["reason"] == LAST_COPY for verdict in answer["verdicts"])


def _amount(verdicts: Records) -> str:
    num_blocks, size_bytes = (sum(verdict[name] for verdict in verdicts) for name in ("num_blocks", "size_bytes"))
    return f"{count(num_blocks, 'block replica')}, {size(size_bytes)}"


def _with_progress(action: Record) -> dict[str, Any]:
    """Files and bytes done of all, or all where nothing is done; and why it is so, or waits."""
    whole, is_going_on = size(action["size_bytes"]), action["state"] in GOING_ON
    num_files = action["num_files"]
    return {
        **action,
        "progress": f"{action['num_files_done']} of {num_files}" if is_going_on else str(num_files),
        "bytes": f"{size(action['done_bytes'])} of {whole}" if is_going_on else whole,
        "reason": action["waits"] if action["reason"] is None else action["reason"],
    }
