"""What a person reads of a failure: the text whole, no markup but ours, and what to expect of others of the kind."""

from __future__ import annotations

import html
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from dynamo_ops.alerts.alert import Claim
from dynamo_ops.alerts.message import (
    LONGEST_TEXT,
    FailedTask,
    Grouping,
    LateRun,
    failure_message,
    late_message,
    span,
)
from dynamo_ops.alerts.template import inert

START, END = datetime(2026, 3, 1, 1, tzinfo=UTC), datetime(2026, 3, 1, 2, tzinfo=UTC)
TASK = FailedTask(
    "transfers", "submit", "batch 7", "manual__2026-03-01", (START, END), 3, "RetryableRemoteError",
    "FTS answered 503", "Check it, then clear the task.", "https://airflow.example.org/dags/transfers/runs/r1?a=1&b=2",
)  # fmt: skip
FIRST = Grouping(Claim("k", "t", True, 1, 1, START, None), 6)

TEXT = """\
*Dynamo: transfers.submit failed on try 3*
```
FTS answered 503
```
What to do next: Check it, then clear the task.
Kind of error: RetryableRemoteError
Task: transfers.submit (batch 7)
Run: `manual__2026-03-01`
Data interval: 2026-03-01T01:00Z to 2026-03-01T02:00Z
Log: https://airflow.example.org/dags/transfers/runs/r1?a=1&b=2

More of the kind are counted, and told again after 6 h if it still happens."""


def test_a_failure_in_a_chat() -> None:
    message = failure_message(TASK, FIRST)
    assert message.subject == "Dynamo: transfers.submit failed"
    assert message.text == TEXT


def test_where_people_reach_the_pages_a_message_links_to_one() -> None:
    page = ("Gate results", "https://airflow.example.org/plugin/dynamo/dynamo/ui/gates?gate=detox&subject=x")
    message = failure_message(replace(TASK, page=page), FIRST)
    assert f"Log: {TASK.log_url}\nGate results: {page[1]}\n" in message.text
    assert f'href="{html.escape(page[1])}"' in message.html


def test_a_failure_in_a_mail_says_the_same() -> None:
    content = failure_message(TASK, FIRST).html
    text = html.unescape(content)
    for part in (TASK.text, TASK.kind, TASK.next_step, TASK.run_id, TASK.log_url, "batch 7", "failed on try 3"):
        assert part in text
    assert f'href="{html.escape(TASK.log_url)}"' in content


@pytest.mark.parametrize(
    ("grouping", "subject", "footer"),
    [
        pytest.param(
            Grouping(Claim("k", "t", True, 9, 4, START, END), 6),
            "Dynamo: transfers.submit failed again (4 more)",
            "4 more since you were told last, 2026-03-01T02:00Z; 9 times since 2026-03-01T01:00Z. More of the",
            id="again",
        ),
        pytest.param(
            Grouping(Claim("k", "t", True, 3, 3, START, None), 0.5),
            "Dynamo: transfers.submit failed",
            "3 times since 2026-03-01T01:00Z. More of the kind are counted, and told again after 0.5 h",
            id="taken over from a process that died",
        ),
        pytest.param(
            Grouping(None, 6, "the database is away"),
            "Dynamo: transfers.submit failed",
            "It could not be grouped with others of the kind, so you may be told of each: the database is away",
            id="not grouped",
        ),
    ],
)
def test_others_of_the_kind(grouping: Grouping, subject: str, footer: str) -> None:
    message = failure_message(TASK, grouping)
    assert message.subject == subject
    assert message.text.splitlines()[-1].startswith(footer)
    assert footer in message.html


def test_what_an_error_holds_is_shown_and_not_obeyed() -> None:
    nasty = "dataset=/<script>alert(1)</script>/&{{ ti.task_id }} ``` <!channel> <@U1>"
    message = failure_message(replace(TASK, text=nasty, run_id="manual__`<1>"), FIRST)
    assert "<script>" not in message.html
    assert html.escape(nasty) in message.html
    assert message.text.count("```") == 2
    assert "<!channel>" not in message.text
    assert "<@U1>" not in message.text
    assert "Run: `manual__'<1>`" in message.text


NASTY = "/x@channel @all/![a](http://a.example.org)/[b](http://b.example.org)/[c]: d <!here> <http://e|f> <#C1> T2_A"


def is_inert(text: str) -> bool:
    return not any(markup in text for markup in ("@channel", "@all", "![", "](", "]:", "<!", "<@", "<http", "<#"))


def test_outside_fences_nothing_calls_anybody_or_is_a_link_under_another_name() -> None:
    assert is_inert(inert(NASTY))
    assert inert("T2_A: <dbs> lists a[1] of `x` (50 %!) https://a.example.org/b") == (
        "T2_A: <dbs> lists a[1] of `x` (50 %!) https://a.example.org/b"
    )
    message = failure_message(replace(TASK, text="x", label=NASTY), Grouping(None, 6, NASTY))
    assert is_inert(message.text)
    assert html.escape(NASTY) in message.html


def test_without_interval_label_and_end() -> None:
    message = failure_message(replace(TASK, interval=None, label=None, text="x" * 2 * LONGEST_TEXT), FIRST)
    assert "Data interval: none (started by hand or by an asset)" in message.text
    assert "Task: transfers.submit\n" in message.text
    assert "… (cut: the log has all of it)" in message.text
    assert len(message.text) < LONGEST_TEXT + 1000


def test_a_late_run() -> None:
    run = LateRun("metadata_sync", "r1", "running", (START, END), END, None, timedelta(hours=3), "https://a/runs/r1")
    message = late_message(run, FIRST)
    assert message.subject == "Dynamo: metadata_sync is late"
    assert "The run has not ended 3 h after it was queued. It is running." in message.text
    assert "Started: not yet" in message.text
    assert "Queued: 2026-03-01T02:00Z" in message.text
    assert "Run in Airflow: https://a/runs/r1" in message.text
    assert "goes on by itself" in message.html


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (61, "1 min 1 s"), (10_800, "3 h"), (86_400, "1 day"), (2 * 86_400 + 3600 + 5, "2 days 1 h")],
)
def test_spans(seconds: int, said: str) -> None:
    assert span(timedelta(seconds=seconds)) == said
