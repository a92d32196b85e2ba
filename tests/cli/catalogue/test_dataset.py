"""``dynamo dataset``: as tables, as JSON, and as streams."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.seeded import DATASET, LIKE_MARKUP, LONG, on_terminal, piped, seeded, seeded_home

__all__ = ["seeded", "seeded_home"]


def test_find_lists_names_in_order_and_says_what_is_cut(seeded: Path) -> None:
    shown = piped("dataset", "find")
    assert shown.out.index(DATASET) < shown.out.index(LONG) < shown.out.index(LIKE_MARKUP)
    cut = piped("dataset", "find", "--limit", "2")
    assert LIKE_MARKUP not in cut.out
    assert "the first 2; --limit shows more" in cut.out
    assert [row["name"] for row in json.loads(piped("dataset", "find", "--json").out)] == [DATASET, LONG, LIKE_MARKUP]


def test_streams_are_lines_for_programs(seeded: Path) -> None:
    lines = piped("dataset", "find", "--format", "ndjson", "--fields", "name,status").out.splitlines()
    assert [json.loads(line) for line in lines] == [
        {"name": DATASET, "status": "valid"},
        {"name": LONG, "status": "valid"},
        {"name": LIKE_MARKUP, "status": "valid"},
        {"end": {"rows": 3}},
    ]
    assert piped("dataset", "files", f"{DATASET}#b1", "--format", "csv", "--fields", "lfn").out.splitlines() == [
        "lfn",
        "/store/b1/f0",
        "/store/b1/f1",
    ]
    on_a_terminal = on_terminal("dataset", "find", "--format", "ndjson", "--limit", "1")
    assert json.loads(on_a_terminal.out.splitlines()[-1]) == {"end": {"rows": 1}}


def test_where_answers_for_a_dataset_a_block_and_a_file(seeded: Path) -> None:
    replicas = json.loads(piped("dataset", "where", DATASET, "--json").out)
    assert [(row["site"], row["num_complete"], row["is_complete"]) for row in replicas] == [
        ("T2_A", 2, True),
        ("T2_B", 2, True),
    ]
    blocks = json.loads(piped("dataset", "where", f"{DATASET}#b*", "--site", "T2_A", "--json").out)
    assert [(row["block"], row["site"]) for row in blocks] == [("b1", "T2_A"), ("b2", "T2_A")]
    (file,) = json.loads(piped("dataset", "where", "/store/b1/f0", "--json").out)
    assert [(copy["site"], copy["standing"]) for copy in file["copies"]] == [("T2_A", "good"), ("T2_B", "doomed")]
    assert "davs://t2_a.invalid:443/dav/store/b1/f0" in piped("dataset", "where", "/store/b1/f0").out


def test_files_can_be_shown_with_their_places(seeded: Path) -> None:
    files = json.loads(piped("dataset", "files", f"{DATASET}#b2", "--where", "--json").out)
    assert [(file["lfn"], len(file["copies"])) for file in files] == [("/store/b2/f0", 2), ("/store/b2/f1", 2)]
    assert piped("dataset", "files", DATASET, "--where", "--limit", "1").code == 2


def test_a_card_shows_locks_requests_and_sites(seeded: Path) -> None:
    shown = piped("dataset", "show", LIKE_MARKUP).out
    assert "[red]thesis[/red]" in shown
    card = json.loads(piped("dataset", "show", LONG, "--json").out)
    assert [(request["kind"], request["state"]) for request in card["requests"]] == [("copy", "new")]


def test_what_is_wrong_is_said_with_what_is_near(seeded: Path) -> None:
    for words, message in (
        (("dataset", "show", "/A/B-v1/AODD"), f"Did you mean {DATASET}"),
        (("dataset", "find", "/B/*"), "no dataset matches '/B/*'"),
        (("dataset", "find", "--fields", "nmae"), "Did you mean name"),
        (("dataset", "find", "--format", "cvs"), "no format 'cvs'; there are ndjson, csv. Did you mean csv?"),
        (("dataset", "find", "--larger", "5 tons"), "unknown unit 'tons'"),
        (("dataset", "where", "/A/*", "--group", "opps"), "Did you mean ops"),
    ):
        ended = piped(*words)
        assert ended.code == 2, words
        assert message in " ".join(ended.err.split()), words
