"""Who one is here, and what one may; and what this API can do."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from dynamo_ops.access.actions import Action
from dynamo_web.caller.login import Who, limits, needs
from dynamo_web.lists import json_answer

router = APIRouter()


@router.get("/me", dependencies=[needs(Action.READ)])
def me(person: Who) -> Response:
    """Name, how it is known, roles with their scopes, groups; and of how much copies are had without approval."""
    return json_answer(
        {
            "name": person.name,
            "known_by": person.known_by,
            "token_id": person.token_id,
            "grants": [{"role": grant.role, "scope": str(grant.scope)} for grant in person.grants],
            "groups": sorted(person.groups),
            "free_bytes": limits().free_bytes,
        }
    )


@router.get("/openapi.json", dependencies=[needs(Action.READ)])
def openapi(request: Request) -> Response:
    """This API by OpenAPI 3."""
    return json_answer({**request.app.openapi(), "servers": [{"url": request.scope.get("root_path") or "/"}]})
