"""FTS's refusals as Dynamo's errors, always with FTS's own words.

FTS answers errors in three shapes: ``{"status", "message"}``, per job ``{"job_id", "http_status", "http_message"}``,
and an HTML page from its authentication layer or a proxy in front of it.
"""

from __future__ import annotations

import json
import re
from html import unescape
from typing import TYPE_CHECKING, Any

import requests

from dynamo_ops.base.errors import CredentialError, RemoteError, RetryableRemoteError
from dynamo_ops.base.http.remote import failure_words, kind_of_failure, kind_of_status

if TYPE_CHECKING:
    import httpx

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
    """The error of our tree for a status that is one; ``RetryableRemoteError`` for any other, which makes no sense.

    FTS's authentication layer answers 400 to whom it does not know.
    """
    message = f"FTS answered {status} to {url}: {text}"
    facts: dict[str, object] = {"service": "fts", "url": url, "status": status, "text": text}
    if status == 400 and "authentication" in text.lower():
        return CredentialError(message, **facts)
    return (kind_of_status(status) or RetryableRemoteError)(message, **facts)


def raise_for(response: requests.Response) -> None:
    """Nothing for a status of success; else the error of our tree."""
    if kind_of_status(response.status_code):
        raise error_for(response.status_code, message_of(response), response.url)


def from_transport(error: Exception, url: str) -> RemoteError:
    """The error for a call that brought no answer."""
    return kind_of_failure(error)(
        f"FTS {url}: {failure_words(error)}: {error or repr(error)}",
        service="fts",
        url=url,
        status=None,
        text=str(error),
    )


def unreadable(response: requests.Response | httpx.Response) -> RetryableRemoteError:
    """The error for an answer that is no JSON: a page of a proxy with status 200 is no answer of FTS's."""
    return RetryableRemoteError(
        f"FTS {response.url} answered no JSON: {text_of(response.text)}",
        service="fts",
        url=str(response.url),
        status=response.status_code,
    )
