"""Which active subscriptions an operator means: by file, dataset, block, site, action, state, reason, origin, number.

All SQL is about ``s`` (subscriptions) and ``f`` (its file). A name that means nothing is an error: a slip of the pen
must not pass for "there is nothing to do".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import Connection, text

from dynamo_ops.base.errors import InventoryError, UnknownNameError
from dynamo_ops.base.glob import glob_regex_sql, is_glob
from dynamo_ops.base.text import near
from dynamo_ops.inventory.names import blocks_like, datasets_like, no_file
from dynamo_ops.inventory.site.lookup import find_sites
from dynamo_ops.inventory.states import ACTIVE, HoldReason, SubscriptionAction

CHOICES = {
    "actions": tuple(SubscriptionAction),
    "states": ACTIVE,
    "hold_reasons": tuple(HoldReason),
}


@dataclass(frozen=True)
class Selection:
    """The active subscriptions that meet every part that is given; of a part, one of its values. None given: an error.

    ``files`` (LFNs), ``datasets``, ``blocks`` (dataset#block), ``sites``, ``origins``: names, or globs over the whole
    name (``*`` crosses ``/``). ``actions``: copy, delete. ``states``: new, inbatch, retry, held.
    """

    ids: Sequence[int] = ()
    files: Sequence[str] = ()
    datasets: Sequence[str] = ()
    blocks: Sequence[str] = ()
    sites: Sequence[str] = ()
    actions: Sequence[str] = ()
    states: Sequence[str] = ()
    hold_reasons: Sequence[str] = ()
    origins: Sequence[str] = ()


def take(connection: Connection, selection: Selection, allowed_sql: str, *, lock: bool) -> None:
    """Make ``selected`` for the transaction: id, file_id, site_id, block_id, action, state, hold_reason, size_bytes.

    ``allowed_sql``: what else must hold of ``s``. ``lock``: nobody else moves these subscriptions until the end of the
    transaction. Raises InventoryError when nothing is given, or a name means nothing.
    """
    conditions, params = _conditions(connection, selection)
    connection.execute(
        text(f"""
        CREATE TEMPORARY TABLE selected ON COMMIT DROP AS
        SELECT s.id, s.file_id, s.site_id, f.block_id, s.action, s.state, s.hold_reason, f.size_bytes
        FROM subscriptions s JOIN files f ON f.id = s.file_id
        WHERE ({allowed_sql}) AND {" AND ".join(conditions)}
        ORDER BY s.id {"FOR UPDATE OF s" if lock else ""}"""),
        params,
    )
    connection.execute(text("CREATE UNIQUE INDEX ON selected (id)"))
    connection.execute(text("ANALYZE selected"))


def _conditions(connection: Connection, selection: Selection) -> tuple[list[str], dict[str, Any]]:
    given = {field.name: list(getattr(selection, field.name)) for field in fields(selection)}
    given = {name: values for name, values in given.items() if values}
    if not given:
        raise InventoryError(
            "say which subscriptions: by id, file, dataset, block, site, action, state, hold reason, origin"
        )
    for name, choices in CHOICES.items():
        for value in given.get(name, []):
            if value not in choices:
                message = f"there is no {_NOUNS[name]} {value!r}, only {', '.join(choices)}.{near(value, choices)}"
                raise InventoryError(message, value=value)
    if "sites" in given:
        given["sites"] = [site.id for site in find_sites(connection, given["sites"])]
    params: dict[str, Any] = {}
    for name, values in given.items():
        if name in _NAMED:
            plain, globs = [v for v in values if not is_glob(v)], [v for v in values if is_glob(v)]
            _refuse_unknown(connection, name, plain)
            params |= {name: plain, f"{name}_like": [_pattern(name, glob) for glob in globs]}
        else:
            params[name] = values
    return [_SQL[name] for name in given], params


def _pattern(name: str, glob: str) -> str:
    """A glob of blocks is two patterns, of the dataset and of the block, with a line feed between."""
    if name != "blocks":
        return glob_regex_sql(glob)
    dataset, _, block = glob.partition("#")
    return f"{glob_regex_sql(dataset)}\n{glob_regex_sql(block or '*')}"


def _refuse_unknown(connection: Connection, name: str, plain: list[str]) -> None:
    if name in _EXISTS and plain:
        unknown = connection.execute(text(_EXISTS[name]), {"names": plain}).scalars().all()
        if unknown:
            hint = _HINTS[name](connection, unknown[0])
            message = f"there is no {_NOUNS[name]} {', '.join(unknown[:3])}"
            raise UnknownNameError(f"{message}.{hint}" if hint else message, names=list(unknown))


_NOUNS = {
    "actions": "action",
    "states": "active state",
    "hold_reasons": "hold reason",
    "files": "file",
    "datasets": "dataset",
    "blocks": "block",
}
_HINTS: dict[str, Callable[[Connection, str], str]] = {
    "files": no_file,
    "datasets": lambda connection, name: near(name, datasets_like(connection, name)),
    "blocks": lambda connection, name: near(name, blocks_like(connection, name)),
}
_NAMED = ("files", "datasets", "blocks", "origins")
_BLOCK = "a.name = split_part(n.name, '#', 1) AND b.name = substr(n.name, strpos(n.name, '#') + 1)"
_UNKNOWN = "SELECT n.name FROM unnest(CAST(:names AS text[])) AS n (name) WHERE NOT EXISTS"
_EXISTS = {
    "files": f"{_UNKNOWN} (SELECT FROM files f WHERE md5(f.lfn)::uuid = md5(n.name)::uuid)",
    "datasets": f"{_UNKNOWN} (SELECT FROM datasets a WHERE a.name = n.name)",
    "blocks": f"{_UNKNOWN} (SELECT FROM datasets a JOIN blocks b ON b.dataset_id = a.id WHERE {_BLOCK})",
}
_SQL = {
    "ids": "s.id = ANY(CAST(:ids AS bigint[]))",
    "sites": "s.site_id = ANY(CAST(:sites AS smallint[]))",
    "actions": "s.action = ANY(CAST(:actions AS text[]))",
    "states": "s.state = ANY(CAST(:states AS text[]))",
    "hold_reasons": "s.hold_reason = ANY(CAST(:hold_reasons AS text[]))",
    "origins": "(s.origin = ANY(CAST(:origins AS text[])) OR s.origin ~ ANY(CAST(:origins_like AS text[])))",
    "files": """(f.lfn ~ ANY(CAST(:files_like AS text[])) OR f.id IN (
        SELECT x.id FROM unnest(CAST(:files AS text[])) AS n (name)
        JOIN files x ON md5(x.lfn)::uuid = md5(n.name)::uuid))""",
    "datasets": """f.block_id IN (
        SELECT b.id FROM datasets a JOIN blocks b ON b.dataset_id = a.id
        WHERE a.name = ANY(CAST(:datasets AS text[])) OR a.name ~ ANY(CAST(:datasets_like AS text[])))""",
    "blocks": f"""f.block_id IN (
        SELECT b.id FROM unnest(CAST(:blocks AS text[])) AS n (name), datasets a JOIN blocks b ON b.dataset_id = a.id
        WHERE {_BLOCK}
        UNION SELECT b.id FROM unnest(CAST(:blocks_like AS text[])) AS n (name),
                               datasets a JOIN blocks b ON b.dataset_id = a.id
        WHERE a.name ~ split_part(n.name, chr(10), 1) AND b.name ~ split_part(n.name, chr(10), 2))""",
}
