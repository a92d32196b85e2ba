"""A manager and two data servers behind it, each with its own files: XRootD's cluster, on free ports."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.patience import PATIENCE_S, wait_until
from tests.ports import free_ports
from tests.xrootd.servers import MISSING, answers, give, make_parent, remove

CONFIG = """
all.role {role}
all.manager localhost:{manager}
all.export /store r/w
oss.localroot {root}
all.adminpath {folder}/run
all.pidpath {folder}/run
cms.space min 1m 1m
cms.delay servers 1 startup 3
if exec cmsd
  xrd.port {cmsd}
else
  xrd.port {port}
fi
"""
SERVERS = ("one", "two")


@dataclass
class Cluster:
    """``folder`` holds a directory for each server, with its files by LFN."""

    folder: Path
    port: int
    processes: dict[str, list[subprocess.Popen[bytes]]] = field(default_factory=dict)

    @property
    def prefix(self) -> str:
        """The manager's, as an endpoint has it."""
        return f"root://localhost:{self.port}/"

    def put(self, server: str, *lfns: str) -> None:
        for lfn in lfns:
            path = self.folder / server / "data" / lfn.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(lfn)
        give(self.folder / server / "data")

    def start(self, name: str) -> None:
        programs = {program: shutil.which(program) for program in ("cmsd", "xrootd")}
        assert all(programs.values()), MISSING
        command = ["-c", str(self.folder / f"{name}.cf"), "-l", str(self.folder / name / "log"), "-n", name]
        if os.geteuid() == 0:
            command += ["-R", "nobody"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.processes[name] = [
            subprocess.Popen([str(program), *command], cwd=self.folder, **quiet)  # type: ignore[call-overload]
            for program in programs.values()
        ]

    def send(self, name: str, number: int) -> None:
        """A signal to a server, and to its cmsd."""
        for process in self.processes[name]:
            process.send_signal(number)

    def stop(self, name: str) -> None:
        self.send(name, signal.SIGKILL)
        for process in self.processes.pop(name):
            process.wait()


@contextmanager
def running_cluster() -> Iterator[Cluster]:
    parent = make_parent()
    first = free_ports(2 + len(SERVERS))
    cluster = Cluster(parent, first)
    for number, name in enumerate(("manager", *SERVERS)):
        for part in ("run", "data/store"):
            (parent / name / part).mkdir(parents=True)
        is_manager = name == "manager"
        (parent / f"{name}.cf").write_text(
            CONFIG.format(
                role="manager" if is_manager else "server",
                manager=first + 1,
                root=parent / name / "data",
                folder=parent / name,
                cmsd=first + 1 if is_manager else "any",
                port=first if is_manager else first + 1 + number,
            )
        )
    give(parent)
    try:
        for name in ("manager", *SERVERS):
            cluster.start(name)
        yield cluster
    finally:
        for name in list(cluster.processes):
            cluster.stop(name)
        remove(parent)


def await_servers(cluster: Cluster, number: int) -> None:
    """Until the manager knows so many data servers."""
    from XRootD import client
    from XRootD.client.flags import OpenFlags

    wait_until(lambda: answers("localhost", cluster.port), lambda: "the manager does not listen")
    manager = client.FileSystem(cluster.prefix)
    deadline = time.monotonic() + PATIENCE_S
    while True:
        status, places = manager.deeplocate("*", OpenFlags.REFRESH, timeout=10)
        if status.ok and len([place for place in places if place.type == 2]) == number:
            return
        assert time.monotonic() < deadline, f"not {number} data servers: {status.message}"
        time.sleep(0.5)
