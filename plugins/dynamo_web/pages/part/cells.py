"""One value as people read it: decimal sizes, counts, shares, moments in UTC. Templates use these as filters."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from markupsafe import Markup

from dynamo_ops.base.units import size_text

NOTHING = "–"
MINUTES = "%Y-%m-%d %H:%M"


def size(value: int | None) -> str:
    """Bytes in decimal units: 1 TB is 10^12 bytes."""
    return NOTHING if value is None else size_text(int(value))


def rate(value: float | None) -> str:
    """Bytes a second."""
    return NOTHING if value is None else f"{size_text(round(value))}/s"


def quota(value: int | None) -> str:
    """Bytes that may be used; none is unknown, less than none is without limit."""
    if value is None:
        return "unknown"
    return "unlimited" if value < 0 else size_text(value)


def number(value: float | None) -> str:
    """How many, with commas."""
    return NOTHING if value is None else f"{value:,}"


def share(value: float | None) -> str:
    """A part of one, in percent."""
    return NOTHING if value is None else f"{100 * value:.1f} %"


def moment(value: datetime | str | None) -> Markup | str:
    """A time in UTC to the minute, with how long ago it was where the mouse rests."""
    if value is None:
        return NOTHING
    when = (datetime.fromisoformat(value) if isinstance(value, str) else value).astimezone(UTC)
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        when.isoformat(timespec="seconds"), ago(when, datetime.now(UTC)), f"{when:{MINUTES}}"
    )


def when(value: datetime | None) -> str:
    """The same in a sentence."""
    return NOTHING if value is None else f"{value.astimezone(UTC):{MINUTES}}"


def ago(when: datetime, now: datetime) -> str:
    """``3 days ago``, ``in 2 hours``."""
    passed = now - when
    text = duration(abs(passed))
    return f"{text} ago" if passed >= timedelta(0) else f"in {text}"


def duration(lasted: timedelta) -> str:
    """In its largest unit."""
    seconds = int(lasted.total_seconds())
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= length:
            count = seconds // length
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return f"{seconds} s"


def line(value: int | None) -> str:
    """Of a policy; 0 is what its last words say of all others."""
    return "default" if value == 0 else text(value)


def yes(value: bool | None) -> str:
    """Yes or no."""
    return NOTHING if value is None else ("yes" if value else "no")


def text(value: Any) -> str:
    """Anything else; a list with spaces."""
    if value is None or value == "":
        return NOTHING
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


KINDS = {
    "text": text,
    "long": text,
    "line": line,
    "size": size,
    "rate": rate,
    "quota": quota,
    "number": number,
    "share": share,
    "moment": moment,
    "yes": yes,
}
"""How the value of a column is written."""
AMOUNTS = frozenset({"size", "rate", "quota", "number", "share"})
"""What stands at the right, one below the other."""
