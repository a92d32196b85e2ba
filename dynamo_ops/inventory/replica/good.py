"""What a copy is, on frames: what ``copies`` and ``doomed`` ask in SQL, for plans (SEMANTICS §10).

Asked by block: a block replica is good when each of its files is there and good. What must be known by file
(``covered_blocks``) is worked out from the few files that are not good. Held against SQL and plain words by tests.
"""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from dynamo_ops.inventory.frames import DOOMED_FILES, InventoryFrames, empty
from dynamo_ops.inventory.kinds import SiteStatus

KEYS = ["block_id", "site_id"]
_FILE = [*KEYS, "file_id"]


def without_doomed(frames: InventoryFrames) -> InventoryFrames:
    """The inventory as it will be once all open deletions are done: what decisions about copies are made on.

    A block replica of which something stays is incomplete and as much smaller; dataset replicas that lose all their
    block replicas go with them. ``doomed_files`` is empty then: asked again, nothing changes.
    """
    if frames.doomed_files.is_empty():
        return frames
    doomed = frames.doomed_files.group_by(KEYS).agg(num_doomed=pl.len(), doomed_bytes=pl.col("size_bytes").sum())
    touched = frames.block_replicas.join(doomed, on=KEYS)
    listed = frames.partial_files.join(doomed, on=KEYS, how="semi").group_by(KEYS).agg(num_listed=pl.len())
    num_present = pl.when("is_complete").then("num_files").otherwise(pl.col("num_listed").fill_null(0))
    smaller = (
        touched.join(frames.blocks.select("block_id", "num_files"), on="block_id")
        .join(listed, on=KEYS, how="left")
        .filter(num_present > pl.col("num_doomed"))
        .with_columns(is_complete=pl.lit(False), size_bytes=pl.col("size_bytes") - pl.col("doomed_bytes"))
    )
    untouched = frames.block_replicas.join(doomed, on=KEYS, how="anti", maintain_order="left")
    left = pl.concat([untouched, smaller.select(untouched.columns)])
    replica = ["dataset_id", "site_id"]
    emptied = touched.select(replica).unique().join(left, on=replica, how="anti")
    return replace(
        frames,
        block_replicas=left,
        dataset_replicas=frames.dataset_replicas.join(emptied, on=replica, how="anti", maintain_order="left"),
        partial_files=frames.partial_files.join(frames.doomed_files, on=_FILE, how="anti", maintain_order="left"),
        doomed_files=empty(DOOMED_FILES),
    )


def counted(frames: InventoryFrames) -> InventoryFrames:
    """The inventory as copies are counted by the Dealer: without what is doomed, and what is doubtful is not complete.

    Bytes stay those on disk. ``covered_blocks`` wants the frames before.
    """
    seen = without_doomed(frames)
    doubtful = doubtful_replicas(seen)
    is_doubtful = is_unknown_site(seen)
    if doubtful.height:
        is_doubtful |= pl.struct(KEYS).is_in(doubtful.to_struct().implode())
    replicas = seen.block_replicas.with_columns(pl.col("is_complete") & ~is_doubtful)
    return replace(seen, block_replicas=replicas)


def still_on_disk(frames: InventoryFrames) -> pl.DataFrame:
    """``block_replicas`` with the owners that those had which are being deleted: whose bytes they are until the storage
    has deleted them."""
    if frames.former_owners.is_empty():
        return frames.block_replicas
    former = frames.former_owners.select(*KEYS, former="group_id")
    owned = frames.block_replicas.join(former, on=KEYS, how="left", maintain_order="left")
    return owned.with_columns(group_id=pl.coalesce("group_id", "former")).drop("former")


def doubtful_replicas(frames: InventoryFrames) -> pl.DataFrame:
    """``block_id``, ``site_id`` of block replicas with a doubtful file, each once. A site of unknown status has no
    other; those are left out here: ask for its status."""
    return frames.doubted_files.select(KEYS).unique()


def is_unknown_site(frames: InventoryFrames) -> pl.Expr:
    """``site_id`` is a site of which nothing is known: what it has is doubtful."""
    unknown = frames.sites.filter(pl.col("status").str.to_lowercase() == SiteStatus.UNKNOWN)["site_id"]
    return pl.col("site_id").is_in(unknown.implode())


def is_sure_site(frames: InventoryFrames) -> pl.Expr:
    """The copies of ``site_id`` may be the reason why others go: it is ready, and its last check was not refused."""
    ready = frames.sites.filter(pl.col("status").str.to_lowercase() == SiteStatus.READY)
    sure = ready.join(frames.refused_sites, on="site_id", how="anti")["site_id"]
    return pl.col("site_id").is_in(sure.implode())


def good_replicas(frames: InventoryFrames) -> pl.DataFrame:
    """Rows of ``block_replicas`` that are good copies of their whole block, whoever owns them."""
    seen = without_doomed(frames)
    complete = seen.block_replicas.filter(pl.col("is_complete") & is_sure_site(seen))
    doubtful = doubtful_replicas(seen)
    return complete if doubtful.is_empty() else complete.join(doubtful, on=KEYS, how="anti", maintain_order="left")


def blocks_with_good(frames: InventoryFrames, gone: pl.DataFrame) -> pl.Series:
    """Of the blocks of ``gone`` (block_id, site_id: block replicas that go) those of which a good copy stays: the
    others are *alone*."""
    of_these = pl.col("block_id").is_in(gone["block_id"].unique().implode())
    good = good_replicas(replace(frames, block_replicas=frames.block_replicas.filter(of_these)))
    return good.join(gone, on=KEYS, how="anti")["block_id"].unique()


def awaited_elsewhere(frames: InventoryFrames, gone: pl.DataFrame) -> pl.DataFrame:
    """``block_id``, ``site_id`` of those of ``gone`` whose block somebody waits for at another site, from which it does
    not go: a copy of one of its files is subscribed, or an owned replica is incomplete."""
    of_these = pl.col("block_id").is_in(gone["block_id"].unique().implode())
    incomplete = frames.block_replicas.filter(of_these & ~pl.col("is_complete") & pl.col("group_id").is_not_null())
    waiting = pl.concat([frames.awaited.filter(of_these), incomplete.select(KEYS)]).join(gone, on=KEYS, how="anti")
    pairs = gone.select(KEYS).join(waiting.select("block_id", waiting_site="site_id"), on="block_id")
    return pairs.filter(pl.col("waiting_site") != pl.col("site_id")).select(KEYS).unique()


def covered_blocks(frames: InventoryFrames, block_ids: pl.Series) -> pl.Series:
    """Of these blocks those that the files at all sites together make up: doomed and doubtful ones, and what is at
    sites of unknown status, are not counted. A block without files is covered."""
    of_these = pl.col("block_id").is_in(block_ids.unique().implode())
    readable = of_these & ~is_unknown_site(frames)
    bad = pl.concat([frames.doomed_files.select(_FILE), frames.doubted_files.select(_FILE)]).filter(readable).unique()
    complete = frames.block_replicas.filter(readable & pl.col("is_complete")).select(KEYS)
    listed = frames.partial_files.filter(readable).join(bad, on=_FILE, how="anti")
    lost = _bad_in_every(complete, bad).join(listed, on=["block_id", "file_id"], how="anti")
    whole = complete.filter(~pl.col("block_id").is_in(lost["block_id"].unique().implode()))["block_id"]
    present = listed.group_by("block_id").agg(present=pl.col("file_id").n_unique())
    counted = frames.blocks.filter(of_these).select("block_id", "num_files").join(present, on="block_id", how="left")
    enough = counted.filter(pl.col("present").fill_null(0) >= pl.col("num_files"))["block_id"]
    return pl.concat([whole, enough]).unique()


def _bad_in_every(complete: pl.DataFrame, bad: pl.DataFrame) -> pl.DataFrame:
    """``block_id``, ``file_id``: files that are bad in each complete replica of their block."""
    num_complete = complete.group_by("block_id").agg(num_complete=pl.len())
    num_bad = bad.join(complete, on=KEYS, how="semi").group_by("block_id", "file_id").agg(num_bad=pl.len())
    return num_bad.join(num_complete, on="block_id").filter(pl.col("num_bad") == pl.col("num_complete"))
