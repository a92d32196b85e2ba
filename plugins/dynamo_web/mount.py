"""What Airflow mounts. Every process of Airflow reads its plugins, and only the API server needs the app: it is made at
the first request."""

from __future__ import annotations

from typing import Any

PREFIX = "/dynamo"


async def mounted(scope: Any, receive: Any, send: Any) -> None:
    """The app, by ASGI."""
    from dynamo_web.app import app

    await app(scope, receive, send)
