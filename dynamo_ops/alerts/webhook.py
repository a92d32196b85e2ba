"""A message to a chat, or to any other service that takes a POST of JSON."""

from __future__ import annotations

import time
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from dynamo_ops.base.errors import RemoteError
from dynamo_ops.base.http.redirect import origin
from dynamo_ops.base.http.remote import innermost, kind_of_failure, kind_of_status
from dynamo_ops.base.http.session import Patience, RemoteSession
from dynamo_ops.base.http.tls import Credentials
from dynamo_ops.base.settings import Tls, WebhookSettings

NOT_TAKEN_IN = (429, 502, 503, 504)
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
    kind = kind_of_status(answer.status_code)
    if kind is None:
        return
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
    with _session(webhook) as session:
        for pause_s in PAUSES_S:
            is_last = pause_s is None
            try:
                answer = session.call("POST", webhook.url, json={webhook.text_key: _cut(text)})
            except requests.RequestException as error:
                inner = innermost(error)
                if is_last or not isinstance(inner, NewConnectionError | ConnectTimeoutError):
                    raise _no_answer(webhook, error) from None
            else:
                if is_last or answer.status_code not in NOT_TAKEN_IN:
                    return answer
            time.sleep(pause_s or 0)
    raise AssertionError("the last attempt returns or raises")


def host(webhook: WebhookSettings) -> str:
    """Scheme, host and port: what may be shown of a webhook's URL."""
    return origin(webhook.url)


def _session(webhook: WebhookSettings) -> RemoteSession:
    """The chat may be outside: proxies of the shell count."""
    return RemoteSession(
        Credentials(ca=Tls(ca=webhook.ca).authorities),
        timeout=webhook.timeout_s,
        own_headers=webhook.headers,
        patience=Patience(repeats=0),
        uses_environment=True,
    )


def _no_answer(webhook: WebhookSettings, error: requests.RequestException) -> RemoteError:
    return kind_of_failure(error)(
        f"webhook at {host(webhook)}: {_reason(webhook, error)}", service="webhook", url=host(webhook), status=None
    )


def _reason(webhook: WebhookSettings, error: requests.RequestException) -> str:
    """Why, without the URL: what requests itself says contains it whole."""
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    inner = innermost(error)
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
