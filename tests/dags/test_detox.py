"""Detox DAGs beyond the plain way: a try without consequences, a person's yes, a person's no, and nobody asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import yaml

from dynamo_ops.access.person import Grant, KnownBy, Person, Role
from dynamo_ops.plan import store as plan_store
from dynamo_ops.plan import verdict
from tests.dags.house import House

PLANS = "SELECT state, approved_by FROM plans WHERE kind = 'detox'"
REFUSALS = "SELECT state, refused_by, refused_because, refused_at IS NOT NULL FROM plans WHERE kind = 'detox'"
AUDIT = "SELECT person, known_by, outcome FROM audit WHERE action LIKE 'approve%plan' ORDER BY id"
SUBSCRIPTIONS = "SELECT count(*) FROM subscriptions"


@pytest.fixture
def asks_for_approval(house: House) -> Iterator[House]:
    """A house in which every plan that deletes anything needs a person's yes."""
    file = house.config / "gates.yaml"
    shipped = file.read_text()
    gates = yaml.safe_load(shipped)
    gates["detox"]["approval_above_bytes"] = 0
    file.write_text(yaml.safe_dump(gates))
    yield house
    file.write_text(shipped)


@contextmanager
def person_says(option: str | Callable[[], None], *, name: str | None = "Ada") -> Iterator[list[str]]:
    """Somebody answers the open question as the UI's endpoint would. The list holds what was asked.

    ``option``: what they choose, or what they do that chooses. ``name`` None: nobody did, and the time ran out.
    """
    from airflow.models.hitl import HITLDetail
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.trigger import handle_event_submit
    from airflow.sdk import timezone
    from airflow.triggers.base import TriggerEvent
    from airflow.utils.session import create_session

    asked: list[str] = []
    answered = set()
    over = threading.Event()

    def answer() -> None:
        while not over.is_set():  # dag.test() writes twice that a task waits; an answer between the two is lost
            with create_session(scoped=False) as session:
                found = (
                    session.query(TaskInstance, HITLDetail)
                    .join(HITLDetail, HITLDetail.ti_id == TaskInstance.id)
                    .filter(TaskInstance.state == "awaiting_input")
                    .one_or_none()
                )
                if found:
                    waiting, detail = found
                    if callable(option):
                        if waiting.id not in answered:
                            asked.append(detail.body)
                            answered.add(waiting.id)
                            option()
                            session.refresh(detail)
                    else:
                        detail.responded_by = {"id": "7", "name": name} if name else None
                        detail.responded_at = timezone.utcnow()
                        detail.chosen_options = [option]
                    handle_event_submit(
                        TriggerEvent(detail.as_resume_event_payload()), task_instance=waiting, session=session
                    )
                    if waiting.id not in answered:
                        asked.append(detail.body)
                    answered.add(waiting.id)
            time.sleep(0.1)

    person = threading.Thread(target=answer)
    person.start()
    try:
        yield asked
    finally:
        over.set()
        person.join()


def test_a_dry_run_plans_and_commits_nothing(house: House) -> None:
    run = house.run("detox_physics", dry_run=True)
    assert run.state == "success"
    assert run.states("dry_run_ends") == {"success": 1}
    assert run.not_green == {"commit": "skipped"}
    assert run.assets == set(), "nobody is told of subscriptions that there are not"
    assert house.rows(PLANS) == [("approved", "gate")]
    assert house.rows(SUBSCRIPTIONS) == [(0,)]


def test_small_plans_go_through_without_a_person(house: House) -> None:
    run = house.run("detox_physics")
    assert run.state == "success"
    assert run.not_green == {}
    assert run.assets == {"dynamo://subscriptions/", "dynamo://detox/physics"}
    assert house.rows(PLANS) == [("committed", "gate")]
    assert house.rows(SUBSCRIPTIONS)[0][0] > 0


def test_a_cycle_that_deletes_nothing_has_ended_and_starts_no_deletions(house: House) -> None:
    house.rows("UPDATE quotas SET quota_bytes = -1")  # unlimited
    run = house.run("detox_physics")
    assert (run.state, run.not_green) == ("success", {})
    assert house.rows(SUBSCRIPTIONS) == [(0,)]
    assert run.assets == {"dynamo://detox/physics"}


def test_a_run_that_an_asset_starts_has_no_interval_and_decides_for_its_own_time(house: House) -> None:
    run = house.run("detox_physics", by_asset=True)
    assert run.state == "success"
    assert run.dag_run.data_interval_end is None
    ((planned_for,),) = house.rows("SELECT planned_for_at FROM plans")
    assert planned_for == run.dag_run.start_date


def test_a_big_plan_is_shown_to_a_person_and_committed_after_a_yes(asks_for_approval: House) -> None:
    with person_says("Approve") as asked:
        run = asks_for_approval.run("detox_physics")
    assert run.state == "success"
    assert len(asked) == 1
    assert "| site | block replicas | size |" in asked[0]
    assert "T2_BB" in asked[0]
    assert run.not_green == {}
    assert asks_for_approval.rows(PLANS) == [("committed", "Ada in Airflow")]
    assert asks_for_approval.rows(SUBSCRIPTIONS)[0][0] > 0
    ((asked_at, committed_at),) = asks_for_approval.rows("SELECT approved_at, committed_at FROM plans")
    assert asked_at < committed_at


@pytest.mark.parametrize(
    ("name", "by", "because"),
    [
        pytest.param("Ada", "Ada in Airflow", "rejected by Ada in Airflow", id="somebody"),
        pytest.param(None, "nobody", "not approved in time: nobody answered, which means no", id="nobody in time"),
    ],
)
def test_a_no_commits_nothing_and_refuses_the_plan(
    asks_for_approval: House, name: str | None, by: str, because: str
) -> None:
    with person_says("Reject", name=name):
        run = asks_for_approval.run("detox_physics")
    assert run.state == "success"
    assert run.states("commit") == {"skipped": 1}
    assert run.states("refused") == {"success": 1}
    assert asks_for_approval.rows(REFUSALS) == [("refused", by, because, True)]
    assert asks_for_approval.rows(SUBSCRIPTIONS) == [(0,)]


@pytest.mark.parametrize("decision", ["approve", pytest.param("refuse", marks=pytest.mark.slow)])
def test_who_decides_over_rest_answers_the_form(asks_for_approval: House, decision: str) -> None:
    """The run goes on at once, and asks nobody by name: rights were asked over REST, where roles are known."""
    house = asks_for_approval
    olga = Person("olga", KnownBy.TOKEN, (Grant(Role.OPERATOR),))

    def decide() -> None:
        from dynamo_web.run.form import answer_form

        (plan_id,) = house.rows("SELECT id FROM plans WHERE kind = 'detox'")[0]
        if decision == "approve":
            verdict.approve(house.database, plan_id, olga, needs_gate=True)
        else:
            verdict.refuse(house.database, plan_id, "too much of RAW", by=olga)
        answer_form(plan_store.load(house.database, plan_id), "olga")

    with person_says(decide) as asked:
        run = house.run("detox_physics")
    assert (run.state, len(asked)) == ("success", 1)
    if decision == "approve":
        assert house.rows(PLANS) == [("committed", "olga")]
        assert run.not_green == {}
    else:
        assert house.rows(REFUSALS) == [("refused", "olga", "too much of RAW", True)]
        assert run.states("commit") == {"skipped": 1}


def grant_operator(house: House, name: str, scope: str) -> None:
    house.rows(f"""
        INSERT INTO access_grants (subject, role, scope, granted_by, reason)
        VALUES ('{name}', 'operator', '{scope}', 'root', 'runs it')""")


@pytest.mark.parametrize("scope", [pytest.param("*", marks=pytest.mark.slow), "partition:physics"])
def test_the_yes_of_who_was_granted_it_counts(asks_for_approval: House, scope: str) -> None:
    grant_operator(asks_for_approval, "Ada", scope)
    with person_says("Approve"):
        run = asks_for_approval.run("detox_physics")
    assert run.state == "success"
    assert asks_for_approval.rows(PLANS) == [("committed", "Ada in Airflow")]
    assert asks_for_approval.rows(AUDIT) == [("Ada", "airflow", "done")]


@pytest.mark.parametrize(
    "name",
    [pytest.param("Ada", id="granted elsewhere"), pytest.param("Eve", id="granted nothing", marks=pytest.mark.slow)],
)
def test_the_yes_of_who_may_not_leaves_the_plan_for_others(asks_for_approval: House, name: str) -> None:
    grant_operator(asks_for_approval, "Ada", "partition:express")
    with person_says("Approve", name=name):
        run = asks_for_approval.run("detox_physics")
    assert run.failed == {"commit"}
    assert run.states("refused") == {"upstream_failed": 1}
    assert asks_for_approval.rows(PLANS) == [("planned", None)]
    assert asks_for_approval.rows(SUBSCRIPTIONS) == [(0,)]
    assert asks_for_approval.rows(AUDIT) == [(name, "airflow", "refused")]
    mail = " ".join(asks_for_approval.last_mail_text().split())
    assert f"approved by {name} in Airflow, which does not count" in mail
    assert "clear the task `approval`" in mail


def test_a_no_counts_from_anybody(asks_for_approval: House) -> None:
    grant_operator(asks_for_approval, "Ada", "*")
    with person_says("Reject", name="Eve"):
        run = asks_for_approval.run("detox_physics")
    assert run.state == "success"
    assert asks_for_approval.rows(PLANS) == [("refused", None)]
    assert asks_for_approval.rows(AUDIT) == [("Eve", "airflow", "done")]


def test_an_approval_that_was_jumped_over_is_no_approval(asks_for_approval: House) -> None:
    run = asks_for_approval.run("detox_physics", mark_success_pattern="approval")
    assert run.failed == {"commit"}
    assert "only an approved plan can be committed" in asks_for_approval.last_mail_text()
    assert asks_for_approval.rows(SUBSCRIPTIONS) == [(0,)]


def test_a_plan_that_deletes_too_much_is_refused_and_not_committed(house: House) -> None:
    gates = house.config / "gates.yaml"
    shipped = gates.read_text()
    gates.write_text(shipped.replace("max_volume_bytes: 10 PB", "max_volume_bytes: 1"))
    run = house.run("detox_physics")
    gates.write_text(shipped)
    assert run.failed == {"gate"}
    assert run.states("commit") == {"upstream_failed": 1}
    assert house.rows(PLANS) == [("refused", None)]
    assert [row[1] for row in house.rows(REFUSALS)] == ["gate"]
    assert house.rows(SUBSCRIPTIONS) == [(0,)]
    assert "Nothing was changed" in house.last_mail_text()


def test_days_of_accesses_that_lack_stop_the_plan_until_they_are_backfilled(house: House) -> None:
    house.rows("DELETE FROM aggregated_days")
    house.rows("""
        INSERT INTO aggregated_days (day, source, kind, num_told, most_told, aggregated_at)
        SELECT current_date - back, 'accesses', 'accesses', 0, 0, now() FROM unnest(ARRAY[1, 3]) AS back""")
    run = house.run("detox_physics")
    assert run.failed == {"gate"}
    assert house.rows(SUBSCRIPTIONS) == [(0,)]
    assert "more than 0 days of accesses lack (backfill popularity_aggregation)" in house.last_mail_text()
    house.rows("""
        INSERT INTO aggregated_days (day, source, kind, num_told, most_told, aggregated_at)
        SELECT current_date - 2, 'accesses', 'accesses', 0, 0, now()""")
    assert house.run("detox_physics").state == "success"


def test_nights_in_which_a_feed_was_ill_heal_by_themselves_and_detox_goes_on(house: House) -> None:
    house.rows("""
        INSERT INTO aggregated_days (day, source, kind, num_told, most_told, aggregated_at)
        SELECT max(day) - 3, 'accesses', 'accesses', 0, 0, now() FROM aggregated_days""")
    healing = house.run("popularity_aggregation", missing_days=True)
    assert (healing.state, healing.not_green) == ("success", {})
    assert healing.states("replace_day_late")["success"] == 2
    assert house.rows("SELECT count(*), max(day) - min(day) FROM aggregated_days WHERE kind = 'accesses'") == [(4, 3)]
    assert house.run("detox_physics").state == "success"


def test_a_policy_with_a_mistake_fails_with_its_place(house: House) -> None:
    policy = house.config / "policies"
    policy.mkdir(exist_ok=True)
    (policy / "physics.txt").write_text("Partition physics\nOn site.status == READDY\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DYNAMO_POLICY_DIR", str(policy))
        house.read_settings_again()
        run = house.run("detox_physics")
    house.read_settings_again()
    assert run.failed == {"plan"}
    text = house.last_mail_text()
    assert "physics.txt" in text
    assert "PolicyError" in text
    assert "physics.txt:2:" in text
    assert "Mend the policy text" in text
    assert house.rows("SELECT count(*) FROM plans") == [(0,)]
