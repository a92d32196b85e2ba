"""A site in words and on a card, and what only it has, as tables."""

from __future__ import annotations

from dynamo_ops.cli.terminal.cells import cell, count, size
from dynamo_ops.cli.terminal.page import say
from dynamo_ops.cli.terminal.tables import Record, print_table

ONLY_HERE = {
    "dataset": "dataset",
    "block": "block",
    "group": "group",
    "num_files": "files\nonly here",
    "num_files_of_block": "of",
    "size_bytes": "size",
}
_PARTITIONS = {
    "partition": "partition",
    "quota_bytes": "quota",
    "bytes_after": "after\nDetox",
    "protected_bytes": "protected",
    "at": "Detox\ncommitted",
    "plan_id": "plan",
}
_GROUPS = {
    "group": "group",
    "num_blocks": "block\nreplicas",
    "num_complete": "complete",
    "size_bytes": "on disk",
    "projected_bytes": "projected",
}
_LARGEST = {"dataset": "dataset", "num_blocks": "block\nreplicas", "size_bytes": "on disk"}
_DOWNTIMES = {"id": "downtime", "begins_at": "from", "ends_at": "until", "created_by": "by", "reason": "reason"}


def use(state: Record) -> str:
    """What may be done with the files of a site."""
    return "read, written" if state["is_writable"] else "read" if state["is_readable"] else "untouched"


def because(state: Record) -> str | None:
    """Why the status is not just what the site's source tells."""
    if state["said_by"] is not None:
        until = f" until {cell('said_until', state['said_until'])}" if state["said_until"] else ""
        source_status = (
            f" (its source: {state['told_status']})" if state["told_status"] not in (None, state["status"]) else ""
        )
        return f"set by {state['said_by']}{until}: {state['said_because']}{source_status}"
    if state["told_status"] not in (None, state["status"]):
        return f"{state['told_status']} only since {cell('told_since', state['told_since'])}"
    return None


def print_card(card: Record) -> None:
    """One site: its figures in lines, then partitions, groups, largest datasets, downtimes."""
    site = card["site"]
    reason = because(site)
    say(site["site"], bold=True)
    _line("storage", site["storage_type"])
    _line("status", f"{site['status']}; {reason}" if reason else site["status"])
    _line("files are", use(site))
    _line("holds", f"{count(site['num_datasets'], 'dataset')}, {count(site['num_blocks'], 'block replica')}")
    _line("on disk", f"{size(site['size_bytes'])}, {size(site['projected_bytes'])} once all has come")
    held = f", {site['num_held']:,} of them held" if site["num_held"] else ""
    _line("to come", f"{count(site['num_copies_to'], 'file')}, {size(site['bytes_to'])}{held}")
    _line("being read", f"{count(site['num_copies_from'], 'file')}, {size(site['bytes_from'])}")
    _line("to be deleted", count(site["num_deletions"], "file"))
    _line("last check", _check(card["check"]))
    if checksums := card["checksums"]:
        told = "told" if checksums["is_told"] else "not told"
        _line("checksums", f"{told}, since {cell('asked_at', checksums['asked_at'])}: {checksums['because']}")
    say()
    print_table(card["partitions"], "Partitions", _PARTITIONS)
    print_table(card["groups"], "Groups", _GROUPS)
    print_table(card["largest"], "Largest datasets", _LARGEST, wrap=["dataset"])
    if card["downtimes"]:
        print_table(card["downtimes"], "Downtimes", _DOWNTIMES, wrap=["reason"])


def _check(check: Record | None) -> str:
    if check is None:
        return "never"
    findings = ", ".join(f"{number:,} {kind}" for kind, number in check["findings"].items()) or "nothing differs"
    refused = f", refused: {check['refused_because']}" if check["refused_because"] else ""
    listed_at = cell("at", check["storage_listed_at"])
    return f"{check['state']}, storage listed {listed_at}: {findings}{refused}"


def _line(name: str, text: str) -> None:
    say(f"  {name:<14} {text}")
