"""Where a page ended: an opaque text that nobody but this installation can make, good for the same question only."""

from __future__ import annotations

import binascii
import hashlib
import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, text

from dynamo_ops.base.errors import InventoryError

SIGNATURE_BYTES = 16
LONGEST = 4_000
"""Characters of a cursor: two names at most."""


@dataclass(frozen=True)
class Cursor:
    """``question``: digest of what is listed and asked. ``as_of``: when the first page was read; '3 days ago' means the
    same on each page. ``after``: the key of the last row."""

    question: str
    as_of: datetime
    after: tuple[Any, ...]


def digest(*parts: object) -> str:
    """A question in 16 digits: the same for equal ``parts``."""
    return hashlib.sha256(json.dumps(parts, default=str, sort_keys=True).encode()).hexdigest()[:16]


def written(connection: Connection, cursor: Cursor) -> str:
    """The cursor as text."""
    parts = [cursor.question, cursor.as_of.isoformat(), cursor.after]
    payload = json.dumps(parts, default=_moment_text, separators=(",", ":")).encode()
    return urlsafe_b64encode(_signature(connection, payload) + payload).decode().rstrip("=")


def read(connection: Connection, cursor: str, question: str) -> Cursor:
    """What ``written`` wrote for the same question. Raises InventoryError for any other text, and for the cursor of
    another question."""
    try:
        decoded = urlsafe_b64decode(cursor[:LONGEST] + "=" * (-len(cursor) % 4))
    except (binascii.Error, ValueError):
        decoded = b""
    signature, payload = decoded[:SIGNATURE_BYTES], decoded[SIGNATURE_BYTES:]
    if not payload or not hmac.compare_digest(signature, _signature(connection, payload)):
        raise InventoryError(
            "this cursor was not made by this installation: take it as the page before gave it, or leave it out",
            cursor=cursor[:40],
        )
    asked, as_of, after = json.loads(payload)
    if asked != question:
        raise InventoryError(
            "this cursor is of another question: a page goes on only with the same filter; leave the cursor out",
            cursor=cursor[:40],
        )
    return Cursor(asked, datetime.fromisoformat(as_of).astimezone(UTC), tuple(after))


def _moment_text(value: datetime) -> str:
    """A time in a key: PostgreSQL reads it again, to the microsecond."""
    return value.isoformat()


def key_after(row: Sequence[Any], columns: Sequence[str], key: Sequence[str]) -> tuple[Any, ...]:
    """The key of a row of ``columns``."""
    return tuple(row[columns.index(name)] for name in key)


def _signature(connection: Connection, payload: bytes) -> bytes:
    """By the installation's own key: whoever serves the same database takes the same cursors."""
    key = connection.execute(text("SELECT key FROM signing_keys WHERE purpose = 'cursor'")).scalar_one()
    return hmac.digest(bytes(key), payload, "sha256")[:SIGNATURE_BYTES]
