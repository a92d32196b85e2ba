"""The digest as people read it: text for a chat or a shell, HTML for a mail. Both say the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import polars as pl

from dynamo_ops.alerts.alert import AlertKind
from dynamo_ops.alerts.digest import Digest, Section
from dynamo_ops.alerts.message import Message, count, moment
from dynamo_ops.alerts.template import one_line, render
from dynamo_ops.base.units import size_text
from dynamo_ops.inventory.checks import BadState, CheckState
from dynamo_ops.inventory.kinds import PullKind
from dynamo_ops.plan.states import PlanKind, PlanState

SHOWN = 15
"""Lines of a section in a chat; the mail has SHOWN_IN_MAIL."""

SHOWN_IN_MAIL = 40

WHOLE = "digest"
"""Key of the page that shows all of a day."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Look:
    """How a section is shown. ``none``: what is said where there is nothing of it. ``line``: one row in a chat;
    ``columns``: its columns in a mail, by heading. ``total``: sums of all rows."""

    title: str
    none: str
    line: Callable[[Row], str]
    columns: Mapping[str, str]
    total: Callable[[pl.DataFrame], str] | None = None

    def heading(self, section: Section) -> str:
        """The title, with the sums of the section where it has any."""
        return f"{self.title}: {self.total(section.rows)}" if self.total else self.title


def digest_message(digest: Digest, pages: Mapping[str, str] | None = None) -> Message:
    """The digest as a message. ``pages``: addresses of pages, by the key of the section that they show more of; that of
    the whole is ``WHOLE``. None where it is not known under which address people reach them."""
    unusual = digest.unusual
    state = count(len(unusual), "thing needs a look", "things need a look") if unusual else "nothing unusual"
    return Message(f"Dynamo: {digest.until:%Y-%m-%d}, {state}", digest_text(digest, pages), digest_html(digest, pages))


def digest_text(digest: Digest, pages: Mapping[str, str] | None = None) -> str:
    """For a chat or a shell."""
    return render("digest.txt.j2", **_shown(digest, pages or {})).rstrip("\n")


def alerts_shown(digest: Digest, *, in_mail: bool) -> list[str]:
    """Keys of the alerts that have a line of their own, in the mail or in a chat."""
    rows = next(section.rows for section in digest.sections if section.key == "alerts")
    return list(rows["key"][: SHOWN_IN_MAIL if in_mail else SHOWN])


def digest_html(digest: Digest, pages: Mapping[str, str] | None = None) -> str:
    """For a mail."""
    return render("digest.html.j2", **_shown(digest, pages or {}))


def _shown(digest: Digest, pages: Mapping[str, str]) -> dict[str, Any]:
    """What the templates show."""
    return {
        "title": f"Dynamo, the 24 hours to {moment(digest.until)}",
        "unusual": digest.unusual,
        "page": pages.get(WHOLE),
        "sections": [
            {**_section(section), "page": pages.get(section.key)}
            for section in digest.sections
            if not section.rows.is_empty()
        ],
        "empty": ", ".join(LOOKS[section.key].none for section in digest.sections if section.rows.is_empty()),
    }


def _section(section: Section) -> dict[str, Any]:
    """A section as its lines in a chat and its cells in a mail."""
    look, rows = LOOKS[section.key], list(section.rows.iter_rows(named=True))
    return {
        "heading": look.heading(section),
        "lines": [look.line(row) for row in rows[:SHOWN]],
        "num_more_lines": max(0, len(rows) - SHOWN),
        "columns": [
            {"heading": heading, "style": _style(section.rows.schema[name])} for name, heading in look.columns.items()
        ],
        "cells": [[_cell(name, row[name]) for name in look.columns] for row in rows[:SHOWN_IN_MAIL]],
        "num_more_cells": max(0, len(rows) - SHOWN_IN_MAIL),
    }


def _style(kind: pl.DataType) -> str:
    return "number" if kind.is_numeric() else "time" if kind.is_temporal() else "value"


def _cell(name: str, value: Any) -> str:
    """A value by the name of its column and its type; sizes in decimal units, times in UTC."""
    if value is None or value == []:
        return "–"
    if name.endswith("_bytes"):
        return size_text(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, datetime):
        return moment(value)
    if isinstance(value, list):
        return ", ".join(_cell(name, each) for each in value)
    return one_line(value.isoformat() if isinstance(value, date) else str(value))


def _alert(row: Row) -> str:
    name = row["dag_id"] + (f".{row['task_id']}" if row["task_id"] else " is late")
    untold = "" if row["told_at"] else " (nobody was told so far)"
    since = f" since {_short(row['first_at'])}" if row["num_times"] > 1 else ""
    times = count(row["num_times"], "time")
    kind = f" {row['error']}," if row["kind"] == AlertKind.FAILURE else ""
    return f"{name}:{kind} {times}{since}, last {_short(row['last_at'])}{untold}: {row['message']}"


def _gate(row: Row) -> str:
    did = "refused" if row["is_blocking"] else "warned of"
    runs = count(row["num_runs"], "run")
    return f"{row['gate']} gate {did} {row['subject']} in {runs}, last {_short(row['last_at'])}: {row['observed']}"


def _metadata(row: Row) -> str:
    if row["merged_until"] is None:
        return f"{row['kind']} of {row['source']}: never merged"
    known = (row["num_datasets"], "dataset") if row["kind"] == PullKind.METADATA else (row["num_ready"], "ready site")
    what = f", {count(known[0], known[1])} told" if known[0] is not None else ""
    until = "merged until" if row["kind"] == PullKind.METADATA else "told at"
    return f"{row['kind']} of {row['source']}: {until} {moment(row['merged_until'])}{what}"


def _popularity(row: Row) -> str:
    if row["last_day"] is None:
        return f"{row['kind']} of {row['source']}: no day was ever aggregated"
    gaps = f", missing {_cell('missing_days', row['missing_days'])}" if row["missing_days"] else ", no gap"
    return f"{row['kind']} of {row['source']}: last day {row['last_day'].isoformat()}{gaps}"


def _site(row: Row) -> str:
    told = f", its source says {row['told_status']}" if row["told_status"] not in (None, row["status"]) else ""
    override = f"; set to {row['override']}" if row["override"] else ""
    downtime = f"; in a downtime: {row['downtime']}" if row["downtime"] else ""
    return f"{row['site']}: {row['status']} since {moment(row['since_at'])}{told}{override}{downtime}"


def _check(row: Row) -> str:
    if row["state"] == CheckState.REFUSED:
        return f"{row['site']}: nothing was done: {row['refused_because']}"
    found = [
        f"{count(row[f'num_{kind}'], noun)} ({size_text(row[f'{kind}_bytes'])})"
        for kind, noun in FINDINGS.items()
        if row[f"num_{kind}"]
    ]
    return f"{row['site']}: {row['state']}, {', '.join(found) or 'nothing differs'}"


FINDINGS = {
    "missing": "missing file",
    "lost": "lost file",
    "orphan": "orphan file",
    "unmanaged": "expired unmanaged file",
}


def _bad(row: Row) -> str:
    new = f", {row['num_new']:,} newly" if row["num_new"] else ""
    words = BAD_STATES[row["state"]]
    files = f"{count(row['num_files'], 'file')} ({size_text(row['size_bytes'])})"
    return f"{row['site']}: {files} {words}{new}, the oldest since {_short(row['oldest_at'])}: {row['reason']}"


BAD_STATES = {
    BadState.SUSPICIOUS: "suspicious",
    BadState.BAD: "bad, and something else is under way there",
    BadState.COPYING: "bad, fetched again",
    BadState.LAST_COPY: "bad, and no other copy is good",
    BadState.ON_TAPE: "bad, on tape",
}


def _set_aside(row: Row) -> str:
    return (
        f"{count(row['num_datasets'], 'dataset')} of {row['source']} ({row['num_new']:,} newly), the oldest since "
        f"{moment(row['oldest_at'])}: {row['dataset']}: {row['reason']}"
    )


def _vanished(row: Row) -> str:
    new = f"{count(row['num_new'], row['kind'])} ({size_text(row['new_bytes'])}) newly"
    return f"not listed by {row['source']} any more: {new}, {row['num_all']:,} ({size_text(row['all_bytes'])}) in all"


def _ill(row: Row) -> str:
    files = "" if row["num_files"] is None else f", {count(row['num_files'], 'file')} in the queue"
    since = f", since {moment(row['since_at'])}" if row["since_at"] else ""
    return f"{row['what']}{files}{since}: {row['reason'] or 'nothing was said'}"


def _held(row: Row) -> str:
    files = count(row["num_files"], "file")
    where = count(row["num_sites"], "site")
    return (
        f"{row['action']}, {row['hold_reason']}: {files} ({size_text(row['size_bytes'])}) at {where}, "
        f"the oldest since {moment(row['oldest_at'])}"
    )


def _plan(row: Row) -> str:
    did = {PlanKind.DETOX: "deletes", PlanKind.DEALER: "copies"}[row["kind"]]
    what = f", {did} {size_text(row['size_bytes'])}" if row["state"] == PlanState.COMMITTED else ""
    because = f": {row['because']}" if row["because"] else ""
    return f"{row['kind']} of {row['partition']}: {count(row['num_plans'], 'plan')} {row['state']}{what}{because}"


def _attempts(row: Row) -> str:
    failed = (
        f", {row['num_failed']:,} failed ({size_text(row['failed_bytes'])}), most often: {row['reason'] or 'no reason'}"
        if row["num_failed"]
        else ""
    )
    return f"{row['site']}: {count(row['num_done'], 'file')} done ({size_text(row['done_bytes'])}){failed}"


def _moved(row: Row) -> str:
    new, since = row["proposed_prefix"], _short(row["proposed_at"])
    return f"{row['site']}, {row['protocol']}: {new} is reported since {since}, {row['prefix']} is in force"


def _pair(row: Row) -> str:
    how = "have the same place" if row["is_equal"] else "lie in each other"
    return f"{row['site']} and {row['other']} {how}: nothing is deleted at either"


def _ambiguous(row: Row) -> str:
    return f"{row['site']}, {row['protocol']}: nothing is deleted: {row['because']}"


def _events(row: Row) -> str:
    since = f", failing since {_short(row['failing_since'])}" if row["failing_since"] else ""
    what = f"event subscription {row['subscription']} of {row['owner']} ({row['channel']})"
    return f"{what}: {row['num_given_up']:,} given up{since}: {row['reason']}"


def _returned(row: Row) -> str:
    return f"{row['site']}: {count(row['num_files'], 'file')} ({size_text(row['size_bytes'])}), {row['reason']}"


def _total(rows: pl.DataFrame) -> str:
    done, failed = int(rows["num_done"].sum()), int(rows["num_failed"].sum())
    said = f"{count(done, 'file')} done ({size_text(int(rows['done_bytes'].sum()))})"
    return said + (f", {count(failed, 'attempt')} failed" if failed else "")


def _invalidated(row: Row) -> str:
    things = count(row["num_things"], row["kind"])
    files = f"{count(row['num_files'], 'file')}, {size_text(row['size_bytes'])}"
    return f"{things} ({files}) by {row['created_by']}: {row['reason']}"


def _short(value: datetime) -> str:
    return f"{value.astimezone(UTC):%m-%d %H:%M}"


_ATTEMPTS = {
    "site": "Site", "num_done": "Files done", "done_bytes": "Size", "num_failed": "Failed", "failed_bytes": "Size",
    "reason": "Most often because",
}  # fmt: skip

LOOKS: dict[str, Look] = {
    "alerts": Look(
        "Failures and late runs (times in UTC)", "failures", _alert,
        {"dag_id": "DAG", "task_id": "Task", "error": "Kind", "num_times": "Times", "first_at": "First",
         "last_at": "Last", "message": "Message"},
    ),
    "gates": Look(
        "Gates that refused or warned (times in UTC)", "refusals and warnings of gates", _gate,
        {"gate": "Gate", "subject": "Of", "is_blocking": "Refused", "num_runs": "Runs", "last_at": "Last",
         "observed": "Found"},
    ),
    "metadata": Look(
        "Metadata and site status", "sources of metadata", _metadata,
        {"kind": "Kind", "source": "Source", "merged_until": "Merged until", "num_datasets": "Datasets told",
         "num_ready": "Ready sites told"},
    ),
    "popularity": Look(
        "Popularity", "sources of accesses", _popularity,
        {"kind": "Kind", "source": "Source", "last_day": "Last day", "missing_days": "Days missing"},
    ),
    "sites": Look(
        "Sites that are not ready, or in a downtime (now)", "sites that are not ready", _site,
        {"site": "Site", "status": "Status", "since_at": "Since", "told_status": "Its source says",
         "override": "Set by hand", "downtime": "Downtime"},
    ),
    "endpoints": Look(
        "Endpoints that are reported, and not in force (now)", "endpoints to be accepted", _moved,
        {"site": "Site", "protocol": "Protocol", "prefix": "In force", "proposed_prefix": "Reported",
         "proposed_at": "Since"},
    ),
    "shared": Look(
        "One storage under two names (now)", "sites that share a storage undeclared", _pair,
        {"site": "Site", "other": "Other site", "is_equal": "Equal places", "created_by": "Declared by"},
    ),
    "mappings": Look(
        "Mappings that may give two files one name (now)", "mappings in doubt", _ambiguous,
        {"site": "Site", "protocol": "Protocol", "because": "Because"},
    ),
    "consistency": Look(
        "Consistency of storages", "consistency checks", _check,
        {"site": "Site", "state": "State", "num_missing": "Missing", "missing_bytes": "Size", "num_lost": "Lost",
         "lost_bytes": "Size", "num_orphan": "Orphans", "orphan_bytes": "Size", "refused_because": "Refused because"},
    ),
    "bad": Look(
        "Copies that are called bad or suspicious (now)", "bad copies", _bad,
        {"site": "Site", "state": "State", "num_files": "Files", "size_bytes": "Size", "num_new": "New",
         "oldest_at": "Oldest", "reason": "Most often because"},
    ),
    "set_aside": Look(
        "Datasets with a bad record: not merged (now)", "datasets set aside", _set_aside,
        {"source": "Source", "num_datasets": "Datasets", "num_new": "New", "oldest_at": "Oldest", "dataset": "First",
         "reason": "Reason"},
    ),
    "vanished": Look(
        "Vanished at their source; the inventory keeps them", "vanished things", _vanished,
        {"source": "Source", "kind": "Kind", "num_new": "New", "new_bytes": "Size", "num_all": "In all",
         "all_bytes": "Size"},
    ),
    "ill": Look(
        "Where copies fail as a whole (now)", "sites and links at which copies fail", _ill,
        {"what": "What", "blame": "Fault of", "since_at": "Since", "num_files": "Files", "reason": "Last words"},
    ),
    "held": Look(
        "Subscriptions on hold (now)", "subscriptions on hold", _held,
        {"action": "Action", "hold_reason": "Reason", "num_files": "Files", "size_bytes": "Size", "num_sites": "Sites",
         "oldest_at": "Oldest"},
    ),
    "plans": Look(
        "Plans", "plans", _plan,
        {"kind": "By", "partition": "Partition", "state": "State", "num_plans": "Plans", "size_bytes": "Size",
         "because": "Refused because"},
    ),
    "transfers": Look("Copies, by destination", "copies", _attempts, _ATTEMPTS, _total),
    "deletions": Look("Deletions, by site", "deletions", _attempts, _ATTEMPTS, _total),
    "taken_back": Look(
        "Deletions taken back: the files stay", "deletions taken back", _returned,
        {"site": "Site", "num_files": "Files", "size_bytes": "Size", "reason": "Most often"},
    ),
    "events": Look(
        "Events that were not taken", "events that nobody took", _events,
        {"subscription": "Subscription", "owner": "Of", "channel": "By", "num_given_up": "Given up",
         "failing_since": "Failing since", "reason": "Why"},
    ),
    "invalidated": Look(
        "Declared invalid", "invalidations", _invalidated,
        {"kind": "Kind", "num_things": "Number", "num_files": "Files", "size_bytes": "Size", "created_by": "By",
         "reason": "Reason"},
    ),
}  # fmt: skip
"""By the key of the section."""
