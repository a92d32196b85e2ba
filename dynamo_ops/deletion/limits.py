"""How much one cycle of deletions may do, and how patient it is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from dynamo_ops.base.settings import Settings
from dynamo_ops.inventory.subscription.backoff import Backoff


@dataclass(frozen=True)
class DeletionLimits:
    """Limits of one cycle of deletions. ``files_per_chunk``: outcomes recorded in one transaction.

    A subscription is held for a person after ``max_refusals`` attempts if the storage refuses (``refused``), after
    ``max_attempts`` if it cannot serve (``all_failed``): with the backoff that is some hours, and some days.
    """

    files_per_batch: int = 2_000
    files_per_cycle: int = 100_000
    files_per_site: int = 20_000
    files_per_chunk: int = 500
    max_refusals: int = 3
    max_attempts: int = 10
    backoff: timedelta = timedelta(minutes=15)
    max_backoff: timedelta = timedelta(hours=24)

    @property
    def pauses(self) -> Backoff:
        """How long a failed subscription waits."""
        return Backoff(self.backoff, self.max_backoff)

    @property
    def params(self) -> dict[str, object]:
        """Of the SQL that says what waits, for the queue and for ``dynamo transfers why``."""
        return dict(self.pauses.params)


DEFAULT_DELETION_LIMITS = DeletionLimits()


def deletion_limits(settings: Settings) -> DeletionLimits:
    """What one cycle of deletions may do."""
    given = settings.deletion
    return DeletionLimits(
        files_per_batch=given.files_per_batch,
        files_per_cycle=given.files_per_cycle,
        files_per_site=given.files_per_site,
        backoff=timedelta(seconds=given.backoff_s),
    )
