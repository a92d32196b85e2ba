"""Commands about plans over REST: other options than those of the walk, errors, questions and refusals."""

from __future__ import annotations

import json

import pytest

from tests.cli.seeded import DATASET, LONG, seeded_home
from tests.plugins.web.test_commands import House, house

__all__ = ["house", "seeded_home"]

READS = [
    ("plan", "list", "--kind", "detox", "--state", "planned", "--partition", "all", "--since", "1d"),
    ("plan", "list", "--limit", "1"),
    ("plan", "list", "--before", "3", "--limit", "1"),
    ("plan", "list", "--partition", "al"),
    ("plan", "list", "--state", "planed"),
    ("plan", "list", "--kind", "dealr"),
    ("plan", "show", "3"),
    ("plan", "show", "99"),
    ("detox", "show", "1", "--site", "T2_A", "--limit", "1"),
    ("detox", "show", "1", "--decision", "protect", "--dataset", "/Very*"),
    ("detox", "show", "1", "--line", "7"),
    ("detox", "show", "1", "--site", "T2_X"),
    ("detox", "show", "1", "--decision", "delet"),
    ("detox", "show", "3"),
    ("detox", "show", "99"),
    ("detox", "diff", "1", "2", "--table", "dataset"),
    ("detox", "diff", "1", "3"),
    ("detox", "diff", "1", "99"),
    ("detox", "explain", LONG, "T2_A", "--plan", "1"),
    ("detox", "explain", LONG, "T2_A", "--partition", "al"),
    ("detox", "explain", LONG, "T2_X"),
    ("detox", "explain", LONG, "T2_X", "--plan", "1"),
    ("detox", "explain", "/Very", "T2_A"),
    ("detox", "explain", LONG, "T2_A", "--plan", "3"),
    ("detox", "explain", LONG, "T2_A", "--plan", "99"),
    ("dealer", "show", "3", "--rejected"),
    ("dealer", "show", "3", "--site", "T2_C*", "--dataset", LONG, "--limit", "1"),
    ("dealer", "show", "3", "--plugin", "request"),
    ("dealer", "show", "3", "--site", "T2_X"),
    ("dealer", "show", "1"),
    ("dealer", "explain", LONG, "T2_*", "--plan", "3"),
    ("dealer", "explain", LONG, "T2_X"),
    ("dealer", "explain", "/Very"),
    ("dealer", "explain", DATASET, "--plan", "1"),
]


@pytest.mark.parametrize("words", READS, ids=" ".join)
def test_both_ways_answer_the_same(house: House, words: tuple[str, ...]) -> None:
    here, afar = house.here(*words), house.afar(*words)
    assert (afar.code, afar.err, afar.out) == (here.code, here.err, here.out)
    if here.code == 0:
        here, afar = house.here(*words, "--json"), house.afar(*words, "--json")
        assert house.plain(json.loads(afar.out)) == house.plain(json.loads(here.out))
