"""Commands about plans over REST: other options than those of the walk, errors, questions and refusals."""

from __future__ import annotations

import json

import pytest

from tests.cli.seeded import seeded_home
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
]


@pytest.mark.parametrize("words", READS, ids=" ".join)
def test_both_ways_answer_the_same(house: House, words: tuple[str, ...]) -> None:
    here, afar = house.here(*words), house.afar(*words)
    assert (afar.code, afar.err, afar.out) == (here.code, here.err, here.out)
    if not here.code:
        here, afar = house.here(*words, "--json"), house.afar(*words, "--json")
        assert house.plain(json.loads(afar.out)) == house.plain(json.loads(here.out))
