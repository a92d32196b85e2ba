"""How much one cycle of file operations may do, and how patient it is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True)
class TransferLimits:
    """Limits of transfers: of one cycle, and of what is under way at once (files, whoever planned them).

    ``files_in_flight``: in all. ``files_to_site``, ``files_from_site``, ``files_per_link``: to a destination, from a
    source, from one to the other. ``files_staging_per_site``: tape files not online yet, of a tape site.
    ``look_ahead``: queued wishes looked at in a cycle, so that a full link is not in the way of others.
    ``multi_source_after``: failed attempts after which FTS is given several sources of a file at once, in a job of its
    own; of such jobs at most ``multi_source_per_cycle``. ``files_per_direct_batch``: files that one task copies itself.
    ``protocols``: in order of preference; source and destination must share one. ``backoff``: pause before the second
    attempt at a file, doubled with each further one, up to ``max_backoff``.
    """

    files_per_job: int = 200
    files_per_staging_job: int = 1_000
    files_per_cycle: int = 50_000
    files_in_flight: int = 200_000
    files_to_site: int = 10_000
    files_from_site: int = 10_000
    files_per_link: int = 5_000
    files_staging_per_site: int = 20_000
    look_ahead: int = 1_000_000
    multi_source_after: int = 2
    multi_source_per_cycle: int = 500
    files_per_direct_batch: int = 50
    protocols: tuple[str, ...] = ("davs", "https", "root", "srm")
    backoff: timedelta = timedelta(minutes=5)
    max_backoff: timedelta = timedelta(hours=12)
    managed_prefix: str = "/store"


@dataclass(frozen=True)
class DeletionLimits:
    """Limits of one cycle of deletions. ``files_per_chunk``: outcomes recorded in one transaction.

    A wish is held for a person after ``max_refusals`` attempts if the storage refuses (``refused``), after
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


DEFAULT_TRANSFER_LIMITS = TransferLimits()
DEFAULT_DELETION_LIMITS = DeletionLimits()
