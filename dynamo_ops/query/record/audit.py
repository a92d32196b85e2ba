"""Who did what, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from dynamo_ops.access.actions import Action, Outcome
from dynamo_ops.query.paging.condition import Conditions, check_words, moment_asked
from dynamo_ops.query.paging.listing import Listing


@dataclass(frozen=True)
class AuditFilter:
    """Which records. ``persons``: names or globs. ``about``: a part of what it was done to."""

    persons: Sequence[str] = ()
    actions: Sequence[str] = ()
    outcomes: Sequence[str] = ()
    about: str | None = None
    since: str | None = None


_AUDIT = """
    SELECT record.id, record.at, record.person COLLATE "C" AS person, record.known_by, record.on_behalf_of,
           record.address, token.name AS token, record.action, record.object, record.outcome, record.reason,
           record.key, record.run_key, record.ids
    FROM audit AS record LEFT JOIN tokens AS token ON token.id = record.token_id"""


def _narrow(_connection: Connection, asked: AuditFilter, as_of: datetime) -> Conditions:
    conditions = Conditions()
    check_words(asked.actions, Action, "action")
    check_words(asked.outcomes, Outcome, "outcome")
    conditions.add_names("listed.person", asked.persons, "person")
    conditions.add_any("listed.action", asked.actions, "actions")
    conditions.add_any("listed.outcome", asked.outcomes, "outcomes")
    if asked.about is not None:
        conditions.add("strpos(listed.object, :about) > 0", about=asked.about)
    if asked.since is not None:
        conditions.add("listed.at >= :since", since=moment_asked(asked.since, as_of))
    return conditions


AUDIT: Listing[AuditFilter] = Listing(
    "records",
    _AUDIT,
    (
        "id",
        "at",
        "person",
        "known_by",
        "on_behalf_of",
        "address",
        "token",
        "action",
        "object",
        "outcome",
        "reason",
        "key",
        "run_key",
        "ids",
    ),
    key=("at", "id"),
    narrow=_narrow,
    is_newest_first=True,
)
"""``token``: by its name. ``key``: the caller's own. ``ids``: of the rows that it touched, a thousand at most."""
