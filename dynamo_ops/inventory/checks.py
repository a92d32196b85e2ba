"""What a check of a site and a file that differs can be (SEMANTICS §7); and what a copy can be called by who has
seen that it is bad (SEMANTICS §10)."""

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


class BadState(StrEnum):
    """Of a copy that somebody calls bad. ``suspicious``: reported, or by transfers that failed; a person confirms it.
    ``bad``: declared, and something else is under way there, after which it is judged again. ``copying``: taken from
    the replica and copied again from a good copy. ``last_copy``: there is no good copy elsewhere, ``on_tape``: it lies
    where nothing is overwritten: a person decides. ``good``: a person has taken it back."""

    SUSPICIOUS = "suspicious"
    BAD = "bad"
    COPYING = "copying"
    LAST_COPY = "last_copy"
    ON_TAPE = "on_tape"
    GOOD = "good"


ALL_BAD = Words(BadState)
DECLARED_BAD = Words((BadState.BAD, BadState.COPYING, BadState.LAST_COPY, BadState.ON_TAPE))
"""By a person who may."""
FOR_A_PERSON = Words((BadState.SUSPICIOUS, BadState.LAST_COPY, BadState.ON_TAPE))
"""Nothing becomes of it by itself."""
COMPARED_CHECKS = Words((CheckState.COMPARED, CheckState.REFUSED, CheckState.REPAIRED))
JUDGED_CHECKS = Words((CheckState.COMPARED, CheckState.REPAIRED))
"""They have judged each file by name, and may be repaired. A refused one doubts no file, but the site."""
DOUBTS = Words((FindingKind.MISSING, FindingKind.WRONG_SIZE))
"""Findings of files that the inventory has at the site."""
UNKNOWN_TO_INVENTORY = Words((FindingKind.ORPHAN, FindingKind.UNMANAGED))
NOT_REPAIRABLE = Words((FindingState.SEEN, FindingState.LOST))
