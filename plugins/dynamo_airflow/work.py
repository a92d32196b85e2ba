"""What is there to copy and to delete: asked by the look every ten minutes; and taking in what came of copies."""

from __future__ import annotations

import logging

from dynamo_airflow.defaults import database
from dynamo_ops.base.settings import settings

log = logging.getLogger(__name__)


def take_in() -> dict[str, object]:
    """What has ended, into the inventory and into the requests."""
    from dataclasses import asdict

    from dynamo_ops.request.advance import advance
    from dynamo_ops.transfer.tasks import apply_transfers

    applied = apply_transfers(database(), settings())
    return {**applied, "requests": asdict(advance(database()))}


def nothing_to_do(why: str) -> dict[str, object]:
    """The answer of a task that had nothing to do: it is green, and its log says why."""
    log.info("nothing to do: %s", why)
    return {}
