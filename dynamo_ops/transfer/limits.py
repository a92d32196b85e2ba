"""How much one cycle of transfers may do, and how patient it is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from dynamo_ops.base.settings import PROTOCOLS, Settings
from dynamo_ops.inventory.subscription.backoff import Backoff


@dataclass(frozen=True)
class TransferLimits:
    """Limits of transfers: of one cycle, and of what is under way at once (files, whoever planned them).

    ``files_in_flight``: in all. ``files_to_site``, ``files_from_site``, ``files_per_link``: to a destination, from a
    source, from one to the other. ``files_staging_per_site``: tape files not online yet, of a tape site.
    ``look_ahead``: queued subscriptions looked at in a cycle, so that a full link is not in the way of others.
    ``multi_source_after``: failed attempts after which FTS is given several sources of a file at once, in a job of its
    own; of such jobs at most ``multi_source_per_cycle``. ``files_per_direct_batch``: files that one task copies itself.
    ``protocols``: of FTS's jobs, in order of preference; source and destination must share one. ``backoff``: pause
    before the second attempt at a file, doubled with each further one, up to ``max_backoff``.
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
    protocols: tuple[str, ...] = PROTOCOLS.fts
    backoff: timedelta = timedelta(minutes=5)
    max_backoff: timedelta = timedelta(hours=12)
    managed_prefix: str = "/store"

    @property
    def pauses(self) -> Backoff:
        """How long a failed subscription waits."""
        return Backoff(self.backoff, self.max_backoff)


DEFAULT_TRANSFER_LIMITS = TransferLimits()


def transfer_limits(settings: Settings) -> TransferLimits:
    """How much may be under way."""
    given = settings.transfers
    return TransferLimits(
        files_per_job=settings.fts.files_per_job,
        files_per_staging_job=given.files_per_staging_job,
        files_per_cycle=given.files_per_cycle,
        files_in_flight=given.files_in_flight,
        files_to_site=given.files_to_site,
        files_from_site=given.files_from_site,
        files_per_link=given.files_per_link,
        files_staging_per_site=given.files_staging_per_site,
        protocols=settings.protocols.fts,
        backoff=timedelta(seconds=given.backoff_s),
        managed_prefix=settings.managed_prefix,
    )
