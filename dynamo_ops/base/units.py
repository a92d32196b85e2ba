"""Bytes for people: decimal units, 1 TB is 10^12 bytes. The one parser of sizes."""

from __future__ import annotations

import re
from decimal import Decimal

from dynamo_ops.base.errors import InventoryError

UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
TB = 10**12
UNLIMITED, LARGEST_QUOTA = -1, 2**63 - 1
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


def quota_bytes_of(field: str, text: str) -> int:
    """A quota as people write it: ``500 TB``, or ``unlimited`` (also ``-1``, of negative numbers only that: another one
    is more likely a slip than meant). InventoryError names the ``field``, and says what would be one."""
    if text.strip().lower() in ("unlimited", "-1"):
        return UNLIMITED
    try:
        amount = parse_size(text)
    except ValueError as error:
        raise InventoryError(f"{field}: {error}, or unlimited", size=text) from error
    if amount > LARGEST_QUOTA:
        raise InventoryError(f"{field}: {text} is more than a quota can be; say unlimited", size=text)
    return amount
