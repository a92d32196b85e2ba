"""How much one cycle of file operations may do, and how patient it is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True)
class TransferLimits:
    """Limits of one cycle of transfers.

    ``files_per_job``: files in one FTS job. ``files_per_cycle``: new attempts in one cycle, over all destinations.
    ``files_in_flight_per_site``: attempts under way to one destination. ``protocols``: in order of preference; source
    and destination must share one. ``backoff``: pause before the second attempt at a file, doubled with each further
    one, up to ``max_backoff``.
    """

    files_per_job: int = 200
    files_per_cycle: int = 20_000
    files_in_flight_per_site: int = 5_000
    protocols: tuple[str, ...] = ("davs", "https", "root", "srm")
    backoff: timedelta = timedelta(minutes=5)
    max_backoff: timedelta = timedelta(hours=12)
    managed_prefix: str = "/store"


@dataclass(frozen=True)
class DeletionLimits:
    """Limits of one cycle of deletions. ``files_per_chunk``: outcomes recorded in one transaction."""

    files_per_batch: int = 2_000
    files_per_cycle: int = 100_000
    files_per_site: int = 20_000
    files_per_chunk: int = 500
    backoff: timedelta = timedelta(minutes=15)
    max_backoff: timedelta = timedelta(hours=24)


DEFAULT_TRANSFER_LIMITS = TransferLimits()
DEFAULT_DELETION_LIMITS = DeletionLimits()
