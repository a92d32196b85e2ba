"""At which ends FTS compares the checksums of a copy, by what the storages of both sites can tell."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl
from sqlalchemy import Connection, text

from dynamo_ops.base.patience import Checksums
from dynamo_ops.base.settings import TransferSettings
from dynamo_ops.database.connection import select_frame
from dynamo_ops.fts.job import VerifyChecksum
from dynamo_ops.inventory.states import VerifiedBy

VERIFIED = {
    VerifyChecksum.BOTH: VerifiedBy.BOTH_ENDS,
    VerifyChecksum.SOURCE: VerifiedBy.SOURCE,
    VerifyChecksum.TARGET: VerifiedBy.DESTINATION,
    VerifyChecksum.NONE: VerifiedBy.SIZE,
}
"""What a copy that FTS has finished was compared by."""


def verified_by(transfer: str) -> str:
    """By what the copy ``transfer`` (an alias) was verified once FTS calls it finished, as SQL. Batches of before knew
    one way."""
    cases = " ".join(f"WHEN '{asked}' THEN '{verified}'" for asked, verified in VERIFIED.items())
    return f"""(SELECT CASE coalesce(batch.verify_checksum, '{VerifyChecksum.BOTH}') {cases} END
        FROM transfer_batches AS batch WHERE batch.id = {transfer}.batch_id)"""


def with_verification(
    connection: Connection, chosen: pl.DataFrame, settings: TransferSettings, own: Mapping[int, TransferSettings]
) -> pl.DataFrame:
    """``chosen`` with ``verify_checksum``: what FTS is to compare of each copy, null for our own copies.

    ``own``: the settings of sites that have their own. Needs the table ``queue`` of the transaction. A source of
    several that tells none has none of them asked. A file without a checksum in the catalogue cannot be compared with
    one end alone.
    """
    untold = sites_without(connection, settings, own)
    asked = pl.lit(VerifyChecksum.BOTH.value)
    if untold:
        unknown = select_frame(
            connection,
            "SELECT q.subscription_id FROM queue q JOIN files f ON f.id = q.file_id WHERE f.adler32 IS NULL",
            {"subscription_id": pl.Int64},
        )
        sites = pl.Series(sorted(untold), dtype=pl.Int16).implode()
        is_other_without = pl.col("other_source_site_ids").list.eval(pl.element().is_in(sites)).list.any()
        is_source_told = ~(pl.col("source_site_id").is_in(sites) | is_other_without.fill_null(False))
        is_told = ~pl.col("site_id").is_in(sites)
        asked = (
            pl.when(is_source_told & is_told).then(asked)
            .when(pl.col("subscription_id").is_in(unknown["subscription_id"].implode()))
            .then(pl.lit(VerifyChecksum.NONE.value))
            .when(is_source_told).then(pl.lit(VerifyChecksum.SOURCE.value))
            .when(is_told).then(pl.lit(VerifyChecksum.TARGET.value))
            .otherwise(pl.lit(VerifyChecksum.NONE.value))
        )  # fmt: skip
    return chosen.with_columns(verify_checksum=pl.when(~pl.col("is_direct")).then(asked))


def sites_without(
    connection: Connection, settings: TransferSettings, own: Mapping[int, TransferSettings]
) -> frozenset[int]:
    """Ids of the sites whose storage tells no checksums: by the settings, or as was found out."""
    sites = connection.execute(
        text("SELECT s.id, c.is_told FROM sites s LEFT JOIN site_checksums c ON c.site_id = s.id")
    )
    return frozenset(
        int(site.id) for site in sites if not _is_told(own.get(site.id, settings).checksums, was_told=site.is_told)
    )


def _is_told(setting: Checksums, *, was_told: bool | None) -> bool:
    """What is not known is told: FTS says if it is not."""
    return was_told is not False if setting == Checksums.AUTO else setting == Checksums.TOLD
