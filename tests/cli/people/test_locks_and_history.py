"""``dynamo lock`` and ``dynamo history`` as a shell would use them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dynamo_ops.base.settings import settings
from dynamo_ops.cli.main import app
from dynamo_ops.database.connection import Database
from dynamo_ops.detox.commit import commit
from tests.cli.test_cli import dynamo
from tests.cli.test_cli import fails as fails
from tests.cli.test_cli import test_every_noun_explains_itself as explains_itself
from tests.detox.test_commit import Stock
from tests.installation import installed
from tests.inventory.factory import SIZE

DATASET = "/A/B-v1/AOD"


@pytest.fixture
def stock(database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Stock]:
    """Blocks b1 and b2 at T2_A and T2_B, in the installation's inventory."""
    monkeypatch.setenv("DYNAMO_DB_URL", database.url)
    monkeypatch.setenv("DYNAMO_HOME", installed(tmp_path))
    settings.cache_clear()
    yield Stock(database, tmp_path)
    settings.cache_clear()


@pytest.mark.parametrize("noun", ["lock", "history"])
def test_the_nouns_explain_themselves(noun: str) -> None:
    explains_itself(noun)


def test_a_lock_is_set_shown_listed_and_taken_back(stock: Stock) -> None:
    told = dynamo("lock", "add", DATASET, "--site", "T2_A", "--until", "90 days", "--reason", "thesis").output
    assert told == "lock 1: 2 block replicas, 6.00 kB now\n"
    shown = dynamo("lock", "show", "1").output
    assert "reason: thesis" in shown
    assert "T2_A" in shown
    assert "in all: 2 block replicas, 6.00 kB" in shown
    document = json.loads(dynamo("lock", "show", "1", "--json").output)
    assert document["sites"] == [{"site": "T2_A", "num_block_replicas": 2, "size_bytes": 6 * SIZE}]
    assert document["lock"]["item"] == DATASET
    assert "thesis" in dynamo("lock", "list").output
    assert [row["id"] for row in json.loads(dynamo("lock", "list", "--item", "/A/*", "--json").output)] == [1]
    removed = dynamo("lock", "remove", "1", "--reason", "handed in", "--yes").stdout
    assert removed.startswith(f"lock 1 of {DATASET}, by ")
    assert removed.endswith("lock 1 is removed\n")
    assert json.loads(dynamo("lock", "list", "--json").output) == []
    assert "handed in" in dynamo("lock", "list", "--expired").output


def test_who_removes_a_lock_is_asked_about_what_it_alone_protects(stock: Stock) -> None:
    dynamo("lock", "add", DATASET, "--reason", "thesis")
    dynamo("lock", "add", f"{DATASET}#b1", "--site", "T2_A", "--reason", "of another")
    refused = CliRunner().invoke(app, ["lock", "remove", "1", "--reason", "handed in"], input="n\n")
    question = "Remove lock 1? Nothing protects then 2 blocks of 1 dataset at 2 sites, 9.00 kB [y/N]:"
    assert question in refused.stderr
    assert "1 block replica of it stay under other locks" in refused.stdout
    assert refused.exit_code == 1
    unanswered = CliRunner().invoke(app, ["lock", "remove", "1", "--reason", "handed in"], input="")
    assert unanswered.stderr.endswith("dynamo: there was no answer: nothing was done\n")
    assert unanswered.exit_code == 1
    assert len(json.loads(dynamo("lock", "list", "--json").output)) == 2
    document = json.loads(dynamo("lock", "remove", "1", "--reason", "handed in", "--yes", "--json").output)
    assert (document["num_block_replicas"], document["size_bytes"], document["num_still_locked"]) == (3, 9 * SIZE, 1)
    nothing = CliRunner().invoke(app, ["lock", "remove", "2", "--reason", "x"], input="y\n")
    assert "Nothing protects then 1 block of 1 dataset at 1 site, 3.00 kB" in nothing.stderr


def test_a_scope_that_matches_nothing_is_warned_of(stock: Stock) -> None:
    result = dynamo("lock", "add", DATASET, "--site", "T9_*", "--reason", "thesis")
    assert "warning: no site matches 'T9_*': the lock counts for all sites" in result.stderr
    assert result.stdout == "lock 1: 4 block replicas, 12.00 kB now\n"


def test_a_wrong_lock_is_told_in_a_line(stock: Stock, fails: Callable[..., str]) -> None:
    assert "Did you mean /A/B-v1/AOD?" in fails("lock", "add", "/A/B-v1/AODSIM", "--reason", "x")
    assert "there is no lock 5" in fails("lock", "show", "5")


def test_history_tells_what_was_done_by_which_line(stock: Stock) -> None:
    plan = stock.plan(("b1", "T2_A"), lines=("Dismiss", "Delete site.name == T2_A"), kept=[("T2_B", "keep", 0)])
    commit(stock.db, plan)
    rows = json.loads(dynamo("history", "dataset", "/A/*", "--json").output)
    assert [(row["site"], row["decision"], row["policy_line"]) for row in rows] == [
        ("T2_A", "delete", "Delete site.name == T2_A"),
        ("T2_B", "keep", "Dismiss"),
    ]
    assert "Delete site.name" in dynamo("history", "dataset", DATASET, "--since", "1 day ago").output
    assert json.loads(dynamo("history", "dataset", DATASET, "--site", "T2_C", "--json").output) == []
    (cycle,) = json.loads(dynamo("history", "cycles", "physics", "--json").output)
    assert (cycle["plan_id"], cycle["num_block_replicas"], cycle["state"]) == (plan, 1, "committed")
    (state,) = json.loads(dynamo("history", "site", "T2_A", "--partition", "physics", "--json").output)
    assert (state["bytes_before"], state["deleted_bytes"]) == (6 * SIZE, 3 * SIZE)


def test_a_wrong_question_is_told_in_a_line(stock: Stock, fails: Callable[..., str]) -> None:
    assert "no dataset is called '/X'" in fails("history", "dataset", "/X")
    wrong = CliRunner().invoke(app, ["history", "dataset", DATASET, "--since", "yesteryear"])
    assert wrong.exit_code == 2
    assert "--since: 'yesteryear' is not a time; expected a date" in wrong.output
    assert "Did you mean /A/B-v1/AOD?" in fails("history", "dataset", "/A/B-v1/AODSIM")
    assert "there is no plan of partition 'fysics'" in fails("history", "cycles", "fysics")
