"""What becomes of URLs on their way through FTS: what its database stores, and what its copier asks storages for.

As seen at fts 3.14.4 with gfal2 2.21.3 (FTS_CONTRACT §12): the table of files is latin-1, and URLs are short in it; the
copier's command line is split at blanks, and root:// URLs are decoded; XRootD's third-party copy cuts a path at ``&``.
"""

from __future__ import annotations

from urllib.parse import unquote

from simgrid.fts.errors import FtsError

MOST_CHARACTERS = 1_100
ROOT = frozenset({"root", "roots", "xroot", "xroots"})


def check_stored(url: str) -> None:
    """FtsError 500: the database takes no row with this URL, and so nothing of its job."""
    if len(url) > MOST_CHARACTERS or not _is_latin_1(url):
        raise FtsError(500, "Internal Server Error")


def as_copied(url: str) -> str:
    """The URL that the storage is asked for."""
    if url.partition("://")[0] not in ROOT:
        return url
    path, mark, opaque = unquote(url.partition(" ")[0]).partition("?")
    return path.partition("&")[0] + mark + opaque


def _is_latin_1(text: str) -> bool:
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        return False
    return True
