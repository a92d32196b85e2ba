"""What a person is told of a failed task or a late run: as text that reads well in a chat, and as HTML for a mail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from dynamo_ops.alerts.alert import Claim
from dynamo_ops.alerts.template import render
from dynamo_ops.base.times import time_text

LATE_STEP = (
    "Look at the run's tasks for the one that runs or waits, and read its log. If none has begun: an earlier run of "
    "the DAG may hang (max_active_runs), its pool may be full, or the scheduler may be down. Nothing was stopped: the "
    "run goes on by itself."
)

ILL_STEP = (
    "See what the words name: rights, space, or whether the site is up; where it is our credential, renew it. Nothing "
    "is lost and no copy is held: what waits goes on by itself when the next few files that are tried arrive. A site "
    "that is away for long may be set into a downtime (dynamo site drain)."
)

LONGEST_TEXT = 6_000
"""Characters of an error's own text; the log has all of it."""


Link = tuple[str, str]
"""What it leads to, and the address."""


@dataclass(frozen=True)
class Message:
    """One message in both forms. ``text``: Markdown so light that it reads as plain text too. ``html``: a body."""

    subject: str
    text: str
    html: str


@dataclass(frozen=True)
class FailedTask:
    """A task that failed for good. ``label``: which of its mapped instances, if it is mapped. ``interval``: the run's
    data interval, None without one. ``kind`` and ``text``: of the error. ``page``: of Dynamo, None where it is not
    known under which address people reach it."""

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
    page: Link | None = None


@dataclass(frozen=True)
class LateRun:
    """A run that has not ended ``limit`` after it was queued. ``url``: where Airflow shows it, ``page``: Dynamo."""

    dag_id: str
    run_id: str
    state: str
    interval: tuple[datetime, datetime] | None
    queued_at: datetime | None
    started_at: datetime | None
    limit: timedelta
    url: str
    page: Link | None = None


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
    facts = [
        ("What to do next", task.next_step),
        ("Kind of error", task.kind),
        ("Task", name + (f" ({task.label})" if task.label else "")),
        ("Run", task.run_id),
        ("Data interval", _interval(task.interval)),
    ]
    return _message(f"{name} failed", tries, task.text, facts, _links(("Log", task.log_url), task.page), grouping)


def late_message(run: LateRun, grouping: Grouping) -> Message:
    """A run has missed its deadline."""
    limit = span(run.limit)
    said = f"The run has not ended {limit} after it was queued. It is {run.state}."
    facts = [
        ("What to do next", LATE_STEP),
        ("Run", run.run_id),
        ("Data interval", _interval(run.interval)),
        ("Queued", moment(run.queued_at) if run.queued_at else "not known"),
        ("Started", moment(run.started_at) if run.started_at else "not yet"),
        ("Limit", limit),
    ]
    return _message(f"{run.dag_id} is late", "", said, facts, _links(("Run in Airflow", run.url), run.page), grouping)


def illness_message(sentence: str, grouping: Grouping, page: Link | None = None) -> Message:
    """A site, a link or our credential is ill: its copies wait."""
    what, _, said = sentence.partition(": ")
    return _message(what, "", said, [("What to do next", ILL_STEP)], _links(page), grouping)


def moment(value: datetime) -> str:
    """A time in UTC, to the minute."""
    return time_text(value)


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
    return f"{time_text(start)} to {time_text(end)}"


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


def _links(*links: Link | None) -> list[Link]:
    return [link for link in links if link is not None]


def _message(
    title: str, tries: str, said: str, facts: Sequence[tuple[str, str]], links: Sequence[Link], grouping: Grouping
) -> Message:
    again = grouping.claim is not None and grouping.claim.told_at is not None
    subject = f"Dynamo: {title}" + (f" again ({grouping.claim.num_untold} more)" if again and grouping.claim else "")
    said = said if len(said) <= LONGEST_TEXT else said[:LONGEST_TEXT] + "… (cut: the log has all of it)"
    shown = {"said": said, "facts": facts, "links": links, "footer": _grouped(grouping)}
    return Message(
        subject,
        render("message.txt.j2", headline=subject + tries, **shown),
        render("message.html.j2", headline=title + tries, **shown),
    )
