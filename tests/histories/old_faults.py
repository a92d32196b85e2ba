"""Ways to lose data that were mended, each to be put back by itself: histories must find them again.

A fault is put back before anything else is imported, since the SQL of most rooms is composed when they are; so each
needs a process of its own (``python -m tests.histories --fault NAME``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

COPIES = "dynamo_ops.inventory.replica.copies"
_NONE_OF_TWO = "(SELECT CAST(NULL AS smallint) AS site_id, CAST(NULL AS smallint) AS other_id WHERE false)"


def _cancelled_deletion_counts() -> None:
    """A deletion that an executor has begun and somebody withdrew: its file counted as there."""
    copies: Any = import_module(COPIES)
    active = copies.ACTIVE
    copies.is_open_deletion = lambda wish: f"({wish}.action = 'delete' AND {wish}.state IN {active})"
    copies.DOOMED_FILES = f"""(SELECT file_id, site_id FROM subscriptions
        WHERE action = 'delete' AND state IN {active})"""
    copies.doomed_in = lambda blocks: (
        f"""(
        SELECT file.block_id, wish.site_id, file.id AS file_id
        FROM files AS file JOIN subscriptions AS wish ON wish.file_id = file.id
        WHERE file.block_id IN ({blocks}) AND wish.action = 'delete' AND wish.state IN {active})"""
    )


def _judged_once() -> None:
    """A file in a batch was never judged again: neither that it is the last copy by now, nor the last source."""
    claim: Any = import_module("dynamo_ops.deletion.claim")
    for reason in (claim.LAST_COPY, claim.LAST_SOURCE):
        del claim.REASONS[reason]


def _held_copy_needs_no_source() -> None:
    """A copy that is held, or whose attempt has failed, did not keep its last source."""
    copies: Any = import_module(COPIES)
    copies.is_pending_elsewhere = lambda file_id, site_id: (
        f"""EXISTS (
        SELECT FROM subscriptions AS copy WHERE copy.file_id = {file_id} AND copy.site_id <> {site_id}
          AND copy.action = 'copy' AND copy.state IN ('new', 'inbatch'))"""
    )


def _repair_trusts_its_list() -> None:
    """A repair deleted what the inventory had come to know since the check."""
    repair: Any = import_module("dynamo_ops.consistency.repair")
    repair.JUDGE_CHUNK = repair.JUDGE_CHUNK.replace(repair.STAYS_BECAUSE, "CAST(NULL AS text)")


def _storages_are_apart() -> None:
    """Two sites on one storage were taken for two storages."""
    shared: Any = import_module("dynamo_ops.inventory.site.shared")
    shared.SHARED_STORAGE = "(SELECT CAST(NULL AS smallint) AS site_id WHERE false)"
    shared.SAME_STORAGE = _NONE_OF_TWO
    shared.others_on_storage = lambda *_: []
    copies: Any = import_module(COPIES)
    copies.is_held_by_partner = lambda *_: "false"
    copies.DECLARED = _NONE_OF_TWO


def _missing_counts() -> None:
    """What the newest check missed at a site, or found of another size, counted as a copy."""
    copies: Any = import_module(COPIES)
    copies.is_doubted = lambda *_: "false"
    copies.DOUBTED_FILES = "(SELECT CAST(NULL AS bigint) AS file_id, CAST(NULL AS smallint) AS site_id WHERE false)"


def _lock_comes_too_late() -> None:
    """A lock that was set after the commit did not stop a deletion that no executor had begun."""
    claim: Any = import_module("dynamo_ops.deletion.claim")
    del claim.REASONS[claim.LOCKED]
    store: Any = import_module("dynamo_ops.lock.store")
    nothing = import_module("dynamo_ops.inventory.subscription.give_back").GivenBack
    store._take_back = lambda *_: nothing(0, 0, 0)


def _buffer_is_tape() -> None:
    """A file in the disk buffer of a tape counted as a copy on tape."""
    observations: Any = import_module("dynamo_ops.transfer.observations")
    observations.FILE_STATES["ARCHIVING"] = observations.Seen.FINISHED


def _site_that_is_away_counts() -> None:
    """A copy at a site in the waitroom or the morgue was the reason why another could go."""
    copies: Any = import_module(COPIES)
    copies.SURE_SITES = "(SELECT id FROM sites)"


def _no_answer_is_an_answer() -> None:
    """A deletion without an answer was taken for one that was not made."""
    execute: Any = import_module("dynamo_ops.deletion.execute")
    execute._SETTLE = execute._SETTLE.replace("THEN false", "THEN true")


def _two_at_a_time() -> None:
    """A file was copied to two sites on one storage at a time, each over the other."""
    batches: Any = import_module("dynamo_ops.transfer.batches")
    batches.SAME_STORAGE = _NONE_OF_TWO
    submit: Any = import_module("dynamo_ops.transfer.submission.submit")
    submit.LIVE_TRANSFERS = "('')"


OLD_FAULTS: Mapping[str, Callable[[], None]] = {
    "cancelled-deletion-counts": _cancelled_deletion_counts,
    "judged-once": _judged_once,
    "held-copy-needs-no-source": _held_copy_needs_no_source,
    "repair-trusts-its-list": _repair_trusts_its_list,
    "storages-are-apart": _storages_are_apart,
    "missing-counts": _missing_counts,
    "lock-comes-too-late": _lock_comes_too_late,
    "buffer-is-tape": _buffer_is_tape,
    "site-that-is-away-counts": _site_that_is_away_counts,
    "no-answer-is-an-answer": _no_answer_is_an_answer,
    "two-at-a-time": _two_at_a_time,
}
"""By name; each puts itself back."""
