"""Errors as ``application/problem+json`` (RFC 9457): type, title, status, detail, facts, next_step. Never a trace: that
is in the log of the API server."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException

from dynamo_ops.access.actions import AccessError
from dynamo_ops.access.once import UnderWayError, UsedKeyError
from dynamo_ops.base.errors import (
    ChangedError,
    DynamoError,
    GateError,
    InventoryError,
    PausedError,
    PlanError,
    PolicyError,
    RemoteError,
    RetryableRemoteError,
    UnknownNameError,
    UnknownPlanError,
)

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 10
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}
"""Of every answer."""


class NotLoggedInError(DynamoError):
    """Nobody whom we know asks."""

    next_step = "Send 'Authorization: Bearer …' with a token of Dynamo or of Airflow, or log in to Airflow."


class BusyError(DynamoError):
    """They have as much under way as they may, or ask too often. Facts: ``retry_after_s``, where it is known."""

    next_step = "Wait until what you have under way is over, or for as long as Retry-After says, and ask again."


class UnseenError(DynamoError):
    """They do not say what they have seen of what they decide about."""

    next_step = "Look at it, and send its etag: 'If-Match: …'."


STATUSES: tuple[tuple[type[DynamoError], int], ...] = (
    (NotLoggedInError, 401),
    (AccessError, 403),
    (UnknownNameError, 404),
    (BusyError, 429),
    (UsedKeyError, 409),
    (UnderWayError, 409),
    (PausedError, 409),
    (ChangedError, 412),
    (UnseenError, 428),
    (InventoryError, 422),
    (PolicyError, 422),
    (UnknownPlanError, 404),
    (PlanError, 409),
    (GateError, 409),
    (RetryableRemoteError, 503),
    (RemoteError, 502),
)
"""The first that fits; of all others 500."""
NEXT_STEPS = {
    400: "Call it by a name of `access.hosts` in dynamo.yaml, or have this one added there.",
    404: "/dynamo/v1/openapi.json lists what there is.",
    403: "Ask somebody who may.",
    405: "The header Allow says what can be done there; /dynamo/v1/openapi.json lists all.",
    413: "Send less at a time.",
    415: "Send JSON, with 'Content-Type: application/json'.",
    422: "Mend what is named, and ask again.",
    500: "This is a fault of Dynamo or of its settings: the log of Airflow's API server says more.",
    502: "Another service refused: the log of Airflow's API server says more.",
    503: "Ask again in a moment.",
}
HEADERS = {
    401: {"WWW-Authenticate": 'Bearer realm="dynamo"'},
    429: {"Retry-After": str(RETRY_AFTER_S)},
    503: {"Retry-After": str(RETRY_AFTER_S)},
}


def problem(
    status: int,
    detail: str,
    *,
    kind: str = "",
    facts: Mapping[str, object] | None = None,
    next_step: str = "",
    headers: Mapping[str, str] | None = None,
) -> Response:
    """An error as an answer, with all headers that it must have."""
    document = {
        "type": f"urn:dynamo:error:{kind}" if kind else "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "facts": dict(facts or {}),
        "next_step": next_step or NEXT_STEPS.get(status, ""),
    }
    all_headers = {**SECURITY_HEADERS, **HEADERS.get(status, {}), **(headers or {})}
    return Response(as_json(document), status, headers=all_headers, media_type=MEDIA_TYPE)


def as_json(document: object) -> bytes:
    """A document of ours as JSON: times in UTC."""
    return json.dumps(document, default=_plain, ensure_ascii=False, separators=(",", ":")).encode()


def install(app: FastAPI) -> None:
    """All errors of ``app`` are answered as problems."""
    app.add_exception_handler(DynamoError, _of_ours)
    app.add_exception_handler(RequestValidationError, _of_parameters)
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(PoolTimeoutError, _of_pool)
    app.add_exception_handler(Exception, _of_others)


def _of_ours(_request: Request, error: Any) -> Response:
    status = next((status for kind, status in STATUSES if isinstance(error, kind)), 500)
    name = _kind(error)
    if status >= 500:  # its words are of our insides: addresses, files
        log.warning("%s: %s", name, error)
        return problem(status, HTTPStatus(status).description or HTTPStatus(status).phrase, kind=name)
    next_step = NEXT_STEPS[422] if status == 422 else error.next_step
    retry_after = {"Retry-After": str(error.facts["retry_after_s"])} if "retry_after_s" in error.facts else {}
    return problem(status, error.message, kind=name, facts=error.facts, next_step=next_step, headers=retry_after)


def _of_parameters(_request: Request, error: Any) -> Response:
    faults = [
        {"parameter": ".".join(str(part) for part in fault["loc"][1:]), "reason": fault["msg"]}
        for fault in error.errors()
    ]
    detail = "; ".join(f"{fault['parameter']}: {fault['reason']}" for fault in faults)
    return problem(422, detail, kind="parameter", facts={"faults": faults})


def _of_http(_request: Request, error: Any) -> Response:
    if error.status_code == 400 and isinstance(error.__cause__, RecursionError | ValueError):
        detail = "the body is no JSON that can be read: it is nested too deeply, not UTF-8, or a number is too long"
        return problem(422, detail, kind="parameter")
    return problem(error.status_code, str(error.detail), headers=error.headers)


def _of_pool(_request: Request, _error: Exception) -> Response:
    log.warning("all connections to the database are in use")
    return problem(503, "all connections to the database are in use", kind="busy")


def _of_others(_request: Request, _error: Exception) -> Response:
    return problem(500, HTTPStatus(500).description)  # Starlette logs the trace


def _kind(error: DynamoError) -> str:
    """``UnknownNameError`` → ``unknown-name``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", type(error).__name__.removesuffix("Error")).lower()


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat() if value.tzinfo else value.isoformat()
    if isinstance(value, date):
        return value.isoformat()
    return str(value)
