"""What a TLS failure says: that the other side refused us (or we it), or only that the connection broke off."""

from __future__ import annotations

_CUT = ("EOF occurred", "UNEXPECTED_EOF", "Connection reset", "timed out")


def is_cut(error: Exception) -> bool:
    """Whether the connection broke off in the middle, which says nothing about credentials."""
    return any(word in str(error) for word in _CUT)
