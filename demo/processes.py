"""Starting the processes of an instance, and ending all of them and nothing else.

Each process is started as the leader of a session, which is written down with the time of its start: a process id alone
may have been handed to somebody else since. What belongs to the instance is every member of these sessions, every
descendant of one, and whatever carries the instance's name in its environment (Airflow's servers overwrite theirs with
their titles, so that alone would not do).
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil

from demo.instance import INSTANCE_VARIABLE, ROOT, DemoError, Instance

END_TIMEOUT_S = 20
SESSIONS = "sessions.txt"
LOG_BYTES = 10_000_000
"""A log that is longer is put aside when its process starts again; of those put aside one is kept."""


def start(instance: Instance, name: str, command: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start ``command`` in its own session, its output in ``logs/<name>.log``."""
    file = instance.logs / f"{name}.log"
    if file.exists() and file.stat().st_size > LOG_BYTES:
        file.rename(file.with_suffix(".old.log"))
    with file.open("ab") as log:
        process = subprocess.Popen(
            command,
            env=environment,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    with (instance.home / SESSIONS).open("a") as sessions:
        sessions.write(f"{process.pid} {psutil.Process(process.pid).create_time()} {name}\n")
    return process


def run(
    instance: Instance, name: str, command: list[str], environment: dict[str, str], *, codes: tuple[int, ...] = (0,)
) -> None:
    """Run ``command`` to its end. Raises DemoError with the end of its log unless it ends with one of ``codes``."""
    if start(instance, name, command, environment).wait() not in codes:
        raise DemoError(f"{' '.join(map(str, command))} failed:\n{tail(instance.logs / f'{name}.log')}")


def wait_until(
    ready: Callable[[], bool], process: subprocess.Popen[bytes], instance: Instance, name: str, timeout_s: float = 180
) -> None:
    """Wait for ``ready``. Raises DemoError with the end of the log if the process ends or time runs out."""
    end = time.monotonic() + timeout_s
    while not ready():
        log = instance.logs / f"{name}.log"
        if process.poll() is not None:
            raise DemoError(f"{name} ended with code {process.returncode} before it was ready:\n{tail(log)}")
        if time.monotonic() > end:
            raise DemoError(f"{name} was not ready after {timeout_s:.0f} s:\n{tail(log)}")
        time.sleep(0.3)


def of_instance(instance: Instance) -> list[psutil.Process]:
    """All processes of this instance, except ourselves and those we were started by."""
    ours = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    sessions = _sessions(instance)
    found = {process for process in psutil.process_iter() if _belongs(process, sessions, str(instance.home))}
    for process in tuple(found):
        with suppress(psutil.Error):
            found.update(process.children(recursive=True))
    return [process for process in found if process.pid not in ours]


def cpu_seconds(instance: Instance) -> dict[str, float]:
    """CPU seconds that this instance has taken until now, what has ended included: of the ``grid``, of the
    ``databases``, and of ``airflow`` with all that runs in it."""
    seconds = dict.fromkeys(("airflow", "databases", "grid"), 0.0)
    databases = set(_servers_of_databases(instance))
    for process in {*of_instance(instance), *databases}:
        with suppress(psutil.Error):
            command, taken = " ".join(process.cmdline()), process.cpu_times()
            kind = "databases" if process in databases else "grid" if "simgrid" in command else "airflow"
            seconds[kind] += taken.user + taken.system + taken.children_user + taken.children_system
    return seconds


def _servers_of_databases(instance: Instance) -> Iterator[psutil.Process]:
    """They run as another user, in sessions of their own."""
    for file in (instance.home / "postgres").glob("**/postmaster.pid"):
        with suppress(psutil.Error, ValueError):
            server = psutil.Process(int(file.read_text().split()[0]))
            yield from (server, *server.children(recursive=True))


def _sessions(instance: Instance) -> set[int]:
    """The sessions started for this instance, without those whose number meanwhile leads a session of somebody else."""
    file = instance.home / SESSIONS
    sessions = set()
    for line in file.read_text().splitlines() if file.exists() else []:
        pid, began, _ = line.split(maxsplit=2)
        try:
            if psutil.Process(int(pid)).create_time() != float(began):
                continue
        except psutil.NoSuchProcess:
            pass  # the leader has ended; while members are left, its number is not given to anybody else
        sessions.add(int(pid))
    return sessions


def _belongs(process: psutil.Process, sessions: set[int], name: str) -> bool:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return os.getsid(process.pid) in sessions or process.environ().get(INSTANCE_VARIABLE) == name
    except (psutil.Error, OSError):
        return False  # ended meanwhile, or another user's: not ours


def end_all(instance: Instance) -> int:
    """End every process of the instance, politely and then not. Returns how many there were."""
    ended = 0
    for signal_name in ("terminate", "kill"):
        found = of_instance(instance)
        ended = max(ended, len(found))
        for process in found:
            with suppress(psutil.NoSuchProcess):
                getattr(process, signal_name)()
        psutil.wait_procs(found, timeout=END_TIMEOUT_S)
    left = of_instance(instance)
    if left:
        raise DemoError(f"could not end {', '.join(str(process) for process in left)}")
    return ended


def tail(log: Path, lines: int = 30) -> str:
    """The last lines of a log, for a message."""
    text = log.read_text(errors="replace") if log.exists() else "(no log)"
    return "\n".join(text.splitlines()[-lines:])


def python(*arguments: str) -> list[str]:
    """A command line that runs this interpreter."""
    return [sys.executable, *arguments]
