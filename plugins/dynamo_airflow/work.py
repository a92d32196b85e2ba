"""Taking in what came of copies: by `transfers` after each wait, and by the look every ten minutes."""

from __future__ import annotations

from dynamo_airflow.defaults import database
from dynamo_ops.base.settings import settings


def take_in() -> dict[str, object]:
    """What has ended, into the inventory and into the requests; people are told of what is ill as a whole."""
    from dataclasses import asdict

    from dynamo_airflow.alerts import tell_illness
    from dynamo_ops.request.advance import advance
    from dynamo_ops.transfer.tasks import apply_transfers

    applied = apply_transfers(database(), settings())
    tell_illness()
    return {**applied, "requests": asdict(advance(database()))}
