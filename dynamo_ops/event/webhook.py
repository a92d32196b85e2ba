"""An event as a signed POST of JSON to somebody's webhook (docs/events.md says how it is verified)."""

from __future__ import annotations

import hmac
import time

import requests

from dynamo_ops.access.problem import as_json
from dynamo_ops.base.errors import InventoryError
from dynamo_ops.base.http.remote import causes, kind_of_failure, kind_of_status
from dynamo_ops.base.http.session import Patience, RemoteSession
from dynamo_ops.base.http.tls import Credentials
from dynamo_ops.base.settings import Tls
from dynamo_ops.event.address import NOT_PUBLIC, Hosts
from dynamo_ops.event.queue import Destination, Parcel

READ_BYTES = 4_096
"""Of an answer: nobody looks at it, and it may be endless."""


class RefusedError(Exception):
    """It was not taken. ``is_about_all``: nor will others be, for now."""

    def __init__(self, words: str, *, is_about_all: bool) -> None:
        super().__init__(words)
        self.words = words
        self.is_about_all = is_about_all


def document(parcel: Parcel) -> dict[str, object]:
    """What is sent of an event."""
    return {
        "delivery": parcel.id,
        "attempt": parcel.attempt,
        "event": {
            "id": parcel.event_id,
            "at": parcel.at,
            "kind": parcel.kind,
            "object": {"kind": parcel.object_kind, "name": parcel.object_name},
            "person": parcel.person,
            "groups": parcel.groups,
            "sites": parcel.sites,
            "datasets": parcel.datasets,
            "facts": parcel.facts,
        },
    }


def signature(secret: bytes, timestamp: str, body: bytes) -> str:
    """By it who is called knows that it is us, and when it was sent."""
    return "sha256=" + hmac.digest(secret, timestamp.encode() + b"." + body, "sha256").hex()


class Webhook:
    """One that is called several times, by one connection where it lets us."""

    def __init__(self, to: Destination, hosts: Hosts, timeout_s: float) -> None:
        assert to.secret is not None
        self._url, self._secret = to.address, to.secret
        self._hosts = hosts
        self._session = RemoteSession(
            Credentials(ca=Tls().authorities), timeout=timeout_s, patience=Patience(repeats=0), connections=1
        )
        hosts.guard(self._session, to.address)

    def post(self, parcel: Parcel) -> None:
        """Raises RefusedError, whose words name neither the path nor the answer's text."""
        try:
            self._hosts.check(self._url)  # the settings may be others by now
        except InventoryError as error:
            raise RefusedError(error.message, is_about_all=True) from None
        body = as_json(document(parcel))
        timestamp = str(int(time.time()))
        headers = {
            "Content-Type": "application/json",
            "X-Dynamo-Delivery": str(parcel.id),
            "X-Dynamo-Attempt": str(parcel.attempt),
            "X-Dynamo-Timestamp": timestamp,
            "X-Dynamo-Signature": signature(self._secret, timestamp, body),
        }
        try:
            answer = self._session.call("POST", self._url, data=body, headers=headers, stream=True)
            answer.raw.read(READ_BYTES)
            answer.close()
        except (requests.RequestException, OSError) as error:
            raise RefusedError(_why(error), is_about_all=True) from None
        kind = kind_of_status(answer.status_code, "POST")
        if kind is not None:
            raise RefusedError(f"answered {answer.status_code}", is_about_all=kind.retryable)

    def close(self) -> None:
        """End the connection."""
        self._session.close()


def _why(error: BaseException) -> str:
    """Without the URL, which the library's own words have."""
    if any(NOT_PUBLIC in str(cause) for cause in causes(error)):
        return NOT_PUBLIC
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    return f"no answer ({kind_of_failure(error).__name__.removesuffix('Error')})"
