"""What the digest of a bad day and of a quiet one says, and what it leaves out."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dynamo_ops.alerts.digest import Digest, read_digest
from dynamo_ops.alerts.digest_text import LOOKS, SHOWN, SHOWN_IN_MAIL, WHOLE, alerts_shown, digest_message
from dynamo_ops.base.settings import Settings, settings
from dynamo_ops.database.connection import Database
from tests.alerts.conftest import UNTIL
from tests.cli.test_cli import dynamo
from tests.installation import installed
from tests.inventory.factory import Inventory

UNUSUAL = [
    "2 kinds of failure: deletions.delete, metadata_sync.gate",
    "late: transfers",
    "gates refused: metadata (source 'dbs')",
    "metadata of dbs: 10 h old",
    "metadata of other: never merged",
    "accesses of monit: 2 days missing, 2026-02-26, 2026-02-28",
    "sites: T2_C is waitroom",
    "T2_A reports davs://n.org/ instead of davs://o.org/: no new copies or deletions there (dynamo site accept T2_A)",
    "T2_C and T2_D are one storage under two names: nothing is deleted at either (dynamo site share)",
    "the davs mapping of T2_B cannot be shown to be one-to-one: nothing is deleted there (dynamo site mappings)",
    "consistency of T2_B: 2,000 orphans, more than max_orphan allows (100)",
    "lost, no other copy exists: 2 files (2.00 kB) at T2_A, T2_B",
    "2 bad last copies at T2_A: a person decides (dynamo replica list)",
    "1 suspicious copy at T2_B: a person decides (dynamo replica list)",
    "3 datasets of dbs set aside with a bad record, the oldest for 1 day 1 min (dynamo inventory set-aside)",
    "vanished from dbs: 2 blocks (2.00 MB)",
    (
        "copies to T2_A fail at the destination: 0 files wait, since 2026-03-01T18:00Z, last words: DESTINATION [28] "
        "<full>"
    ),
    "2 subscriptions held: no_source",
    "plans refused: detox of physics",
    "copies: 1 of 4 attempts failed, most at T2_A",
    "deletions of 2 files taken back, since they must stay or were locked",
    "events: 1 delivery given up",
]
LINES = [
    "metadata_sync.gate: GateError, 12 times since 03-01 18:00, last 03-01 18:00: gate refused <dbs> second line",
    "transfers is late: 1 time, last 03-01 18:00: r1 has not ended",
    "deletions.delete: KeyError, 3 times since 02-01 00:00, last 02-01 00:00 (nobody was told so far): x",
    "metadata gate refused source 'dbs' in 2 runs, last 03-01 18:00: size_bytes is negative in 2 rows",
    "accesses gate warned of source 'monit' in 1 run, last 03-01 18:00: one site is unknown",
    "metadata of dbs: merged until 2026-03-01T20:00Z, 1,234 datasets told",
    "sites of cric: told at 2026-03-02T05:00Z, 3 ready sites told",
    "demand of queue: last day 2026-03-01, no gap",
    "T2_C: waitroom since 2026-03-02T01:00Z, its source says ready",
    "T2_D: morgue since 2025-03-02T01:00Z",
    "T2_A, davs: davs://n.org/ is reported since 03-01 18:00, davs://o.org/ is in force",
    "T2_C and T2_D have the same place: nothing is deleted at either",
    (
        "T2_B, davs: nothing is deleted: chain 1: '/store/[a-z]+/(.*)' has '[a-z]+/(.*)': only text (with '\\.' for a "
        "dot), '/+', '([^/]+)' and a last '(.*)' can be looked through"
    ),
    "T2_A: repaired, 1 missing file (1.00 kB), 1 lost file (1.00 kB), 2 orphan files (2.00 kB)",
    "T2_B: nothing was done: 2,000 orphans, more than max_orphan allows (100)",
    (
        "T2_A: 2 files (2.00 kB) bad, and no other copy is good, 1 newly, the oldest since 02-01 10:00: the pool is "
        "<b>broken</b>"
    ),
    "T2_A: 1 file (1.00 kB) bad, fetched again, 1 newly, the oldest since 03-01 18:00: the pool is <b>broken</b>",
    "T2_B: 1 file (1.00 kB) suspicious, the oldest since 02-01 10:00: the pool is <b>broken</b>",
    "not listed by dbs any more: 2 blocks (2.00 MB) newly, 6 (6.00 MB) in all",
    "copies to T2_A fail at the destination, 0 files in the queue, since 2026-03-01T18:00Z: DESTINATION [28] <full>",
    "copy, no_source: 2 files (2.00 kB) at 1 site, the oldest since 2026-02-20T10:00Z",
    "detox of physics: 1 plan committed, deletes 12.00 TB",
    "detox of physics: 1 plan refused: the plan deletes too much",
    "dealer of physics: 1 plan committed, copies 3.00 TB",
    "T2_A: 3 files done (6.00 MB), 1 failed (2.00 MB), most often: checksum differs",
    "T2_B: 2 files done (6.00 MB)",
    "T2_C: 2 files (2.00 kB), taken back: lock 7 covers it",
    "event subscription 1 of ada (webhook): 1 given up: answered 500",
    "1 dataset (7 files, 5.00 MB) by ada: wrong calibration",
]


@pytest.fixture
def digest(bad_day: Inventory, sources: Settings) -> Digest:
    return read_digest(bad_day.db, sources, UNTIL)


def test_what_needs_a_look_is_told_first(digest: Digest) -> None:
    assert digest.unusual == UNUSUAL
    message = digest_message(digest)
    assert message.subject == "Dynamo: 2026-03-02, 22 things need a look"
    lines = message.text.splitlines()
    assert lines[0] == "*Dynamo, the 24 hours to 2026-03-02T06:00Z*"
    assert lines[2:24] == [f"- {sentence}" for sentence in UNUSUAL]


def test_every_section_says_what_happened_in_the_24_hours_and_what_stands_now(digest: Digest) -> None:
    lines = digest_message(digest).text.splitlines()
    assert [line for line in LINES if f"- {line}" not in lines] == []
    assert any(line.startswith("- T2_A: ready since") and line.endswith("new switch (bob)") for line in lines)
    by_hand = "set to ready by ada (feed is wrong) until 2100-01-01T12:00Z"
    assert any(line.startswith("- T2_B: ready since") and line.endswith(by_hand) for line in lines)
    assert "*Copies, by destination: 3 files done (6.00 MB), 1 attempt failed*" in lines
    assert "None:" not in lines[-1]


def test_sections_link_to_the_pages_that_show_more(digest: Digest) -> None:
    pages = {WHOLE: "https://a/today?x=1&y=2", "plans": "https://a/plans", "held": "https://a/transfers"}
    message = digest_message(digest, pages)
    lines = message.text.splitlines()
    assert lines[1] == pages[WHOLE]
    assert "*Plans* https://a/plans" in lines
    assert sum("https://" in line for line in lines) == len(pages)
    assert message.html.count("<a href=") == len(pages)
    assert 'href="https://a/today?x=1&amp;y=2"' in message.html
    plain = digest_message(digest).text.splitlines()
    assert [line.replace(" https://a/plans", "").replace(" https://a/transfers", "") for line in lines[2:]] == plain[1:]


def test_a_mail_says_the_same_and_nothing_in_it_is_taken_for_markup(digest: Digest) -> None:
    content = digest_message(digest).html
    assert "<dbs>" not in content
    text = html.unescape(content)
    for part in (*UNUSUAL, "gate refused <dbs> second line", "12.00 TB", "2026-02-26, 2026-02-28", "wrong calibration"):
        assert part in text
    assert content.count("<table") == len(LOOKS) == len(digest.sections)


def test_a_quiet_day_is_nothing_unusual(database: Database) -> None:
    digest = read_digest(database, Settings(metadata_sources=[], site_sources=[], access_sources=[]), UNTIL)
    message = digest_message(digest)
    assert message.subject == "Dynamo: 2026-03-02, nothing unusual"
    assert message.text.splitlines()[1] == "Nothing unusual."
    assert message.text.splitlines()[-1].startswith("None: failures, refusals and warnings of gates, sources of")
    assert "Nothing unusual." in message.html


def test_work_alone_is_nothing_unusual(bad_day: Inventory, sources: Settings) -> None:
    for statement in (
        "DELETE FROM alerts",
        "DELETE FROM gate_results WHERE is_blocking",
        "DELETE FROM consistency_findings WHERE state = 'lost'",
        "UPDATE consistency_checks SET state = 'repaired', refused_because = NULL",
        "UPDATE bad_replicas SET state = 'copying'",
        "DELETE FROM set_aside_datasets",
        "DELETE FROM vanished WHERE vanished_at >= '2026-03-01 06:00+00'",
        "DELETE FROM plans WHERE state = 'refused'",
        "UPDATE transfers SET state = 'done'",
        "DELETE FROM subscriptions WHERE state = 'cancelled'",
        "UPDATE site_endpoints SET prefix = 'davs://other.org/x' WHERE site_id = 3",
        "UPDATE site_endpoints SET proposed_at = NULL, mapping = NULL",
        "UPDATE subscriptions SET hold_reason = 'site_unavailable' WHERE state = 'held'",
        "UPDATE sites SET status = 'ready' WHERE status = 'waitroom'",
        "UPDATE source_states SET merged_until = '2026-03-02 05:00+00'",
        "DELETE FROM aggregated_days WHERE source = 'monit' AND day < '2026-03-01'",
        "DELETE FROM event_deliveries",
    ):
        bad_day.rows(statement)
    quiet = sources.model_copy(update={"metadata_sources": sources.metadata_sources[:1]})
    digest = read_digest(bad_day.db, quiet, UNTIL)
    assert digest.unusual == []
    assert "12.00 TB" in digest_message(digest).text


def test_what_fails_for_ever_is_told_with_site_age_error_and_the_way_out(bad_day: Inventory, sources: Settings) -> None:
    bad_day.rows("DELETE FROM transfers")
    bad_day.rows(
        """UPDATE subscriptions SET state = 'held', hold_reason = 'suspended', last_error = 'no space left',
               created_at = now() - interval '45 days', protects_until = now() - id % 2 * interval '1 day'
                   + interval '1 hour' WHERE action = 'copy'"""
    )
    bad_day.rows(
        """UPDATE subscriptions SET state = 'retry', num_attempts = 3, created_at = now() - interval '20 days',
               last_error = 'not deleted: it lies behind a link' WHERE action = 'delete' AND state = 'new'"""
    )
    digest = read_digest(bad_day.db, sources, UNTIL)
    told = [sentence for sentence in digest.unusual if "suspended" in sentence or "to nothing" in sentence]
    assert told == [
        (
            "4 copies to T2_A suspended, failing for 45 days, most with: no space left "
            "(dynamo transfers release --hold-reason suspended --site T2_A)"
        ),
        "the last sources of 2 suspended copies to T2_A are not kept any more: release or cancel",
        "2 deletions at T2_B come to nothing, for 20 days, most with: not deleted: it lies behind a link",
    ]
    assert "held: " not in str(digest.unusual), "told once"
    bad_day.rows("UPDATE subscriptions SET state = 'held', hold_reason = 'all_failed' WHERE state = 'retry'")
    assert "come to nothing" not in str(read_digest(bad_day.db, sources, UNTIL).unusual)


def test_requests_that_do_not_move_are_told(bad_day: Inventory, sources: Settings) -> None:
    bad_day.rows(
        """INSERT INTO requests (kind, digest, sites, state, requested_by, last_asked_by, created_at)
           SELECT 'copy', days::text, ARRAY['T2_A'], CASE WHEN days = 30 THEN 'completed' ELSE 'new' END, 'ada', 'ada',
                  now() - days * interval '1 day' FROM unnest(ARRAY[30, 20, 8, 6]) AS days"""
    )
    (told,) = (sentence for sentence in read_digest(bad_day.db, sources, UNTIL).unusual if "request" in sentence)
    oldest = bad_day.scalar("SELECT id FROM requests WHERE digest = '20'")
    assert told == (
        f"2 open requests not moved for up to 20 days, the oldest is {oldest} (dynamo request show {oldest})"
    )


def test_jobs_that_nobody_hears_of_are_told(bad_day: Inventory, sources: Settings) -> None:
    bad_day.rows(
        """INSERT INTO transfer_batches (sid, job_id, site_id, is_staging, state, server, created_at)
           SELECT 'old' || days, gen_random_uuid(), 1, false, 'submitted', 'https://fts-old:8446',
                  now() - days * interval '1 day' FROM unnest(ARRAY[13, 15, 20]) AS days"""
    )
    (told,) = (sentence for sentence in read_digest(bad_day.db, sources, UNTIL).unusual if "fts-old" in sentence)
    assert told == (
        "2 FTS jobs open for up to 20 days at https://fts-old:8446: does it answer? "
        "(gone for good: dynamo transfers readdress)"
    )


def test_days_before_the_first_one_of_a_source_and_the_day_that_is_not_over_are_no_gaps(
    bad_day: Inventory, sources: Settings
) -> None:
    bad_day.rows("DELETE FROM aggregated_days WHERE day < '2026-02-28' OR source = 'queue'")
    at_one = datetime(2026, 3, 3, 1, tzinfo=UTC)
    for until, expected in ((at_one, []), (at_one + timedelta(hours=3), ["2026-03-02"])):
        rows = next(
            section.rows for section in read_digest(bad_day.db, sources, until).sections if section.key == "popularity"
        )
        assert [day.isoformat() for day in rows.row(0, named=True)["missing_days"]] == expected
        assert rows.row(1, named=True)["last_day"] is None


def test_a_chat_is_not_flooded(bad_day: Inventory, sources: Settings) -> None:
    bad_day.rows("INSERT INTO sites (name, storage_type, status) SELECT 'T3_' || n, 'disk', 'waitroom' "
                 "FROM generate_series(1, 90) n")  # fmt: skip
    message = digest_message(read_digest(bad_day.db, sources, UNTIL))
    assert sum(line.startswith("- T3_") for line in message.text.splitlines()) == SHOWN - 4
    assert "- … and 79 more (`dynamo digest --json`)" in message.text
    assert "… and 54 more." in message.html
    assert "and 86 more" in message.text.split("\n\n", maxsplit=1)[0]


def test_what_others_wrote_is_shown_in_a_chat_and_not_obeyed(bad_day: Inventory, sources: Settings) -> None:
    nasty = "/x@channel/![a](http://a.example.org)"
    for table, column in (("gate_results", "observed"), ("alerts", "message"), ("invalidations", "reason")):
        bad_day.rows(f"UPDATE {table} SET {column} = '{nasty}'")
    bad_day.rows(f"UPDATE gate_results SET subject = '{nasty}'")
    message = digest_message(read_digest(bad_day.db, sources, UNTIL))
    assert "x@" in message.text
    assert not any(markup in message.text for markup in ("@channel", "![", "]("))
    assert nasty in html.unescape(message.html)


@pytest.mark.parametrize(("in_mail", "shown"), [(True, SHOWN_IN_MAIL), (False, SHOWN)], ids=["mail", "chat"])
def test_what_nobody_was_told_of_comes_first_and_what_has_no_line_is_not_taken_for_shown(
    bad_day: Inventory, sources: Settings, in_mail: bool, shown: int
) -> None:
    bad_day.rows("""
        INSERT INTO alerts (key, kind, dag_id, task_id, error, message, first_at, last_at, num_times, num_untold,
                            told_at)
        SELECT 'k' || n, 'failure', 'd' || n, 't', 'KeyError', 'x', '2026-03-01 07:00+00', '2026-03-01 19:00+00', 1, 1,
               '2026-03-01 19:00+00' FROM generate_series(1, 90) n""")
    digest = read_digest(bad_day.db, sources, UNTIL)
    keys = alerts_shown(digest, in_mail=in_mail)
    assert (len(keys), keys[0]) == (shown, "never told")
    if not in_mail:
        lines = digest_message(digest).text.splitlines()
        assert sum(line.startswith("- d") and "KeyError" in line for line in lines) == shown


@pytest.fixture
def shell(bad_day: Inventory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """The bad day is that of this installation."""
    monkeypatch.setenv("DYNAMO_DB_URL", bad_day.db.url)
    monkeypatch.setenv("DYNAMO_HOME", installed(tmp_path))
    settings.cache_clear()
    yield
    settings.cache_clear()


def test_in_a_shell_for_people_and_for_programs(shell: None) -> None:
    shown = dynamo("digest", "--day", "2026-03-02").output
    assert "*Dynamo, the 24 hours to 2026-03-02T06:00Z*" in shown
    document = json.loads(dynamo("digest", "--day", "2026-03-02", "--json").output)
    assert document["until"] == "2026-03-02T06:00:00+00:00"
    assert document["transfers"][0]["done_bytes"] == 6_000_000
    assert set(document) == {"since", "until", "read_at", "unusual", *LOOKS}
    assert "the 24 hours to 20" in dynamo("digest").output
