"""What is decided otherwise under another plan: by site, by policy line, by dataset; block replica by block replica.

``old`` is the plan of today, ``new`` the one that is tried. "Newly deleted" is deleted under new but not under old,
"newly kept" deleted under old but not under new (also where new does not look at it at all). Bytes are those on disk.
"""

from __future__ import annotations

import difflib
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from dynamo_ops.base.errors import PlanError
from dynamo_ops.detox.record import PlanRecord
from dynamo_ops.detox.report.decisions_file import collapsed, spelt
from dynamo_ops.detox.report.describe import Amount, json_rows, sorted_decisions
from dynamo_ops.plan.states import Decision

OUTSIDE = "outside"
"""The decision on a block replica that is not in the image of a plan."""

NAMES = ["dataset", "site", "block"]
SHARED = ("is_placeholder", "size_bytes")
VERDICT = ["old_decision", "old_line", "new_decision", "new_line"]
NEWLY_DELETED = (pl.col("new_decision") == Decision.DELETE) & (pl.col("old_decision") != Decision.DELETE)
NEWLY_KEPT = (pl.col("old_decision") == Decision.DELETE) & (pl.col("new_decision") != Decision.DELETE)
OTHER_OWNER = pl.col("old_owner").ne_missing(pl.col("new_owner"))
IS_OTHER = (pl.col("old_decision") != pl.col("new_decision")) | OTHER_OWNER


LONG = ("sites", "lines", "datasets", "last_copies", "handovers")
"""Tables of a difference."""


@dataclass(frozen=True)
class PlanDifference:
    """What differs between two plans; every frame is sorted and has no row where nothing differs.

    ``rows``: dataset, site, block (``*``: all block replicas of the dataset replica), old_decision, old_line,
    new_decision, new_line, size_bytes; one row per block replica with another decision or another new owner.
    Decisions are spelt as in a decisions file; ``outside`` (line null): not in the image of that plan.

    ``sites``: site, quota_bytes (of new, else old), old_deleted_bytes, new_deleted_bytes, newly_deleted_replicas,
    newly_deleted_bytes, newly_kept_replicas, newly_kept_bytes (replicas: dataset replicas, counted if a block replica
    is), freed_bytes (new less old), old_occupancy_after, new_occupancy_after (fractions, as in ``site_states``); those
    with another deletion or hand-over, by site.

    ``lines``: old_decision, old_line, old_text, new_decision, new_line, new_text, num_dataset_replicas,
    num_block_replicas, size_bytes; also pairs with one decision made by lines of different text (they come last).

    ``datasets``: dataset, newly_deleted_replicas, newly_deleted_bytes, newly_kept_replicas, newly_kept_bytes,
    freed_bytes, old_copies, new_copies (dataset replicas of either image, complete or not, of which nothing is deleted;
    for another moment only those of the plan's own image); those with another deletion, by freed_bytes.

    ``last_copies``: dataset, num_blocks, size_bytes, sites (a text); blocks of which new, but not old, deletes a
    replica and leaves no complete, owned one anywhere in the inventory.

    ``handovers``: dataset, site, old_owner, new_owner, num_block_replicas, size_bytes; block replicas that one of the
    plans hands over to another group than the other does (null: it does not hand over).

    ``num_only_old``, ``num_only_new``: block replicas in the image of one plan alone. ``num_other_line``: those with
    the same outcome, by a line of another text. ``is_same_moment``: made for one moment; otherwise what is in one
    image alone may have come or gone since.
    """

    old_deleted: Amount
    new_deleted: Amount
    newly_deleted: Amount
    newly_kept: Amount
    num_only_old: int
    num_only_new: int
    num_other_line: int
    is_same_moment: bool
    rows: pl.DataFrame
    sites: pl.DataFrame
    lines: pl.DataFrame
    datasets: pl.DataFrame
    last_copies: pl.DataFrame
    handovers: pl.DataFrame

    @property
    def freed_bytes(self) -> int:
        """Bytes that new deletes in all, less those that old deletes; negative: new deletes less."""
        return self.new_deleted.size_bytes - self.old_deleted.size_bytes


def compare(old: PlanRecord, new: PlanRecord) -> PlanDifference:
    """What is decided otherwise in ``new``. Raises PlanError when the plans are of different partitions."""
    if old.partition != new.partition:
        raise PlanError(
            f"{old.name} is of partition {old.partition!r}, {new.name} of {new.partition!r}: they cannot be compared",
            partition=new.partition,
            state=None,
        )
    both = _side_by_side(old, new)
    changed = both.filter(IS_OTHER)
    return PlanDifference(
        old_deleted=_amount(both.filter(pl.col("old_decision") == Decision.DELETE)),
        new_deleted=_amount(both.filter(pl.col("new_decision") == Decision.DELETE)),
        newly_deleted=_amount(changed.filter(NEWLY_DELETED)),
        newly_kept=_amount(changed.filter(NEWLY_KEPT)),
        num_only_old=both.filter(pl.col("new_decision") == OUTSIDE).height,
        num_only_new=both.filter(pl.col("old_decision") == OUTSIDE).height,
        num_other_line=both.filter(~IS_OTHER & _is_other_text(old, new)).height,
        is_same_moment=old.now == new.now,
        rows=_rows(both, changed),
        sites=_sites(both, changed, old, new),
        lines=_lines(both, old, new),
        datasets=_datasets(both, changed, is_same_moment=old.now == new.now),
        last_copies=_last_copies(old, new),
        handovers=_handovers(changed),
    )


def policy_difference(old: PlanRecord, new: PlanRecord) -> str:
    """The unified difference of the two policy texts; empty when they are the same."""
    lines = difflib.unified_diff(
        old.policy_text.splitlines(),
        new.policy_text.splitlines(),
        f"policy of {old.name}",
        f"policy of {new.name}",
        lineterm="",
    )
    return "\n".join(lines)


def difference_document(old: PlanRecord, new: PlanRecord, found: PlanDifference) -> dict[str, Any]:
    """The difference as a JSON document: all of ``PlanDifference`` but its ``rows``, of which the number is there."""
    return {
        "old": old.name,
        "new": new.name,
        "partition": new.partition,
        "old_now": old.now,
        "new_now": new.now,
        "old_deleted": asdict(found.old_deleted),
        "new_deleted": asdict(found.new_deleted),
        "newly_deleted": asdict(found.newly_deleted),
        "newly_kept": asdict(found.newly_kept),
        "freed_bytes": found.freed_bytes,
        "num_only_old": found.num_only_old,
        "num_only_new": found.num_only_new,
        "num_other_line": found.num_other_line,
        "is_same_moment": found.is_same_moment,
        "num_rows": found.rows.height,
        "sites": json_rows(found.sites),
        "lines": json_rows(found.lines),
        "datasets": json_rows(found.datasets),
        "last_copies": json_rows(found.last_copies),
        "handovers": json_rows(found.handovers),
        "policy": policy_difference(old, new),
    }


def short_document(old: PlanRecord, new: PlanRecord, limit: int) -> dict[str, Any]:
    """The same of two plans, with the first ``limit`` rows of each of its tables (``LONG``), and num_rows_of, how many
    there are. Raises PlanError for plans of two partitions."""
    document = difference_document(old, new, compare(old, new))
    return {
        **document,
        **{name: document[name][:limit] for name in LONG},
        "num_rows_of": {name: len(document[name]) for name in LONG},
    }


def _side_by_side(old: PlanRecord, new: PlanRecord) -> pl.DataFrame:
    """One row per block replica of either image: names, is_placeholder, size_bytes; old_ and new_ decision, line,
    owner (the group that it is handed over to, by name; null: none)."""
    left, right = _side(old, "old"), _side(new, "new")
    if left.height == right.height and left.select(NAMES).equals(right.select(NAMES)):
        joined = pl.concat([left, right.drop(NAMES)], how="horizontal")
    else:
        joined = left.join(right, on=NAMES, how="full", coalesce=True)
    return joined.select(
        *NAMES,
        *(pl.coalesce(f"new_{name}", f"old_{name}").alias(name) for name in SHARED),
        *(pl.col(f"{side}_decision").fill_null(OUTSIDE) for side in ("old", "new")),
        *(f"{side}_{name}" for side in ("old", "new") for name in ("line", "owner")),
    )


def _side(record: PlanRecord, side: str) -> pl.DataFrame:
    """A plan's decisions, with all columns but the names called after the side.

    The plan's own order is kept: that of two plans of one image is the same, and then no join is needed.
    """
    owners = record.groups.select(new_group_id="group_id", owner="group").lazy()
    named = record.decisions.join(owners, on="new_group_id", how="left", maintain_order="left")
    return (
        named.with_columns(decision=spelt("decision"))
        .select(*NAMES, *(pl.col(name).alias(f"{side}_{name}") for name in (*SHARED, "decision", "line", "owner")))
        .collect()
    )


def _is_other_text(old: PlanRecord, new: PlanRecord) -> pl.Expr:
    """Whether the lines that decided have different texts; never null."""
    texts = {text for record in (old, new) for text in record.policy_lines["text"].to_list()}
    codes = {text: number for number, text in enumerate(sorted(texts))}
    sides = []
    for record, column in ((old, "old_line"), (new, "new_line")):
        of_line = {line: codes[text] for line, text in record.policy_lines.select("line", "text").iter_rows()}
        sides.append(pl.col(column).replace_strict(of_line, default=-1, return_dtype=pl.Int32))
    return sides[0].ne_missing(sides[1])


def _amount(decisions: pl.DataFrame) -> Amount:
    return Amount(decisions.select("dataset", "site").n_unique(), decisions.height, int(decisions["size_bytes"].sum()))


def _rows(both: pl.DataFrame, changed: pl.DataFrame) -> pl.DataFrame:
    """Only dataset replicas with a difference are looked at; rows of theirs without one are left out after all."""
    touched = both.lazy().join(changed.lazy().select("dataset", "site").unique(), on=["dataset", "site"], how="semi")
    verdict = [*VERDICT, "old_owner", "new_owner"]
    return collapsed(touched, verdict).filter(IS_OTHER).drop("old_owner", "new_owner").collect()


def _sites(both: pl.DataFrame, changed: pl.DataFrame, old: PlanRecord, new: PlanRecord) -> pl.DataFrame:
    size, dataset = pl.col("size_bytes"), pl.col("dataset")
    deleted = both.group_by("site").agg(
        old_deleted_bytes=size.filter(pl.col("old_decision") == Decision.DELETE).sum(),
        new_deleted_bytes=size.filter(pl.col("new_decision") == Decision.DELETE).sum(),
    )
    differing = (
        changed.filter(NEWLY_DELETED | NEWLY_KEPT | OTHER_OWNER)
        .group_by("site")
        .agg(
            newly_deleted_replicas=dataset.filter(NEWLY_DELETED).n_unique(),
            newly_deleted_bytes=size.filter(NEWLY_DELETED).sum(),
            newly_kept_replicas=dataset.filter(NEWLY_KEPT).n_unique(),
            newly_kept_bytes=size.filter(NEWLY_KEPT).sum(),
        )
    )
    for side, record in (("old", old), ("new", new)):
        states = record.site_states.select(
            "site",
            pl.col("quota_bytes").alias(f"{side}_quota_bytes"),
            pl.col("occupancy_after").alias(f"{side}_occupancy_after"),
        )
        differing = differing.join(states, on="site", how="left")
    return (
        differing.join(deleted, on="site")
        .sort("site")
        .select(
            "site",
            pl.coalesce("new_quota_bytes", "old_quota_bytes").alias("quota_bytes"),
            "old_deleted_bytes",
            "new_deleted_bytes",
            "newly_deleted_replicas",
            "newly_deleted_bytes",
            "newly_kept_replicas",
            "newly_kept_bytes",
            (pl.col("new_deleted_bytes") - pl.col("old_deleted_bytes")).alias("freed_bytes"),
            "old_occupancy_after",
            "new_occupancy_after",
        )
    )


def _lines(both: pl.DataFrame, old: PlanRecord, new: PlanRecord) -> pl.DataFrame:
    changes = (
        both.lazy()
        .filter(IS_OTHER | _is_other_text(old, new))
        .group_by(*VERDICT, "dataset", "site")
        .agg(num_block_replicas=pl.len(), size_bytes=pl.col("size_bytes").sum())
        .group_by(VERDICT)
        .agg(
            num_dataset_replicas=pl.len(),
            num_block_replicas=pl.col("num_block_replicas").sum(),
            size_bytes=pl.col("size_bytes").sum(),
        )
        .collect()
    )
    for side, record in (("old", old), ("new", new)):
        texts = record.policy_lines.select(pl.col("line").alias(f"{side}_line"), pl.col("text").alias(f"{side}_text"))
        changes = changes.join(texts, on=f"{side}_line", how="left")
    touches_deletion = (pl.col("old_decision") == Decision.DELETE) != (pl.col("new_decision") == Decision.DELETE)
    return changes.sort(
        ~touches_deletion,
        pl.col("old_decision") == pl.col("new_decision"),
        sorted_decisions("new_decision"),
        -pl.col("size_bytes"),
        *VERDICT,
    ).select(
        "old_decision",
        "old_line",
        "old_text",
        "new_decision",
        "new_line",
        "new_text",
        "num_dataset_replicas",
        "num_block_replicas",
        "size_bytes",
    )


def _datasets(both: pl.DataFrame, changed: pl.DataFrame, *, is_same_moment: bool) -> pl.DataFrame:
    size, site = pl.col("size_bytes"), pl.col("site")
    changed_datasets = (
        changed.filter(NEWLY_DELETED | NEWLY_KEPT)
        .group_by("dataset")
        .agg(
            newly_deleted_replicas=site.filter(NEWLY_DELETED).n_unique(),
            newly_deleted_bytes=size.filter(NEWLY_DELETED).sum(),
            newly_kept_replicas=site.filter(NEWLY_KEPT).n_unique(),
            newly_kept_bytes=size.filter(NEWLY_KEPT).sum(),
        )
        .with_columns(freed_bytes=pl.col("newly_deleted_bytes") - pl.col("newly_kept_bytes"))
    )
    gone = ["delete"] if is_same_moment else ["delete", OUTSIDE]
    stays = {side: (~pl.col(f"{side}_decision").is_in(gone)).all() for side in ("old", "new")}
    copies = (
        both.lazy()
        .filter(~pl.col("is_placeholder"))
        .join(changed_datasets.lazy().select("dataset"), on="dataset", how="semi")
        .group_by("dataset", "site")
        .agg(**stays)
        .group_by("dataset")
        .agg(old_copies=pl.col("old").sum().cast(pl.Int64), new_copies=pl.col("new").sum().cast(pl.Int64))
        .collect()
    )
    return changed_datasets.join(copies, on="dataset", how="left").sort(
        "freed_bytes", "dataset", descending=[True, False]
    )


def _last_copies(old: PlanRecord, new: PlanRecord) -> pl.DataFrame:
    lost = {
        side: record.deletions.filter("is_last_copy").select("dataset", "block", "site", "size_bytes")
        for side, record in (("old", old), ("new", new))
    }
    return (
        lost["new"]
        .join(lost["old"], on=["dataset", "block"], how="anti")
        .group_by("dataset")
        .agg(
            num_blocks=pl.col("block").n_unique(),
            size_bytes=pl.col("size_bytes").sum(),
            sites=pl.col("site").unique().sort().str.join(" "),
        )
        .sort("dataset")
        .collect()
    )


def _handovers(changed: pl.DataFrame) -> pl.DataFrame:
    return (
        changed.filter(OTHER_OWNER)
        .group_by("dataset", "site", "old_owner", "new_owner")
        .agg(num_block_replicas=pl.len(), size_bytes=pl.col("size_bytes").sum())
        .sort("dataset", "site", "old_owner", "new_owner")
    )
