"""Checksums in one spelling: adler32 as eight lower-case hex digits, whoever wrote it and however.

Services drop leading zeros, write capitals or ``0x``, and words for none. What a storage answers when it is asked for
one is read here too: what cannot be read is none, and never a mismatch.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping

import polars as pl

NO_CHECKSUM = ("", "NOTSET", "NONE", "NULL")
DIGITS = "^[0-9a-f]{1,8}$"
ZEROS = "00000000"
"""What a service makes of a checksum that it was not told. No file has it, but one in four thousand million."""
WANTED = {"Want-Digest": "adler32", "Want-Repr-Digest": "adler=9"}
"""Headers of a request that ask for adler32: of RFC 3230, and of RFC 9530, where it is called adler. XRootD takes
preferences up to 9 only."""
NOT_TOLD = frozenset({400, 405, 406, 415, 501})
"""HTTP statuses by which a storage refuses the question, whatever becomes of the file."""
_NAMES = ("adler32", "adler")
_ENDS_AS_BASE64 = re.compile("^[A-Za-z0-9+/]+=+$")


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


def told_in_headers(headers: Mapping[str, str]) -> str | None:
    """adler32 as the headers of an HTTP answer tell it (``Digest``, ``Repr-Digest``); None where they do not, where it
    cannot be read, or where they tell two. ``headers``: whatever their case, as of ``requests``.

    In ``Digest`` it is hex (RFC 3230), in ``Repr-Digest`` bytes (RFC 9530).
    """
    entries = {
        written
        for header in ("Digest", "Repr-Digest")
        for name, written in _entries(headers.get(header) or "")
        if name in _NAMES
    }
    checksums = {_read(written) for written in entries} - {None}
    return checksums.pop() if len(checksums) == 1 else None


def told_in_words(answer: bytes | str | None) -> str | None:
    """The same of an answer like ``adler32 0a1b2c3d``, as XRootD gives."""
    words = answer.decode("ascii", "replace") if isinstance(answer, bytes) else answer or ""
    name, _, written = words.strip("\x00 \r\n").partition(" ")
    return _read(written) if name.lower() in _NAMES else None


def _entries(header: str) -> Iterator[tuple[str, str]]:
    """Names, in small letters, and values of a header that lists them; parameters are left out."""
    for entry in header.split(","):
        name, _, written = entry.strip().partition("=")
        yield name.strip().lower(), written.partition(";")[0].strip()


def _read(written: str) -> str | None:
    """One checksum. Between colons it is bytes in base64 (RFC 9530): four, or eight that are hex digits, as StoRM has
    it; elsewhere hex, or base64 that is known by its end. Hex between colons is of eight digits, or it is none."""
    digest = written.strip().strip('"').strip()
    is_bytes = len(digest) > 1 and digest[0] == digest[-1] == ":"
    digest = digest.strip(":").strip()
    digits = digest
    if is_bytes or _ENDS_AS_BASE64.match(digest):
        decoded = _base64(digest)
        if len(decoded) == 4:
            digits = decoded.hex()
        elif len(decoded) == 8:
            digits = decoded.decode("ascii", "replace")
        if len(digits) != 8:
            return None
    checksum = adler32_text(digits)
    return None if checksum == ZEROS else checksum


def _base64(written: str) -> bytes:
    """The bytes, with or without padding; none for what is no base64."""
    digits = written.rstrip("=")
    try:
        return base64.b64decode(digits + "=" * (-len(digits) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""
