"""The grid is killed by its users' tests: what it promised must hold afterwards."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import requests

from simgrid.grid import Grid
from tests import ROOT
from tests.patience import PATIENCE_S
from tests.ports import free_ports
from tests.simgrid.client import FtsClient
from tests.simgrid.conftest import TINY

RAW = "/Jets/Run2025B-v2/RAW"


def test_fts_goes_on_where_it_was_restarted(grid: Grid, fts: FtsClient) -> None:
    files = fts.dbs_files(RAW)
    done = fts.submit([fts.entry("T1_AA_Disk", "T2_CC", files[0])])
    fts.wait(done)
    grid.fault(fts={"hang_active": 2})
    running = fts.submit([fts.entry("T1_AA_Disk", "T2_DD", f) for f in files])
    while [f["file_state"] for f in fts.files(running)].count("ACTIVE") < 2:
        time.sleep(0.01)
    before = fts.job(done)
    grid.heal()
    assert requests.post(f"{grid.endpoints['control']}/fts/restart").status_code == 200
    assert fts.job(done) == before
    assert fts.wait(running)["job_state"] == "FINISHED"
    assert all(fts.path("T2_DD", f["logical_file_name"]).exists() for f in files)


def test_a_copy_that_was_done_but_not_noted_is_not_refused(grid: Grid, fts: FtsClient) -> None:
    file = fts.dbs_files(RAW)[0]
    grid.fault(fts={"hang_active": 1})
    job_id = fts.submit([fts.entry("T1_AA_Disk", "T2_DD", file)], verify_checksum="both")
    while grid.faults.fts.hang_active:  # until the copy has looked at both ends, and hangs
        time.sleep(0.01)
    target = fts.path("T2_DD", file["logical_file_name"])
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(fts.path("T1_AA_Disk", file["logical_file_name"]).read_bytes())
    grid.restart_fts()
    assert fts.wait(job_id)["job_state"] == "FINISHED"


def serve(directory: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "simgrid", "serve", "--scenario", str(TINY), "--dir", str(directory), *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)


def endpoints_of(process: subprocess.Popen[str], directory: Path) -> dict[str, object]:
    assert process.stdout is not None
    assert process.stdout.readline().startswith("simgrid: serving")
    found: dict[str, object] = json.loads((directory / "simgrid.json").read_text())
    return found


def test_a_killed_grid_comes_back_at_the_same_ports(tmp_path: Path) -> None:
    base = str(free_ports(20))
    first = serve(tmp_path, "--port-base", base)
    ends = endpoints_of(first, tmp_path)
    client = FtsClient(ends)
    client.delegate()
    requests.post(f"{ends['control']}/faults", json={"fts": {"paused": True}})
    job_id = client.submit([client.entry("T1_AA_Tape", "T2_DD", client.dbs_files(RAW)[0])], bring_online=1000)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    second = serve(tmp_path, "--port-base", base)
    try:
        assert endpoints_of(second, tmp_path) == ends
        assert FtsClient(ends).wait(job_id)["job_state"] == "FINISHED"
    finally:
        second.terminate()
    assert second.wait(timeout=PATIENCE_S) == 0
    assert not (tmp_path / "simgrid.json").exists()


def test_a_used_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = serve(tmp_path, "--port-base", str(port))
        _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2
    assert errors.strip() == (
        f"simgrid: cannot listen on 127.0.0.1 port {port} (Address already in use); choose another with --port-base"
    )


def test_a_bad_scenario_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("sites: [{name: A, colour: red}]\n")
    done = subprocess.run(
        [sys.executable, "-m", "simgrid", "build", "--scenario", path, "--dir", tmp_path / "x"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == f"simgrid: {path}: sites.0.colour: unknown key\n"
