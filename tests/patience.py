"""How long tests wait for other processes: until it has happened. The bound is for what never will."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

PATIENCE_S = 120
"""Many times what it takes on an idle machine: others may be busy on this one."""


def wait_until(holds: Callable[[], object], why_not: Callable[[], object] = lambda: "it never happened") -> None:
    """Until ``holds``; ``AssertionError`` with ``why_not`` where patience ends first."""
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end, why_not()
        time.sleep(0.02)


def instead_of_sleep(monkeypatch: pytest.MonkeyPatch, do: Callable[[float], object]) -> None:
    """Pauses of this thread, in seconds, are given to ``do``. Other threads, which a test before may have left, sleep
    as they did: ``time.sleep`` is one for all."""
    caller, sleep = threading.get_ident(), time.sleep
    monkeypatch.setattr(time, "sleep", lambda seconds: (do if threading.get_ident() == caller else sleep)(seconds))
