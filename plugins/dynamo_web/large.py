"""Documents that are too large for a request: taken in as they come, compressed, and left to a run."""

from __future__ import annotations

from typing import Any

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response
from fastapi.routing import APIRoute
from starlette.routing import Match

from dynamo_ops.errand.document import ask_document, check_asker
from dynamo_ops.errand.states import ErrandKind
from dynamo_web.body import LARGE, GoneError, sent
from dynamo_web.databases import writing
from dynamo_web.lists import PLACES
from dynamo_web.problem import problem
from dynamo_web.writes import Writer


class LargeRoute(APIRoute):
    """The route of an address for bodies that ``Guard`` has left unread; the other one of the address is for others. It
    has no body of FastAPI's, which would be read, whole, before anybody is asked who they are."""

    def matches(self, scope: Any) -> tuple[Match, Any]:
        """Only these."""
        return super().matches(scope) if LARGE in scope else (Match.NONE, {})


async def take_in(request: Request, write: Writer, kind: ErrandKind) -> Response:
    """202: it is an errand. Somebody sends one at a time; who may do this to nothing at all is refused before."""
    await run_in_threadpool(check_asker, writing(), kind, by=write.by)
    PLACES.take(write.by.name)
    try:
        async with sent(request) as body:

            def ask(database: Any) -> int:
                return ask_document(
                    database,
                    kind,
                    size_bytes=body.size_bytes,
                    pieces=body.pieces(),
                    dry_run=write.is_trial,
                    by=write.by,
                )

            return await run_in_threadpool(write.send_off, ask, body=body)
    except GoneError:
        return problem(400, "the body broke off, or was larger than it said", kind="body")
    finally:
        PLACES.give_back(write.by.name)
