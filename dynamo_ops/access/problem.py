"""Errors as documents of ``application/problem+json`` (RFC 9457): type, title, status, detail, facts, next_step. What a
call is refused with, and what a run writes down that does what a call has asked for. Never a trace: that is in a log.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from http import HTTPStatus
from typing import Any

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

Statuses = Sequence[tuple[type[DynamoError], int]]

STATUSES: Statuses = (
    (AccessError, 403),
    (UnknownNameError, 404),
    (UsedKeyError, 409),
    (UnderWayError, 409),
    (PausedError, 409),
    (ChangedError, 412),
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


def problem_document(
    status: int, detail: str, *, kind: str = "", facts: Mapping[str, object] | None = None, next_step: str = ""
) -> dict[str, Any]:
    """``kind``: ends the type; without it there is none but the status."""
    return {
        "type": f"urn:dynamo:error:{kind}" if kind else "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "facts": dict(facts or {}),
        "next_step": next_step or NEXT_STEPS.get(status, ""),
    }


def problem_of(error: DynamoError, statuses: Statuses = STATUSES) -> dict[str, Any]:
    """One of our errors. From 500 on its words are of our insides (addresses, files), and are left out."""
    status = next((status for known, status in statuses if isinstance(error, known)), 500)
    if status >= 500:
        return problem_document(
            status, HTTPStatus(status).description or HTTPStatus(status).phrase, kind=kind_of(error)
        )
    next_step = NEXT_STEPS[422] if status == 422 else error.next_step
    return problem_document(status, error.message, kind=kind_of(error), facts=error.facts, next_step=next_step)


def kind_of(error: DynamoError) -> str:
    """``UnknownNameError`` → ``unknown-name``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", type(error).__name__.removesuffix("Error")).lower()


def as_json(document: object) -> bytes:
    """A document of ours as JSON: times in UTC."""
    return json.dumps(document, default=_plain, ensure_ascii=False, separators=(",", ":")).encode()


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat() if value.tzinfo else value.isoformat()
    if isinstance(value, date):
        return value.isoformat()
    return str(value)
