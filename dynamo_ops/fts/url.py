"""The URL by which FTS is asked for a file: what comes of it must be the file that the storage itself is asked for.

Pure. On the way through FTS's copier root:// URLs are split at blanks and decoded, and XRootD's third-party copy cuts
them at ``&`` (FTS_CONTRACT §12): a copy under such a name was one of another file, over another file.
"""

from __future__ import annotations

from urllib.parse import quote

from dynamo_ops.base.errors import InventoryError

DECODED = frozenset({"root", "roots", "xroot", "xroots"})
"""Schemes whose URLs are no URLs to storages, but are decoded by FTS."""
MOST_CHARACTERS = 1_100
"""Of a URL: a document with a longer one is answered by 500, and with it all its files (FTS_CONTRACT §12)."""


def fts_url(pfn: str, *, is_staging: bool = False) -> str:
    """``pfn`` as FTS must be given it. ``is_staging``: of a job that brings files online first.

    InventoryError, with the PFN: FTS would ask for another file, or take none of the job.
    """
    scheme, separator, rest = pfn.partition("://")
    url = pfn
    if scheme in DECODED:
        host, slash, path = rest.partition("/")
        url = f"{scheme}{separator}{host}{slash}{quote(path, safe='/:@~')}"
        if "&" in path:
            raise _refused(pfn, "it has an ampersand, at which XRootD's own copies cut a name")
        if is_staging and url != pfn:
            raise _refused(pfn, "nobody knows how a name that must be encoded is staged over root://")
    elif "%3F" in rest:
        raise _refused(pfn, "it has a question mark, and nobody has seen what FTS's clients make of that")
    if len(url) > MOST_CHARACTERS:
        raise _refused(pfn, f"FTS takes no URL of more than {MOST_CHARACTERS:,} characters, and this has {len(url):,}")
    return url


def _refused(pfn: str, reason: str) -> InventoryError:
    return InventoryError(f"{pfn!r} cannot be given to FTS: {reason}", pfn=pfn, reason=reason)
