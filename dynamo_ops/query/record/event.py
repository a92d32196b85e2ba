"""What happened, newest first; or, from one on, in its order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.event.kinds import ObjectKind, kinds_meant
from dynamo_ops.query.paging.condition import Conditions, check_words, moment_asked, name_condition
from dynamo_ops.query.paging.listing import Listing

MENTIONED = {"groups": "group", "sites": "site", "datasets": "dataset"}
"""Columns of names, and how one of them is called."""


@dataclass(frozen=True)
class EventFilter:
    """Which events. ``kinds``: names or globs. ``objects``: as ``request 17``. ``persons``, ``groups``, ``sites``,
    ``datasets``: whom and what they concern, names or globs. ``after``: the number of an event; those behind it.
    ``reader``: who asks; None: who may read all."""

    kinds: Sequence[str] = ()
    objects: Sequence[str] = ()
    persons: Sequence[str] = ()
    groups: Sequence[str] = ()
    sites: Sequence[str] = ()
    datasets: Sequence[str] = ()
    since: str | None = None
    after: int | None = None
    reader: str | None = None


_EVENTS = """
    SELECT event.id, event.at, event.kind, event.object_kind, event.object_name, event.person COLLATE "C" AS person,
           event.groups, event.sites, event.datasets, event.facts, event.is_private
    FROM events AS event"""


def _narrow(_connection: Connection, asked: EventFilter, as_of: datetime) -> Conditions:
    conditions = Conditions()
    if asked.kinds:
        conditions.add_any("listed.kind", kinds_meant(asked.kinds), "kinds")
    for named in asked.objects:
        kind, _, name = named.partition(" ")
        check_words([kind], ObjectKind, "object of events")
        if not name:
            raise InventoryError(f"{named!r} is no object: write its kind and its number or name, as 'request 17'")
    if asked.objects:
        places = range(len(asked.objects))
        each = (f"(listed.object_kind, listed.object_name) = (:object_kind_{n}, :object_name_{n})" for n in places)
        split = {n: asked.objects[n].partition(" ") for n in places}
        conditions.add(
            " OR ".join(each),
            **{f"object_kind_{n}": kind for n, (kind, _, _) in split.items()},
            **{f"object_name_{n}": name for n, (_, _, name) in split.items()},
        )
    conditions.add_names("listed.person", asked.persons, "person")
    for column, name in MENTIONED.items():
        patterns: Sequence[str] = getattr(asked, column)
        if patterns:
            condition, params = name_condition('mentioned.name COLLATE "C"', patterns, name)
            conditions.add(
                f"EXISTS (SELECT FROM unnest(listed.{column}) AS mentioned (name) WHERE {condition})", **params
            )
    if asked.since is not None:
        conditions.add("listed.at >= :since", since=moment_asked(asked.since, as_of))
    if asked.after is not None:
        conditions.add("listed.id > :after", after=asked.after)
    if asked.reader is not None:
        conditions.add("NOT listed.is_private OR listed.person = :reader", reader=asked.reader)
    return conditions


EVENTS: Listing[EventFilter] = Listing(
    "events",
    _EVENTS,
    ("id", "at", "kind", "object_kind", "object_name", "person", "groups", "sites", "datasets", "facts"),
    key=("id",),
    narrow=_narrow,
    is_newest_first=True,
)
"""``facts``: what is known of it, units in their names. ``datasets``: a thousand at most."""
EVENTS_IN_ORDER = replace(EVENTS, noun="events in order", is_newest_first=False)
"""Who has read all up to a number, and asks for what is behind it, misses none."""


def listing_of(asked: EventFilter) -> Listing[EventFilter]:
    """From one on they come in their order."""
    return EVENTS if asked.after is None else EVENTS_IN_ORDER
