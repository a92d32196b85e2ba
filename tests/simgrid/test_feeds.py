from __future__ import annotations

import smtplib
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from pathlib import Path

import pytest
import requests

from simgrid.grid import Grid
from tests.patience import wait_until
from tests.simgrid.client import session


def test_site_status(grid: Grid) -> None:
    http = session(grid.endpoints)
    sites = {row["name"]: row for row in http.get(grid.endpoints["site_status"]).json()}
    assert sites["T1_AA_Tape"]["storage_type"] == "mss"
    assert sites["T2_DD"]["status"] == "waitroom"
    for name, row in sites.items():
        assert row["endpoints"] == [{"protocol": "davs", "prefix": grid.endpoints["sites"][name]["prefix"]}]
        assert abs(datetime.fromisoformat(row["updated_at"]) - datetime.now(UTC)) < timedelta(seconds=5)


def test_a_site_changes_its_status(grid: Grid) -> None:
    url = f"{grid.endpoints['control']}/sites/T2_CC"
    assert requests.post(url, json={"status": "morgue"}).status_code == 200
    rows = session(grid.endpoints).get(grid.endpoints["site_status"]).json()
    assert next(row["status"] for row in rows if row["name"] == "T2_CC") == "morgue"
    assert requests.post(url, json={"status": "tired"}).status_code == 400
    assert requests.post(url.replace("T2_CC", "T2_XX"), json={"status": "ready"}).status_code == 404


def test_accesses_of_a_day(grid: Grid) -> None:
    http = session(grid.endpoints)
    today = datetime.now(UTC).date()
    first, last = today - timedelta(days=2), today - timedelta(days=1)
    rows = http.get(grid.endpoints["accesses"], params={"from": first.isoformat(), "to": last.isoformat()}).json()
    assert {row["day"] for row in rows} == {first.isoformat()}
    assert {row["dataset"] for row in rows} == {"/Muons/Run2026A-v1/AOD", "/Electrons/Run2026A-v1/MINI"}
    assert rows[0].keys() == {"dataset", "site", "day", "num_accesses", "cpu_hours", "num_users"}
    instant = {"from": f"{first}T00:00:00+00:00", "to": f"{last}T00:00:00Z"}
    assert http.get(grid.endpoints["accesses"], params=instant).json() == rows
    assert http.get(grid.endpoints["accesses"], params={"from": "once"}).status_code == 400


def test_accesses_by_file_add_up_to_those_by_dataset(grid: Grid) -> None:
    http = session(grid.endpoints)
    by_dataset = http.get(grid.endpoints["accesses"]).json()
    by_file = http.get(grid.endpoints["accesses"], params={"level": "file"}).json()
    assert all("lfn" in row and "dataset" not in row for row in by_file)
    assert sum(row["num_accesses"] for row in by_file) == sum(row["num_accesses"] for row in by_dataset)


def test_feed_faults(grid: Grid) -> None:
    http = session(grid.endpoints)
    grid.fault(site_status={"vanished": ["T2_BB"], "unknown_status": ["T2_CC"], "stale_s": 7200})
    rows = {row["name"]: row for row in http.get(grid.endpoints["site_status"]).json()}
    assert "T2_BB" not in rows
    assert rows["T2_CC"]["status"] not in ("ready", "waitroom", "morgue")
    assert datetime.now(UTC) - datetime.fromisoformat(rows["T2_CC"]["updated_at"]) > timedelta(hours=1)
    grid.fault(accesses={"broken_json": True})
    with pytest.raises(requests.exceptions.JSONDecodeError):
        http.get(grid.endpoints["accesses"]).json()


def test_mail_becomes_a_file(grid: Grid) -> None:
    smtp = grid.endpoints["smtp"]
    with smtplib.SMTP(smtp["host"], smtp["port"]) as server:
        server.sendmail("dynamo@example.org", ["ops@example.org"], "Subject: full\r\n\r\nT2_CC is full\r\n")
    mails = Path(grid.endpoints["mail_dir"])
    wait_until(lambda: list(mails.glob("*.eml")))
    mail = message_from_bytes(next(mails.glob("*.eml")).read_bytes())
    assert mail["Subject"] == "full"
    assert mail["X-Envelope-To"] == "ops@example.org"
