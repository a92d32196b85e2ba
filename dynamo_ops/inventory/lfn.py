"""What files may be called, as patterns that Python, Rust and PostgreSQL read alike; which protocols carry a name; and
what stands for a file until its upload is finished.

A name that a protocol cannot carry exactly is refused there: asked for all the same, it would be another file's.
"""

from __future__ import annotations

from hashlib import blake2b
from urllib.parse import quote

UPLOAD_SUFFIX = ".dynamo-part"
CANONICAL = r"^(/[^/\\\x00-\x1f\x7f]+)+$"
"""An absolute path without empty parts, control characters or backslashes. Of Python, Rust and PostgreSQL alike."""
DOTS = "(^|/)[.]{1,2}(/|$)"
OURS = rf"(^|/)[.][^/]*[.]{UPLOAD_SUFFIX[1:]}(/|$)"
"""What unfinished uploads of Dynamo are called (``upload_lfn``, and before there was that), and no file may be."""

SAFE = "/:@!$&'()*,=~-._"
"""Characters of a path that stand in a URL as they are (RFC 3986 pchar and "/"), but for ``;`` and ``+``: some servers
cut off what follows the one, and take the other for a blank."""

CARRY_ALL = ("file", "s3")
"""Protocols over which every name can be asked for; over others not those of which SQL says ``MAY_NOT_BE_CARRIED``."""
MAY_NOT_BE_CARRIED = "strpos(lfn, '?') > 0"
WHY_NOT_CARRIED = "its name has a question mark, which is not safe over"
"""Before the name of the protocol."""


def why_not_carried(lfn: str, protocol: str) -> str | None:
    """Why files of this name cannot be asked for over ``protocol``; None where they can.

    An XRootD server cuts a name at its question mark, over HTTPS even at an encoded one, and would do to another file
    what was meant for this. Which server is behind a URL cannot be known here.
    """
    return f"{WHY_NOT_CARRIED} {protocol}" if "?" in lfn and protocol not in CARRY_ALL else None


def upload_lfn(lfn: str) -> str:
    """Under which name a file stands until its upload is finished: in its directory, of ``OURS``, and its own as a
    digest is; a file that was let in before such names were refused is called otherwise.

    A name of which a URL needs to encode something has a percent sign here, too: by that a server shows in which
    writing it takes names (``storage.multistatus``).
    """
    mark = "%" if quote(lfn, safe=SAFE) != lfn else ""
    digest = blake2b(lfn.encode(), digest_size=16).hexdigest()
    return f"{lfn.rpartition('/')[0]}/.{digest}{mark}{UPLOAD_SUFFIX}"
