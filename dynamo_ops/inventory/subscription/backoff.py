"""How long a failed subscription waits for its next attempt: one formula, for the queues and for who asks why.

The pause before the second attempt is ``first``; it doubles with each further one, up to ``longest``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from dynamo_ops.base.settings import DeletionSettings, TransferSettings

DOUBLINGS_AT_MOST = 20
"""Beyond it every pause is the longest one anyway, and the power would leave the range of an interval."""


@dataclass(frozen=True)
class Backoff:
    """The pauses of one kind of subscription."""

    first: timedelta
    longest: timedelta

    def pause(self, num_attempts: int, num_excused: int = 0) -> timedelta:
        """The pause after that many failed attempts; none before the first. ``num_excused`` make it no longer."""
        if num_attempts == 0:
            return timedelta(0)
        doublings: int = 2 ** max(min(num_attempts - num_excused - 1, DOUBLINGS_AT_MOST), 0)
        return min(self.first * doublings, self.longest)

    def until(self, num_attempts: int, last_attempt_at: datetime, num_excused: int = 0) -> datetime | None:
        """When the next attempt may be made; None where none has failed."""
        return last_attempt_at + self.pause(num_attempts, num_excused) if num_attempts else None

    @property
    def params(self) -> dict[str, float]:
        """The parameters of ``is_over``."""
        return {"first_pause_s": self.first.total_seconds(), "longest_pause_s": self.longest.total_seconds()}


def backoff_of(limits: TransferSettings | DeletionSettings) -> Backoff:
    """The pauses that a section of the settings asks for."""
    return Backoff(timedelta(seconds=limits.backoff_s), timedelta(seconds=limits.max_backoff_s))


def is_over(subscription: str) -> str:
    """SQL: the pause of ``subscription`` (num_attempts, num_excused, updated_at) is over at the start of the
    transaction. What was excused makes no pause longer. Takes the parameters ``Backoff.params``."""
    counted = f"{subscription}.num_attempts - {subscription}.num_excused"
    return f"""({subscription}.num_attempts = 0 OR {subscription}.updated_at <= now() - interval '1 second' * least(
        :first_pause_s * power(2, greatest(least({counted} - 1, {DOUBLINGS_AT_MOST}), 0)), :longest_pause_s))"""
