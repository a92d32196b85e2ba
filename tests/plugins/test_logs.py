"""Old logs go, young ones stay, and folders that are still used."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from dynamo_airflow.logs import remove_logs

NOW = datetime.now(UTC)


def written(path: Path, days_ago: int, text: str = "x" * 10) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    for each in (path, path.parent):
        os.utime(each, ((NOW - timedelta(days=days_ago)).timestamp(),) * 2)
    return path


def test_what_is_older_goes_with_its_folder(tmp_path: Path) -> None:
    young = written(tmp_path / "dag_id=detox" / "run_id=2" / "attempt=1.log", 1)
    written(tmp_path / "dag_id=detox" / "run_id=1" / "attempt=1.log", 40)
    old = tmp_path / "dag_id=detox" / "run_id=1"
    assert remove_logs(tmp_path, NOW - timedelta(days=30)) == {"files": 1, "bytes": 10}
    assert young.exists()
    assert not old.exists()


def test_what_a_link_leads_to_stays(tmp_path: Path) -> None:
    elsewhere = written(tmp_path / "elsewhere" / "precious", 40)
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "latest").symlink_to(elsewhere.parent)
    (tmp_path / "logs" / "dangling").symlink_to(tmp_path / "nowhere")
    assert remove_logs(tmp_path / "logs", NOW + timedelta(days=1))["files"] == 1
    assert elsewhere.exists()


def test_no_logs_are_no_fault(tmp_path: Path) -> None:
    assert remove_logs(tmp_path / "none", NOW) == {"files": 0, "bytes": 0}
