"""Where output goes: folded lines, the pager, records instead of a table that is too wide; and what holds of cells."""

from __future__ import annotations

import io
import os
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from dynamo_ops.cli.terminal.cells import cell, moment
from dynamo_ops.cli.terminal.page import fold, say, warn
from tests.cli.seeded import LONG, on_terminal, piped, seeded, seeded_home

__all__ = ["seeded", "seeded_home"]


@pytest.mark.parametrize(
    ("line", "folded"),
    [
        ("short", "short"),
        ("four words of text here", "four words of text\n  here"),
        ("  an indent is kept and deepened", "  an indent is kept\n    and deepened"),
        ("/store/a/very/long/file/name.root", "/store/a/very/long/file/name.root"),
        ("see /store/a/very/long/file/name.root", "see\n  /store/a/very/long/file/name.root"),
    ],
)
def test_lines_are_folded_between_words_and_never_within(line: str, folded: str) -> None:
    assert fold(line, 20) == folded
    assert fold(line, None) == line


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("dataset", "[red]a[/red]", "[red]a[/red]"),
        ("num_files", 2318, "2,318"),
        ("subscription_id", 2318, "2318"),
        ("id", 2318, "2318"),
        ("reason", "two\nlines", "two lines"),
        ("reason", "a bell \x07 and \x1b[31mred", "a bell \\x07 and \\x1b[31mred"),
        ("reason", None, "-"),
        ("quota_bytes", None, "unknown"),
        ("quota_bytes", -1, "unlimited"),
        ("size_bytes", 1_500_000, "1.50 MB"),
        ("freed_bytes", -2000, "-2.00 kB"),
        ("occupancy", 0.5, "50.0 %"),
        ("is_triggered", True, "yes"),
        ("num_files", 12345, "12,345"),
        ("sites", ["T2_A", "T2_B"], "T2_A T2_B"),
        ("created_at", datetime(2026, 11, 29, 13, 5, 59, tzinfo=UTC), "2026-11-29T13:05Z"),
    ],
)
def test_a_value_is_shown_on_one_line_and_orders_nothing(name: str, value: Any, shown: str) -> None:
    assert cell(name, value) == shown


def test_a_time_is_shown_in_utc_as_it_can_be_given() -> None:
    assert moment(datetime(2026, 11, 29, 14, 5, tzinfo=timezone(timedelta(hours=1)))) == "2026-11-29T13:05Z"


def test_what_is_said_of_data_orders_nothing_either(capsys: pytest.CaptureFixture[str]) -> None:
    say("held by \x1b[2Jada\n  and bob")
    warn("\x1b]0;title\x07")
    told = capsys.readouterr()
    assert told.out == "held by \\x1b[2Jada\n  and bob\n"
    assert told.err == "warning: \\x1b]0;title\\x07\n"


def test_a_table_that_is_too_wide_is_told_record_by_record(seeded: Path) -> None:
    shown = on_terminal("lock", "list", columns=60).out
    assert "  lock    1\n" in shown
    assert "  until   -\n" in shown
    assert "┃" not in shown
    assert "┃" in on_terminal("lock", "list", columns=120).out


def test_a_long_name_is_folded_and_whole(seeded: Path) -> None:
    shown = on_terminal("inventory", "vanished", columns=60).out
    assert LONG not in shown
    assert LONG in "".join(line.strip() for line in shown.splitlines())
    assert LONG in piped("inventory", "vanished").out


@pytest.fixture
def pager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """PAGER is a program that keeps what it is given, and the value of LESS, in the file returned."""
    kept = tmp_path / "paged"
    monkeypatch.setenv("PAGER", f'(echo "LESS=$LESS"; cat) > {kept}')
    monkeypatch.delenv("LESS", raising=False)
    return kept


LONG_OUTPUT = ("policy", "variables")


def test_output_that_fills_the_screen_goes_to_the_pager(seeded: Path, pager: Path) -> None:
    ended = on_terminal(*LONG_OUTPUT)
    assert (ended.code, ended.out) == (0, "")
    lines = pager.read_text().splitlines()
    assert lines[0] == "LESS=FRX"
    assert len(lines) > 50


@pytest.mark.parametrize("words", [("--no-pager", *LONG_OUTPUT), ("plan", "list")], ids=["not wanted", "short"])
def test_other_output_does_not(seeded: Path, pager: Path, words: tuple[str, ...]) -> None:
    assert on_terminal(*words).out != ""
    assert not pager.exists()


@pytest.mark.parametrize("named", ["", "cat"])
def test_pager_can_be_none(seeded: Path, monkeypatch: pytest.MonkeyPatch, named: str) -> None:
    monkeypatch.setenv("PAGER", named)
    assert "dataset.name" in on_terminal(*LONG_OUTPUT).out


def test_nothing_is_paged_in_a_pipe(seeded: Path, pager: Path) -> None:
    assert "dataset.name" in piped(*LONG_OUTPUT).out
    assert not pager.exists()


def test_a_pager_that_is_left_early_is_no_error(seeded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAGER", "true")
    assert on_terminal(*LONG_OUTPUT).code == 0
    assert os.environ["PAGER"] == "true"


def test_a_pager_that_is_not_there_loses_nothing(seeded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAGER", "no-such-pager")
    assert "dataset.name" in on_terminal(*LONG_OUTPUT).out


def test_what_is_asked_about_is_shown_before_the_question(
    seeded: Path, pager: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    shown = on_terminal("transfers", "cancel", "--site", "T2_*", "--reason", "x")
    assert "To be cancelled" in shown.out
    assert "Cancel 4 files, 4.00 kB? [y/N]" in shown.err
    assert shown.out.endswith("nothing was changed\n")
    assert shown.code == 1
    assert not pager.exists()
