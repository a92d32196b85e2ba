"""CMS's own DBS client reads the pocket grid's DBS, and sees the same as our source.

The client cannot live in our environment: its ``dbs3-pycurl`` wants the ``certifi`` of August 2024. So the quick test
asks what the client was recorded to ask (``dbs3_client.json``), and the slow one installs the client beside us, lets it
ask, and compares the record with it. ``python -m tests.simgrid.test_dbs3_client`` writes the record anew.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from dynamo_ops.base.settings import SourceSettings, Tls
from dynamo_ops.sources.metadata.dbs import DbsSource
from simgrid.grid import Grid
from tests import ROOT
from tests.simgrid.client import session
from tests.sources.conformance import LATER, whole

RECORD = Path(__file__).with_name("dbs3_client.json")
PACKAGE = "dbs3-client==4.0.19"
DATASET = "/Stream/Express2026A-v1/FEVT"


def record(answers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What stays the same from grid to grid: what was asked, and which keys the rows have."""
    return [
        {**{key: value for key, value in answer.items() if key != "rows"}, "keys": sorted(answer["rows"][0])}
        for answer in answers
    ]


def asked_by_the_client(grid: Grid, folder: Path) -> list[dict[str, Any]]:
    """The client's answers. Needs a package index: the client is installed into ``folder``."""
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--target",
        folder / "site",
    ]
    subprocess.run([*install, PACKAGE], check=True)
    endpoints = folder / "endpoints.json"
    endpoints.write_text(json.dumps(grid.endpoints, default=str))
    script = Path(__file__).with_name("dbs3_client.py")
    environment = {"PYTHONPATH": str(folder / "site"), "PATH": "/usr/bin:/bin", "USER": "nobody"}
    done = subprocess.run(
        [sys.executable, script, endpoints, DATASET], env=environment, check=True, capture_output=True, text=True
    )
    answers: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return answers


def assert_seen_alike(grid: Grid, answers: list[dict[str, Any]]) -> None:
    """Our source gives the rows that the client got, in JSON and in JSON lines."""
    ends = grid.endpoints
    tls = Tls(ca=Path(ends["ca"]), cert=Path(ends["user_cert"]), key=Path(ends["user_key"]))
    source = DbsSource(SourceSettings(name="dbs", type="dbs", options={"url": ends["dbs"]}), tls)
    datasets = source.datasets(None, LATER)
    blocks, files = whole(list(source.details([DATASET])))
    assert len(answers) == 10
    for full, short, of_blocks, of_files, of_valid in (answers[:5], answers[5:]):
        told = [(row["dataset"], row["dataset_access_type"].lower()) for row in full["rows"]]
        assert sorted(datasets.select("dataset", "status").rows()) == sorted(told)
        assert source.count_datasets() == len(short["rows"]) == len(told) > 0
        assert sorted(blocks.select("block", "size_bytes", "num_files", "is_open").rows()) == sorted(
            (row["block_name"].split("#")[1], row["block_size"], row["file_count"], bool(row["open_for_writing"]))
            for row in of_blocks["rows"]
        )
        assert sorted(files.select("lfn", "size_bytes", "adler32", "is_valid").rows()) == sorted(
            (row["logical_file_name"], row["file_size"], row["adler32"], bool(row["is_file_valid"]))
            for row in of_files["rows"]
        )
        assert files.filter("is_valid").height == len(of_valid["rows"]) > 0


def test_the_grid_answers_what_the_client_was_recorded_to_ask(grid: Grid) -> None:
    http = session(grid.endpoints)
    answers = []
    for exchange in json.loads(RECORD.read_text()):
        url, headers = f"{grid.endpoints['dbs']}/{exchange['api']}", {"Accept": exchange["accept"]}
        response = http.get(url, params=exchange["params"], headers=headers, timeout=30)
        assert response.status_code == 200, response.text
        lines = response.text.splitlines() if "ndjson" in exchange["accept"] else []
        answers.append({**exchange, "rows": [json.loads(line) for line in lines] or response.json()})
        assert sorted(answers[-1]["rows"][0]) == exchange["keys"]
    assert_seen_alike(grid, answers)


@pytest.mark.slow
def test_the_client_itself_sees_what_our_source_sees(grid: Grid, tmp_path: Path) -> None:
    answers = asked_by_the_client(grid, tmp_path)
    assert_seen_alike(grid, answers)
    assert record(answers) == json.loads(RECORD.read_text()), "the record is out of date"


if __name__ == "__main__":
    with (
        tempfile.TemporaryDirectory() as place,
        Grid(ROOT / "include/scenarios/tiny.yaml", Path(place) / "grid") as running,
    ):
        RECORD.write_text(json.dumps(record(asked_by_the_client(running, Path(place))), indent=1) + "\n")
