"""Buttons of tasks lead to Dynamo's pages: as Airflow keeps them after real runs, well ended and not."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.dags.house import House
from tests.dags.test_transfers import subscription_for

UI = "/plugin/dynamo/dynamo/ui"


def plan_page(house: House, kind: str) -> str:
    ((plan_id,),) = house.rows("SELECT id FROM plans WHERE kind = :kind", kind=kind)
    return f"{UI}/plans/{plan_id}"


def gate_page(gate: str) -> str:
    today = datetime.now(UTC).date()
    return f"{UI}/gates?gate={gate}%20freshness&subject=%2A%27physics%27%2A&since={today}"


@pytest.mark.parametrize("kind", ["detox", "dealer"])
def test_the_tasks_of_a_plan_lead_to_it_and_its_gate_to_the_results(house: House, kind: str) -> None:
    run = house.run(f"{kind}_physics")
    tasks = {"detox": ["plan", "gate", "approval", "commit", "refused"], "dealer": ["decide", "gate", "commit"]}[kind]
    assert {task: run.link(task, "PlanLink") for task in tasks} == dict.fromkeys(tasks, plan_page(house, kind))
    assert run.link("gate", "GateLink") == gate_page(kind)


def test_a_gate_that_refuses_leads_there_too(house: House) -> None:
    gates = house.config / "gates.yaml"
    shipped = gates.read_text()
    gates.write_text(shipped.replace("max_volume_bytes: 10 PB", "max_volume_bytes: 1"))
    run = house.run("detox_physics")
    gates.write_text(shipped)
    assert run.failed == {"gate"}
    assert run.link("gate", "PlanLink") == plan_page(house, "detox")
    assert run.link("gate", "GateLink") == gate_page("detox")


def test_where_there_is_no_plan_there_is_no_page(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> int:
        raise ZeroDivisionError

    monkeypatch.setattr("dynamo_ops.detox.tasks.plan_cycle", fails)
    run = house.run("detox_physics")
    assert run.failed == {"plan"}
    assert run.link("plan", "PlanLink") == ""


def test_the_tasks_that_copy_and_delete_lead_to_what_is_under_way(house: House) -> None:
    subscription_for(house, "T2_CC")
    run = house.run("transfers")
    assert run.link("submit", "TransfersLink", 0) == run.link("apply", "TransfersLink") == f"{UI}/transfers"
    run = house.run("deletions")
    assert run.link("delete", "DeletionsLink", 0) == f"{UI}/deletions"


def test_airflow_knows_the_buttons_of_plain_and_of_mapped_tasks(airflow: None, house: House) -> None:
    """As its API server reads a DAG, which has none of our code."""
    from airflow.serialization.serialized_objects import DagSerialization

    from tests.dags.house import dag

    def buttons(dag_id: str, task_id: str) -> set[str]:
        read = DagSerialization.from_dict(DagSerialization.to_dict(dag(dag_id)))
        return {link.name for link in read.get_task(task_id).operator_extra_links}

    assert buttons("detox_physics", "gate") == {"Dynamo: the plan", "Gate results"}
    assert buttons("detox_physics", "approval") >= {"Dynamo: the plan"}
    assert buttons("transfers", "submit") == {"Transfers"}
    assert buttons("deletions", "delete") == {"Deletions"}
    assert buttons("transfers", "wait_for_copies") == {"FTS job"}
