"""Which active wishes an operator means: by number, file, dataset, block, site, action, state, hold reason, origin.

All SQL is about ``s`` (subscriptions) and ``f`` (its file). A name that means nothing is an error: a slip of the pen
must not pass for "there is nothing to do".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

from sqlalchemy import Connection, text

from dynamo_ops.errors import InventoryError
from dynamo_ops.fileops.states import ACTIVE_SUBSCRIPTIONS
from dynamo_ops.inventory.schema.fileops import HOLD_REASONS

_SET = re.compile(r"\[(!?)(\]?[^]]*)\]")
CHOICES = {
    "actions": ("copy", "delete"),
    "states": tuple(state.value for state in ACTIVE_SUBSCRIPTIONS),
    "hold_reasons": HOLD_REASONS,
}


@dataclass(frozen=True)
class Selection:
    """The active wishes that meet every part that is given; of a part, one of its values. Nothing given: an error.

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

    ``allowed_sql``: what else must hold of ``s``. ``lock``: nobody else moves these wishes until the end of the
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


def site_ids(connection: Connection, patterns: Sequence[str]) -> dict[str, int]:
    """Name → id of the sites that a name or glob of ``patterns`` means. InventoryError names those that mean none."""
    known: dict[str, int] = {row.name: row.id for row in connection.execute(text("SELECT id, name FROM sites"))}
    nothing = [pattern for pattern in patterns if not any(_matches(name, pattern) for name in known)]
    if nothing:
        raise InventoryError(
            f"no site is named {', '.join(nothing)}{near(nothing[0], known)}", site=nothing[0], known=sorted(known)
        )
    return {name: known[name] for name in sorted(known) if any(_matches(name, pattern) for pattern in patterns)}


def near(word: str, known: Iterable[str]) -> str:
    """``; did you mean a, b?`` for names close to ``word``, or an empty string."""
    names = {name.lower(): name for name in known}
    close = [names[name] for name in get_close_matches(word.lower(), names, n=3, cutoff=0.55)]
    return f"; did you mean {', '.join(close)}?" if close else ""


def is_glob(name: str) -> bool:
    """A ``[`` alone makes no glob: it is literal unless the name has ``*`` or ``?``."""
    return "*" in name or "?" in name


def glob_regex(glob: str) -> str:
    """The regular expression, as PostgreSQL reads it, that matches as the shell glob does, over the whole name."""
    pieces, at = [], 0
    while at < len(glob):
        found = _SET.match(glob, at)
        if found and found[2]:
            pieces.append(_set(found[2], is_negated=bool(found[1])))
            at = found.end()
        else:
            pieces.append({"*": ".*", "?": "."}.get(glob[at]) or _literal(glob[at]))
            at += 1
    return "^(?:" + "".join(pieces) + ")$"


def _set(inside: str, *, is_negated: bool) -> str:
    parts, at = [], 0
    while at < len(inside):
        if inside[at + 1 : at + 2] == "-" and at + 2 < len(inside):
            if inside[at] <= inside[at + 2]:
                parts.append(f"{_literal(inside[at])}-{_literal(inside[at + 2])}")
            at += 3
        else:
            parts.append(_literal(inside[at]))
            at += 1
    if not parts:
        return "." if is_negated else "(?!.)."
    return f"[{'^' * is_negated}{''.join(parts)}]"


def _literal(char: str) -> str:
    return char if char.isascii() and char.isalnum() else f"\\U{ord(char):08x}"


def _matches(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern) if is_glob(pattern) else name == pattern


def _conditions(connection: Connection, selection: Selection) -> tuple[list[str], dict[str, Any]]:
    given = {field.name: list(getattr(selection, field.name)) for field in fields(selection)}
    given = {name: values for name, values in given.items() if values}
    if not given:
        raise InventoryError("say which wishes: by id, file, dataset, block, site, action, state, hold reason, origin")
    for name, choices in CHOICES.items():
        for value in given.get(name, []):
            if value not in choices:
                raise InventoryError(f"there is no {_NOUNS[name]} {value!r}, only {', '.join(choices)}", value=value)
    if "sites" in given:
        given["sites"] = list(site_ids(connection, given["sites"]).values())
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
        return glob_regex(glob)
    dataset, _, block = glob.partition("#")
    return f"{glob_regex(dataset)}\n{glob_regex(block or '*')}"


def _refuse_unknown(connection: Connection, name: str, plain: list[str]) -> None:
    if name in _EXISTS and plain:
        unknown = connection.execute(text(_EXISTS[name]), {"names": plain}).scalars().all()
        if unknown:
            raise InventoryError(f"there is no {_NOUNS[name]} {', '.join(unknown[:3])}", names=list(unknown))


_NOUNS = {
    "actions": "action",
    "states": "active state",
    "hold_reasons": "hold reason",
    "files": "file",
    "datasets": "dataset",
    "blocks": "block",
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
