"""What a check of a site and a file that differs can be (SEMANTICS §7)."""

from __future__ import annotations

from enum import StrEnum

from dynamo_ops.database.words import Words


class CheckState(StrEnum):
    """How far a check is. ``refused``: too much differs to be true; nothing is repaired."""

    STARTED = "started"
    COMPARED = "compared"
    REFUSED = "refused"
    REPAIRED = "repaired"


class FindingKind(StrEnum):
    """missing: in the inventory only; wrong_size: at both, of different size; orphan: on storage only; unmanaged: too
    old."""

    MISSING = "missing"
    WRONG_SIZE = "wrong_size"
    ORPHAN = "orphan"
    UNMANAGED = "unmanaged"


class FindingState(StrEnum):
    """``seen``: for the first time, not yet counted; ``found``: to be repaired; ``lost``: no other copy."""

    SEEN = "seen"
    FOUND = "found"
    REPAIRED = "repaired"
    LOST = "lost"
    FAILED = "failed"


COMPARED_CHECKS = Words((CheckState.COMPARED, CheckState.REFUSED, CheckState.REPAIRED))
JUDGED_CHECKS = Words((CheckState.COMPARED, CheckState.REPAIRED))
"""They have judged each file by name, and may be repaired. A refused one doubts no file, but the site."""
DOUBTS = Words((FindingKind.MISSING, FindingKind.WRONG_SIZE))
"""Findings of files that the inventory has at the site."""
UNKNOWN_TO_INVENTORY = Words((FindingKind.ORPHAN, FindingKind.UNMANAGED))
NOT_REPAIRABLE = Words((FindingState.SEEN, FindingState.LOST))
