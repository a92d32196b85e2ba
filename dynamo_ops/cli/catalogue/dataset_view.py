"""Datasets, their replicas and files, as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dynamo_ops.cli.terminal.cells import cell, count, size
from dynamo_ops.cli.terminal.page import say
from dynamo_ops.cli.terminal.tables import Record, print_table

FOUND = {
    "name": "dataset",
    "status": "status",
    "is_open": "open",
    "size_bytes": "size",
    "num_blocks": "blocks",
    "num_files": "files",
    "num_sites": "sites",
    "num_copies": "full\ncopies",
    "last_update_at": "updated",
}
DATASET_REPLICAS = {
    "dataset": "dataset",
    "site": "site",
    "storage_type": "storage",
    "site_status": "status",
    "groups": "groups",
    "num_complete": "blocks\ncomplete",
    "num_blocks_of_dataset": "of",
    "is_full": "full",
    "is_growing": "grows",
    "size_bytes": "on disk",
}
BLOCK_REPLICAS = {
    "dataset": "dataset",
    "block": "block",
    "site": "site",
    "storage_type": "storage",
    "site_status": "status",
    "group": "group",
    "num_files": "files",
    "num_files_of_block": "of",
    "is_complete": "complete",
    "size_bytes": "on disk",
}
FILES = {"block": "block", "lfn": "file", "size_bytes": "size", "adler32": "adler32"}
COPIES = {
    "lfn": "file",
    "site": "site",
    "storage_type": "storage",
    "standing": "copy is",
    "is_readable": "readable\nnow",
    "pfn": "PFN",
}
_SITES = {
    "site": "site",
    "storage_type": "storage",
    "site_status": "status",
    "groups": "groups",
    "num_complete": "blocks\ncomplete",
    "num_blocks_of_dataset": "of",
    "size_bytes": "on disk",
    "is_growing": "grows",
    "num_awaited_blocks": "to come",
    "num_doomed_blocks": "being\ndeleted",
    "last_decision": "Detox last",
}
_LOCKS = {
    "id": "lock",
    "item": "what",
    "sites": "sites",
    "groups": "groups",
    "expires_at": "until",
    "created_by": "by",
    "reason": "reason",
}
_REQUESTS = {
    "id": "request",
    "kind": "kind",
    "state": "state",
    "sites": "sites",
    "num_copies": "copies",
    "group": "group",
    "requested_by": "by",
    "created_at": "since",
}


def print_card(card: Record) -> None:
    """One dataset: its figures in lines, then sites, locks and requests."""
    dataset = card["dataset"]
    say(dataset["name"], bold=True)
    _line("status", f"{dataset['status']}, {'open' if dataset['is_open'] else 'closed'}")
    _line("size", f"{size(dataset['size_bytes'])} in {_contents(dataset)}")
    _line("full copies", f"{dataset['num_copies']:,}")
    _line("release", dataset["release"])
    _line("source", dataset["source"])
    _line("updated", cell("last_update_at", dataset["last_update_at"]))
    for aside in card["set_aside"]:
        since = cell("first_at", aside["first_at"])
        _line("set aside", f"since {since}, as {aside['source']} told a bad record: {cell('reason', aside['reason'])}")
    for name, value in sorted(dataset["attributes"].items()):
        _line(name.replace("_", " "), f"{value:g}")
    say()
    sites = [{**site, "last_decision": _decision(site["decision"])} for site in card["sites"]]
    print_table(sites, "Sites", _SITES, wrap=["groups", "last_decision"])
    if card["locks"]:
        print_table(card["locks"], "Locks", _LOCKS, wrap=["what", "item", "reason"])
    if card["requests"]:
        print_table(card["requests"], "Open requests", _REQUESTS, wrap=["sites"])


def print_located(files: Sequence[Mapping[str, Any]]) -> None:
    """A line a copy; of a file without any copy a line that says so."""
    copies = [{"lfn": file["lfn"], **copy} for file in files for copy in file["copies"]]
    nowhere = [file["lfn"] for file in files if not file["copies"]]
    print_table(copies, "Copies", COPIES, wrap=["lfn", "pfn"])
    if nowhere:
        say(f"at no site: {count(len(nowhere), 'file')}")
        for lfn in nowhere:
            say(f"  {lfn}")


def _contents(dataset: Mapping[str, Any]) -> str:
    return f"{count(dataset['num_files'], 'file')}, {count(dataset['num_blocks'], 'block')}"


def _decision(decision: Mapping[str, Any] | None) -> str | None:
    if decision is None:
        return None
    line = f"{decision['policy_line'] or ''} (line {decision['line']})".strip()
    return f"{decision['decision']}: {line}, plan {decision['plan_id']}, {cell('at', decision['at'])}"


def _line(name: str, value: object) -> None:
    if value is not None:
        say(f"  {name:<14} {value}")
