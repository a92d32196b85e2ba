"""Reading JSON from a service over HTTP: verified, timed, retried a little, with errors that say what to do next."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import msgspec
import polars as pl
import requests
from pydantic import TypeAdapter, ValidationError

from dynamo_ops.base.errors import (
    CredentialError,
    DynamoError,
    PermanentRemoteError,
    RemoteError,
    ServiceIllError,
    SettingsError,
    SourceDataError,
)
from dynamo_ops.base.http.redirect import LOGIN, origin
from dynamo_ops.base.http.remote import failure_words, kind_of_failure, kind_of_status, tls_setting
from dynamo_ops.base.http.session import Patience, RemoteSession
from dynamo_ops.base.http.tls import Credentials
from dynamo_ops.base.settings import Tls
from dynamo_ops.sources.reading.address import cause, discreet, masked, shown
from dynamo_ops.sources.reading.bad_records import BadRecords
from dynamo_ops.sources.reading.documents import joined_lists
from dynamo_ops.sources.reading.illness import is_of_its_database, is_page, symptom
from dynamo_ops.sources.reading.records import Fault, Records

T = TypeVar("T")

CONNECT_TIMEOUT_S = 10.0
PATIENCE = Patience(repeats=2, statuses=(429, 500, 502, 503, 504), longest_retry_after_s=15)
SHOWN_CHARACTERS = 200


JSON_LINES = ("ndjson", "jsonl", "jsonlines", "json-lines")
CUT = (requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError)
"""What requests says of an answer that ends before its Content-Length, its last chunk, or inside of what is packed."""


class Answer(NamedTuple):
    """What a service answered, to its end. ``url``: what may be shown of it; ``came_from``: another host that the
    question was sent on to, null: none. ``is_measured``: it says how long it is, so that it is whole; ``is_lines``: it
    says that it is JSON lines."""

    url: str
    status: int
    reason: str
    content: bytes
    came_from: str | None = None
    is_measured: bool = False
    is_lines: bool = False


class HttpJson:
    """GET of JSON documents of one service. Threads may share it, as many as ``connections`` at a time.

    ``timeout_s``: how long the service may stay silent. Proxy and ``.netrc`` settings of the shell play no part.
    """

    def __init__(
        self,
        service: str,
        tls: Tls,
        timeout_s: float = 60.0,
        connections: int = 4,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.service = service
        self._session = RemoteSession(
            _credentials(tls),
            timeout=(min(CONNECT_TIMEOUT_S, timeout_s), timeout_s),
            headers={"Accept": "application/json"},
            own_headers=headers,
            patience=PATIENCE,
            follows=("GET",),
            connections=connections,
        )

    def rows(
        self, url: str, rows: TypeAdapter[list[T]], label: str, params: Mapping[str, Any] | None = None
    ) -> list[T]:
        """The list of records at ``url``. ``label``: the field that names a record in messages.

        Several lists one behind the other are one, where the answer says how long it is.

        Raises RetryableRemoteError (no connection, time-out, 5xx, 429) and of these ServiceIllError (an answer that
        shows a service in a bad hour, ``illness``); CredentialError (401, 403), PermanentRemoteError (other 4xx) and
        SourceDataError (not a list, a record of a wrong shape: the data are wrong).
        """
        response = self._get(url, params)
        try:
            return rows.validate_json(response.content)
        except ValidationError as error:
            several = joined_lists(response.content) if response.is_measured else None
            if several is None:
                raise self._malformed(response, error, label) from None
        try:
            return rows.validate_python(several)
        except ValidationError as error:
            raise self._malformed(response, error, label, several) from None

    def frame(
        self,
        url: str,
        records: Records,
        params: Mapping[str, Any] | None = None,
        bad: BadRecords | None = None,
        dataset: str | None = None,
    ) -> pl.DataFrame:
        """The list of records at ``url`` as columns; errors as of ``rows``. For long lists. JSON lines are read too,
        where the answer says how long it is: else nobody sees whether they were cut. ``bad``, ``dataset``: as of
        ``Records.frame``."""
        response = self._get(url, params)
        fewest_lines = (1 if response.is_lines else 2) if response.is_measured else None
        return records.frame(response.content, self._fault(response), fewest_lines, bad, dataset)

    def document(self, url: str, params: Mapping[str, Any] | None = None) -> tuple[Any, Fault]:
        """The JSON document at ``url`` as Python values, and what makes an error about it; errors as of ``rows``."""
        response = self._get(url, params)
        fault = self._fault(response)
        try:
            return msgspec.json.decode(response.content), fault
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            several = joined_lists(response.content) if response.is_measured else None
            if several is None:
                raise fault(f"is not JSON ({error})") from None
            return several, fault

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def _get(self, url: str, params: Mapping[str, Any] | None) -> Answer:
        """What comes from there. Errors do not keep what is under them: it names the whole address."""
        place = shown(url, params)
        try:
            response = self._session.call("GET", url, params=params)
        except CUT as error:
            raise self._ill(place, f"an answer that was cut ({cause(error)})") from None
        except requests.RequestException as error:
            raise self._no_answer(place, error) from None
        except PermanentRemoteError as error:
            if error.facts.get("redirect_status") not in LOGIN:
                raise
            raise self._ill(place, f"with redirects only, as of a login ({discreet(error.message)})") from None
        came_from = None if _host(url) == _host(response.url) else origin(response.url)
        answer = Answer(
            place,
            response.status_code,
            response.reason,
            response.content,
            came_from,
            is_measured="Content-Length" in response.headers or "Transfer-Encoding" in response.headers,
            is_lines=any(word in response.headers.get("Content-Type", "").lower() for word in JSON_LINES),
        )
        if kind := kind_of_status(answer.status):
            raise self._refused(answer, kind)
        return answer

    def _refused(self, answer: Answer, kind: type[RemoteError]) -> RemoteError:
        """The error for a status that is one. A refusal that is none of the question is of a service that is ill: its
        database failed, or another host speaks for it."""
        status = f"{answer.status} {answer.reason}"
        if kind is PermanentRemoteError and is_of_its_database(answer.content):
            return self._ill(answer.url, f"{status}, an error of its database: {_shown(answer.content)}", answer.status)
        if kind is PermanentRemoteError and answer.came_from and is_page(answer.content):
            words = f"{status}, by {answer.came_from}, where it sends us on to: {_shown(answer.content)}"
            return self._ill(answer.url, words, answer.status)
        hint = f" ({answer.came_from} said so)" if kind is CredentialError and answer.came_from else ""
        return kind(
            f"{self.service}: {answer.url} answered {status}{hint}: {_shown(answer.content)}",
            service=self.service,
            url=answer.url,
            status=answer.status,
        )

    def _ill(self, place: str, what: str, status: int | None = None) -> ServiceIllError:
        """``what``: how it answered, and what."""
        return ServiceIllError(
            f"{self.service}: the service is ill: {place} answered {what}",
            service=self.service,
            url=place,
            status=status,
        )

    def _no_answer(self, place: str, error: Exception) -> RemoteError:
        setting = tls_setting(error)
        hint = f" (setting tls.{setting})" if setting else ""
        return kind_of_failure(error)(
            f"{self.service}: {failure_words(error)}: {place}{hint}: {cause(error)}",
            service=self.service,
            url=place,
            status=None,
        )

    def _fault(self, response: Answer) -> Fault:
        illness_of = cache(symptom)  # it reads all of the answer, and there may be many faults

        def fault(what: str, **facts: object) -> DynamoError:
            if illness := illness_of(response.content):
                by = f", by {response.came_from}, where it sends us on to" if response.came_from else ""
                return self._ill(response.url, f"{illness}{by}: {_shown(response.content)}", response.status)
            if what.startswith("is not"):
                message = f"{self.service}: the answer of {response.url} {what}: {_shown(response.content)}"
            else:
                message = f"{self.service}: {what} (in the answer of {response.url})"
            return SourceDataError(message, **{"source": self.service, "url": response.url, **facts})

        return fault

    def _malformed(
        self, response: Answer, error: ValidationError, label: str, records: list[Any] | None = None
    ) -> DynamoError:
        """``records``: those of several lists, of which the error is."""
        first = error.errors()[0]
        fault = self._fault(response)
        where = _record(response.content, records, first["loc"], label)
        if not where:
            return fault(f"is not a JSON list of records ({first['msg']})")
        field = ".".join(str(part) for part in first["loc"][1:])
        wrong = "is missing" if first["type"] == "missing" else f"is {first['input']!r}: {first['msg']}"
        return fault(f"{where}: {field} {wrong}", field=field, **{label: where})


def _credentials(tls: Tls) -> Credentials:
    return Credentials(_readable(tls.ca, "tls.ca"), _readable(tls.cert, "tls.cert"), _readable(tls.key, "tls.key"))


def _readable(path: Path | None, key: str) -> str | None:
    """``path`` as text. Raises SettingsError when there is no such file: requests would only say so in the middle."""
    if path is None:
        return None
    if not path.exists():
        raise SettingsError(f"{key}: {path}: file not found", file=str(path), key=key, reason="file not found")
    return str(path)


def _host(url: str) -> str | None:
    return urlsplit(url).hostname


def _shown(content: bytes) -> str:
    """The first characters of an answer, on one line, without what may be a secret."""
    text = masked(" ".join(content[: SHOWN_CHARACTERS * 4].decode(errors="replace").split()))
    return repr(text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "…")


def _record(content: bytes, records: list[Any] | None, location: tuple[int | str, ...], label: str) -> str:
    """The name of the record a fault lies in; empty if the fault is in the document itself."""
    if not location or not isinstance(location[0], int):
        return ""
    record = (json.loads(content) if records is None else records)[location[0]]
    return str(record[label]) if isinstance(record, dict) and label in record else f"record {location[0]}"
