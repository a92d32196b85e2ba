"""Commands about plans over REST: other options than those of the walk, errors, questions and refusals."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from sqlalchemy import text

from dynamo_ops.access.person import Role
from dynamo_ops.base.settings import settings
from dynamo_ops.cli.afar import plan as plan_afar
from dynamo_ops.cli.terminal import confirm
from dynamo_ops.database.connection import Database
from dynamo_ops.query.decision import cycle
from tests.cli.seeded import DATASET, LONG, piped, seeded_home
from tests.plugins.web.test_commands import CHOSEN, WHO, House, house, told

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


@pytest.mark.slow
@pytest.mark.parametrize("words", READS, ids=" ".join)
def test_both_ways_answer_the_same(house: House, words: tuple[str, ...]) -> None:
    here, afar = house.here(*words), house.afar(*words)
    assert (afar.code, afar.err, house.plain(afar.out)) == (here.code, here.err, house.plain(here.out))
    if here.code == 0:
        here, afar = house.here(*words, "--json"), house.afar(*words, "--json")
        assert house.plain(json.loads(afar.out)) == house.plain(json.loads(here.out))


# -- deciding ------------------------------------------------------------------------------------------------------


@pytest.fixture
def gates(seeded_home: Path) -> Iterator[Callable[..., None]]:
    """Sets thresholds of Detox; they are as they were afterwards."""
    file = seeded_home / "config" / "gates.yaml"
    before = file.read_text()

    def change(**thresholds: object) -> None:
        document = yaml.safe_load(before)
        document["detox"] |= thresholds
        file.write_text(yaml.safe_dump(document))
        settings.cache_clear()

    yield change
    file.write_text(before)


def answering(patch: pytest.MonkeyPatch, answer: Callable[[], bool]) -> None:
    """Somebody is there, and answers so."""
    patch.setattr(confirm, "is_somebody_there", lambda: True)
    patch.setattr(typer, "confirm", lambda *_, **__: answer())


def rows(sql: str) -> list[tuple[Any, ...]]:
    """Of the database that commands mean now."""
    database = Database(settings().db_url)
    with database.begin() as connection:
        found = [tuple(row) for row in connection.execute(text(sql))]
    database.dispose()
    return found


def state_of(plan: int) -> str:
    ((state,),) = rows(f"SELECT state FROM plans WHERE id = {plan}")
    return str(state)


BOTH_ENGINES = pytest.mark.parametrize(("engine", "plan"), [("detox", 2), ("dealer", 3)])


@BOTH_ENGINES
def test_a_plan_is_committed_once_as_it_was_shown(
    house: House, monkeypatch: pytest.MonkeyPatch, engine: str, plan: int
) -> None:
    answering(monkeypatch, lambda: True)
    told_by = {}
    for way in (house.at_home, house.there):
        with way():
            first, again = piped(engine, "commit", str(plan)), piped(engine, "commit", str(plan), "--yes")
            told_by[way.__name__] = [(ended.code, house.plain(ended.out), told(ended)) for ended in (first, again)]
            assert state_of(plan) == "committed"
            ((by,),) = rows("SELECT person FROM audit WHERE object LIKE 'plan %: committed%'")
            assert by == WHO
    assert told_by["there"] == told_by["at_home"]
    first, again = told_by["there"]
    assert "would " in first[1]
    assert "is committed" in first[1]
    assert "was committed before; nothing was done now" in again[1]


@BOTH_ENGINES
def test_what_nobody_says_yes_to_is_not_committed(
    house: House, monkeypatch: pytest.MonkeyPatch, engine: str, plan: int
) -> None:
    with house.there():
        nobody = piped(engine, "commit", str(plan))
        assert (nobody.code, nobody.out) == (2, "")
        assert "nobody is there to be asked: say --yes" in nobody.err
        answering(monkeypatch, lambda: False)
        no = piped(engine, "commit", str(plan))
        assert no.code == 1
        assert no.out.endswith("nothing was committed; the plan stays planned\n")
        assert (state_of(plan), rows("SELECT * FROM errands")) == ("planned", [])


@BOTH_ENGINES
def test_what_became_another_plan_while_it_was_looked_at_is_not_committed(
    house: House, monkeypatch: pytest.MonkeyPatch, engine: str, plan: int
) -> None:
    def made_anew() -> bool:
        rows(f"UPDATE plans SET created_at = now() WHERE id = {plan} RETURNING id")
        return True

    answering(monkeypatch, made_anew)
    for way in (house.at_home, house.there):
        with way():
            ended = piped(engine, "commit", str(plan))
            assert ended.code == 2, way
            assert "and was changed since it was looked at" in ended.err
            assert "is committed" not in ended.out
            assert state_of(plan) != "committed"


def test_who_commits_much_says_yes_to_it(
    house: House, monkeypatch: pytest.MonkeyPatch, gates: Callable[..., None]
) -> None:
    gates(approval_above_bytes=0)
    answering(monkeypatch, lambda: True)
    here, afar = house.here("detox", "commit", "2"), house.afar("detox", "commit", "2")
    assert (afar.code, afar.out, told(afar)) == (here.code, here.out, here.err)
    assert f"a person must approve it: that will be you, {WHO}." in afar.out
    with house.there():
        piped("detox", "commit", "2")
        assert rows("SELECT state, approved_by FROM plans WHERE id = 2") == [("committed", WHO)]


def test_what_the_gate_refuses_is_no_success(house: House, gates: Callable[..., None]) -> None:
    gates(max_volume_bytes=1)
    for words in (("detox", "commit", "2", "--yes"), ("detox", "commit", "2", "--yes", "--json")):
        here, afar = house.here(*words), house.afar(*words)
        assert (here.code, afar.code) == (2, 2)
        assert here.err.startswith(told(afar).rstrip("\n"))  # and more, which only who is there can look at
        assert "is committed" not in afar.out
    with house.there():
        piped("detox", "commit", "2", "--yes")
        again = piped("detox", "commit", "2", "--yes")
        assert (again.code, state_of(2)) == (2, "refused")
        assert "plan 2 of all was refused by gate: " in again.err


@BOTH_ENGINES
def test_what_was_refused_is_never_committed(house: House, engine: str, plan: int) -> None:
    told_by = []
    for way in (house.at_home, house.there):
        with way():
            refused = piped(engine, "refuse", str(plan), "--reason", "not today")
            ended = piped(engine, "commit", str(plan), "--yes")
            told_by.append((refused, ended))
            assert (refused.code, ended.code, state_of(plan)) == (0, 2, "refused")
            assert rows(f"SELECT refused_by, refused_because FROM plans WHERE id = {plan}") == [(WHO, "not today")]
    assert told_by[0] == told_by[1]


@pytest.mark.parametrize("verb", ["commit", "refuse"])
def test_what_they_may_not_is_refused(house: House, verb: str) -> None:
    more = ("--yes",) if verb == "commit" else ("--reason", "no")
    for change, roles, words in (
        ("", (Role.VIEWER,), "may not"),
        ("UPDATE plans SET stored_by = 'olga' RETURNING id", CHOSEN, "somebody else decides about it"),
        ("UPDATE plans SET stored_by = NULL RETURNING id", CHOSEN, "is a cycle's"),
    ):
        if verb == "refuse" and words == "is a cycle's":
            continue
        with house.there(roles):
            if change:
                rows(change)
            ended = piped("detox", verb, "2", *more)
            assert (ended.code, state_of(2)) == (2, "planned"), ended
            assert words in ended.err
            assert " is committed" not in ended.out


@pytest.mark.parametrize("words", [("commit", "2", "--yes"), ("refuse", "2", "--reason", "no")], ids=" ".join)
def test_over_rest_nobody_says_to_be_another(house: House, words: tuple[str, ...]) -> None:
    with house.there():
        ended = piped("detox", *words, "--by", "ada")
        assert (ended.code, ended.out, state_of(2)) == (2, "", "planned")
        assert "who does it is whose the token is" in ended.err


# -- long lists, files -----------------------------------------------------------------------------------------------


def test_what_is_longer_than_a_page_is_whole(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_afar, "ROWS_A_PAGE", 1)
    for words in (
        ("detox", "show", "1"),
        ("detox", "show", "1", "--site", "T2_*"),
        ("detox", "show", "1", "--site", "T2_*", "--limit", "2"),
        ("dealer", "show", "3", "--rejected"),
    ):
        here, afar = house.here(*words, "--json"), house.afar(*words, "--json")
        assert (afar.code, house.plain(json.loads(afar.out))) == (0, house.plain(json.loads(here.out)))


def test_a_difference_is_whole_and_its_decisions_are_written(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_afar, "ROWS_A_PAGE", 1)
    change = "UPDATE plans SET location = '{}' WHERE id = 2 RETURNING id"
    with house.at_home():
        assert piped("quota", "set", "T2_A", "all", "0", "--reason", "all of it", "--yes").code == 0
        assert piped("detox", "plan", "all", "--store").code == 0
        ((location,),) = rows("SELECT location FROM plans ORDER BY id DESC LIMIT 1")
    ended = {}
    for way in (house.at_home, house.there):
        with way():
            rows(change.format(location))
            rows("UPDATE plans SET summary = summary - 'inputs_sha256' WHERE id = 2 RETURNING id")
            file = Path(f"{way.__name__}.csv")
            words = ("detox", "diff", "1", "2", "--decisions", str(file))
            ended[way.__name__] = (
                json.loads(piped(*words, "--json").out),
                piped(*words).out.replace(str(file), ""),
                file.read_text(),
            )
    assert house.plain(ended["there"][0]) == house.plain(ended["at_home"][0])
    assert ended["there"][1:] == ended["at_home"][1:]
    assert len(ended["there"][0]["datasets"]) > 1
    assert len(ended["there"][2].splitlines()) > 1


def test_plans_in_folders_are_read_whatever_server_is_meant(house: House, tmp_path: Path) -> None:
    with house.at_home():
        assert piped("detox", "plan", "all", "--out", str(tmp_path / "plan")).code == 0
    with house.there():
        folder = str(tmp_path / "plan")
        assert "at T2_A" in piped("detox", "explain", LONG, "T2_A", "--plan", folder).out
        assert "Old and new delete the same" in piped("detox", "diff", folder, folder).out
        ended = piped("detox", "diff", folder, "1")
        assert (ended.code, "not over REST" in ended.err) == (2, True)


# -- history ---------------------------------------------------------------------------------------------------------


def test_what_was_committed_is_told_alike(house: House) -> None:
    told_by = []
    for way in (house.at_home, house.there):
        with way():
            for words in (("detox", "commit", "2", "--yes"), ("dealer", "commit", "3", "--yes")):
                assert piped(*words).code == 0
            piped("detox", "refuse", "1", "--reason", "no\nneed")
            asked = (
                ("dataset", "*"),
                ("dataset", DATASET, "--site", "T2_A"),
                ("dataset", "/Very"),
                ("cycles", "all"),
                ("cycles", "all", "--dealer"),
                ("cycles", "al"),
                ("site", "T2_*", "--partition", "all"),
                ("site", "T2_X"),
                ("site", "T2_A", "--partition", "al"),
            )
            found = [piped("history", *words, *more) for words in asked for more in ((), ("--json",))]
            told_by.append([(ended.code, house.plain(ended.out), ended.err) for ended in found])
    assert told_by[0] == told_by[1]
    assert {code for code, *_ in told_by[0]} == {0, 2}


def test_a_history_too_long_to_be_answered_says_so(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cycle, "MOST", 1)
    ended = house.afar("history", "cycles", "all")
    assert (ended.code, ended.out) == (2, "")
    assert "these are 2 rows, and 1 are the most: narrow it" in ended.err


def test_of_a_history_of_datasets_no_more_is_read_than_is_answered(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cycle, "MOST", 0)
    with house.there():
        assert piped("detox", "commit", "2", "--yes", "--json").code == 0
        ended = piped("history", "dataset", "*")
    assert (ended.code, ended.out) == (2, "")
    assert "these are more than 0 rows: narrow it" in ended.err
