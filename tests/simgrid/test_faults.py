from __future__ import annotations

import pytest
import requests

from simgrid.faults import Faults, FaultsRecord, UnknownFaultError
from simgrid.grid import Grid
from tests.simgrid.client import FtsClient

RAW = "/Jets/Run2025B-v2/RAW"


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
        ({"fts": {"links": {"davs://a": {"seconds": 1}}}}, "fts.links"),
        ({"fts": {"links": {"davs://a *": {"speed": 1}}}}, "speed"),
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


def test_the_closest_link_counts(faults: Faults) -> None:
    links = {"* davs://b": {"seconds": 1}, "davs://a davs://b": {"bytes_per_s": 100}, "davs://c *": {"seconds": 3}}
    faults.set({"fts": {"links": links}})
    assert faults.fts.link("davs://a", "davs://b").least_s(500) == 5
    assert faults.fts.link("davs://x", "davs://b").least_s(500) == 1
    assert faults.fts.link("davs://c", "davs://b").least_s(500) == 3
    assert faults.fts.link("davs://b", "davs://a").least_s(500) == 0
    faults.set({"fts": {"links": {"davs://a davs://b": None}}})
    assert faults.fts.link("davs://a", "davs://b").least_s(500) == 1


def test_a_mended_fault_is_off(faults: Faults) -> None:
    faults.set({"fts": {"credential_expired": True, "slow_s": 1}})
    faults.end(faults.fts, "credential_expired")
    assert (faults.fts.credential_expired, faults.fts.slow_s) == (False, 1)


def test_a_503_is_the_web_servers_page(grid: Grid, fts: FtsClient) -> None:
    grid.fault(fts={"http_503": 2, "retry_after_s": 120})
    for _ in range(2):
        reply = fts.http.get(f"{fts.url}/whoami")
        assert (reply.status_code, reply.headers["Retry-After"]) == (503, "120")
        assert "<h1>Service Unavailable</h1>" in reply.text
    assert fts.http.get(f"{fts.url}/whoami").status_code == 200
    grid.fault(fts={"http_503": 1, "retry_after_s": None})
    assert "Retry-After" not in fts.http.get(f"{fts.url}/whoami").headers


def test_an_expired_credential_is_renewed_by_a_new_one(grid: Grid, fts: FtsClient) -> None:
    entry = fts.entry("T1_AA_Disk", "T2_CC", fts.dbs_files(RAW)[0])
    grid.fault(fts={"credential_expired": True})
    refused = fts.http.post(f"{fts.url}/jobs", json={"files": [entry], "params": {}})
    assert (refused.status_code, refused.json()["status"][:3]) == (419, "419")
    fts.delegate()
    assert fts.wait(fts.submit([entry]))["job_state"] == "FINISHED"


def test_a_forgotten_job_is_nowhere(grid: Grid, fts: FtsClient) -> None:
    entry = fts.entry("T1_AA_Disk", "T2_CC", fts.dbs_files(RAW)[0])
    kept, forgotten = fts.submit([entry], overwrite=True), fts.submit([entry], overwrite=True)
    fts.wait(kept)
    grid.fault(fts={"forgotten": [forgotten]})
    both = fts.http.get(f"{fts.url}/jobs/{kept},{forgotten}")
    assert (both.status_code, [entry["http_status"] for entry in both.json()]) == (207, ["200 Ok", "404 Not Found"])
    assert fts.http.get(f"{fts.url}/archive/{forgotten}").status_code == 404


def test_one_link_is_slow_and_another_refuses(grid: Grid, fts: FtsClient) -> None:
    file = fts.dbs_files(RAW)[0]

    def link(source: str, destination: str) -> str:
        return " ".join(fts.url_of(site, "").rpartition(":")[0] for site in (source, destination))

    links = {
        link("T1_AA_Disk", "T2_CC"): {"bytes_per_s": file["file_size"] * 5},
        link("T1_AA_Disk", "T2_DD"): {"refuse_fraction": 1.0},
    }
    grid.fault(fts={"links": links})
    slow = fts.submit([fts.entry("T1_AA_Disk", "T2_CC", file)])
    refused = fts.submit([fts.entry("T1_AA_Disk", "T2_DD", file)], retry=3)
    assert fts.wait(refused)["job_state"] == "FAILED"
    (failed,) = fts.files(refused)
    assert (failed["retry"], failed["recoverable"], failed["reason"][:13]) == (0, False, "TRANSFER [13]")
    assert fts.job(slow)["job_state"] == "ACTIVE"
    assert fts.wait(slow)["job_state"] == "FINISHED"


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


@pytest.mark.parametrize(
    ("refuses", "reason"),
    [
        ("permission", "DESTINATION [1] HTTP 403 : Permission refused"),
        ("directory", "DESTINATION [13] Failed to create directory davs://"),
        ("checksum", "DESTINATION [14] Could not get the checksum"),
    ],
)
def test_a_destination_refuses_in_the_words_of_the_real_server(
    grid: Grid, fts: FtsClient, refuses: str, reason: str
) -> None:
    """Irrecoverable to FTS, so it does not try again; and nothing has come (a file without its checksum has)."""
    grid.fault(sites={"T2_DD": {"refuses": refuses}})
    file = fts.dbs_files(RAW)[0]
    job_id = fts.submit([fts.entry("T1_AA_Disk", "T2_DD", file)], retry=3, verify_checksum="both")
    assert fts.wait(job_id)["job_state"] == "FAILED"
    (failed,) = fts.files(job_id)
    assert failed["reason"].startswith(reason)
    assert (failed["recoverable"], failed["retry"]) == (False, 0)
    assert fts.path("T2_DD", file["logical_file_name"]).exists() == (refuses == "checksum")


def test_a_proxy_runs_out_in_the_queue_until_another_is_delegated(grid: Grid, fts: FtsClient) -> None:
    grid.fault(fts={"proxy_expired": True})
    entry = fts.entry("T1_AA_Disk", "T2_DD", fts.dbs_files(RAW)[0])
    job_id = fts.submit([entry])
    assert fts.wait(job_id)["job_state"] == "FAILED"
    assert fts.files(job_id)[0]["reason"] == "DESTINATION [1] HTTP 403 : Permission refused"
    fts.delegate()
    assert fts.wait(fts.submit([entry]))["job_state"] == "FINISHED"
