"""Commands about the catalogue over REST: other options, what is refused, what is asked."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from dynamo_ops.access.person import Role
from dynamo_ops.base.settings import settings
from dynamo_ops.cli.catalogue import usage
from dynamo_ops.database.connection import Database
from dynamo_ops.errand.carry import carry_out
from dynamo_ops.query.usage import BY_DAY, NOW
from tests.cli.seeded import DATASET, piped, seeded_home
from tests.cli.test_walk import WHY, complete
from tests.plugins.web.test_commands import House, house

__all__ = ["house", "seeded_home"]

SAME: tuple[tuple[str, ...], ...] = (
    ("site", "show", "T2_B"),
    ("site", "show", "T2_X"),
    ("site", "only-here", "T2_A", "--dataset", "/A/*", "--format", "csv"),
    ("site", "only-here", "T2_X"),
    ("site", "set", "T2_A", "readdy", *WHY),
    ("site", "set", "T2_X", "ready", *WHY),
    ("site", "set", "T2_A", "morgue", *WHY),
    ("site", "set", "T2_A", "ready", "--reason", " "),
    ("site", "set", "T2_A", "ready", *WHY, "--until", "2020-01-01"),
    ("site", "unset", "T2_B"),
    ("site", "evacuate", "T2_X", *WHY),
    ("site", "overrides", "T2_B"),
    ("site", "overrides", "T2_*", "--over"),
    ("site", "overrides", "T1_*"),
    ("site", "drain", "T2_A", *WHY, "--from", "2d"),
    ("site", "drain", "T2_A", *WHY, "--until", "2020-01-01"),
    ("site", "drain", "T2_A", *WHY, "--until", "2 years"),
    ("site", "resume", "T2_A"),
    ("site", "resume", "T2_B"),
    ("site", "downtime"),
    ("site", "downtime", "T1_*", "--over"),
    ("group", "show", "opps"),
    ("group", "datasets", "ops", "--site", "T2_A", "--dataset", DATASET, "--fields", "dataset,site"),
    ("group", "datasets", "ops", "--site", "T1"),
    ("usage",),
    ("usage", "tier", "--site", "T2_A", "--group", "none"),
    ("usage", "sites"),
    ("usage", "site", "status", "--since", "3d"),
    ("usage", "release", "--since", "3d"),
    ("quota", "set", "T2_A", "all", "unlimited", *WHY),
    ("quota", "set", "T2_A", "all", "0", "--yes", *WHY),
    ("quota", "set", "T2_A", "all", "1 XB", *WHY),
    ("quota", "set", "T2_A", "al", "1 TB", *WHY),
    ("quota", "set", "T2_X", "all", "1 TB", *WHY),
    ("quota", "set", "T1_*", "all", "1 TB", "--yes", *WHY),
    ("quota", "set", "T2_B", "all", "-1", "--reason", " "),
    ("quota", "set", "T2_*", "all", "5 TB", *WHY),
    ("quota", "group", "opps", "1"),
    ("quota", "group", "ops", "-1"),
    ("quota", "user", "ada b", "2 PB"),
    ("quota", "show", "T2_[AB]", "--partition", "a*"),
    ("quota", "show", "--no-usage"),
    ("quota", "show", "--no-usage", "T2_A", "--partition", "all"),
    ("quota", "show", "--history"),
    ("quota", "show", "--history", "T2_B", "--partition", "all"),
    ("quota", "show", "--groups", "--users"),
    ("quota", "show", "--groups", "--users", "--json"),
    ("quota", "show", "T2_X"),
    ("quota", "show", "--partition", "al"),
    ("quota", "show", "--no-usage", "--partition", "x*"),
    ("quota", "show", "--history", "T1_*"),
    ("inventory", "set-aside"),
    ("inventory", "set-aside", "--source", "dbs"),
    ("inventory", "vanished", "--kind", "file"),
    ("inventory", "vanished", "--kind", "site"),
    ("inventory", "vanished", "--source", "dbs", "--document"),
    ("inject", "new.json", "--dry-run"),
    ("inject", "new.json", "--dry-run", "--json"),
    ("inject", "none.json"),
    ("inject", "wrong.txt"),
    ("inject", "list.json"),
    ("inject", "document.json"),
    ("invalidate", "document.json", *WHY, "--dry-run"),
    ("invalidate", "document.json", *WHY, "--dry-run", "--json"),
    ("invalidate", "document.json", "--reason", " ", "--yes"),
    ("invalidate", "unknown.json", *WHY, "--yes"),
    ("invalidate", "list.json", *WHY, "--yes"),
    ("invalidate", "-", *WHY),
    ("invalidate", "--undo", DATASET, *WHY, "--yes"),
    ("replica", "bad", "T2_A", "/store/b1/f0", "--dry-run", "--json", *WHY),
    ("replica", "bad", "T2_A", "/store/none", *WHY),
    ("replica", "good", "T2_B", "/store/d1/f1", *WHY),
    ("replica", "list", "--state", "odd"),
    ("replica", "list", "--site", "T2_B", "--format", "csv"),
)


@pytest.fixture(autouse=True)
def documents(seeded_home: Path) -> None:
    """To hand in, beside those of the home."""
    (seeded_home / "list.json").write_text("[1]")


@pytest.mark.slow
@pytest.mark.parametrize("words", SAME, ids=" ".join)
def test_both_ways_say_the_same(house: House, words: tuple[str, ...]) -> None:
    here, afar = house.here(*words), house.afar(*words)
    assert (afar.code, afar.err, house.plain(afar.out)) == (here.code, here.err, house.plain(here.out))


REFUSED: tuple[tuple[str, ...], ...] = (
    ("site", "set", "T2_A", "morgue", *WHY),
    ("site", "unset", "T2_A"),
    ("site", "drain", "T2_A", *WHY),
    ("site", "resume", "T2_B", "--planned"),
    ("site", "evacuate", "T2_A", *WHY),
    ("quota", "set", "T2_A", "all", "1", *WHY),
    ("quota", "unset", "T2_A", "all", *WHY),
    ("quota", "group", "ops", "1"),
    ("quota", "user", "ada", "1"),
    ("inject", "new.json"),
    ("invalidate", "document.json", *WHY, "--yes"),
)


@pytest.mark.slow
@pytest.mark.parametrize("words", REFUSED, ids=" ".join)
def test_who_may_not_is_refused_by_the_server(house: House, words: tuple[str, ...]) -> None:
    ended = house.afar(*words, roles=(Role.VIEWER,))
    assert (ended.code, ended.out) == (2, "")
    assert "may not" in ended.err


def test_who_does_it_cannot_be_said_from_afar(house: House) -> None:
    ended = house.afar("site", "drain", "T2_A", *WHY, "--by", "somebody")
    assert (ended.code, ended.out) == (2, "")
    assert "--by: over REST" in ended.err


def test_a_shell_completes_names_of_a_server(house: House) -> None:
    for line, names in (
        ("dynamo transfers status --site T2_", ["T2_A", "T2_B", "T2_C_With_A_Long_Name"]),
        ("dynamo group show o", ["ops"]),
        ("dynamo plan list --partition a", ["all"]),
    ):
        with house.there(), pytest.MonkeyPatch.context() as patch:
            assert complete(patch, line) == names


def test_a_shell_is_offered_nothing_where_the_server_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYNAMO_SERVER", "http://127.0.0.1:9")
    monkeypatch.setenv("DYNAMO_TOKEN", "dyn_none")
    assert complete(monkeypatch, "dynamo site show T") == []


def test_usage_is_summed_by_what_its_help_says() -> None:
    assert (tuple(NOW), tuple(BY_DAY)) == (usage.NOW, usage.BY_DAY)


ASKED: tuple[tuple[str, ...], ...] = (
    ("quota", "set", "T2_*", "all", "5 TB", *WHY),
    ("quota", "set", "T2_A", "all", "1kB", *WHY),
    ("quota", "set", "T2_B", "all", "0", *WHY),
    ("quota", "unset", "T2_*", "all", *WHY),
)


@pytest.mark.parametrize("answer", [True, False])
@pytest.mark.parametrize("words", ASKED, ids=" ".join)
def test_both_ways_ask_the_same(
    house: House, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], answer: bool
) -> None:
    questions: list[str] = []
    monkeypatch.setattr("dynamo_ops.cli.terminal.confirm.is_somebody_there", lambda: True)
    monkeypatch.setattr("typer.confirm", lambda question, **_: questions.append(question) or answer)
    here, afar = house.here(*words), house.afar(*words)
    assert (afar.code, afar.err, house.plain(afar.out)) == (here.code, here.err, house.plain(here.out))
    assert here.code == (0 if answer else 1)
    assert questions == [questions[0]] * 2


def test_what_is_declared_invalid_is_asked_about_and_listed(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    questions: list[str] = []
    monkeypatch.setattr("dynamo_ops.cli.terminal.confirm.is_somebody_there", lambda: True)
    monkeypatch.setattr("typer.prompt", lambda question, **_: questions.append(question) or "4")
    shown = []
    for way in (house.at_home, house.there):
        with way():
            calls = (
                ("invalidate", "document.json", *WHY),
                ("invalidate", "document.json", *WHY),
                ("invalidated",),
                ("invalidated", "/A/*", "--json"),
                ("invalidated", "/B/*"),
            )
            shown.append([house.plain(piped(*words).out) for words in calls])
    assert questions == ["What goes does not come back. Type 4 (the files that go) to do it"] * 2
    assert shown[0] == shown[1]
    assert DATASET in shown[1][2]


@pytest.mark.parametrize(
    "words",
    [("inject", "new.json"), ("inject", "new.json", "--dry-run"), ("invalidate", "document.json", *WHY, "--yes")],
)
def test_what_is_large_is_waited_for(house: House, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]) -> None:
    from dynamo_web import body
    from dynamo_web.run import start

    def carry(run_id: str, by: str) -> bool:
        database = Database(os.environ["DYNAMO_DB_URL"])
        assert carry_out(database, settings(), run_id) == {"done": 1, "refused": 0}
        database.dispose()
        return False

    monkeypatch.setattr(body, "MOST_BYTES", 10)
    monkeypatch.setattr(start, "_start", carry)
    here, afar = house.here(*words), house.afar(*words)
    assert (afar.code, afar.out) == (here.code, here.out)
    assert "is done by a run of the server (errand 1): waiting" in afar.err


def test_a_quota_of_nothing_is_overfull_both_ways(house: House) -> None:
    for way in (house.at_home, house.there):
        with way():
            assert piped("quota", "set", "T2_A", "all", "0", "--yes", *WHY).code == 0
            shown = piped("quota", "show", "T2_A")
            assert "inf" in shown.out
            (row,) = json.loads(piped("quota", "show", "T2_A", "--json").out)
            assert (row["quota_bytes"], row["physical_occupancy"]) == (0, None)
