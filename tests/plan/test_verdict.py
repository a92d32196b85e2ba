"""Who decides about plans: the gate, people with the right, and never who stored the plan by hand."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from dynamo_ops.access import grants
from dynamo_ops.access.actions import AccessError
from dynamo_ops.access.audit import records
from dynamo_ops.access.person import EVERYWHERE, Grant, KnownBy, Person, Role, Scope, shell_person, task_person
from dynamo_ops.base.errors import PlanError
from dynamo_ops.database.connection import Database
from dynamo_ops.plan import store as plan_store
from dynamo_ops.plan.verdict import GATE, approve, deciding, refuse, signature, who_answered
from tests.people import ADA, ROOT_USER
from tests.plan.test_store import brought_to, save

MOVES: dict[str, Callable[[Database, int], None]] = {
    "approve": lambda database, plan: approve(database, plan, ADA),
    "refuse": lambda database, plan: refuse(database, plan, "too much", by=ADA),
}
OPERATOR = Grant(Role.OPERATOR)


def somebody(name: str, *held: Grant, known_by: KnownBy = KnownBy.TOKEN) -> Person:
    return Person(name, known_by, held)


def acts(database: Database) -> list[tuple[str, str, str]]:
    """What the audit says, oldest first: who, of what, what came of it."""
    noted: list[tuple[str, str, str]] = records(database).select("person", "object", "outcome").rows()
    return noted[::-1]


def operator(database: Database, name: str, scope: Scope = EVERYWHERE) -> None:
    grants.grant(database, name, Grant(Role.OPERATOR, scope), by=ROOT_USER, reason="runs it")


@pytest.mark.parametrize(
    ("state", "move", "to"),
    [
        ("planned", "approve", "approved"),
        ("planned", "refuse", "refused"),
        ("approved", "approve", "approved"),
        ("approved", "refuse", "refused"),
        ("refused", "approve", None),
        ("refused", "refuse", "refused"),
        ("committed", "approve", None),
        ("committed", "refuse", None),
    ],
)
def test_moves(database: Database, tmp_path: Path, state: str, move: str, to: str | None) -> None:
    plan = brought_to(database, tmp_path, state)
    if to is None:
        with pytest.raises(PlanError, match=f"plan {plan} is {state}: it cannot become") as error:
            MOVES[move](database, plan)
        assert error.value.facts == {"plan_id": plan, "state": state}
    else:
        MOVES[move](database, plan)
    assert plan_store.load(database, plan).state == (to or state)


def test_the_first_approval_stands(database: Database, tmp_path: Path) -> None:
    plan = brought_to(database, tmp_path, "approved")
    approve(database, plan, ADA)
    assert plan_store.load(database, plan).approved_by == "gate"


@pytest.mark.parametrize("move", MOVES.values(), ids=MOVES)
def test_a_plan_that_is_not_there(database: Database, move: Callable[[Database, int], None]) -> None:
    with pytest.raises(PlanError, match="there is no plan 4711"):
        move(database, 4711)


# -- people --------------------------------------------------------------------------------------------------------


def test_what_people_decide_is_in_the_audit_and_what_tasks_decide_is_not(database: Database, tmp_path: Path) -> None:
    one, two = (save(database, tmp_path, run_key=key).id for key in ("r1", "r2"))
    approve(database, one, GATE)
    refuse(database, one, "too old")
    assert acts(database) == []
    approve(database, two, somebody("bob", OPERATOR))
    refuse(database, two, "wait", by=ADA)
    assert acts(database) == [
        ("bob", f"plan {two} (detox of physics): approved", "done"),
        ("ada", f"plan {two} (detox of physics): refused", "done"),
    ]
    newest = records(database).row(0, named=True)
    assert (newest["action"], newest["reason"], newest["ids"], newest["known_by"]) == (
        "approve, refuse or commit a plan",
        "wait",
        [two],
        "shell",
    )


@pytest.mark.parametrize(
    ("held", "may"),
    [
        pytest.param([OPERATOR], True, id="operator"),
        pytest.param([Grant(Role.OPERATOR, Scope.parse("partition:phys*"))], True, id="of the partition"),
        pytest.param([Grant(Role.OPERATOR, Scope.parse("partition:express"))], False, id="of another partition"),
        pytest.param([Grant(Role.OPERATOR, Scope.parse("site:T2_*"))], False, id="of sites"),
        pytest.param([Grant(Role.ADMIN), Grant(Role.MANAGER)], False, id="no operator"),
        pytest.param([], False, id="nothing"),
    ],
)
@pytest.mark.parametrize("decision", ["approved", "refused", "committed"])
def test_it_needs_an_operator_of_the_partition(
    database: Database, tmp_path: Path, held: list[Grant], may: bool, decision: str
) -> None:
    plan = save(database, tmp_path).id
    by = somebody("eve", *held)
    if may:
        with deciding(database, plan, by, decision):
            pass
    else:
        with (
            pytest.raises(AccessError, match=rf"plan {plan} \(detox of physics\): eve may not .* needs operator"),
            deciding(database, plan, by, decision),
        ):
            pytest.fail("they decide")
    assert acts(database) == [("eve", f"plan {plan} (detox of physics): {decision}", "done" if may else "refused")]


@pytest.mark.parametrize("move", ["approve", "refuse"])
def test_who_stored_a_plan_by_hand_does_not_decide_about_it(database: Database, tmp_path: Path, move: str) -> None:
    stored = save(database, tmp_path, by=shell_person("bob"))
    bob, eve = somebody("bob", OPERATOR), somebody("eve", OPERATOR)
    act: dict[str, Callable[[Person], None]] = {
        "approve": lambda by: approve(database, stored.id, by),
        "refuse": lambda by: refuse(database, stored.id, "no", by=by),
    }
    with pytest.raises(AccessError, match="bob stored it by hand: somebody else decides about it"):
        act[move](bob)
    assert plan_store.load(database, stored.id).state == "planned"
    act[move](eve)
    assert plan_store.load(database, stored.id).state != "planned"
    assert [(who, what) for who, _, what in acts(database)] == [("bob", "refused"), ("eve", "done")]


def test_in_a_shell_one_may_and_the_audit_says_whose_plan_it_was(database: Database, tmp_path: Path) -> None:
    """Who is alone must not be locked out, and could say to be another anyhow."""
    stored = save(database, tmp_path, by=ADA)
    approve(database, stored.id, ADA)
    assert acts(database) == [("ada", f"plan {stored.id} (detox of physics): approved, by who stored it", "done")]


# -- Airflow's form ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("by", "signed"),
    [
        (somebody("ada", known_by=KnownBy.AIRFLOW), "ada in Airflow"),
        (somebody("ada"), "ada"),
        (ADA, "ada"),
        (task_person("gate"), "gate"),
    ],
)
def test_a_plan_says_where_somebody_decided(by: Person, signed: str) -> None:
    assert signature(by) == signed


def test_until_somebody_is_granted_operator_airflow_decides_who_may(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    grants.grant(database, "root", Grant(Role.ADMIN), by=ROOT_USER, reason="gives rights")
    with caplog.at_level(logging.WARNING):
        assert who_answered(database, "eve").grants == (OPERATOR,)
    assert "dynamo access grant NAME operator --reason" in caplog.text
    caplog.clear()
    operator(database, "ada", Scope.parse("partition:express"))
    assert who_answered(database, "eve").grants == ()
    assert who_answered(database, "ada").grants == (Grant(Role.OPERATOR, Scope.parse("partition:express")),)
    assert caplog.text == ""


def test_a_grant_that_is_over_does_not_bring_the_beginning_back(database: Database) -> None:
    operator(database, "ada")
    with database.begin() as connection:
        connection.exec_driver_sql("UPDATE access_grants SET until = now() - interval '1 day'")
    assert who_answered(database, "ada").grants == ()


def test_a_no_to_a_question_counts_from_anybody_and_it_is_noted(database: Database, tmp_path: Path) -> None:
    operator(database, "ada")
    plan = save(database, tmp_path).id
    eve = who_answered(database, "eve")
    with pytest.raises(AccessError):
        refuse(database, plan, "no", by=eve)
    assert plan_store.load(database, plan).state == "planned"
    refuse(database, plan, "no", by=eve, is_asked=True)
    stored = plan_store.load(database, plan)
    assert (stored.state, stored.refused_by) == ("refused", "eve in Airflow")
    assert acts(database)[-1] == (
        "eve",
        f"plan {plan} (detox of physics): refused, without the right to decide: a no counts from anybody who is asked",
        "done",
    )
