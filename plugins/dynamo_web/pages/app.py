"""The app of the pages, below /ui. Errors are pages too; who is not logged in is sent to Airflow's login."""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import urlencode

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from dynamo_ops.access.problem import problem_of
from dynamo_ops.base.errors import DynamoError
from dynamo_web.caller.rates import metered
from dynamo_web.pages import search, today
from dynamo_web.pages.decision import decisions, plans, requested, trials
from dynamo_web.pages.inventory import data, files, groups, locks, sites, usage
from dynamo_web.pages.movement import queued, transfers
from dynamo_web.pages.part.frame import ASSETS, SECURITY, templates
from dynamo_web.pages.part.plot import SCRIPT, script
from dynamo_web.pages.record import audit, errands, gates, runs
from dynamo_web.problem import STATUSES, NotLoggedInError

log = logging.getLogger(__name__)

LOGIN = "/api/v2/auth/login"
PAGES = (
    *(today, search),
    *(files, data, sites, groups, locks, usage),
    *(requested, decisions, trials, plans),
    *(queued, transfers),
    *(gates, audit, errands, runs),
)
"""In this order addresses are tried: ``data/file`` before ``data/7``."""
KEPT = {"Cache-Control": "public, max-age=31536000, immutable"}
"""Of our own files: their addresses change with them."""


class Assets(StaticFiles):
    """Style sheets and scripts, Plotly among them, for everybody: they hold nothing of ours but looks."""

    async def get_response(self, path: str, scope: Any) -> Response:
        """The file; a browser asks for it once."""
        if path == f"plotly/{SCRIPT}":
            answer: Response = FileResponse(script())
        else:
            answer = await super().get_response(path, scope)
        answer.headers.update(KEPT)
        return answer


def make_pages() -> FastAPI:
    """Behind a login, all but ``static``."""
    made = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, dependencies=[Depends(metered)])
    made.mount("/static", Assets(directory=ASSETS), name="static")
    for one in PAGES:
        made.include_router(one.router)
    made.add_exception_handler(DynamoError, _of_ours)
    made.add_exception_handler(RequestValidationError, _of_parameters)
    made.add_exception_handler(HTTPException, _of_http)
    made.add_exception_handler(Exception, _of_others)
    return made


def _of_ours(request: Request, error: Any) -> Response:
    if isinstance(error, NotLoggedInError):
        return RedirectResponse(f"{LOGIN}?{urlencode({'next': str(request.url)})}", 302, headers=SECURITY)
    document = problem_of(error, STATUSES)
    return trouble(request, document["status"], document["detail"], document.get("next_step") or "")


def _of_parameters(request: Request, error: Any) -> Response:
    faults = [f"{'.'.join(str(part) for part in fault['loc'][1:])}: {fault['msg']}" for fault in error.errors()]
    return trouble(request, 422, "; ".join(faults))


def _of_http(request: Request, error: Any) -> Response:
    return trouble(request, error.status_code, str(error.detail))


def _of_others(request: Request, _error: Exception) -> Response:
    return trouble(request, 500, "Something is wrong here. The log of the API server says what.")


def trouble(request: Request, status: int, detail: str, next_step: str = "") -> Response:
    """What could not be shown, and what to do now."""
    text = (
        templates()
        .get_template("trouble.html")
        .render(
            root=request.scope.get("root_path", ""),
            here=str(request.url),
            status=status,
            detail=detail,
            next_step=next_step,
        )
    )
    return Response(text, status, headers=SECURITY, media_type="text/html")
