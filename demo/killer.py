"""Kills Airflow's task processes with -9 while they work: what a machine that dies does to them."""

from __future__ import annotations

import random
import re
import threading
from contextlib import suppress
from types import TracebackType

import psutil

from demo import processes
from demo.instance import Instance

# The title that Airflow gives to the process of one task instance.
TASK = re.compile(r"^airflow worker -- [0-9a-f]{8}-[0-9a-f-]{27}")


class Killer:
    """While the block lasts, kills a task process every so many seconds, whichever runs. ``num_killed``: so far."""

    def __init__(self, instance: Instance, every_s: float, seed: int = 1) -> None:
        self.num_killed = 0
        self._instance = instance
        self._every_s = every_s
        self._random = random.Random(seed)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="killer")

    def __enter__(self) -> Killer:
        if self._every_s > 0:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.wait(self._every_s * self._random.uniform(0.5, 1.5)):
            while not self._kill_one() and not self._stopping.wait(0.2):
                pass

    def _kill_one(self) -> bool:
        """Whether there was one to kill."""
        with suppress(psutil.Error):
            tasks = [process for process in processes.of_instance(self._instance) if _is_task(process)]
            if tasks:
                self._random.choice(tasks).kill()
                self.num_killed += 1
                return True
        return False


def _is_task(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return bool(TASK.match(" ".join(process.cmdline())))
    return False
