"""Checksums in one spelling: adler32 as eight lower-case hex digits, whoever wrote it and however.

Services drop leading zeros, write capitals or ``0x``, and words for none.
"""

from __future__ import annotations

import re

import polars as pl

NO_CHECKSUM = ("", "NOTSET", "NONE", "NULL")
DIGITS = "^[0-9a-f]{1,8}$"


def adler32_digits(name: str = "adler32") -> pl.Expr:
    """The column as eight lower-case hex digits; null for "no checksum"; unchanged where it is no checksum at all."""
    written = pl.col(name).cast(pl.String).str.strip_chars()
    digits = written.str.to_lowercase().str.strip_prefix("0x")
    return (
        pl.when(written.str.to_uppercase().is_in(NO_CHECKSUM))
        .then(None)
        .when(digits.str.contains(DIGITS))
        .then(digits.str.zfill(8))
        .otherwise(pl.col(name))
        .alias(name)
    )


def adler32_text(written: object) -> str | None:
    """The same of one; None for what is no checksum, too."""
    digits = str(written or "").strip().lower().removeprefix("0x")
    return digits.zfill(8) if re.match(DIGITS, digits) else None
