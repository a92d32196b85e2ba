"""The app: routers below /v1, all but ``health`` and ``metrics`` behind a login and an action that its route names."""

from __future__ import annotations

from fastapi import Depends, FastAPI, Request
from fastapi.responses import Response

from dynamo_ops import __version__
from dynamo_web import metrics, problem
from dynamo_web.api.decision import asking, history, plans, policies, requested, trials, verdicts
from dynamo_web.api.inventory import (
    bad_replicas,
    datasets,
    documents,
    groups,
    locks,
    names,
    quotas,
    replicas,
    site_states,
    sites,
)
from dynamo_web.api.movement import operate, series, transfers
from dynamo_web.api.people import access, me, pauses, subscriptions
from dynamo_web.api.record import audit, checks, digest, errands, events
from dynamo_web.caller.rates import metered
from dynamo_web.guard import Guard
from dynamo_web.lists import json_answer
from dynamo_web.pages.app import make_pages

VERSION, PAGES = "/v1", "/ui"
READ = (
    me,
    datasets,
    replicas,
    sites,
    groups,
    names,
    requested,
    plans,
    history,
    policies,
    transfers,
    series,
    checks,
    audit,
    digest,
    errands,
    events,
    metrics,
)
"""Resources that are only read."""
HEALTH, METRICS = f"{VERSION}/health", f"{VERSION}/metrics"
OPEN = (HEALTH, METRICS)
"""To who is not logged in."""
WRITTEN = (
    locks,
    bad_replicas,
    asking,
    quotas,
    site_states,
    pauses,
    access,
    operate,
    documents,
    verdicts,
    trials,
    subscriptions,
)
"""Those that can be changed too."""


async def health(_request: Request) -> Response:
    """That the app is here and answers; nothing of what it knows."""
    return json_answer({"status": "ok"})


def make_app() -> FastAPI:
    """FastAPI's own pages are off: they would be open to everybody."""
    made = FastAPI(
        title="Dynamo",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        dependencies=[Depends(metered)],
        redirect_slashes=False,
    )
    problem.install(made)
    made.add_middleware(Guard)
    made.add_route(HEALTH, health, methods=["GET"])
    made.add_route(METRICS, metrics.metrics, methods=["GET"])
    for resource in (*READ, *WRITTEN):
        made.include_router(resource.router, prefix=VERSION)
    made.mount(PAGES, make_pages())
    return made


app = make_app()
