"""Reading JSON from a service over HTTP: verified, timed, retried a little, with errors that say what to do next."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec
import polars as pl
import requests
from pydantic import TypeAdapter, ValidationError

from dynamo_ops.base.errors import RemoteError, SettingsError, SourceDataError
from dynamo_ops.base.http.remote import failure_words, kind_of_failure, kind_of_status, tls_setting
from dynamo_ops.base.http.session import Patience, RemoteSession
from dynamo_ops.base.http.tls import Credentials
from dynamo_ops.base.settings import Tls
from dynamo_ops.sources.reading.address import cause, shown
from dynamo_ops.sources.reading.records import Fault, Records

T = TypeVar("T")

CONNECT_TIMEOUT_S = 10.0
PATIENCE = Patience(repeats=2, statuses=(429, 500, 502, 503, 504), longest_retry_after_s=15)
SHOWN_CHARACTERS = 200


class Answer(NamedTuple):
    """What a service answered, to its end. ``url``: what may be shown of it."""

    url: str
    status: int
    reason: str
    content: bytes


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

        Raises RetryableRemoteError (no connection, time-out, 5xx, 429), CredentialError (401, 403),
        PermanentRemoteError (other 4xx) and SourceDataError (not JSON, not a list, a record of a wrong shape).
        """
        response = self._get(url, params)
        try:
            return rows.validate_json(response.content)
        except ValidationError as error:
            raise self._malformed(response, error, label) from error

    def frame(self, url: str, records: Records, params: Mapping[str, Any] | None = None) -> pl.DataFrame:
        """The list of records at ``url`` as columns; errors as of ``rows``. For long lists."""
        response = self._get(url, params)
        return records.frame(response.content, self._fault(response))

    def document(self, url: str, params: Mapping[str, Any] | None = None) -> tuple[Any, Fault]:
        """The JSON document at ``url`` as Python values, and what makes an error about it; errors as of ``rows``."""
        response = self._get(url, params)
        fault = self._fault(response)
        try:
            return msgspec.json.decode(response.content), fault
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise fault(f"is not JSON ({error})") from error

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def _get(self, url: str, params: Mapping[str, Any] | None) -> Answer:
        """What comes from there. Errors do not keep what is under them: it names the whole address."""
        place = shown(url, params)
        try:
            response = self._session.call("GET", url, params=params)
        except requests.RequestException as error:
            raise self._no_answer(place, error) from None
        answer = Answer(place, response.status_code, response.reason, response.content)
        if kind := kind_of_status(answer.status):
            raise kind(
                f"{self.service}: {place} answered {answer.status} {answer.reason}: {_shown(answer.content)}",
                service=self.service,
                url=place,
                status=answer.status,
            )
        return answer

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
        def fault(what: str, **facts: object) -> SourceDataError:
            if what.startswith("is not"):
                message = f"{self.service}: the answer of {response.url} {what}: {_shown(response.content)}"
            else:
                message = f"{self.service}: {what} (in the answer of {response.url})"
            return SourceDataError(message, **{"source": self.service, "url": response.url, **facts})

        return fault

    def _malformed(self, response: Answer, error: ValidationError, label: str) -> SourceDataError:
        fault = error.errors()[0]
        where = _record(response.content, fault["loc"], label)
        if not where:
            return SourceDataError(
                f"{self.service}: the answer of {response.url} is not a JSON list of records ({fault['msg']}):"
                f" {_shown(response.content)}",
                source=self.service,
                url=response.url,
            )
        field = ".".join(str(part) for part in fault["loc"][1:])
        found = "is missing" if fault["type"] == "missing" else f"is {fault['input']!r}: {fault['msg']}"
        return SourceDataError(
            f"{self.service}: {where}: {field} {found} (in the answer of {response.url})",
            source=self.service,
            url=response.url,
            field=field,
            **{label: where},
        )


def _credentials(tls: Tls) -> Credentials:
    return Credentials(_readable(tls.ca, "tls.ca"), _readable(tls.cert, "tls.cert"), _readable(tls.key, "tls.key"))


def _readable(path: Path | None, key: str) -> str | None:
    """``path`` as text. Raises SettingsError when there is no such file: requests would only say so in the middle."""
    if path is None:
        return None
    if not path.exists():
        raise SettingsError(f"{key}: {path}: file not found", file=str(path), key=key, reason="file not found")
    return str(path)


def _shown(content: bytes) -> str:
    """The first characters of an answer, on one line."""
    text = " ".join(content[: SHOWN_CHARACTERS * 4].decode(errors="replace").split())
    return repr(text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "…")


def _record(content: bytes, location: tuple[int | str, ...], label: str) -> str:
    """The name of the record a fault lies in; empty if the fault is in the document itself."""
    if not location or not isinstance(location[0], int):
        return ""
    record = json.loads(content)[location[0]]
    return str(record[label]) if isinstance(record, dict) and label in record else f"record {location[0]}"
