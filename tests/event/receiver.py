"""Somebody's webhook, over real sockets; and events to send."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dynamo_ops.base.settings import Settings
from dynamo_ops.database.connection import Database
from dynamo_ops.event.kinds import EventKind
from dynamo_ops.event.writer import tell
from simgrid.http import Request, Response, Server, Service
from tests import ROOT

Got = dict[str, Any]
VERIFIER = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "events.md").read_text(), re.S)


class Receiver(Service):
    """``answer``: of what it got, the status; None: it says nothing for a while. Keeps what it got, as it came."""

    def __init__(self, answer: Callable[[Got], int | None] = lambda _: 204) -> None:
        self.got: list[Got] = []
        self.raw: list[tuple[dict[str, str], bytes]] = []
        self.answer = answer
        self._lock = threading.Lock()

    def handle(self, request: Request) -> Response:
        body = request.body()
        document = json.loads(body)
        with self._lock:
            self.got.append(document)
            self.raw.append((dict(request.headers.items()), body))
        status = self.answer(document)
        if status is None:
            time.sleep(3)
            status = 204
        return Response(status, b"", headers={"Location": "http://127.0.0.1:1/elsewhere"})

    @property
    def orders(self) -> dict[str, list[int]]:
        """Of each object the events in the order in which they came, doubles left out."""
        orders: dict[str, list[int]] = {}
        for document in self.got:
            event = document["event"]
            known = orders.setdefault(f"{event['object']['kind']} {event['object']['name']}", [])
            if event["id"] not in known:
                known.append(event["id"])
        return orders


@contextmanager
def receiving(receiver: Receiver) -> Iterator[str]:
    """Its URL."""
    server = Server(receiver, "127.0.0.1", 0, None)
    server.start()
    yield f"http://127.0.0.1:{server.port}/hooks/a-secret-path"
    server.close()


def settings_for(folder: Path, *urls: str, **events: Any) -> Settings:
    hosts = [url.split("/")[2] for url in urls]
    quick = {"backoff_s": 0.001, "max_backoff_s": 0.001, "timeout_s": 1, **events}
    return Settings(home=folder, events={"hosts": hosts, **quick})


def happen(db: Database, kind: EventKind, *names: str, person: str = "ada", site: str = "T2_A") -> None:
    """An event of the kind of each of the objects."""
    with db.begin() as connection:
        tell(
            connection,
            kind,
            """SELECT name AS object_name, CAST(:person AS text) AS person, ARRAY['ops'] AS groups,
                      ARRAY[CAST(:site AS text)] AS sites, ARRAY['/A/B-v1/AOD'] AS datasets,
                      jsonb_build_object('size_bytes', 17, 'reason', NULL) AS facts
               FROM unnest(CAST(:names AS text[])) AS name""",
            {"names": list(names), "person": person, "site": site},
        )
