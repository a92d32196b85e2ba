"""A bound on calls per second, shared by threads."""

from __future__ import annotations

import threading
import time


class RateLimit:
    """At most ``per_second`` passes a second, evenly spaced; 0: no limit."""

    def __init__(self, per_second: float) -> None:
        self._interval = 1.0 / per_second if per_second > 0 else 0.0
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Return when the caller may go."""
        if not self._interval:
            return
        with self._lock:
            now = time.monotonic()
            start = max(now, self._next)
            self._next = start + self._interval
        if start > now:
            time.sleep(start - now)
