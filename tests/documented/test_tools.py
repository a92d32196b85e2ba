"""What reads the pages sees what it shall: a transcript that is an old one, a word that changed, a pipe."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.documented.shell import Shell, expected_code, lines_of, words_of
from tests.documented.transcript import lacking, typed

SHOWN = """Sites
      ┃          ┃ occupancy
 site ┃    quota ┃    before
━━━━━━╇━━━━━━━━━━╇━━━━━━━━━━
 T2_A │  4.50 kB │    88.9 %

physics at 2026-11-22T08:29Z: would delete 2 block replicas, 4.00 kB, at 1 site; looked at
  4 block replicas.
"""


def test_another_run_folded_otherwise_has_the_same_shape() -> None:
    printed = SHOWN.replace("at\n  4 block replicas", "at 1 block replica").replace(
        "2 block replicas", "12 block replica"
    )
    printed = printed.replace("4.50 kB", "1.20 PB").replace("4.00 kB", "17 B").replace("2026-11-22T08", "2027-01-01T00")
    assert lacking(SHOWN, printed) == []


@pytest.mark.parametrize(
    ("before", "after", "missing"),
    [
        ("    quota ┃", "    limit ┃", ["site | quota | occupancy before"]),
        (
            "would delete",
            "will delete",
            ["Site physic at # would delete # block replica # at # site looked at # block replica"],
        ),
    ],
)
def test_what_changed_is_seen(before: str, after: str, missing: list[str]) -> None:
    assert lacking(SHOWN, SHOWN.replace(before, after)) == missing


def test_a_new_column_is_seen() -> None:
    printed = SHOWN.replace("━━\n", "━━╇━━━\n").replace("┃ occupancy\n", "┃ occupancy ┃ set\n")
    assert lacking(SHOWN, printed.replace("before\n", "before ┃ aside\n")) == ["site | quota | occupancy before"]


def test_what_is_left_out_may_be_anything_and_what_follows_must_come_later() -> None:
    assert lacking("one sheep\n…\nten goats", "one sheep\ntwo cows\nnine goats\nten goats") == []
    assert lacking("ten goats\n…\none sheep", "one sheep and\nten goats") == ["one sheep"]


def test_a_transcript_is_parted_into_commands_answers_and_what_is_shown() -> None:
    first, second = typed("$ dynamo a \\\n    --b\nSure? [y/N]: y\ndone\n$ dynamo c\n")
    assert (first.line.split(), first.answers) == (["dynamo", "a", "--b"], "y\n")
    assert first.shown == "Sure? [y/N]: \ndone\n"
    assert (second.line, second.answers, second.shown) == ("dynamo c", "", "")


def test_lines_of_a_block() -> None:
    lines = lines_of("# first\ndynamo a 'x # y' \\\n  --b    # why\n\ncat f | dynamo c - > d   # refused\n")
    assert [words_of(line) for line in lines] == [
        ["dynamo", "a", "x # y", "--b"],
        ["cat", "f", "|", "dynamo", "c", "-", ">", "d"],
    ]
    assert [expected_code(line) for line in lines] == [0, 2]


def test_the_shell_pipes_writes_and_stops_at_what_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "policy.txt").write_text("On site.name == *\nWhen always\nUntil never\nDismiss\nOrder none\n")
    shell = Shell(monkeypatch, tmp_path)
    assert shell.run("cat policy.txt > copy.txt && dynamo policy check copy.txt").code == 0
    assert shell.run("dynamo policy check nothing.txt && cat policy.txt > never.txt").code == 2
    assert sorted(file.name for file in tmp_path.iterdir()) == ["copy.txt", "policy.txt"]
