"""The installation's database, for a command that needs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dynamo_ops.base.errors import SettingsError
from dynamo_ops.base.settings import settings
from dynamo_ops.cli.terminal.way import is_afar, not_from_afar

if TYPE_CHECKING:
    from dynamo_ops.database.connection import Database


def database() -> Database:
    """The inventory of this installation. Raises SettingsError if its schema is not the one of this version, and
    WayError where a server is meant."""
    if is_afar():
        raise not_from_afar()
    from dynamo_ops.database import migrate  # some commands can do without a database, and start sooner
    from dynamo_ops.database.connect import connect

    db = connect(settings())
    revision, head = migrate.revision(db), migrate.head()
    if revision != head:
        raise SettingsError(
            f"{db.safe_url}: its schema is {revision or 'none'}, this version of Dynamo knows {head}; "
            "bring it up to date by `dynamo db upgrade`",
            file="",
            key="db_url",
            reason="another schema",
        )
    return db
