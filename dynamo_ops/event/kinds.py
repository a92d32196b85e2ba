"""Of what there are events, and what each means: one table (docs/events.md shows it, and a test holds the two
together)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from dynamo_ops.base.errors import UnknownNameError
from dynamo_ops.base.glob import glob_matches
from dynamo_ops.base.text import near


class ObjectKind(StrEnum):
    """What an event is about. All events of one object have one order."""

    REQUEST = "request"
    PLAN = "plan"
    DATASET = "dataset"
    SITE = "site"
    LOCK = "lock"
    TOKEN = "token"  # noqa: S105


class EventKind(StrEnum):
    """What happened."""

    REQUEST_COMPLETED = "request.completed"
    REQUEST_REJECTED = "request.rejected"
    REQUEST_CANCELLED = "request.cancelled"
    REQUEST_STUCK = "request.stuck"
    PLAN_WAITS = "plan.waits"
    PLAN_REFUSED = "plan.refused"
    PLAN_COMMITTED = "plan.committed"
    FILE_LOST = "file.lost"
    FILE_BAD = "file.bad"
    SITE_FULL = "site.full"
    LOCK_ENDING = "lock.ending"
    TOKEN_ENDING = "token.ending"  # noqa: S105


@dataclass(frozen=True)
class About:
    """What a kind is about, and what it means, in words. ``is_private``: only the person concerned reads it."""

    object_kind: ObjectKind
    words: str
    is_private: bool = False


KINDS: Mapping[EventKind, About] = {
    EventKind.REQUEST_COMPLETED: About(ObjectKind.REQUEST, "all that was asked for is done"),
    EventKind.REQUEST_REJECTED: About(ObjectKind.REQUEST, "nothing of it is done, or can be any more"),
    EventKind.REQUEST_CANCELLED: About(
        ObjectKind.REQUEST, "it was taken back, or what it asked for was declared invalid"
    ),
    EventKind.REQUEST_STUCK: About(
        ObjectKind.REQUEST, "it is open, and nothing of it has moved for events.stuck_after_days; once until it moves"
    ),
    EventKind.PLAN_WAITS: About(ObjectKind.PLAN, "a person must say yes or no: it was stored by hand, or deletes much"),
    EventKind.PLAN_REFUSED: About(ObjectKind.PLAN, "a gate or a person has stopped it"),
    EventKind.PLAN_COMMITTED: About(ObjectKind.PLAN, "it is committed: what it decides is subscribed"),
    EventKind.FILE_LOST: About(
        ObjectKind.DATASET,
        "a check of a site found files gone of which there is no other copy; all of a dataset in one",
    ),
    EventKind.FILE_BAD: About(
        ObjectKind.DATASET,
        "copies of its files at a site were called bad or suspicious, by a person or by transfers; all of a dataset in "
        "one",
    ),
    EventKind.SITE_FULL: About(
        ObjectKind.SITE, "it is above what the policy of a partition lets it hold, and was not in the plan before"
    ),
    EventKind.LOCK_ENDING: About(ObjectKind.LOCK, "it ends within events.ending_within_days"),
    EventKind.TOKEN_ENDING: About(ObjectKind.TOKEN, "it ends within events.ending_within_days", is_private=True),
}


def kinds_meant(globs: Iterable[str]) -> Sequence[EventKind]:
    """The kinds that names or globs mean, in their order. UnknownNameError, with near ones, for one that means none."""
    listed = list(globs)
    for glob in listed:
        if not any(glob_matches(kind, glob) for kind in EventKind):
            raise UnknownNameError(
                f"there is no kind of events {glob!r}: these are {', '.join(EventKind)}.{near(glob, EventKind)}",
                kind=glob,
            )
    return [kind for kind in EventKind if any(glob_matches(kind, glob) for glob in listed)]
