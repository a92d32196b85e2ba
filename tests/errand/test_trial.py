"""A policy is tried as an errand: its figures are answered, its decisions kept; nothing is changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from dynamo_ops.access import audit, grants
from dynamo_ops.access.actions import AccessError
from dynamo_ops.access.person import Grant, KnownBy, Person, Role, Scope
from dynamo_ops.base.errors import PlanError, PolicyError
from dynamo_ops.database.connection import Database
from dynamo_ops.errand import trial
from dynamo_ops.errand.carry import carry_out
from dynamo_ops.errand.trial import ask_trial
from dynamo_ops.query.record.errand import errand_card
from tests.detox.test_tasks import HEAD, TAIL, House
from tests.people import ROOT_USER

HELD = Grant(Role.MANAGER, Scope.parse("partition:all"))
MIA = Person("mia", KnownBy.JWT, (HELD,))
RUN = "errands/errand__1"
KEEP = HEAD + "Protect dataset.name == /A/*\n" + TAIL


@pytest.fixture
def house(database: Database, tmp_path: Path) -> House:
    grants.grant(database, "mia", HELD, by=ROOT_USER, reason="of the test")
    return House(database, tmp_path)


def ask(house: House, policy: str = KEEP, *, partition: str = "all", against: int | None = None) -> int:
    return ask_trial(house.db, house.settings, partition=partition, policy=policy, against=against, by=MIA)


def test_what_it_would_decide_is_answered_and_the_decisions_are_kept(house: House) -> None:
    plan_id = house.plan()
    alone, compared = ask(house, HEAD + TAIL), ask(house, against=plan_id)
    assert carry_out(house.db, house.settings, RUN) == {"done": 2, "refused": 0}
    answer = errand_card(house.db, alone)["answer"]
    assert (answer["plan"], answer["partition"]) == (f"trial {alone}", "all")
    assert answer["deleted"]["num_block_replicas"] == 2
    assert [site["site"] for site in answer["sites"]] == ["T2_A", "T2_B"]
    answer = errand_card(house.db, compared)["answer"]
    assert answer["deleted"]["num_block_replicas"] == 0
    assert answer["difference"]["newly_kept"]["num_block_replicas"] == 2
    assert answer["difference"]["num_rows_of"]["datasets"] == 1
    file = Path(house.settings.files_at("plans")) / "trials" / str(alone) / "decisions.parquet"
    decisions = pl.read_parquet(file)
    assert decisions.filter(pl.col("decision") == "delete")["site"].unique().to_list() == ["T2_A"]
    assert house.rows("SELECT id FROM plans") == [(plan_id,)]
    assert house.subscriptions() == {}
    noted = audit.records(house.db, person="mia")
    assert noted.select("action", "outcome").rows() == [("try a policy", "done")] * 4
    assert trial.forget_old(house.db, house.settings, datetime.now(UTC) + timedelta(days=1)) == 2
    assert not file.parent.exists()


def test_what_is_wrong_is_said_when_it_is_asked_for(house: House) -> None:
    for policy, words in (("Partition all\nDismis\n", "policy:2"), (HEAD.replace("all", "other") + TAIL, "other")):
        with pytest.raises((PolicyError, PlanError), match=words):
            ask(house, policy)
    with pytest.raises(PlanError, match="there is no plan 7"):
        ask(house, against=7)
    with pytest.raises(AccessError):
        ask(house, partition="other")
    assert house.rows("SELECT * FROM errands") == []


def test_who_has_lost_the_right_by_then_is_refused(house: House) -> None:
    errand_id = ask(house)
    grants.revoke(house.db, "mia", HELD, by=ROOT_USER, reason="has left")
    assert carry_out(house.db, house.settings, RUN) == {"done": 0, "refused": 1}
    assert errand_card(house.db, errand_id)["problem"]["status"] == 403
    assert not (Path(house.settings.files_at("plans")) / "trials").exists()
    assert audit.records(house.db, person="mia")["outcome"].to_list() == ["refused", "done"]
