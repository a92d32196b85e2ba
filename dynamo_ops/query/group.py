"""Groups: which one somebody means."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, text

from dynamo_ops.base.errors import InventoryError
from dynamo_ops.base.glob import glob_matches, is_glob
from dynamo_ops.base.text import near


def find_groups(connection: Connection, patterns: Sequence[str]) -> dict[int, str]:
    """The groups that a name or glob of ``patterns`` means: names by id, in the order of names. Raises InventoryError
    with near names for a pattern that means none."""
    groups = connection.execute(text("SELECT id, name FROM groups ORDER BY name"))
    names = {int(group.id): str(group.name) for group in groups}
    for pattern in patterns:
        if not any(glob_matches(name, pattern) for name in names.values()):
            what = "no group matches" if is_glob(pattern) else "there is no group"
            raise InventoryError(
                f"{what} {pattern!r}; groups are {', '.join(names.values()) or 'none yet'}."
                f"{near(pattern, names.values())}",
                group=pattern,
            )
    return {group: name for group, name in names.items() if any(glob_matches(name, pattern) for pattern in patterns)}
