"""How much one cycle of transfers may do, and how patient it is: the settings, those of FTS's jobs among them."""

from __future__ import annotations

from dynamo_ops.base.settings import FTS, MANAGED_PREFIX, PROTOCOLS, Settings, TransferSettings


class TransferLimits(TransferSettings):
    """``TransferSettings``, and what other sections say of the same copies: ``fts.files_per_job``, ``protocols.fts``,
    ``managed_prefix``. Nothing here has a default of its own."""

    files_per_job: int = FTS.files_per_job
    protocols: tuple[str, ...] = PROTOCOLS.fts
    managed_prefix: str = MANAGED_PREFIX


DEFAULT_TRANSFER_LIMITS = TransferLimits()


def transfer_limits(settings: Settings) -> TransferLimits:
    """How much may be under way."""
    return TransferLimits(
        **dict(settings.transfers),
        files_per_job=settings.fts.files_per_job,
        protocols=settings.protocols.fts,
        managed_prefix=settings.managed_prefix,
    )
