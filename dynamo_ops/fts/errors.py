"""FTS's refusals as Dynamo's errors, always with FTS's own words.

FTS answers errors in three shapes: ``{"status", "message"}``, per job ``{"job_id", "http_status", "http_message"}``,
and an HTML page from its authentication layer or a proxy in front of it.
"""

from __future__ import annotations

import json
import re
from html import unescape
from typing import Any

import requests

from dynamo_ops.base.errors import CredentialError, PermanentRemoteError, RemoteError, RetryableRemoteError
from dynamo_ops.base.tls import is_cut

CREDENTIAL_STATUSES = frozenset({401, 403, 419})
RETRYABLE_STATUSES = frozenset({408, 425, 429})
_TAG = re.compile(r"<(script|style)\b.*?</\1>|<[^>]*>", re.DOTALL | re.IGNORECASE)
_MAX_TEXT = 1000


def message_of(response: requests.Response) -> str:
    """FTS's own text in an answer of any shape; the reason phrase when there is none."""
    return text_of(response.text) or response.reason or "no text"


def text_of(body: str) -> str:
    """FTS's own text in a body of any of its three shapes; empty for an empty body."""
    try:
        answer: Any = json.loads(body)
    except ValueError:
        return _plain(body)
    if isinstance(answer, dict):
        answer = answer.get("message") or answer.get("http_message") or answer.get("http_status") or answer
    return str(answer)[:_MAX_TEXT]


def _plain(page: str) -> str:
    """The words of an HTML page, without tags; the heading is not repeated before the text."""
    words = " ".join(unescape(_TAG.sub(" ", page)).split())
    return words[:_MAX_TEXT]


def error_for(status: int, text: str, url: str) -> RemoteError:
    """The error of our tree for an HTTP status of FTS."""
    message = f"FTS answered {status} to {url}: {text}"
    facts: dict[str, object] = {"service": "fts", "url": url, "status": status, "text": text}
    if status in CREDENTIAL_STATUSES or (status == 400 and "authentication" in text.lower()):
        return CredentialError(message, **facts)
    if status >= 500 or status in RETRYABLE_STATUSES:
        return RetryableRemoteError(message, **facts)
    return PermanentRemoteError(message, **facts)


def raise_for(response: requests.Response) -> None:
    """Nothing for a status below 400; else the error of our tree."""
    if response.status_code >= 400:
        raise error_for(response.status_code, message_of(response), response.url)


def from_transport(error: requests.RequestException, url: str) -> RemoteError:
    """The error for a call that brought no answer. A TLS refusal is the credential's or the CA's fault."""
    facts: dict[str, object] = {"service": "fts", "url": url, "status": None, "text": str(error)}
    if isinstance(error, requests.exceptions.SSLError) and not is_cut(error):
        return CredentialError(f"FTS {url}: TLS refused: {error}", **facts)
    if isinstance(
        error, (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, requests.exceptions.MissingSchema)
    ):
        return PermanentRemoteError(f"FTS {url}: {error}", **facts)
    return RetryableRemoteError(f"FTS {url}: no answer: {error}", **facts)
