"""Bytes for people: decimal units, 1 TB is 10^12 bytes."""

from __future__ import annotations

UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def size_text(size_bytes: int) -> str:
    """``14.20 TB``; whole bytes below 1 kB."""
    amount, unit = float(size_bytes), 0
    while abs(amount) >= 1000 and unit < len(UNITS) - 1:
        amount, unit = amount / 1000, unit + 1
    return f"{size_bytes} B" if unit == 0 else f"{amount:.2f} {UNITS[unit]}"
