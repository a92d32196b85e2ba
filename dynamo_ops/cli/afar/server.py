"""The server that is meant, and its answers as commands take them: as if they came from the database."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from itertools import islice
from typing import Any

from dynamo_ops.cli.terminal.page import warn
from dynamo_ops.cli.terminal.tables import Record, Records
from dynamo_ops.cli.terminal.way import WayError
from dynamo_ops.client import Dynamo
from dynamo_ops.client.frames import MOMENT

ROWS_A_PAGE = 1_000


@lru_cache(maxsize=1)
def server() -> Dynamo:
    """By ``DYNAMO_SERVER`` and ``DYNAMO_TOKEN``, or as ``dynamo login`` has remembered. Raises UsageError."""
    return Dynamo.from_environment()


def get(path: str, **params: Any) -> Record:
    """One document."""
    document: Record = plain(server().get(path, **params))
    return document


def rows(path: str, limit: int | None = None, **params: Any) -> Records:
    """A list that comes in pages: all of it, or the first so many."""
    size = min(limit or ROWS_A_PAGE, ROWS_A_PAGE)
    return [plain(row) for row in islice(server().pages(path, limit=size, **params), limit)]


def whole(path: str, **params: Any) -> Records:
    """A list that has one page always."""
    return [plain(row) for row in server().pages(path, **params)]


def post(path: str, body: object = None, *, by: str | None, dry_run: bool = False, **options: Any) -> Record:
    """Do something, or only say what would happen: what is answered."""
    nobody_else(by)
    return _done(server().post(path, body, dry_run=dry_run, **options))


def put(path: str, body: object = None, *, by: str | None, **options: Any) -> Record:
    """As ``post``."""
    nobody_else(by)
    return _done(server().put(path, body, **options))


def delete(path: str, *, by: str | None, dry_run: bool = False, **params: Any) -> Record:
    """As ``post``, without a body."""
    nobody_else(by)
    return _done(server().delete(path, dry_run=dry_run, **params))


def nobody_else(by: str | None) -> None:
    """Raises WayError: only in a shell of the installation one can say who does it."""
    if by is not None:
        raise WayError("--by: over REST, who does it is whose the token is: leave it out")


def part(text: str | None) -> str | None:
    """A glob of what has this text in it; None where there is none."""
    return None if text is None else "*" + re.sub(r"([*?\[])", r"[\1]", text) + "*"


def plain(value: Any) -> Any:
    """JSON with datetimes in it where it has times."""
    if isinstance(value, Mapping):
        return {name: plain(field) for name, field in value.items()}
    if isinstance(value, list):
        return [plain(field) for field in value]
    if isinstance(value, str) and MOMENT.fullmatch(value):
        return datetime.fromisoformat(value).astimezone(UTC)
    return value


@dataclass(frozen=True)
class Afar:
    """A long list: where it is, and what narrows it."""

    path: str
    params: Mapping[str, Any]

    def rows(self, fields: Sequence[str], limit: int) -> Records:
        """The first so many."""
        return rows(self.path, limit, fields=",".join(fields) or None, **self.params)

    def text(self, form: str, fields: Sequence[str], limit: int | None) -> Iterator[str]:
        """As NDJSON or CSV, piece by piece, as it comes."""
        return server().text(self.path, form, fields=",".join(fields) or None, limit=limit, **self.params)


def errand(answer: Record, what: str) -> Record:
    """What becomes of an errand that was asked for: its answer. It is waited for, and said so."""
    warn(f"{what} is done by a run of the server (errand {answer['errand']}): waiting")
    if answer.get("note"):
        warn(answer["note"])
    return plain(server().wait(answer)["answer"])  # type: ignore[no-any-return]


def _done(document: Mapping[str, Any]) -> Record:
    return plain({name: field for name, field in document.items() if name != "dry_run"})  # type: ignore[no-any-return]
