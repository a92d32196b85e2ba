"""``dynamo transfers series | links | errors``, ``dynamo deletions series``: tables and JSON of what ended."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dynamo_ops.base.settings import settings
from dynamo_ops.cli import series as asked
from dynamo_ops.database.connection import Database
from dynamo_ops.query.movement import series
from tests.cli.seeded import piped
from tests.installation import installed
from tests.inventory.factory import Inventory


@pytest.fixture
def ended(database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two hours of one link, one of deletions."""
    monkeypatch.setenv("DYNAMO_DB_URL", database.url)
    monkeypatch.setenv("DYNAMO_HOME", installed(tmp_path))
    settings.cache_clear()
    inventory = Inventory(database)
    here, there = inventory.site("T2_A"), inventory.site("T2_B")
    inventory.rows(
        """INSERT INTO transfer_hours (hour, source_site_id, site_id, outcome, error_class, num_files, size_bytes,
                                       num_seconds, is_removed)
           VALUES ('2026-03-01T10:00Z', :a, :b, 'done', '', 3, 3000000, 30, false),
                  ('2026-03-01T10:00Z', :a, :b, 'done', '', 1, 1000000, 10, false),
                  ('2026-03-01T11:00Z', :a, :b, 'failed', 'SOURCE [2]', 4, 4000000, 0, false),
                  ('2026-03-01T11:00Z', :a, :b, 'done', '', 9, 9, 9, true)""",
        a=here,
        b=there,
    )
    inventory.rows(
        """INSERT INTO deletion_hours (hour, site_id, outcome, error_class, num_files, size_bytes, num_seconds,
                                       is_removed)
           VALUES ('2026-03-01T10:00Z', :b, 'gone', '', 5, 5000000, 50, false)""",
        b=there,
    )


def told(*words: str) -> list[dict[str, object]]:
    shown = piped(*words, "--since", "2026-03-01", "--json")
    assert shown.code == 0, shown.err
    rows: list[dict[str, object]] = json.loads(shown.out)
    return rows


def test_series_links_and_errors(ended: None) -> None:
    assert [(row["at"], row["num_files"]) for row in told("transfers", "series")] == [
        ("2026-03-01T10:00:00+00:00", 4),
        ("2026-03-01T11:00:00+00:00", 4),
    ]
    assert [row["num_files"] for row in told("transfers", "series", "--step", "day", "--outcome", "done")] == [4]
    (link,) = told("transfers", "links", "--source", "T2_A", "--to", "2026-03-01T11:00Z")
    assert (link["num_done"], link["num_failed"], link["bytes_per_s"]) == (4, 0, 100_000)
    (error,) = told("transfers", "errors", "--site", "T2_B")
    assert (error["error"], error["num_files"], error["last_hour"]) == ("SOURCE [2]", 4, "2026-03-01T11:00:00+00:00")
    (deleted,) = told("deletions", "series", "outcome", "site")
    assert (deleted["outcome"], deleted["site"], deleted["size_bytes"]) == ("gone", "T2_B", 5_000_000)


def test_tables(ended: None) -> None:
    shown = piped("transfers", "links", "--since", "2026-03-01").out
    assert "T2_A" in shown
    assert "50.0 %" in shown  # of eight files four failed
    shown = piped("transfers", "series", "--since", "2026-03-02").out
    assert "nothing ended in that time" in shown
    assert piped("transfers", "series", "size").code == 2
    assert "Did you mean T2_A" in piped("deletions", "series", "--site", "T2_AA").err


def test_help_names_what_there_is() -> None:
    assert list(asked.TRANSFERS_BY) == list(series.TRANSFERS_BY)
    assert list(asked.DELETIONS_BY) == list(series.DELETIONS_BY)
    assert list(asked.STEPS) == list(series.STEPS)
