"""What the daily message says."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response

from dynamo_ops.access.actions import Action
from dynamo_ops.alerts.digest import MORNING, read_digest
from dynamo_ops.alerts.digest_text import digest_text
from dynamo_ops.base.settings import settings
from dynamo_web.caller.login import needs
from dynamo_web.databases import reading
from dynamo_web.lists import Query as Parameters
from dynamo_web.lists import json_answer

router = APIRouter(dependencies=[needs(Action.READ)])


class DigestQuery(Parameters):
    """``day``: as told on its morning, 06:00 UTC; without it until now. ``text``: in lines, too."""

    day: date | None = None
    text: bool = False


@router.get("/digest")
def show_digest(query: Annotated[DigestQuery, Query()]) -> Response:
    """What happened in 24 hours, and what needs a look."""
    until = datetime.combine(query.day, MORNING) if query.day else datetime.now(UTC)
    digest = read_digest(reading(), settings(), until)
    return json_answer({**digest.document(), **({"text": digest_text(digest)} if query.text else {})})
