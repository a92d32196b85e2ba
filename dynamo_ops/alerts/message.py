"""What a person is told of a failed task or a late run: as text that reads well in a chat, and as HTML for a mail."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from dynamo_ops.alerts.alert import Claim

LATE_STEP = (
    "Look at the run's tasks for the one that runs or waits, and read its log. If none has begun: an earlier run of "
    "the DAG may hang (max_active_runs), its pool may be full, or the scheduler may be down. Nothing was stopped: the "
    "run goes on by itself."
)
JOINER = "\N{WORD JOINER}"
MARKUP = re.compile(r"@|!(?=\[)|\](?=[(\[:])|<(?=#|\w[\w+.-]*:)")
"""Mentions, pictures and links of Markdown, links of Slack."""

LONGEST_TEXT = 6_000
"""Characters of an error's own text; the log has all of it."""


@dataclass(frozen=True)
class Message:
    """One message in both forms. ``text``: Markdown so light that it reads as plain text too. ``html``: a body."""

    subject: str
    text: str
    html: str


@dataclass(frozen=True)
class FailedTask:
    """A task that failed for good. ``label``: which of its mapped instances, if it is mapped. ``interval``: the run's
    data interval, None without one. ``kind`` and ``text``: of the error."""

    dag_id: str
    task_id: str
    label: str | None
    run_id: str
    interval: tuple[datetime, datetime] | None
    try_number: int | None
    kind: str
    text: str
    next_step: str
    log_url: str


@dataclass(frozen=True)
class LateRun:
    """A run that has not ended ``limit`` after it was queued. ``url``: its page."""

    dag_id: str
    run_id: str
    state: str
    interval: tuple[datetime, datetime] | None
    queued_at: datetime | None
    started_at: datetime | None
    limit: timedelta
    url: str


@dataclass(frozen=True)
class Grouping:
    """What is said of others of the kind. ``claim`` None: ``trouble`` says why they could not be grouped."""

    claim: Claim | None
    repeat_after_h: float
    trouble: str = ""


def failure_message(task: FailedTask, grouping: Grouping) -> Message:
    """A task has failed: what happened, what to do next, where to look."""
    name = f"{task.dag_id}.{task.task_id}"
    tries = f" on try {task.try_number}" if task.try_number else ""
    rows = [
        ("What to do next", task.next_step),
        ("Kind of error", task.kind),
        ("Task", name + (f" ({task.label})" if task.label else "")),
        ("Run", task.run_id),
        ("Data interval", _interval(task.interval)),
    ]
    return _render(f"{name} failed", tries, task.text, rows, ("Log", task.log_url), grouping)


def late_message(run: LateRun, grouping: Grouping) -> Message:
    """A run has missed its deadline."""
    limit = span(run.limit)
    said = f"The run has not ended {limit} after it was queued. It is {run.state}."
    rows = [
        ("What to do next", LATE_STEP),
        ("Run", run.run_id),
        ("Data interval", _interval(run.interval)),
        ("Queued", moment(run.queued_at) if run.queued_at else "not known"),
        ("Started", moment(run.started_at) if run.started_at else "not yet"),
        ("Limit", limit),
    ]
    return _render(f"{run.dag_id} is late", "", said, rows, ("Page", run.url), grouping)


def moment(value: datetime) -> str:
    """A time in UTC, to the minute."""
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def span(value: timedelta) -> str:
    """``3 h``, ``1 day 6 h``, ``20 min``, ``5 s``: the two largest units that are not zero."""
    left = int(value.total_seconds())
    parts = []
    for unit, seconds in (("days", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        number, left = divmod(left, seconds)
        if number:
            parts.append(f"{number} {'day' if unit == 'days' and number == 1 else unit}")
    return " ".join(parts[:2]) or "0 s"


def count(number: int, noun: str, plural: str | None = None) -> str:
    """``1 site``, ``2,000 sites``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def _interval(interval: tuple[datetime, datetime] | None) -> str:
    if interval is None:
        return "none (started by hand or by an asset)"
    start, end = (each.astimezone(UTC) for each in interval)
    return f"{start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC"


def _grouped(grouping: Grouping) -> str:
    """What to expect of others of the kind, and how many there were."""
    hours, claim = f"{grouping.repeat_after_h:g} h", grouping.claim
    if claim is None:
        return f"It could not be grouped with others of the kind, so you may be told of each: {grouping.trouble}"
    rule = f"More of the kind are counted, and told again after {hours} if it still happens."
    if claim.told_at is None:
        return rule if claim.num_times == 1 else f"{claim.num_times} times since {moment(claim.first_at)}. {rule}"
    return (
        f"{claim.num_untold} more since you were told last, {moment(claim.told_at)}; {claim.num_times} times since "
        f"{moment(claim.first_at)}. {rule}"
    )


def _render(
    title: str, tries: str, said: str, rows: Sequence[tuple[str, str]], link: tuple[str, str], grouping: Grouping
) -> Message:
    again = grouping.claim is not None and grouping.claim.told_at is not None
    subject = f"Dynamo: {title}" + (f" again ({grouping.claim.num_untold} more)" if again and grouping.claim else "")
    said = said if len(said) <= LONGEST_TEXT else said[:LONGEST_TEXT] + "… (cut: the log has all of it)"
    footer = _grouped(grouping)
    return Message(
        subject, _text(subject + tries, said, rows, link, footer), _html(title + tries, said, rows, link, footer)
    )


def _text(headline: str, said: str, rows: Sequence[tuple[str, str]], link: tuple[str, str], footer: str) -> str:
    """The error stands between fences, so that nothing in it is taken for markup or for a mention."""
    lines = [f"*{headline}*", "```", defused(said), "```"]
    lines += [f"{name}: {_code(value) if name == 'Run' else inert(value)}" for name, value in rows]
    return "\n".join([*lines, f"{link[0]}: {link[1]}", "", inert(footer)])


def defused(text: str) -> str:
    """``text`` without what chats take for the end of a fence or for a call to everybody."""
    return text.replace("```", "'''").replace("<!", "< !").replace("<@", "< @")


def inert(text: str) -> str:
    """``text`` for a line outside fences: nothing in it calls anybody, hides where a link leads, or is a picture.

    What chats look for is parted by a character without width: a backslash would be shown by some of them.
    """
    return MARKUP.sub(lambda found: f"{found.group()[0]}{JOINER}{found.group()[1:]}", defused(text))


def _code(value: str) -> str:
    return "`" + value.replace("`", "'") + "`"


CSS = {
    "page": "font-family: Helvetica, Arial, sans-serif; font-size: 14px; color: #1c2733; max-width: 820px;",
    "bad": "border-left: 4px solid #c0392b; padding: 2px 0 2px 12px; margin: 0 0 14px 0; font-size: 17px;",
    "good": "border-left: 4px solid #2e8b57; padding: 2px 0 2px 12px; margin: 0 0 14px 0; font-size: 17px;",
    "pre": "white-space: pre-wrap; overflow-wrap: anywhere; background: #f4f6f8; border-radius: 4px; "
    "padding: 10px 12px; margin: 0 0 14px 0; font-family: Menlo, Consolas, monospace; font-size: 13px;",
    "rows": "border-collapse: collapse; font-size: 14px;",
    "head": "text-align: left; vertical-align: top; font-weight: normal; color: #5b6b7a; white-space: nowrap; "
    "padding: 3px 18px 3px 0;",
    "cell": "vertical-align: top; padding: 3px 0;",
    "title": "margin: 18px 0 4px 0;",
    "table": "border-collapse: collapse; font-size: 13px;",
    "column": "text-align: left; font-weight: normal; color: #5b6b7a; padding: 3px 16px 3px 0; white-space: nowrap; "
    "border-bottom: 1px solid #dde3e8;",
    "number_head": "text-align: right; font-weight: normal; color: #5b6b7a; padding: 3px 16px 3px 0; "
    "white-space: nowrap; border-bottom: 1px solid #dde3e8;",
    "number": "text-align: right; font-weight: normal; padding: 3px 16px 3px 0; white-space: nowrap; "
    "vertical-align: top; border-bottom: 1px solid #dde3e8;",
    "time": "vertical-align: top; padding: 3px 16px 3px 0; white-space: nowrap; border-bottom: 1px solid #dde3e8;",
    "value": "vertical-align: top; padding: 3px 16px 3px 0; border-bottom: 1px solid #dde3e8;",
    "footer": "color: #5b6b7a; font-size: 12px; border-top: 1px solid #dde3e8; padding-top: 8px; margin-top: 16px;",
}
"""Mail programs drop style sheets: each element carries its own."""


def _html(headline: str, said: str, rows: Sequence[tuple[str, str]], link: tuple[str, str], footer: str) -> str:
    cells = [(name, html.escape(value)) for name, value in rows]
    cells.append((link[0], f'<a href="{html.escape(link[1])}">{html.escape(link[1])}</a>'))
    table = "".join(
        f'<tr><th style="{CSS["head"]}">{name}</th><td style="{CSS["cell"]}">{value}</td></tr>\n'
        for name, value in cells
    )
    title = f'<p style="{CSS["bad"]}"><b>{html.escape(headline)}</b></p>'
    body = f'<pre style="{CSS["pre"]}">{html.escape(said)}</pre>\n<table style="{CSS["rows"]}">\n{table}</table>'
    end = f'<p style="{CSS["footer"]}">{html.escape(footer)}</p>'
    return f'<div style="{CSS["page"]}">\n{title}\n{body}\n{end}\n</div>\n'
