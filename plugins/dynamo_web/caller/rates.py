"""How often somebody may call: so that a program in a loop leaves room for others. Counted in each process alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from threading import Lock
from typing import Annotated

from fastapi import Depends, Request

from dynamo_ops.access.person import Person
from dynamo_web.caller.login import Who
from dynamo_web.problem import BusyError

READS_A_S, WRITES_A_S = 20.0, 2.0
BURST_S = 5.0
"""So many seconds' worth may come at once."""
MOST_KNOWN = 10_000
"""People of whom is kept how much they have left; who has all of it need not be known."""


@dataclass
class _Left:
    calls: float
    at: float


class Rate:
    """Calls of each person: ``a_s`` a second, and ``BURST_S`` seconds' worth at once."""

    def __init__(self, a_s: float, noun: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._a_s, self._noun, self._clock = a_s, noun, clock
        self._left: dict[str, _Left] = {}
        self._lock = Lock()

    def take(self, name: str) -> None:
        """One call. Raises BusyError (facts: ``retry_after_s``)."""
        most = self._a_s * BURST_S
        with self._lock:
            now = self._clock()
            left = self._left.setdefault(name, _Left(most, now))
            left.calls, left.at = min(most, left.calls + (now - left.at) * self._a_s), now
            if left.calls < 1:
                wait_s = max(1, ceil((1 - left.calls) / self._a_s))
                raise BusyError(f"{name}: {self._a_s:g} {self._noun} a second", person=name, retry_after_s=wait_s)
            left.calls -= 1
            if len(self._left) > MOST_KNOWN:
                self._left = {
                    known: rest for known, rest in self._left.items() if rest.calls + (now - rest.at) * self._a_s < most
                }

    def forget(self) -> None:
        """Everybody has all of it again."""
        self._left.clear()


READS, WRITES = Rate(READS_A_S, "reads"), Rate(WRITES_A_S, "writes")


def metered(request: Request, person: Who) -> Person:
    """Who asks, if not too often."""
    (READS if request.method == "GET" else WRITES).take(person.name)
    return person


Metered = Annotated[Person, Depends(metered)]
