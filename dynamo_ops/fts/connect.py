"""A client of the FTS that the settings name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dynamo_ops.base.settings import Settings
from dynamo_ops.fts.client import FtsClient


@contextmanager
def fts_client(settings: Settings) -> Iterator[FtsClient | None]:
    """A client of the installation's FTS; None where there is none."""
    tls, fts = settings.tls, settings.fts
    if fts.url is None:
        yield None
        return
    token = fts.token_file.read_text().strip() if fts.token_file else None
    cert, key = (None, None) if token else (_text(tls.cert), _text(tls.key))
    with FtsClient(fts.url, ca=tls.authorities, cert=cert, key=key, token=token) as client:
        yield client


def _text(path: object) -> str | None:
    return None if path is None else str(path)
