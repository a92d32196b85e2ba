"""When the same call is sent again, and after how long: a few times, and never for longer than a bound."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

STATUSES = frozenset({429, 502, 503, 504})
"""What passes by itself. A 500 does not: it is a fault, and would be one again."""
UNDER_WAY = "urn:dynamo:error:under-way"
"""The type of the 409 that says that the same call, sent before, is being done."""


@dataclass(frozen=True)
class Repeats:
    """``tries`` in all. Pauses begin at ``first_s`` and double, up to ``longest_s``; a Retry-After that is longer is
    waited for. No try is begun ``total_s`` after the first was."""

    tries: int = 6
    first_s: float = 0.5
    longest_s: float = 20
    total_s: float = 180

    def begin(self) -> Tries:
        """The first try of a call begins now."""
        return Tries(self)


@dataclass
class Tries:
    """How often one call was sent."""

    bounds: Repeats
    number: int = 1
    began_s: float = field(default_factory=time.monotonic)

    def pause_s(self, retry_after_s: float | None) -> float | None:
        """How long to wait before the next; None: there is none. Many who wait for the same come back at different
        times."""
        if self.number >= self.bounds.tries:
            return None
        longest = min(self.bounds.first_s * 2 ** (self.number - 1), self.bounds.longest_s)
        jitter_s = random.uniform(longest / 2, longest)  # noqa: S311  # no secret
        pause = max(jitter_s, (retry_after_s or 0) + jitter_s / 4 if retry_after_s else 0)
        if time.monotonic() - self.began_s + pause > self.bounds.total_s:
            return None
        return pause

    def wait(self, pause_s: float) -> None:
        """Before the next."""
        time.sleep(pause_s)
        self.number += 1


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """What the header says, in seconds; None where there is none that can be read."""
    written = headers.get("Retry-After", "").strip()
    if written.isascii() and written.isdigit():
        return float(written)
    try:
        moment = parsedate_to_datetime(written)
    except (ValueError, TypeError):
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (aware - datetime.now(UTC)).total_seconds())
