"""Tokens that end soon: told once, to their owners only."""

from __future__ import annotations

from dynamo_ops.database.connection import Database
from dynamo_ops.event.kinds import EventKind
from dynamo_ops.event.writer import moment_text, not_told, tell

_ENDING = f"""
    SELECT token.id::text AS object_name, token.person, CAST('{{}}' AS text[]) AS groups,
           CAST('{{}}' AS text[]) AS sites, CAST('{{}}' AS text[]) AS datasets,
           jsonb_build_object('token', token.id, 'name', token.name, 'until', {moment_text("token.until")}) AS facts
    FROM tokens AS token
    WHERE token.revoked_at IS NULL AND token.until > now()
      AND token.until < now() + CAST(:days AS float) * interval '1 day'
      AND token.until - token.created_at > CAST(:days AS float) * interval '1 day'
      AND {not_told(EventKind.TOKEN_ENDING, "token.id::text", "token.created_at")}"""
"""One that was never to be good for longer is not told: who made it knows."""


def tell_ending(database: Database, within_days: float) -> int:
    """Write an event of each token that ends within so many days; how many."""
    with database.begin() as connection:
        return tell(connection, EventKind.TOKEN_ENDING, _ENDING, {"days": within_days})
