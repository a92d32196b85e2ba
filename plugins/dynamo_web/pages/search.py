"""The box at the top: what somebody types leads to the page of it."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse, Response

from dynamo_ops.access.actions import Action
from dynamo_ops.base.errors import UnknownNameError
from dynamo_ops.base.glob import is_glob
from dynamo_ops.query.contents import files_by_name
from dynamo_ops.query.dataset import find_dataset
from dynamo_ops.query.names import group_names, site_names
from dynamo_web.caller.login import Who, needs
from dynamo_web.databases import reading
from dynamo_web.pages.part.frame import page
from dynamo_web.pages.part.links import address, segment

router = APIRouter(dependencies=[needs(Action.READ)])

DATASET = re.compile(r"/[^/]+/[^/]+/[^/]+")
NUMBERED = re.compile(r"(plan|request|subscription|lock|errand)\s+(\d+)", re.IGNORECASE)
PLACES = {"plan": "plans", "request": "requests", "subscription": "transfers/why", "lock": "locks", "errand": "errands"}
"""Where what has a number is shown."""


@router.get("/search")
def search(request: Request, person: Who, q: Annotated[str, Query(max_length=2_000)] = "") -> Response:
    """Where it leads: a dataset (or a glob of some), a file, a site, a group; or what was typed, with what to type."""
    root, words = request.scope.get("root_path", ""), q.strip()
    target = _target(words)
    if target is not None:
        return RedirectResponse(f"{root}/{target}", 302)
    return page(request, person, "", "search.html", words=words)


def _is_dataset(name: str) -> bool:
    """Whether one is called so, whatever is in its name."""
    try:
        with reading().begin() as connection:
            find_dataset(connection, name)
    except UnknownNameError:
        return False
    return True


def _target(words: str) -> str | None:
    if numbered := NUMBERED.fullmatch(words):
        return f"{PLACES[numbered[1].lower()]}/{numbered[2]}"
    if DATASET.fullmatch(words) and (not is_glob(words) or _is_dataset(words)):
        return address("data/named", {"name": words})
    if words.startswith("/") and not is_glob(words) and files_by_name(reading(), [words]):
        return address("data/file", {"lfn": words})
    if words.startswith("/"):
        return address("data", {"name": words})
    if words in site_names(reading()):
        return f"sites/{segment(words)}"
    if words in group_names(reading()):
        return f"groups/{segment(words)}"
    return None
