"""What may be shown of an address: its user and the values of its query are often passwords."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

from dynamo_ops.base.http.remote import innermost

_URL = re.compile(r"""\w[\w+.-]*://[^\s'"<>]+""")
_POOL = re.compile(r"with url: \S+")
_SECRET = re.compile(
    r"""(?ix) ( \b bearer \s+ | (?:token|secret|passw(?:or)?d|api[_-]?key|cookie|session|authorization)
                 [\w-]* ["']? \s* [:=] \s* ["']? (?:bearer\s+|basic\s+)? ) [^\s"'&;,<>{}]+"""
)
"""What stands behind a word for a secret, in headers, forms and JSON."""


def shown(url: str, params: Mapping[str, Any] | None = None) -> str:
    """``url`` without user, password and the values of its query. ``params`` are ours and are shown as they are.

    A path that is no URL comes back as it is.
    """
    if "://" not in url:
        return url
    try:
        parts = urlsplit(url)
    except ValueError:
        return f"{url.partition('://')[0]}://…"
    is_http = parts.scheme in ("http", "https")  # elsewhere a ? stands for a letter
    place = parts._replace(netloc=parts.netloc.rpartition("@")[2])
    if not is_http:
        return place.geturl()
    told = [f"{name}=…" if found else "…" for name, found, _ in (each.partition("=") for each in _pieces(parts.query))]
    told += [urlencode(params)] if params else []
    return place._replace(query="&".join(told), fragment="").geturl()


def discreet(text: str) -> str:
    """``text``, of its addresses only what may be shown."""
    return _POOL.sub("with url: …", _URL.sub(lambda found: shown(found.group()), text))


def masked(text: str) -> str:
    """``text``, without what may be a secret in it: for what a service answered, which may repeat what it was sent."""
    return _SECRET.sub(r"\1…", discreet(text))


def cause(error: BaseException) -> str:
    """The innermost cause in words."""
    inner = innermost(error)
    return f"{type(inner).__name__}: {discreet(str(inner))}"


class _Discreet(logging.Filter):
    """urllib3 logs the path of each attempt, with its query."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(_cut(each) if isinstance(each, str) else each for each in record.args)
        return True


def _cut(text: str) -> str:
    path, found, _ = text.partition("?")
    return f"{path}?…" if found else text


def _pieces(query: str) -> list[str]:
    return query.split("&") if query else []


for _name in ("urllib3.connectionpool", "urllib3.util.retry"):
    logging.getLogger(_name).addFilter(_Discreet())
