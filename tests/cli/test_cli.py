"""``dynamo …`` as a shell would use it: what it prints, what it changes, and how it ends."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from dynamo_ops.base.settings import settings
from dynamo_ops.cli import main
from dynamo_ops.cli.terminal.cells import size
from dynamo_ops.database.connection import Database
from dynamo_ops.database.embedded import EmbeddedPostgres
from dynamo_ops.plan import store as plan_store
from dynamo_ops.plan.verdict import refuse
from tests.installation import installed
from tests.inventory.factory import SIZE, Inventory
from tests.plan.made_of import made_of
from tests.request.stock import list_requests

NOUNS = (
    "inventory",
    "inject",
    "invalidate",
    "invalidated",
    "site",
    "policy",
    "detox",
    "plan",
    "history",
    "lock",
    "quota",
    "request",
    "transfers",
    "db",
)
DATASET = "/A/B-v1/AOD"


@pytest.fixture
def stock(database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Inventory]:
    """The installation's inventory: one dataset of two files, complete at T2_A; T2_B is empty."""
    monkeypatch.setenv("DYNAMO_DB_URL", database.url)
    monkeypatch.setenv("DYNAMO_HOME", installed(tmp_path))
    settings.cache_clear()
    inventory = Inventory(database)
    inventory.rows("UPDATE groups SET name = 'physics'")  # a Dealer of the shipped configuration places for it
    inventory.site("T2_A")
    inventory.site("T2_B")
    inventory.block("b1", 2)
    inventory.replica("b1", "T2_A")
    yield inventory
    settings.cache_clear()


def dynamo(*arguments: str, stdin: str | None = None) -> Result:
    """The command, which must end well."""
    result = CliRunner().invoke(main.app, list(arguments), input=stdin, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture
def fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """The command by its entry point, which must end with code 2 and a message without a trace, returned."""

    def run(*arguments: str) -> str:
        monkeypatch.setattr("sys.argv", ["dynamo", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main.run()
        told = capsys.readouterr()
        assert (ended.value.code, told.out) == (2, "")
        assert told.err.startswith("dynamo: ")
        assert "Traceback" not in told.err
        return told.err.rstrip()

    return run


def test_help_lists_all_nouns() -> None:
    shown = dynamo("--help").output
    assert [noun for noun in NOUNS if noun not in shown] == []


@pytest.mark.parametrize("noun", NOUNS)
def test_every_noun_explains_itself(noun: str) -> None:
    group = typer.main.get_command(main.app)
    command = group.commands[noun]  # type: ignore[attr-defined]
    assert dynamo(noun, "--help").output
    for each in [command, *getattr(command, "commands", {}).values()]:
        assert each.help, each.name


def test_version() -> None:
    assert dynamo("--version").output.startswith("dynamo ")


def test_summary_as_json_gives_the_real_numbers(stock: Inventory) -> None:
    stock.rows("UPDATE datasets SET num_blocks = 1, num_files = 2, size_bytes = :s", s=2 * SIZE)  # as a merge does
    found = json.loads(dynamo("inventory", "summary", "--json").output)
    assert (found["num_datasets"], found["num_blocks"], found["num_files"]) == (1, 1, 2)
    assert (found["num_dataset_replicas"], found["num_block_replicas"]) == (1, 1)
    assert found["bytes_on_disk"] == found["size_bytes"] == 2 * SIZE
    assert {site["site"] for site in found["sites"]} >= {"T2_A"}


def test_summary_for_people_has_units(stock: Inventory) -> None:
    shown = dynamo("inventory", "summary").output
    assert "2.00 kB" in shown
    assert "T2_A" in shown


def test_a_copy_is_requested_and_listed(stock: Inventory) -> None:
    asked = ("--site", "T2_B", "--site", "T2_A", "--group", "physics", "--copies", "0")
    shown = dynamo("request", "copy", DATASET, *asked).output
    (request,) = list_requests(stock.db).to_dicts()
    assert shown == (
        f"copy request {request['id']}: a copy at each of {DATASET} at T2_B T2_A\n"
        f"The next Dealer cycle looks at it; `dynamo request show {request['id']}` says how it stands.\n"
    )
    assert (request["sites"], request["num_copies"], request["state"]) == ("T2_A T2_B", 0, "new")
    assert json.loads(dynamo("request", "list", "--json").output)[0]["items"] == DATASET
    assert DATASET in dynamo("request", "list").output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(
            ["/No/Such-v1/AOD", "--site", "T2_A", "--group", "physics"],
            "unknown dataset '/No/Such-v1/AOD'",
            id="dataset",
        ),
        pytest.param(
            [DATASET, "--site", "T2_A", "--group", "fysics"],
            "no dealer configuration places for group 'fysics'; served are express, physics",
            id="group",
        ),
        pytest.param([DATASET, "--site", "T3_*", "--group", "physics"], "no site matches 'T3_*'", id="site"),
        pytest.param(
            [DATASET, "--site", "T2_A", "--group", "physics", "--copies", "-1"],
            "num_copies=-1 is negative",
            id="copies",
        ),
    ],
)
def test_a_wrong_request_is_told_in_a_line(
    stock: Inventory, fails: Callable[..., str], arguments: list[str], message: str
) -> None:
    assert message in fails("request", "copy", *arguments)
    assert list_requests(stock.db).is_empty()


def test_plans_are_listed_and_shown(stock: Inventory, tmp_path: Path) -> None:
    import polars as pl

    sites = pl.DataFrame({"site": ["T2_A"], "quota_bytes": [-1], "bytes_before": [5000]})
    plan = plan_store.save(
        stock.db,
        made_of(),
        run_key="r",
        frames={"site_states": sites},
        summary={"num_deletions": 7},
        location=str(tmp_path / "plans"),
    )
    assert json.loads(dynamo("plan", "list", "--json").output)[0]["state"] == "planned"
    document = json.loads(dynamo("plan", "show", str(plan.id), "--json").output)
    assert (document["num_deletions"], document["inputs"]["policy"]["text"]) == (7, "Dismiss")
    shown = dynamo("plan", "show", str(plan.id)).output
    assert "detox of physics, planned, made for 2026-03-01T00:00Z" in shown
    assert f"policy: physics.txt, sha256 {document['inputs']['policy']['sha256'][:12]}" in shown
    assert "rules: -" in shown
    assert "unlimited" in shown
    assert "5.00 kB" in shown


def test_plans_are_listed_by_what_they_are_and_in_pages(stock: Inventory, tmp_path: Path) -> None:
    for kind, partition in (("detox", "physics"), ("dealer", "physics"), ("detox", "express")):
        plan_store.save(
            stock.db, made_of(kind, partition), run_key="r", frames={}, summary={}, location=str(tmp_path / "plans")
        )
    refuse(stock.db, 1, "too much")

    def listed(*filters: str) -> list[int]:
        return [plan["id"] for plan in json.loads(dynamo("plan", "list", *filters, "--json").output)]

    assert listed() == [3, 2, 1]
    assert listed("--partition", "physics") == [2, 1]
    assert listed("--state", "refused") == [1]
    assert listed("--kind", "detox", "--partition", "physics", "--state", "planned") == []
    assert listed("--since", "1h") == [3, 2, 1]
    stock.rows("UPDATE plans SET created_at = now() - interval '2 days' WHERE id < 3")
    assert listed("--since", "1d") == [3]
    assert listed("--limit", "2") == [3, 2]
    assert listed("--limit", "2", "--before", "2") == [1]
    shown = dynamo("plan", "list", "--limit", "2").output
    assert shown.endswith("the newest 2; --limit shows more, --before 2 the next\n")


def test_a_plan_that_does_not_exist_is_told_in_a_line(stock: Inventory, fails: Callable[..., str]) -> None:
    assert fails("plan", "show", "4711") == "dynamo: there is no plan 4711"


def test_detox_of_an_unknown_partition_is_told_in_a_line(stock: Inventory, fails: Callable[..., str]) -> None:
    assert "nothing.txt" in fails("detox", "plan", "nothing")


def test_transfers_tell_how_subscriptions_stand(stock: Inventory) -> None:
    stock.subscription("copy", stock.files_of["b1"], "T2_B")
    shown = dynamo("transfers", "status").output
    assert "Active subscriptions" in shown
    assert "T2_B" in shown


def test_the_database_tells_where_it_is_and_what_it_knows(stock: Inventory) -> None:
    shown = dynamo("db", "status").output
    schema = stock.scalar("SELECT version_num FROM alembic_version")
    assert f"schema {schema}, this version of Dynamo knows {schema}" in shown
    assert dynamo("db", "upgrade").output == f"schema {schema}\n"
    assert dynamo("db", "stop").output == "it was not running\n"


def test_a_database_without_a_schema_is_told_in_a_line(
    stock: Inventory, postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch, fails: Callable[..., str]
) -> None:
    postgres.create_database("bare")
    monkeypatch.setenv("DYNAMO_DB_URL", postgres.url("bare"))
    settings.cache_clear()
    assert "dynamo db upgrade" in fails("inventory", "summary")
    postgres.drop_database("bare")


def test_a_database_that_is_away_is_told_in_a_line(
    stock: Inventory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fails: Callable[..., str]
) -> None:
    monkeypatch.setenv("DYNAMO_DB_URL", f"postgresql://postgres@/x?host={tmp_path}")
    settings.cache_clear()
    assert "database postgresql://" in fails("inventory", "summary")
    assert "database postgresql://" in fails("db", "upgrade")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "unknown"),
        (-1, "unlimited"),
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.00 kB"),
        (1_500_000, "1.50 MB"),
        (10**12, "1.00 TB"),
        (10**19, "10000.00 PB"),
    ],
)
def test_sizes_are_decimal(value: int | None, shown: str) -> None:
    assert size(value) == shown
