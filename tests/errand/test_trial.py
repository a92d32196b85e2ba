"""A policy is tried as an errand: its figures are answered, its decisions kept; nothing is changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
import yaml

from dynamo_ops.access import audit, grants
from dynamo_ops.access.actions import AccessError
from dynamo_ops.access.person import Grant, KnownBy, Person, Role, Scope
from dynamo_ops.base.errors import InventoryError, PlanError, PolicyError
from dynamo_ops.database.connection import Database
from dynamo_ops.errand import trial
from dynamo_ops.errand.carry import carry_out
from dynamo_ops.errand.trial import Tried, ask_trial
from dynamo_ops.inventory.site.quota import set_quotas
from dynamo_ops.query.record.errand import errand_card
from dynamo_ops.request.copy_request import request_copy
from tests.dealer.test_tasks import CONFIG
from tests.detox.test_tasks import HEAD, TAIL, House
from tests.inventory.factory import SIZE
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
    return ask_trial(house.db, house.settings, partition=partition, tried=Tried(policy, against=against), by=MIA)


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


DEALER = {**CONFIG, "plugins": {"enforcer": {"priority": 1}, "requests": {"priority": 2}}}


def ask_dealer(house: House, *, against: int | None = None, **changed: object) -> int:
    text = yaml.safe_dump({**DEALER, **changed})
    return ask_trial(house.db, house.settings, partition="all", tried=Tried(dealer=text, against=against), by=MIA)


def test_a_configuration_of_the_dealer_is_tried(house: House) -> None:
    """A request is served by it that the installed one, which there is not, would not."""
    house.site("T2_C")
    set_quotas(house.db, ["T2_C"], "all", 10 * SIZE, by=ROOT_USER, reason="of the test")
    house.rows("INSERT INTO groups (name, ownership_level) VALUES ('ops', 'dataset') ON CONFLICT DO NOTHING")
    request_copy(house.db, "/A/B-v1/AOD", ["T2_C"], num_copies=1, group="ops", by=ROOT_USER)
    errand_id = ask_dealer(house)
    assert carry_out(house.db, house.settings, RUN) == {"done": 1, "refused": 0}
    answer = errand_card(house.db, errand_id)["answer"]
    assert (answer["plan"], answer["partition"], answer["rules"]) == (f"trial {errand_id}", "all", [])
    assert [(plugin["plugin"], plugin["num_copies"]) for plugin in answer["plugins"]] == [
        ("enforcer", 0),
        ("requests", 1),
    ]
    folder = Path(house.settings.files_at("plans")) / "trials" / str(errand_id)
    assert pl.read_parquet(folder / "copies.parquet")["site"].to_list() == ["T2_C"]
    assert pl.read_parquet(folder / "rejected.parquet").is_empty()
    assert house.rows("SELECT id FROM plans") == []
    assert house.rows("SELECT state FROM requests") == [("new",)]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"partition": "other"}, "is for partition 'other'"),
        ({"plugins": {"balanser": {}}}, "no dealer plugin is called 'balanser'"),
        ({"plugins": {"enforcer": {"rules": "/etc/passwd"}}}, "plugins.enforcer.rules: what is sent names no file"),
        ({"max_total_cycle_volume": -1}, "max_total_cycle_volume"),
        ({"placement": [{"type": "nowhere"}]}, "nowhere"),
    ],
)
def test_a_wrong_configuration_is_the_fault_of_who_sent_it(
    house: House, changed: dict[str, object], words: str
) -> None:
    """And not of the installation: no run fails for it."""
    with pytest.raises(InventoryError, match=words):
        ask_dealer(house, **changed)
    assert house.rows("SELECT * FROM errands") == []


def test_one_of_both_is_tried_and_only_a_policy_against_a_plan(house: House) -> None:
    for tried in (Tried(), Tried(KEEP, yaml.safe_dump(DEALER))):
        with pytest.raises(InventoryError, match="expected one of them"):
            ask_trial(house.db, house.settings, partition="all", tried=tried, by=MIA)
    with pytest.raises(PlanError, match="only a policy of Detox"):
        ask_dealer(house, against=1)


def test_who_has_lost_the_right_by_then_is_refused(house: House) -> None:
    errand_id = ask(house)
    grants.revoke(house.db, "mia", HELD, by=ROOT_USER, reason="has left")
    assert carry_out(house.db, house.settings, RUN) == {"done": 0, "refused": 1}
    assert errand_card(house.db, errand_id)["problem"]["status"] == 403
    assert not (Path(house.settings.files_at("plans")) / "trials").exists()
    assert audit.records(house.db, person="mia")["outcome"].to_list() == ["refused", "done"]
