"""The commit of a plan as an errand: gated, approved by who asked where a person must, committed once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dynamo_ops.access import audit, grants
from dynamo_ops.access.actions import AccessError
from dynamo_ops.access.person import Grant, KnownBy, Person, Role
from dynamo_ops.base.errors import ChangedError, PausedError, PlanError, UnknownPlanError
from dynamo_ops.database.connection import Database
from dynamo_ops.dealer import tasks as dealer
from dynamo_ops.detox import tasks as detox
from dynamo_ops.errand.carry import carry_out
from dynamo_ops.errand.commit import ask_commit
from dynamo_ops.inventory.replica import usage
from dynamo_ops.pause import pauses
from dynamo_ops.pause.pauses import PauseKind
from dynamo_ops.plan import store as plan_store
from dynamo_ops.plan.verdict import GATE, approve, refuse
from dynamo_ops.query.record.errand import errand_card
from tests.dealer.test_tasks import House as DealerHouse
from tests.detox.test_tasks import DELETE, NOW, TAIL, House
from tests.people import ADA, ROOT_USER

OLGA = Person("olga", KnownBy.TOKEN, (Grant(Role.OPERATOR),))
ANNA = Person("anna", KnownBy.TOKEN, (Grant(Role.OPERATOR),))
RUN = "errands/errand__1"


@pytest.fixture
def house(database: Database, tmp_path: Path) -> House:
    for person in (OLGA, ANNA):
        grants.grant(database, person.name, Grant(Role.OPERATOR), by=ROOT_USER, reason="of the test")
    return House(database, tmp_path)


def by_hand(house: House, *, by: Person = ANNA, run_key: str = "hand") -> int:
    return detox.plan_cycle(house.db, house.settings, "all", run_key=run_key, now=NOW, by=by)


def asked(house: House, plan_id: int, *, by: Person = OLGA) -> int:
    return ask_commit(house.db, plan_id, etag=plan_store.load(house.db, plan_id).etag, by=by)


def done(house: House, errand_id: int) -> dict[str, Any]:
    carry_out(house.db, house.settings, RUN)
    card = errand_card(house.db, errand_id)
    assert card["state"] == "done", card["problem"]
    return dict(card["answer"])


def refused(house: House, errand_id: int) -> tuple[int, str]:
    assert carry_out(house.db, house.settings, RUN)["refused"] == 1
    problem = errand_card(house.db, errand_id)["problem"]
    return problem["status"], problem["detail"]


def decisions(house: House) -> list[tuple[str, str, str]]:
    noted = audit.records(house.db, action="approve, refuse or commit").reverse()
    return [(row["person"], row["object"].split(": ")[1], row["outcome"]) for row in noted.to_dicts()]


def test_a_plan_stored_by_hand_is_gated_and_committed(house: House) -> None:
    plan_id = by_hand(house)
    errand_id = asked(house, plan_id)
    assert (house.state(plan_id), house.subscriptions()) == ("planned", {})
    answer = done(house, errand_id)
    assert (answer["id"], answer["kind"], answer["was_committed_before"]) == (plan_id, "detox", False)
    assert answer["commit"]["num_files"] == 4
    plan = plan_store.load(house.db, plan_id)
    assert (plan.state, plan.approved_by) == ("committed", "gate")
    assert len(house.subscriptions()) == 4
    assert decisions(house) == [("olga", "asked to be committed", "done"), ("olga", "committed", "done")]
    assert usage.fold(house.db) == 0  # it was done


def test_who_asks_for_the_commit_says_yes_where_a_person_must(house: House) -> None:
    house.gates(approval_above_bytes=0)
    plan_id = by_hand(house)
    assert done(house, asked(house, plan_id))["commit"]["num_files"] == 4
    assert plan_store.load(house.db, plan_id).approved_by == "olga"
    assert [decision for _, decision, _ in decisions(house)] == ["asked to be committed", "approved", "committed"]


def test_an_approved_plan_of_a_cycle_is_committed_and_one_that_waits_is_its_runs(house: House) -> None:
    plan_id = house.plan()
    with pytest.raises(PlanError, match="is a cycle's"):
        asked(house, plan_id)
    house.gate(plan_id)
    assert done(house, asked(house, plan_id))["commit"]["num_files"] == 4


def test_a_plan_of_the_dealer_is_committed_too(database: Database, tmp_path: Path) -> None:
    grants.grant(database, "olga", Grant(Role.OPERATOR), by=ROOT_USER, reason="of the test")
    house = DealerHouse(database, tmp_path)
    plan_id = dealer.plan_now(house.db, house.settings, "all", run_key="hand", now=NOW, seed=None, by=ANNA)
    errand_id = ask_commit(house.db, plan_id, etag=None, by=OLGA)
    assert carry_out(house.db, house.settings, RUN) == {"done": 1, "refused": 0}
    answer = errand_card(house.db, errand_id)["answer"]
    assert (answer["kind"], answer["commit"]["num_files"]) == ("dealer", 2)
    assert {(action, site) for action, _, site in house.subscriptions()} == {("copy", "T2_B")}
    assert house.request_state() == "activated"


def test_what_the_gate_refuses_is_refused_for_good_and_the_answer_says_why(house: House) -> None:
    house.gates(max_volume_bytes=1)
    plan_id = by_hand(house)
    status, detail = refused(house, asked(house, plan_id))
    assert (status, house.state(plan_id)) == (409, "refused")
    assert "partition 'all'" in detail
    assert house.subscriptions() == {}
    with pytest.raises(PlanError, match="is refused: it cannot be committed"):
        asked(house, plan_id)


def test_what_is_too_old_by_then_is_refused(house: House) -> None:
    plan_id = by_hand(house)
    errand_id = asked(house, plan_id)
    detox.gate_plan(house.db, house.settings, plan_id, run_key="hand")
    house.gates(max_plan_age_h=0.000001)
    status, detail = refused(house, errand_id)
    assert (status, house.state(plan_id), house.subscriptions()) == (409, "refused", {})
    assert "plan again" in detail


def test_who_stored_it_does_not_commit_it_and_who_may_not_asks_for_nothing(house: House) -> None:
    plan_id = by_hand(house)
    for by in (ANNA, Person("vera", KnownBy.AIRFLOW, (Grant(Role.VIEWER),))):
        with pytest.raises(AccessError):
            asked(house, plan_id, by=by)
    assert house.rows("SELECT FROM errands") == []
    assert [outcome for *_, outcome in decisions(house)] == ["refused", "refused"]


def test_who_has_lost_the_right_by_then_lets_no_gate_judge(house: House) -> None:
    plan_id = by_hand(house)
    errand_id = asked(house, plan_id)
    grants.revoke(house.db, "olga", Grant(Role.OPERATOR), by=ROOT_USER, reason="has left")
    assert refused(house, errand_id)[0] == 403
    assert house.state(plan_id) == "planned"
    assert house.rows("SELECT FROM gate_results") == []
    assert decisions(house)[-1] == ("olga", "committed", "refused")


def test_it_is_the_plan_that_they_have_seen(house: House) -> None:
    plan_id = by_hand(house)
    with pytest.raises(ChangedError):
        ask_commit(house.db, plan_id, etag="planned-other", by=OLGA)
    with pytest.raises(UnknownPlanError):
        ask_commit(house.db, plan_id + 1, etag=None, by=OLGA)
    errand_id = asked(house, plan_id)
    house.policy(DELETE + TAIL)
    assert by_hand(house) == plan_id  # made anew, under the same number
    status, detail = refused(house, errand_id)
    assert (status, house.state(plan_id)) == (412, "planned")
    assert "was made anew" in detail


def test_what_others_decide_meanwhile_counts(house: House) -> None:
    house.gates(approval_above_bytes=0)
    approved, stopped = by_hand(house), by_hand(house, run_key="other")
    first, second = asked(house, approved), asked(house, stopped)
    detox.gate_plan(house.db, house.settings, approved, run_key="hand")
    approve(house.db, approved, ADA)
    refuse(house.db, stopped, "no", by=ADA)
    assert carry_out(house.db, house.settings, RUN) == {"done": 1, "refused": 1}
    assert plan_store.load(house.db, approved).approved_by == "ada"
    assert errand_card(house.db, first)["state"] == "done"
    assert "is refused" in errand_card(house.db, second)["problem"]["detail"]


def test_one_that_was_committed_meanwhile_is_answered_with_what_that_did(house: House) -> None:
    plan_id = by_hand(house)
    errand_id = asked(house, plan_id)
    detox.gate_plan(house.db, house.settings, plan_id, run_key="hand")
    counts = detox.commit_plan(house.db, house.settings, plan_id, by=GATE)
    answer = done(house, errand_id)
    assert (answer["was_committed_before"], answer["commit"]) == (True, counts)
    with pytest.raises(PlanError, match="is committed: it cannot be committed"):
        asked(house, plan_id)


def test_a_pause_stops_it_when_it_is_asked_for_and_when_it_is_done(house: House) -> None:
    plan_id = by_hand(house)
    errand_id = asked(house, plan_id)
    pause = pauses.stop(house.db, PauseKind.DETOX, "all", by=ADA, reason="look first")
    with pytest.raises(PausedError, match="look first"):
        asked(house, plan_id)
    status, detail = refused(house, errand_id)
    assert (status, house.state(plan_id)) == (409, "planned")
    assert "look first" in detail
    pauses.resume(house.db, [pause.id], by=ADA)
    assert done(house, asked(house, plan_id))["commit"]["num_files"] == 4
