from __future__ import annotations

import pytest
import requests

from simgrid.faults import Faults, FaultsRecord, UnknownFaultError
from simgrid.grid import Grid


@pytest.fixture
def faults() -> Faults:
    return Faults(FaultsRecord(), ["A", "B"], seed=1)


def test_setting_lays_over_what_is_there(faults: Faults) -> None:
    faults.set({"fts": {"down": True}, "sites": {"A": {"read_only": True}}})
    faults.set({"fts": {"slow_s": 1.5}})
    assert (faults.fts.down, faults.fts.slow_s) == (True, 1.5)
    assert faults.site("A").read_only
    assert not faults.site("B").read_only
    faults.set({"fts": None, "sites": {"A": None}})
    assert not faults.fts.down
    assert not faults.site("A").read_only


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"fts": {"doom": True}}, "fts.doom"),
        ({"dhs": {}}, "dhs"),
        ({"fts": {"fail_fraction": 2}}, "fts.fail_fraction"),
        ({"sites": {"C": {"down": True}}}, "no such site"),
    ],
)
def test_unknown_faults_change_nothing(faults: Faults, change: dict[str, object], complaint: str) -> None:
    before = faults.as_document()
    with pytest.raises(UnknownFaultError, match=complaint):
        faults.set(change)
    assert faults.as_document() == before


def test_counters_are_spent_and_switches_stay(faults: Faults) -> None:
    faults.set({"fts": {"lost_reply": 2, "http_500": True}})
    assert [faults.spend(faults.fts, "lost_reply") for _ in range(3)] == [True, True, False]
    assert [faults.spend(faults.fts, "http_500") for _ in range(3)] == [True, True, True]


def test_fractions_follow_the_seed() -> None:
    one, two = (Faults(FaultsRecord(), [], seed=7) for _ in range(2))
    strikes = [one.strikes(0.3) for _ in range(1000)]
    assert strikes == [two.strikes(0.3) for _ in range(1000)]
    assert 200 < sum(strikes) < 400


def test_control_port(grid: Grid) -> None:
    control = grid.endpoints["control"]
    assert requests.get(f"{control}/health").json()["status"] == "ok"
    reply = requests.post(f"{control}/faults", json={"dbs": {"http_500": 3}})
    assert reply.json()["dbs"]["http_500"] == 3
    assert requests.get(f"{control}/faults").json() == reply.json()
    assert requests.post(f"{control}/faults", json={"dbs": {"doom": 3}}).status_code == 400
    assert requests.post(f"{control}/faults", data="nonsense").status_code == 400
    assert requests.delete(f"{control}/faults").json()["dbs"]["http_500"] in (0, False)
    assert requests.get(f"{control}/nonsense").status_code == 404
