"""Errors as answers: ``application/problem+json`` (``dynamo_ops.access.problem``), with the headers they need."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException

from dynamo_ops.access import problem as problems
from dynamo_ops.access.problem import Statuses, as_json, kind_of, problem_document, problem_of
from dynamo_ops.base.errors import DynamoError

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


STATUSES: Statuses = ((NotLoggedInError, 401), (BusyError, 429), (UnseenError, 428), *problems.STATUSES)
"""Those of requests, and those of acts."""
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
    return _answer(problem_document(status, detail, kind=kind, facts=facts, next_step=next_step), headers or {})


def _answer(document: Mapping[str, Any], headers: Mapping[str, str]) -> Response:
    status = document["status"]
    all_headers = {**SECURITY_HEADERS, **HEADERS.get(status, {}), **headers}
    return Response(as_json(document), status, headers=all_headers, media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """All errors of ``app`` are answered as problems."""
    app.add_exception_handler(DynamoError, _of_ours)
    app.add_exception_handler(RequestValidationError, _of_parameters)
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(PoolTimeoutError, _of_pool)
    app.add_exception_handler(Exception, _of_others)


def _of_ours(_request: Request, error: Any) -> Response:
    document = problem_of(error, STATUSES)
    if document["status"] >= 500:
        log.warning("%s: %s", kind_of(error), error)
    retry_after = {"Retry-After": str(error.facts["retry_after_s"])} if "retry_after_s" in error.facts else {}
    return _answer(document, retry_after)


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
