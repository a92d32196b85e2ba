"""One value as people read it: decimal sizes, percentages, counts, times in UTC; nothing of it is markup."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Any

from dynamo_ops.base.times import time_text
from dynamo_ops.base.units import size_text

CONTROLS = {number: f"\\x{number:02x}" for number in (*range(0x20), *range(0x7F, 0xA0))} | {9: " ", 10: " ", 13: " "}
"""Signs that would move a cursor or colour a terminal: shown by their number; ends of lines as spaces."""


NUMBERED = {"id", "plan", "line"}
"""Last words of the names of what is no amount: people type it again."""


def cell(name: str, value: Any) -> str:
    """A value by the name of its column and its type: on one line, and never an order to the terminal."""
    if name == "quota_bytes":
        return size(value)
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name.endswith("_bytes") or name.startswith("bytes_"):
        return signed_size(value) if name == "freed_bytes" else size(value)
    if isinstance(value, float):
        return percent(value)
    if isinstance(value, datetime):
        return moment(value)
    if isinstance(value, list):
        return plain(" ".join(map(str, value))) or "-"
    is_counted = isinstance(value, int) and name.split("_")[-1] not in NUMBERED
    return f"{value:,}" if is_counted else plain(str(value))


def plain(text: str) -> str:
    """``text`` on one line, without what a terminal would obey."""
    return text.translate(CONTROLS)


def harmless(text: str) -> str:
    """``text`` in its lines, without what else a terminal would obey: it holds names and reasons of others."""
    return "\n".join(map(plain, text.split("\n")))


def size(value: int | None) -> str:
    """Bytes in decimal units: 1 TB is 10^12 bytes. Of a quota: none is unknown, a negative one unlimited."""
    if value is None:
        return "unknown"
    if value < 0:
        return "unlimited"
    return size_text(value)


def signed_size(value: int) -> str:
    """Bytes more (+) or less (-) in decimal units."""
    sign = "" if value == 0 else "+" if value > 0 else "-"
    return sign + size(abs(value))


def percent(value: float) -> str:
    """A fraction in percent; infinite where nothing may be there."""
    return "inf" if math.isinf(value) else f"{100 * value:.1f} %"


def count(number: int, noun: str, plural: str | None = None) -> str:
    """``1 site``, ``2 sites``; ``2 copies`` where the plural is given."""
    return f"{number:,} " + (noun if number == 1 else plural or f"{noun}s")


def moment(value: datetime) -> str:
    """A time in UTC, to the minute, as every option takes it: ``2026-11-29T13:05Z``."""
    return time_text(value)


def age(passed: timedelta) -> str:
    """``12 min``, ``5 h``, ``3 d``: the largest unit that is not nothing."""
    minutes = max(0, int(passed.total_seconds() // 60))
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // 1440} d"
