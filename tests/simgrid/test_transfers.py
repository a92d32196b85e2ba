"""Whole transfers: the bytes move, and what FTS says about them is true."""

from __future__ import annotations

import time
import zlib

import pytest
import requests

from simgrid.grid import Grid
from tests.patience import wait_until
from tests.simgrid.client import FtsClient, session

RAW = "/Jets/Run2025B-v2/RAW"


def states(client: FtsClient, job_id: str) -> list[str]:
    return [file["file_state"] for file in client.files(job_id)]


def test_finished_means_the_bytes_are_there(fts: FtsClient) -> None:
    files = fts.dbs_files(RAW)
    job = fts.wait(fts.submit([fts.entry("T1_AA_Disk", "T2_DD", f) for f in files], verify_checksum="both"))
    assert (job["job_state"], job["reason"]) == ("FINISHED", "")
    for file in files:
        content = fts.path("T2_DD", file["logical_file_name"]).read_bytes()
        assert (len(content), f"{zlib.adler32(content):08x}") == (file["file_size"], file["adler32"])


def test_tape_needs_staging_and_is_released_afterwards(fts: FtsClient) -> None:
    file = fts.dbs_files(RAW)[0]
    entry = fts.entry("T1_AA_Tape", "T2_CC", file)
    direct = fts.submit([entry])
    assert fts.wait(direct)["job_state"] == "FAILED"
    assert "[16]" in fts.files(direct)[0]["reason"]
    assert not fts.path("T2_CC", file["logical_file_name"]).exists()
    job_id = fts.submit([entry], bring_online=1000, copy_pin_lifetime=1000)
    assert fts.job(job_id)["job_state"] == "STAGING"
    assert fts.wait(job_id)["job_state"] == "FINISHED"
    (done,) = fts.files(job_id)
    assert done["staging_start"] <= done["staging_finished"] <= done["start_time"]
    assert fts.path("T2_CC", file["logical_file_name"]).stat().st_size == file["file_size"]
    tape_url = "https" + fts.url_of("T1_AA_Tape", file["logical_file_name"]).removeprefix("davs")
    wait_until(lambda: fts.http.head(tape_url).headers["X-Locality"] == "NEARLINE")


def test_a_slow_tape_times_out(grid: Grid, fts: FtsClient) -> None:
    grid.fault(sites={"T1_AA_Tape": {"tape_stuck": True}})
    job_id = fts.submit([fts.entry("T1_AA_Tape", "T2_CC", fts.dbs_files(RAW)[0])], bring_online=1)
    assert fts.wait(job_id)["job_state"] == "FAILED"
    assert fts.files(job_id)[0]["reason"].startswith("STAGING [110]")


def test_archiving_to_tape(fts: FtsClient) -> None:
    files = fts.dbs_files("/SimTop/Run2026A-v1/MINI")
    entries = [fts.entry("T1_AA_Disk", "T1_AA_Tape", f) for f in files]
    job_id = fts.submit(entries, archive_timeout=86400, verify_checksum="both")
    assert fts.wait(job_id)["job_state"] == "FINISHED"
    assert all(file["archive_start_time"] and file["archive_finish_time"] for file in fts.files(job_id))
    again = fts.submit(entries[:1], archive_timeout=86400, dst_file_report=True)
    assert fts.wait(again)["job_state"] == "FAILED"
    report = fts.files(again)[0]["file_metadata"]["dst_file"]
    assert report == {
        "file_size": files[0]["file_size"],
        "checksum_type": "ADLER32",
        "file_on_tape": True,
        "checksum_value": files[0]["adler32"],
        "file_on_disk": False,
    }


def test_what_gets_stuck_in_the_buffer_fails_at_the_archive_timeout(grid: Grid, fts: FtsClient) -> None:
    file = fts.dbs_files("/SimTop/Run2026A-v1/MINI")[0]
    entry = fts.entry("T1_AA_Disk", "T1_AA_Tape", file)
    grid.fault(sites={"T1_AA_Tape": {"archive_stuck": True}})
    job_id = fts.submit([entry], archive_timeout=400, verify_checksum="both")
    wait_until(lambda: states(fts, job_id) == ["ARCHIVING"])
    assert fts.job(job_id)["job_state"] == "ARCHIVING"
    assert fts.wait(job_id)["job_state"] == "FAILED"
    assert fts.files(job_id)[0]["reason"].startswith("ARCHIVING [110]")

    def report() -> tuple[bool, bool]:
        again = fts.submit([entry], archive_timeout=400, dst_file_report=True)
        assert fts.wait(again)["job_state"] == "FAILED"
        told = fts.files(again)[0]["file_metadata"]["dst_file"]
        return told["file_on_tape"], told["file_on_disk"]

    assert report() == (False, True)
    grid.heal()
    assert report() == (True, False)
    grid.fault(sites={"T1_AA_Tape": {"archive_stuck": True}})
    assert report() == (True, False)


def test_existing_destinations_stand_unless_overwritten(fts: FtsClient) -> None:
    file = fts.dbs_files(RAW)[0]
    target = fts.path("T2_DD", file["logical_file_name"])
    target.parent.mkdir(parents=True)
    target.write_bytes(b"other")
    entry = fts.entry("T1_AA_Disk", "T2_DD", file)
    refused = fts.submit([entry], retry=3)
    assert fts.wait(refused)["job_state"] == "FAILED"
    assert fts.files(refused)[0]["reason"] == "DESTINATION [17] Destination file exists and overwrite is not enabled"
    assert target.read_bytes() == b"other"
    assert fts.wait(fts.submit([entry], overwrite=True))["job_state"] == "FINISHED"
    assert target.stat().st_size == file["file_size"]


def test_a_corrupt_upload_is_found_and_removed(grid: Grid, fts: FtsClient) -> None:
    grid.fault(sites={"T2_DD": {"corrupt_writes": 1}})
    file = fts.dbs_files(RAW)[0]
    job_id = fts.submit([fts.entry("T1_AA_Disk", "T2_DD", file)], verify_checksum="both")
    assert fts.wait(job_id)["job_state"] == "FAILED"
    assert "adler32 checksum do not match" in fts.files(job_id)[0]["reason"]
    assert not fts.path("T2_DD", file["logical_file_name"]).exists()


def test_recoverable_failures_are_tried_again(grid: Grid, fts: FtsClient) -> None:
    grid.fault(sites={"T2_DD": {"http_500": 2}})
    job_id = fts.submit([fts.entry("T1_AA_Disk", "T2_DD", fts.dbs_files(RAW)[0])], retry=3)
    assert fts.wait(job_id)["job_state"] == "FINISHED"
    (file,) = fts.files(job_id)
    retries = fts.http.get(f"{fts.url}/jobs/{job_id}/files/{file['file_id']}/retries").json()
    assert [attempt["attempt"] for attempt in retries] == [1, 2]
    assert file["retry"] == 2


def test_a_full_site_and_a_refusing_site(grid: Grid, fts: FtsClient) -> None:
    grid.fault(sites={"T2_DD": {"full": True}, "T2_CC": {"read_only": True}})
    file = fts.dbs_files(RAW)[0]
    full, refusing = (fts.submit([fts.entry("T1_AA_Disk", site, file)]) for site in ("T2_DD", "T2_CC"))
    fts.wait(full)
    fts.wait(refusing)
    assert "[28]" in fts.files(full)[0]["reason"]
    assert fts.files(refusing)[0]["recoverable"] is False


def test_the_second_source_helps_out(grid: Grid, fts: FtsClient) -> None:
    site, lfn = grid.catalogue.missing[0]
    file = next(f for f in fts.dbs_files("/Muons/*/AOD") if f["logical_file_name"] == lfn)
    entry = fts.entry(site, "T2_CC", file) | {"selection_strategy": "orderly"}
    entry["sources"].append(fts.url_of("T1_AA_Disk", lfn))
    job_id = fts.submit([entry], verify_checksum="both")
    assert fts.wait(job_id)["job_state"] == "FINISHED"
    assert states(fts, job_id) == ["FAILED", "FINISHED"]
    assert fts.path("T2_CC", lfn).exists()


def test_a_failed_hop_ends_the_chain(fts: FtsClient) -> None:
    lfn = "/store/data/never"
    hops = [("T1_AA_Disk", "T2_CC"), ("T2_CC", "T2_DD")]
    job_id = fts.submit(
        [{"sources": [fts.url_of(a, lfn)], "destinations": [fts.url_of(b, lfn)]} for a, b in hops], multihop=True
    )
    assert fts.wait(job_id)["job_state"] == "FAILED"
    assert states(fts, job_id) == ["FAILED", "NOT_USED"]


def test_cancelling_a_hanging_copy(grid: Grid, fts: FtsClient) -> None:
    grid.fault(fts={"hang_active": 1})
    file = fts.dbs_files(RAW)[0]
    job_id = fts.submit([fts.entry("T1_AA_Disk", "T2_DD", file)])
    wait_until(lambda: states(fts, job_id) == ["ACTIVE"])
    assert fts.http.delete(f"{fts.url}/jobs/{job_id}").json()["job_state"] == "CANCELED"
    wait_until(lambda: fts.files(job_id)[0]["finish_time"] is not None)
    assert fts.path("T2_DD", file["logical_file_name"]).stat().st_size == file["file_size"] // 2  # FTS_CONTRACT §12.6


def test_a_lost_reply_is_not_a_lost_job(grid: Grid, fts: FtsClient) -> None:
    grid.fault(fts={"lost_reply": 1})
    body = {
        "files": [fts.entry("T1_AA_Disk", "T2_DD", fts.dbs_files(RAW)[0])],
        "params": {"id_generator": "deterministic", "sid": "attempt-1"},
    }
    with pytest.raises(requests.ConnectionError):
        fts.http.post(f"{fts.url}/jobs", json=body)
    assert fts.http.post(f"{fts.url}/jobs", json=body).status_code == 409
    (job,) = fts.http.get(f"{fts.url}/jobs", params={"limit": "5"}).json()
    assert fts.wait(job["job_id"])["job_state"] == "FINISHED"


def test_a_lost_submission_leaves_no_job(grid: Grid, fts: FtsClient) -> None:
    grid.fault(fts={"lost_submit": 1})
    with pytest.raises(requests.ConnectionError):
        fts.submit([fts.entry("T1_AA_Disk", "T2_DD", fts.dbs_files(RAW)[0])])
    assert fts.http.get(f"{fts.url}/jobs", params={"limit": "5"}).json() == []


def test_finished_jobs_move_to_the_archive(grid: Grid, fts: FtsClient) -> None:
    job_id = fts.submit([fts.entry("T1_AA_Disk", "T2_DD", fts.dbs_files(RAW)[0])])
    fts.wait(job_id)
    grid.fault(fts={"archived": True})
    assert fts.http.get(f"{fts.url}/jobs/{job_id}").status_code == 404
    assert fts.http.get(f"{fts.url}/archive/{job_id}").json()["job_state"] == "FINISHED"


def test_banned_storages_down_services_and_expired_proxies(grid: Grid, fts: FtsClient) -> None:
    entry = fts.entry("T1_AA_Disk", "T2_DD", fts.dbs_files(RAW)[0])
    grid.fault(fts={"banned": ["davs://127.0.0.15"]})
    assert fts.http.post(f"{fts.url}/jobs", json={"files": [entry]}).status_code == 403
    grid.fault(fts={"banned": [], "no_delegation": True})
    assert fts.http.post(f"{fts.url}/jobs", json={"files": [entry]}).status_code == 419
    grid.fault(fts={"no_delegation": False, "down": True})
    with pytest.raises(requests.ConnectionError):
        fts.http.get(f"{fts.url}/whoami")
    with pytest.raises(requests.ConnectionError):
        session(grid.endpoints).get(f"{fts.url}/whoami")


def test_queue_time_runs_out(grid: Grid, fts: FtsClient) -> None:
    grid.fault(fts={"paused": True})
    job_id = fts.submit([fts.entry("T1_AA_Disk", "T2_CC", fts.dbs_files(RAW)[0])], max_time_in_queue="1s")
    time.sleep(1.2)
    grid.fault(fts={"paused": False})
    job = fts.wait(job_id)
    assert job["job_state"] == "CANCELED"
    assert "stayed in the queue" in job["reason"]


def test_root_urls_of_staging_jobs_get_the_activity(grid: Grid, fts: FtsClient) -> None:
    grid.fault(fts={"paused": True})
    url = "root://tape.example.org:1094//store/x.root"
    stage_only = fts.submit([{"sources": [url], "destinations": [url], "activity": "Express"}], bring_online=60)
    (file,) = fts.files(stage_only)
    assert file["source_surl"] == file["dest_surl"] == f"{url}?activity=Express"
    copy = fts.submit([{"sources": [url], "destinations": ["davs://disk.example.org/x"]}], bring_online=60)
    (file,) = fts.files(copy)
    assert (file["source_surl"], file["dest_surl"]) == (f"{url}?activity=default", "davs://disk.example.org/x")
