"""Bytes for people: decimal units, 1 TB is 10^12 bytes. The one parser of sizes."""

from __future__ import annotations

import re
from decimal import Decimal

UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
TB = 10**12
_SIZE = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?)\s*(?P<unit>[A-Za-z]*)")


def size_text(size_bytes: int) -> str:
    """``14.20 TB``; whole bytes below 1 kB."""
    amount, unit = float(size_bytes), 0
    while abs(amount) >= 1000 and unit < len(UNITS) - 1:
        amount, unit = amount / 1000, unit + 1
    return f"{size_bytes} B" if unit == 0 else f"{amount:.2f} {UNITS[unit]}"


def written_size(size_bytes: int) -> str:
    """``1 PB``, ``1500 GB``: the shortest that ``parse_size`` reads as these bytes."""
    power = len(UNITS) - 1
    while power and size_bytes % 1000**power:
        power -= 1
    return f"{size_bytes // 1000**power} {UNITS[power]}"


def parse_size(text: str) -> int:
    """Bytes of ``500 TB``, ``1.2PB`` or ``5000``, to the byte. Units are decimal, in capitals or not; none: bytes.

    ValueError says what is wrong: no such form or unit, or no whole number of bytes.
    """
    found = _SIZE.fullmatch(text.strip())
    if not found:
        raise ValueError(f"{text!r} is no size: expected something like '500 TB', 1.2PB, or bytes")
    known = {unit.lower(): 1000**power for power, unit in enumerate(UNITS)}
    unit = found["unit"].lower()
    if unit and unit not in known:
        raise ValueError(
            f"{text!r}: unknown unit {found['unit']!r}; units are {', '.join(UNITS)} (1 TB is 10^12 bytes)"
        )
    size = Decimal(found["number"]) * known.get(unit, 1)
    if size != int(size):
        raise ValueError(f"{text!r} is {size.normalize():f} bytes, no whole number")
    return int(size)
