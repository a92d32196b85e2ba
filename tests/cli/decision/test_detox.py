"""``dynamo detox …`` on an installation: what a data manager types, reads and causes."""

from __future__ import annotations

import csv
import getpass
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from dynamo_ops.access.audit import records
from dynamo_ops.base.settings import settings
from dynamo_ops.cli import main
from dynamo_ops.database.connection import Database
from dynamo_ops.plan import store as plan_store
from tests import ROOT
from tests.installation import installed
from tests.inventory.factory import SIZE, Inventory
from tests.plan.made_of import made_of

CASE = ROOT / "tests/golden/cases" / "d04_reown"
HEAD = "Partition all\nOn site.status == READY\nWhen site.occupancy > 0.5\nUntil site.occupancy < 0.4\n"
TAIL = "Dismiss\nOrder increasing replica.size\n"
DATASET = "/A/B-v1/AOD"
ME = getpass.getuser()


class House(Inventory):
    """Blocks b1, b2 of one dataset at T2_A, over its high watermark, and at T2_B, which has no limit."""

    def __init__(self, db: Database, folder: Path) -> None:
        super().__init__(db)
        self.folder = folder
        for name in ("config", "policies"):
            (folder / name).mkdir()
        (folder / "config" / "dynamo.yaml").write_text("")
        (folder / "config" / "partitions.txt").write_text("all: dataset.name == /*/*/*\n")
        self.gates()
        (folder / "policies" / "all.txt").write_text(HEAD + TAIL)
        for site, quota in (("T2_A", 4 * SIZE), ("T2_B", -1)):
            self.site(site)
            self.rows(
                "INSERT INTO quotas (site_id, partition, quota_bytes, changed_by) VALUES (:s, 'all', :q, 'test')",
                s=self.site_ids[site],
                q=quota,
            )
        for block in ("b1", "b2"):
            self.block(block, 2)
            for site in ("T2_A", "T2_B"):
                self.replica(block, site)
        self.rows("UPDATE block_replicas SET last_update_at = :t", t=datetime.now(UTC) - timedelta(days=100))

    def gates(self, **detox: Any) -> None:
        """The shipped limits, but a plan may empty a site; with these of ``detox`` changed."""
        shipped = yaml.safe_load((ROOT / "include" / "config" / "gates.yaml").read_text())
        shipped["detox"] |= {"max_site_fraction": 1.0, **detox}
        (self.folder / "config" / "gates.yaml").write_text(yaml.safe_dump(shipped))

    def file(self, name: str, lines: str) -> str:
        """A policy file of these lines; its path."""
        file = self.folder / name
        file.write_text(HEAD + lines)
        return str(file)

    def store(self, *more: str) -> str:
        """Store a plan by the command; its number."""
        return str(json.loads(dynamo("plan", "all", "--store", "--json", *more))["plan_id"])

    def drop(self, block: str, site: str) -> None:
        """The block replica is gone, whoever took it."""
        key = {"b": self.block_ids[block], "s": self.site_ids[site]}
        self.rows("DELETE FROM block_replicas WHERE block_id = :b AND site_id = :s", **key)

    def state(self, plan_id: str) -> str:
        return plan_store.load(self.db, int(plan_id)).state


@pytest.fixture
def house(database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[House]:
    monkeypatch.setenv("DYNAMO_DB_URL", database.url)
    monkeypatch.setenv("DYNAMO_HOME", installed(tmp_path))
    monkeypatch.setenv("DYNAMO_POLICY_DIR", str(tmp_path / "policies"))
    monkeypatch.setenv("DYNAMO_CONFIG_DIR", str(tmp_path / "config"))
    settings.cache_clear()
    yield House(database, tmp_path)
    settings.cache_clear()


def invoke(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(main.app, ["detox", *arguments], input=stdin, catch_exceptions=False)


def dynamo(*arguments: str, stdin: str | None = None) -> str:
    """What ``dynamo detox …``, which must end well, prints."""
    result = invoke(*arguments, stdin=stdin)
    assert result.exit_code == 0, result.output
    return result.stdout


def document(*arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(dynamo(*arguments, "--json"))
    return found


@pytest.fixture
def fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """``dynamo detox …`` by its entry point, which must end with code 2 and a message without a trace, returned."""

    def run(*arguments: str) -> str:
        monkeypatch.setattr("sys.argv", ["dynamo", "detox", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main.run()
        told = capsys.readouterr()
        assert (ended.value.code, told.out) == (2, "")
        assert "Traceback" not in told.err
        return " ".join(told.err.split())

    return run


# -- plan ----------------------------------------------------------------------------------------------------------


def test_a_plan_is_tried_without_a_trace(house: House) -> None:
    found = document("plan", "all")
    assert [(row["decision"], row["line"], row["num_block_replicas"]) for row in found["lines"]] == [
        ("delete", 0, 2),
        ("keep", 0, 2),
    ]
    assert found["deleted"] == {"num_dataset_replicas": 1, "num_block_replicas": 2, "size_bytes": 4 * SIZE}
    at_a, at_b = found["sites"]
    assert (at_a["site"], at_a["is_triggered"], at_a["occupancy_before"], at_a["occupancy_after"]) == (
        "T2_A",
        True,
        1.0,
        0.0,
    )
    assert (at_b["quota_bytes"], at_b["protected_fraction"], at_b["deleted_bytes"]) == (-1, None, 0)
    assert house.scalar("SELECT count(*) FROM plans") == 0
    assert house.subscriptions() == {}


def test_a_plan_for_people_has_units_lines_and_one_sentence(house: House) -> None:
    shown = dynamo("plan", "all")
    assert "would delete 2 block replicas of 1 dataset replica, 4.00 kB, at 1 site;" in shown
    assert "100.0 %" in shown
    assert "unlimited" in shown
    assert "Dismiss" in shown


def test_another_policy_is_tried_for_the_partition_that_it_names(house: House) -> None:
    kept = document("plan", "--policy", house.file("mine.txt", f"Protect dataset.name == /A/*\n{TAIL}"))
    assert (kept["plan"], kept["partition"]) == (str(house.folder / "mine.txt"), "all")
    assert [(row["decision"], row["text"]) for row in kept["lines"]] == [("protect", "Protect dataset.name == /A/*")]


def test_other_partitions_and_enforcer_rules_are_tried(house: House) -> None:
    partitions, rules = house.folder / "p.txt", house.folder / "e.yaml"
    partitions.write_text("all: site.name == T2_A\n")
    assert document("plan", "all", "--partitions", str(partitions))["image"]["num_block_replicas"] == 2
    rule = {"num_copies": 1, "protect": True, "destinations": ["site.name == T2_A"], "sources": ["site.name == *"]}
    rules.write_text(yaml.safe_dump({"rules": {"r": {**rule, "replicas": ["dataset.name == *"]}}}))
    policy = house.file("mine.txt", f"Protect replica.enforcer_protected\n{TAIL}")
    assert document("plan", "--policy", policy)["deleted"]["num_block_replicas"] == 2
    assert document("plan", "--policy", policy, "--enforcer", str(rules))["deleted"]["num_block_replicas"] == 0


def test_a_plan_is_made_for_the_moment_asked_for(house: House) -> None:
    policy = house.file("mine.txt", f"Protect replica.last_block_created newer_than 30 days ago\n{TAIL}")
    assert document("plan", "--policy", policy)["deleted"]["num_block_replicas"] == 2
    earlier = (datetime.now(UTC) - timedelta(days=90)).date().isoformat()
    found = document("plan", "--policy", policy, "--now", earlier)
    assert (found["now"], found["deleted"]["num_block_replicas"]) == (f"{earlier}T00:00:00+00:00", 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["plan", "al"], "no policy for partition 'al'. Did you mean all?", id="near partition"),
        pytest.param(["plan"], "name a partition, or a policy by --policy; policies are installed for all", id="none"),
        pytest.param(["plan", "other", "--policy", "{policy}"], "is the policy of partition 'all'", id="another"),
        pytest.param(["plan", "--policy", "{bare}"], "has no Partition line: name the partition", id="nobody names it"),
        pytest.param(["plan", "al", "--policy", "{bare}"], "unknown partition 'al'. Did you mean all?", id="unknown"),
        pytest.param(["plan", "--policy", "no.txt"], "no.txt: cannot be read: No such file", id="no policy file"),
        pytest.param(["plan", "--policy", "{wrong}"], "wrong.txt:1:1:", id="policy error"),
        pytest.param(
            ["plan", "all", "--against", "no.txt"], "no.txt: cannot be read: No such file", id="no old policy"
        ),
        pytest.param(["plan", "all", "--partitions", "no.txt"], "no.txt: cannot be read", id="no partitions file"),
        pytest.param(["plan", "all", "--now", "soon"], "--now: 'soon' is not a time; expected a date", id="no time"),
        pytest.param(["plan", "all", "--decisions", "/no/such/out.csv"], "there is no folder /no/such", id="no folder"),
        pytest.param(["plan", "all", "--deletion-per-iteration", "0"], "it must be above 0", id="no step"),
        pytest.param(["plan", "--inventory", "."], "--inventory needs --policy", id="no policy for a folder"),
        pytest.param(
            ["plan", "--inventory", "/no/such", "--policy", "{policy}"], "there is no such folder", id="nowhere"
        ),
        pytest.param(["plan", "--inventory", ".", "--policy", "{policy}"], "case.json, sites.csv", id="wrong folder"),
        pytest.param(["plan", "all", "--store", "--inventory", "."], "--inventory needs --policy", id="store a folder"),
        pytest.param(
            ["plan", "all", "--store", "--against", "{policy}"], "it takes --policy and --now", id="store both"
        ),
        pytest.param(["show", "4711"], "there is no plan 4711", id="show nothing"),
        pytest.param(["show", "1", "--decision", "dismiss"], "expected one of delete, reowned", id="no decision"),
        pytest.param(["diff", "4711", "4712"], "there is no plan 4711", id="diff nothing"),
        pytest.param(["diff", "/no/such", "1"], "no plan is there", id="diff nowhere"),
        pytest.param(["diff", "1", "2", "--table", "group"], "expected one of site, line, dataset", id="diff by what"),
        pytest.param(["commit", "4711", "--yes"], "there is no plan 4711", id="commit nothing"),
        pytest.param(["refuse", "4711", "--reason", "x"], "there is no plan 4711", id="refuse nothing"),
    ],
)
def test_what_is_asked_wrongly_is_told_in_a_line(
    house: House, fails: Callable[..., str], arguments: list[str], message: str
) -> None:
    (house.folder / "wrong.txt").write_text("Protekt dataset.name == x\n")
    (house.folder / "bare.txt").write_text(HEAD.removeprefix("Partition all\n") + TAIL)
    files = {"policy": house.file("policy.txt", TAIL)}
    files |= {name: str(house.folder / f"{name}.txt") for name in ("wrong", "bare")}
    assert message in fails(*(argument.format(**files) for argument in arguments))
    assert house.scalar("SELECT count(*) FROM plans") == 0


def test_a_dealer_plan_is_no_plan_of_detox(house: House, fails: Callable[..., str]) -> None:
    plan = plan_store.save(
        house.db,
        made_of("dealer", "all"),
        run_key="r",
        frames={},
        summary={},
        location=str(house.folder),
    )
    for command in (["show"], ["commit", "--yes"], ["refuse", "--reason", "x"]):
        assert "is a plan of the Dealer" in fails(*command, str(plan.id))
    assert house.state(str(plan.id)) == "planned"


# -- a folder instead of the database --------------------------------------------------------------------------------


def test_a_broken_folder_names_what_is_wrong(tmp_path: Path, fails: Callable[..., str]) -> None:
    for file in CASE.glob("*.*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    policy = str(next(CASE.glob("detox/*/policy.txt")))
    (tmp_path / "quotas.csv").write_text("site,partition,quota_bytes\nT2_A,AnalysisOps,many\n")
    assert "cannot be read as an inventory" in fails("plan", "--inventory", str(tmp_path), "--policy", policy)
    (tmp_path / "partitions.txt").unlink()
    assert "name a file by --partitions" in fails("plan", "--inventory", str(tmp_path), "--policy", policy)
    (tmp_path / "case.json").write_text("{}")
    assert "the unix time 'now'" in fails("plan", "--inventory", str(tmp_path), "--policy", policy)
    (tmp_path / "blocks.csv").unlink()
    assert ": blocks.csv (plain or .gz) not there" in fails("plan", "--inventory", str(tmp_path), "--policy", policy)


# -- what if ---------------------------------------------------------------------------------------------------------


def test_what_if_tells_only_what_differs(house: House) -> None:
    house.gates(last_copies="always")
    new = house.file("new.txt", f"Delete site.name == T2_B\n{TAIL}")
    old = house.file("old.txt", f"Protect dataset.name == /A/*\n{TAIL}")
    csv_file = house.folder / "differing.csv"
    found = document("plan", "--policy", new, "--against", old, "--decisions", str(csv_file))
    assert found["newly_deleted"]["num_block_replicas"] == 4
    assert found["freed_bytes"] == 8 * SIZE
    assert {(row["old_text"], row["new_text"]) for row in found["lines"]} == {
        ("Protect dataset.name == /A/*", "Delete site.name == T2_B"),
        ("Protect dataset.name == /A/*", "Dismiss"),
    }
    (dataset,) = found["datasets"]
    assert (dataset["dataset"], dataset["old_copies"], dataset["new_copies"]) == (DATASET, 2, 0)
    (lost,) = found["last_copies"]
    assert (lost["dataset"], lost["num_blocks"], lost["sites"]) == (DATASET, 2, "T2_A T2_B")
    with csv_file.open(newline="") as lines:
        rows = [tuple(row.values()) for row in csv.DictReader(lines)]
    assert rows == [
        (DATASET, "T2_A", "*", "protect", "1", "delete", "0", str(4 * SIZE)),
        (DATASET, "T2_B", "*", "protect", "1", "delete", "1", str(4 * SIZE)),
    ]
    shown = dynamo("plan", "--policy", new, "--against", old)
    assert "New would delete 4 block replicas of 2 dataset replicas, 8.00 kB, which old keeps." in shown
    assert "It frees 8.00 kB instead of 0 B (+8.00 kB); 1 dataset would lose a last copy by it." in shown
    assert house.scalar("SELECT count(*) FROM plans") == 0


def test_what_if_nothing_changes(house: House) -> None:
    old, new = house.file("old.txt", TAIL), house.file("new.txt", f"Protect dataset.name == /X/*\n{TAIL}")
    shown = dynamo("plan", "--policy", new, "--against", old)
    assert "Old and new delete the same: 2 block replicas of 1 dataset replica, 4.00 kB." in shown
    assert "By site: none" in shown


def test_what_if_is_written_and_compared_again(house: House) -> None:
    new = house.file("new.txt", f"Protect dataset.name == /A/*\n{TAIL}")
    told = document(
        "plan", "all", "--policy", new, "--against", house.file("old.txt", TAIL), "--out", str(house.folder)
    )
    again = document("diff", str(house.folder / "old"), str(house.folder / "new"))
    names = ("old", "new", "policy")
    assert {k: v for k, v in again.items() if k not in names} == {k: v for k, v in told.items() if k not in names}
    assert "+Protect dataset.name == /A/*" in again["policy"]


# -- stored plans ----------------------------------------------------------------------------------------------------


def test_a_stored_plan_says_what_to_do_next_and_is_shown(house: House) -> None:
    shown = dynamo("plan", "all", "--store")
    plan_id = str(house.scalar("SELECT id FROM plans"))
    assert f"stored as plan {plan_id}; nothing is deleted yet" in shown
    assert f"dynamo detox show {plan_id}" in shown
    assert f"dynamo detox commit {plan_id}" in shown
    assert house.subscriptions() == {}
    read = dynamo("show", plan_id)
    assert f"plan {plan_id} of all: planned, made for " in read
    assert f"(cli-{ME}-" in read
    assert "would delete 2 block replicas of 1 dataset replica, 4.00 kB" in read
    assert "Order of deletion" in read
    found = document("show", plan_id)
    assert (found["state"], found["approved_by"], found["summary"]["num_deletions"]) == ("planned", None, 2)
    assert found["lines"] == document("plan", "all")["lines"]
    inputs = found["inputs"]
    assert inputs["policy"]["text"] == (settings().policy_dir / "all.txt").read_text()
    assert inputs["policy"]["sha256"] == found["policy_sha256"]
    assert inputs["partitions"]["file"].endswith("partitions.txt")
    assert (inputs["deletion_per_iteration"], inputs["protected_sites"]) == (0.01, [])
    (first,) = found["order"]
    assert (first["delete_order"], first["dataset"], first["site"], first["num_block_replicas"]) == (
        1,
        DATASET,
        "T2_A",
        2,
    )


def test_a_tried_policy_is_stored_and_the_installed_one_stays(house: House) -> None:
    plan_id = house.store("--policy", house.file("mine.txt", f"Delete site.name == T2_B\n{TAIL}"))
    assert "Delete site.name == T2_B" in house.scalar("SELECT text FROM policy_versions")
    assert {row["text"] for row in document("show", plan_id)["lines"]} == {"Delete site.name == T2_B", "Dismiss"}
    assert (house.folder / "policies" / "all.txt").read_text() == HEAD + TAIL


@pytest.mark.parametrize(
    ("filters", "rows"),
    [
        (["--site", "T2_A"], [("T2_A", "*", "delete")]),
        (["--site", "T2_*"], [("T2_A", "*", "delete"), ("T2_B", "*", "keep")]),
        (["--dataset", "/A/*"], [("T2_A", "*", "delete"), ("T2_B", "*", "keep")]),
        (["--dataset", "/A"], []),
        (["--decision", "keep"], [("T2_B", "*", "keep")]),
        (["--line", "0", "--limit", "1"], [("T2_A", "*", "delete")]),
        (["--line", "1"], []),
    ],
)
def test_decisions_of_a_stored_plan_are_found(
    house: House, filters: list[str], rows: list[tuple[str, str, str]]
) -> None:
    plan_id = house.store()
    found = document("show", plan_id, *filters)
    assert [(row["site"], row["block"], row["decision"]) for row in found["rows"]] == rows
    assert found["num_rows"] == (2 if "--limit" in filters else len(rows))
    shown = dynamo("show", plan_id, *filters)
    assert f"shown {len(rows)} of {found['num_rows']} row" in shown


def test_two_stored_plans_are_compared(house: House) -> None:
    old = house.store()
    house.drop("b2", "T2_B")
    new = house.store("--policy", house.file("mine.txt", f"Protect dataset.name == /A/*\n{TAIL}"))
    found = document("diff", old, new)
    assert (found["newly_deleted"]["num_block_replicas"], found["newly_kept"]["num_block_replicas"]) == (0, 2)
    assert (found["freed_bytes"], found["is_same_moment"]) == (-4 * SIZE, False)
    shown = dynamo("diff", old, new, "--table", "line")
    assert "+Protect dataset.name == /A/*" in shown
    assert "delete 0: Dismiss" in shown
    assert "By site" not in shown
    assert "It frees 0 B instead of 4.00 kB (-4.00 kB)" in shown
    assert "1 block replica only in the image of old, 0 only in that of new" in shown
    assert "the policy text is the same" in dynamo("diff", old, old)


def test_a_plan_whose_frames_are_gone_says_so(house: House, fails: Callable[..., str]) -> None:
    plan_id = house.store()
    for file in (house.folder / "frames").rglob("decisions.parquet"):
        file.unlink()
    assert "the frame 'decisions' of the plan is not there" in fails("show", plan_id)


# -- commit and refuse -----------------------------------------------------------------------------------------------


def test_commit_gates_asks_and_commits_once(house: House) -> None:
    plan_id = house.store()
    asked = invoke("commit", plan_id, stdin="n\n")
    assert asked.exit_code == 1
    assert "would delete 2 block replicas" in asked.stdout
    assert "nothing was committed; the plan stays approved" in asked.stdout
    assert house.subscriptions() == {}
    shown = dynamo("commit", plan_id, stdin="y\n")
    assert "deletion is asked for 2 block replicas (4 files, 4.00 kB), 1 dataset replica as a whole;" in shown
    subscriptions = house.subscriptions()
    assert {(action, site) for action, _, site in subscriptions} == {("delete", "T2_A")}
    again = dynamo("commit", plan_id, "--yes")
    assert f"plan {plan_id} was committed before; nothing was done now" in again
    assert "2 block replicas (4 files, 4.00 kB)" in again
    assert house.subscriptions() == subscriptions
    read = document("show", plan_id)
    assert (read["state"], read["approved_by"]) == ("committed", "gate")
    assert read["committed_at"]
    assert "deletion is asked for 2 block replicas" in dynamo("show", plan_id)


def test_who_commits_much_is_recorded_as_approver(house: House) -> None:
    house.gates(approval_above_bytes=0)
    plan_id = house.store()
    asked = invoke("commit", plan_id, stdin="n\n")
    assert asked.exit_code == 1
    assert f"a person must approve it: that will be you, {ME}" in asked.stdout
    assert house.state(plan_id) == "planned"
    dynamo("commit", plan_id, "--yes")
    assert (house.state(plan_id), plan_store.load(house.db, int(plan_id)).approved_by) == ("committed", ME)
    assert f"approved by {ME}, " in dynamo("show", plan_id)
    assert records(house.db).select("person", "object").rows() == [
        (ME, f"plan {plan_id} (detox of all): {decision}, by who stored it") for decision in ("committed", "approved")
    ]


@pytest.mark.parametrize("by", [ME, "bob"])
def test_who_commits_what_they_stored_is_told_so(house: House, by: str) -> None:
    plan_id = house.store()
    asked = invoke("commit", plan_id, "--by", by, stdin="y\n").stdout
    assert ("You stored it yourself: nobody else has looked at it" in asked) == (by == ME)
    marked = ", by who stored it" if by == ME else ""
    assert records(house.db).select("person", "known_by", "object").rows() == [
        (by, "shell", f"plan {plan_id} (detox of all): committed{marked}")
    ]


def test_commit_tells_what_it_left_out_and_why(house: House) -> None:
    plan_id = house.store()
    house.drop("b1", "T2_A")
    shown = dynamo("commit", plan_id, "--yes")
    assert "deletion is asked for 1 block replica (2 files, 2.00 kB)" in shown
    assert "left out 1 block replica: the replica is no longer there" in shown


def test_a_plan_that_the_gate_refuses_is_never_committed(house: House, fails: Callable[..., str]) -> None:
    house.gates(max_volume_bytes=1)
    plan_id = house.store()
    assert "partition 'all'" in fails("commit", plan_id, "--yes")
    house.gates()
    assert f"plan {plan_id} of all was refused by gate: " in fails("commit", plan_id, "--yes")
    assert house.subscriptions() == {}
    assert "refused by gate" in dynamo("show", plan_id)


def test_a_person_refuses_a_plan(house: House, fails: Callable[..., str]) -> None:
    plan_id = house.store()
    assert dynamo("refuse", plan_id, "--reason", "wait for the reprocessing") == (
        f"plan {plan_id} of all is refused: wait for the reprocessing\n"
    )
    assert f"was refused by {ME}: wait for the reprocessing" in fails("commit", plan_id, "--yes")
    found = document("show", plan_id)
    assert (found["state"], found["refused_by"], found["refused_because"]) == (
        "refused",
        ME,
        "wait for the reprocessing",
    )
    assert f"refused by {ME}, " in dynamo("show", plan_id)


def test_who_stored_a_plan_is_shown(house: House) -> None:
    plan_id = house.store("--by", "ada")
    assert document("show", plan_id)["stored_by"] == "ada"
    assert "stored by ada" in dynamo("show", plan_id)
    for words in (["plan", "show", plan_id, "--json"], ["plan", "list", "--json"]):
        shown = json.loads(CliRunner().invoke(main.app, words, catch_exceptions=False).stdout)
        assert (shown[0] if isinstance(shown, list) else shown)["stored_by"] == "ada"
    assert "stored by ada" in CliRunner().invoke(main.app, ["plan", "show", plan_id]).stdout
    assert plan_store.load(house.db, int(house.store())).stored_by == ME


def test_a_committed_plan_cannot_be_refused(house: House, fails: Callable[..., str]) -> None:
    plan_id = house.store()
    dynamo("commit", plan_id, "--yes")
    assert "is committed" in fails("refuse", plan_id, "--reason", "too late")
    assert house.state(plan_id) == "committed"


def test_explain_on_a_dump_says_what_the_guide_shows() -> None:
    case = ROOT / "tests" / "golden" / "cases" / "k01_dealer"
    policy = case / "detox" / "Physics" / "policy.txt"
    asked = ["explain", "/Own/Flip-v1/MINIAOD", "T2_B", "--inventory", str(case), "--policy", str(policy)]
    guide = " ".join((ROOT / "docs" / "detox.md").read_text().split())
    shown = dynamo(*asked).split("\n\n", 1)[1]
    for sentence in shown.split("\n"):
        assert " ".join(sentence.split()) in guide
    told = document(*asked)
    assert [line["holds"] for line in told["lines"]] == [False, False, False, True]
    assert told["site_state"]["site"] == "T2_B"


def test_the_plan_that_decided_is_found_when_the_newest_knows_nothing(house: House, fails: Callable[..., str]) -> None:
    first = house.store()
    dynamo("commit", first, "--yes")
    for block in ("b1", "b2"):
        house.drop(block, "T2_A")
    second = house.store()
    assert document("explain", DATASET, "T2_B")["plan"] == f"plan {second}"
    explained = document("explain", DATASET, "T2_A")
    assert explained["plan"] == f"plan {first}"
    assert "deletion was triggered at T2_A" in explained["reasons"][0]
    house.site("T2_D")
    assert f"no plan has {DATASET} at T2_D in its image, or decided of it" in fails("explain", DATASET, "T2_D")


def test_a_stored_plan_is_explained_as_it_was_whatever_came_after(house: House, fails: Callable[..., str]) -> None:
    plan_id = house.store()
    first = document("explain", DATASET, "T2_A")
    assert first["plan"] == f"plan {plan_id}"
    assert "deletion was triggered at T2_A" in first["reasons"][0]
    assert first["lines"][-1]["text"] == "Dismiss"
    house.drop("b1", "T2_A")
    assert document("explain", DATASET, "T2_A") == first
    assert document("explain", DATASET, "T2_A", "--plan", plan_id) == first
    assert "there is no site 'T9_None'" in fails("explain", DATASET, "T9_None")
    assert f"plan {plan_id} has no replica of '/Nobody'" in fails("explain", "/Nobody", "T2_A", "--plan", plan_id)
    out = house.folder / "out"
    dynamo("plan", "all", "--out", str(out))
    assert document("explain", DATASET, "T2_B", "--plan", str(out))["site"] == "T2_B"
