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
    """missing: in the inventory only; orphan: on storage only; unmanaged: expired by age."""

    MISSING = "missing"
    ORPHAN = "orphan"
    UNMANAGED = "unmanaged"


class FindingState(StrEnum):
    """``seen``: missing for the first time, not yet counted; ``found``: to be repaired; ``lost``: no other copy."""

    SEEN = "seen"
    FOUND = "found"
    REPAIRED = "repaired"
    LOST = "lost"
    FAILED = "failed"


COMPARED_CHECKS = Words((CheckState.COMPARED, CheckState.REFUSED, CheckState.REPAIRED))
REPAIRABLE_CHECKS = Words((CheckState.COMPARED, CheckState.REPAIRED))
UNKNOWN_TO_INVENTORY = Words((FindingKind.ORPHAN, FindingKind.UNMANAGED))
NOT_REPAIRABLE = Words((FindingState.SEEN, FindingState.LOST))
