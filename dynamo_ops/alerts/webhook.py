"""A message to a chat, or to any other service that takes a POST of JSON."""

from __future__ import annotations

import time
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from dynamo_ops.base.errors import PermanentRemoteError, RemoteError, RetryableRemoteError
from dynamo_ops.base.settings import Tls, WebhookSettings

BUSY = (429, 502, 503, 504)
PAUSES_S = (0.5, 1.0, None)
LONGEST = 12_000
"""Characters: chats refuse, or cut in the middle, what is much longer."""


def post(webhook: WebhookSettings, text: str) -> None:
    """POST ``{text_key: text}``; anything but a 2xx is an error. What is longer than LONGEST is cut at the end of a
    line.

    Raises RemoteError. Its message names the host only: the path of such a URL is often its password.
    """
    facts = {"service": "webhook", "url": host(webhook)}
    answer = _answer(webhook, text)
    if 200 <= answer.status_code < 300:
        return
    kind: type[RemoteError] = RetryableRemoteError if _is_passing(answer.status_code) else PermanentRemoteError
    said = answer.text[:200].strip()
    raise kind(
        f"webhook at {host(webhook)} answered {answer.status_code} {answer.reason}: {said}",
        status=answer.status_code,
        **facts,
    )


def _answer(webhook: WebhookSettings, text: str) -> requests.Response:
    """The answer to the POST, after up to three attempts. Only what cannot have been taken in is sent again.

    Attempts of our own: those of urllib3 write the path into the log.
    """
    for pause_s in PAUSES_S:
        is_last = pause_s is None
        try:
            answer = requests.post(
                webhook.url,
                json={webhook.text_key: _cut(text)},
                headers=webhook.headers,
                timeout=webhook.timeout_s,
                verify=Tls(ca=webhook.ca).authorities,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            inner = _innermost(error)
            if is_last or not isinstance(inner, NewConnectionError | ConnectTimeoutError):
                why = _reason(webhook, error, inner)
                raise RetryableRemoteError(
                    f"webhook at {host(webhook)}: {why}", service="webhook", url=host(webhook), status=None
                ) from None
        else:
            if is_last or answer.status_code not in BUSY:
                return answer
        time.sleep(pause_s or 0)
    raise AssertionError("the last attempt returns or raises")


def host(webhook: WebhookSettings) -> str:
    """Scheme, host and port: what may be shown of a webhook's URL."""
    parts = urlsplit(webhook.url)
    name = parts.hostname or ""
    return f"{parts.scheme}://{name}" + (f":{parts.port}" if parts.port else "")


def _is_passing(status: int) -> bool:
    return status in BUSY or status >= 500


def _innermost(error: BaseException) -> BaseException:
    """The cause of all causes."""
    while isinstance(below := getattr(error, "reason", None) or next(iter(error.args), None), BaseException):
        error = below
    return error


def _reason(webhook: WebhookSettings, error: requests.RequestException, inner: BaseException) -> str:
    """Why, without the URL: what requests itself says contains it whole."""
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    said = str(inner)
    for secret in (webhook.url, urlsplit(webhook.url)._replace(scheme="", netloc="").geturl()):
        if len(secret) > 1:
            said = said.replace(secret, "…")
    return f"{type(inner).__name__}: {said}"


def _cut(text: str) -> str:
    if len(text) <= LONGEST:
        return text
    kept = text[:LONGEST].rpartition("\n")[0] or text[:LONGEST]
    fence = "\n```" if kept.count("```") % 2 else ""
    return f"{kept}{fence}\n… (the rest was cut)"
