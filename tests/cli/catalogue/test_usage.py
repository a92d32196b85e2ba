"""``dynamo usage``, ``group`` and the cards of sites: what is there, whose, and what only one site has."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.seeded import DATASET, LIKE_MARKUP, LONG, piped, seeded, seeded_home
from tests.inventory.factory import SIZE

__all__ = ["seeded", "seeded_home"]


def test_usage_by_several_things_at_once(seeded: Path) -> None:
    sums = json.loads(piped("usage", "site", "group", "--site", "T2_B", "--json").out)
    assert [(row["site"], row["group"], row["num_blocks"], row["size_bytes"]) for row in sums] == [
        ("T2_B", "none", 1, 2 * SIZE),
        ("T2_B", "ops", 3, 6 * SIZE),
    ]
    assert "T2_A" in piped("usage").out
    by_day = piped("usage", "group", "--since", "30d")
    assert "no day is recorded in that time" in by_day.out


def test_a_group_on_a_card_and_as_a_list(seeded: Path) -> None:
    card = json.loads(piped("group", "show", "ops", "--json").out)
    assert [site["site"] for site in card["sites"]] == ["T2_A", "T2_B"]
    assert "unique data    8.00 kB of unlimited" in piped("group", "show", "ops").out
    lines = piped("group", "datasets", "ops", "--site", "T2_A", "--format", "csv", "--fields", "dataset,num_blocks").out
    assert lines.splitlines() == ["dataset,num_blocks", f"{DATASET},2", f"{LONG},1", f"{LIKE_MARKUP},1"]


def test_a_site_says_whose_data_it_has_and_what_nobody_else_has(seeded: Path) -> None:
    shown = piped("site", "show", "T2_A").out
    assert "status         ready; set by" in shown
    assert "3 datasets, 4 block replicas" in shown
    last = json.loads(piped("site", "only-here", "T2_A", "--json").out)
    assert [(row["dataset"], row["block"], row["num_files"]) for row in last] == [
        (DATASET, "b1", 2),
        (LIKE_MARKUP, "d1", 1),  # whose copy at T2_B is suspicious
    ]
    assert json.loads(piped("site", "only-here", "T2_B", "--json").out) == []


def test_what_is_wrong_is_said_with_what_is_near(seeded: Path) -> None:
    for words, message in (
        (("usage", "sites"), "Did you mean site"),
        (("usage", "release", "--since", "3d"), "usage cannot be summed by 'release'"),
        (("group", "show", "opps"), "Did you mean ops"),
        (("site", "show", "T2"), "there is no site 'T2'"),
        (("site", "only-here", "T2_*"), "expected a name, not a glob"),
    ):
        ended = piped(*words)
        assert ended.code == 2, words
        assert message in " ".join(ended.err.split()), words
