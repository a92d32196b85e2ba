"""The app at a port of this machine, for who calls it as programs do; and a network that loses answers."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from tests.patience import wait_until


class Lossy:
    """ASGI. ``lose``: so many answers to writes get lost from now on, each after all was done: cut off in the middle,
    or, with ``status``, replaced by that of a proxy that has lost patience. ``keys``: of the writes that came."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self.lose = 0
        self.status: int | None = None
        self.keys: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["method"] == "GET":
            await self._app(scope, receive, send)
            return
        self.keys.append(dict(scope["headers"])[b"idempotency-key"].decode())
        if not self.lose:
            await self._app(scope, receive, send)
            return
        self.lose -= 1

        async def drop(_message: Any) -> None:
            """It was on its way."""

        await self._app(scope, receive, drop)
        headers = [(b"content-type", b"application/json"), (b"content-length", b"100")]
        await send({"type": "http.response.start", "status": self.status or 201, "headers": headers})
        await send({"type": "http.response.body", "body": b" " * (100 if self.status else 1), "more_body": True})


@contextmanager
def listening(app: Any) -> Iterator[str]:
    """The address of a server of ``app``, in this process."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off", access_log=False))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [door]})
        thread.start()
        wait_until(lambda: server.started)
        try:
            yield f"http://127.0.0.1:{door.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
