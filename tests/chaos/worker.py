"""The process that gets killed: runs one task of file operations and kills itself with -9 at a named point.

The points are made from outside: psycopg2's connection and cursor, ``requests.Session.send``, urllib3's ``getresponse``
and our own PUT are wrapped here. The code under test knows nothing of it.

``python -m tests.chaos.worker`` waits for orders on stdin, one JSON object a line, and forks for each, so that imports
are paid for once. It answers a line with the child's exit status as of ``wait``.
"""

from __future__ import annotations

import io
import json
import os
import re
import signal
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg2.extensions
import requests
from sqlalchemy import Engine, event
from urllib3.connection import HTTPConnection

from dynamo_ops.database import connection as database_module
from dynamo_ops.database.connection import Database
from dynamo_ops.deletion import directories, queue
from dynamo_ops.fts.client import FtsClient
from dynamo_ops.fts.servers import FtsServer, FtsServers
from dynamo_ops.storage.http_put import HttpPut
from dynamo_ops.storage.protocol import StorageOptions
from dynamo_ops.transfer import hold, observe, recovery
from dynamo_ops.transfer.server import moving
from tests.chaos.cycle import Hands
from tests.chaos.limits import AT_ONCE, DELETIONS

_WRITE = re.compile(
    r"(?<!FOR )\b(INSERT INTO|UPDATE|DELETE FROM|CREATE TEMPORARY TABLE|COPY) \(?(?!SELECT)(\w+)", re.IGNORECASE
)
_LASTING = re.compile(
    r"(INSERT INTO|UPDATE|DELETE FROM|COPY) "
    r"(subscriptions|transfers|transfer_batches|deletions|deletion_batches|block_replicas|dataset_replicas)"
)
_PLAIN = re.compile(r"^(ANALYZE|DROP TABLE|CREATE INDEX ON) (.*)$", re.IGNORECASE)
_READ = re.compile(r"\bFROM \(*(?:SELECT .*? FROM )?(\w+)", re.IGNORECASE)
_CONNECTING = re.compile(r"pg_catalog|^show |^SELECT 1$|current_schema", re.IGNORECASE)


class Points:
    """The points passed so far, by name; the process ends at the one called ``kill_at``, or after so many.

    A point that is passed again has its number behind it: ``before UPDATE subscriptions (2)``.
    """

    def __init__(self, kill_at: str | None, kill_after: int | None = None) -> None:
        self.passed: list[str] = []
        self._kill_at = kill_at
        self._kill_after = kill_after
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def reach(self, label: str) -> None:
        with self._lock:
            self._counts[label] += 1
            number = self._counts[label]
            name = label if number == 1 else f"{label} ({number})"
            self.passed.append(name)
            if name == self._kill_at or len(self.passed) == self._kill_after:
                os.kill(os.getpid(), signal.SIGKILL)
                time.sleep(60)  # the signal is on its way


def statement_label(sql: str) -> str | None:
    """``UPDATE subscriptions``, ``SELECT sites``, …; None for what the driver asks when it connects."""
    words = " ".join(sql.split())
    if _CONNECTING.search(words):
        return None
    if plain := _PLAIN.match(words):
        return f"{plain[1].upper()} {plain[2]}"
    if write := _WRITE.search(words):
        return f"{write[1].upper()} {write[2]}"
    read = _READ.search(words)
    return f"SELECT {read[1]}" if read else words[:40]


def request_label(method: str, url: str) -> str:
    """``POST /jobs``, ``GET /jobs/…``, ``DELETE at the storage``."""
    path = "/" + url.split("/", 3)[3].split("?")[0]
    if "/store" in path:
        return f"{method} at the storage"
    path = re.sub(r"/[0-9a-f]{16}\b", "/…", path)
    path = re.sub(r"(/jobs|/archive)/[^/]+", r"\1/…", path)
    return f"{method} {path}"


def watch_database(points: Points, lasting: re.Pattern[str] = _LASTING) -> None:
    """A transaction is called after the last thing it wrote that stays: a label that ``lasting`` matches."""

    class Cursor(psycopg2.extensions.cursor):
        def execute(self, sql: Any, *args: Any) -> Any:
            self._reach(sql.decode() if isinstance(sql, bytes) else str(sql))
            return super().execute(sql, *args)

        def copy_expert(self, sql: Any, *args: Any) -> Any:
            self._reach(str(sql))
            return super().copy_expert(sql, *args)

        def _reach(self, sql: str) -> None:
            label = statement_label(sql)
            if label:
                points.reach(f"before {label}")
                if lasting.fullmatch(label):
                    self.connection.written = label  # type: ignore[attr-defined]

    class Connection(psycopg2.extensions.connection):
        written = "what was read"

        def cursor(self, *args: Any, **kwargs: Any) -> Any:
            return super().cursor(*args, **{"cursor_factory": Cursor, **kwargs})

        def commit(self) -> None:
            points.reach(f"before COMMIT of {self.written}")
            super().commit()
            points.reach(f"after COMMIT of {self.written}")
            self.written = "what was read"

    @event.listens_for(Engine, "do_connect")
    def connect(dialect: Any, record: Any, args: Any, params: dict[str, Any]) -> None:
        if dialect.driver == "psycopg2":
            params["connection_factory"] = Connection


def watch_requests(points: Points) -> None:
    under_way = threading.local()
    send, getresponse = requests.Session.send, HTTPConnection.getresponse

    def watched_send(self: requests.Session, request: requests.PreparedRequest, **arguments: Any) -> requests.Response:
        under_way.label = request_label(str(request.method), str(request.url))
        points.reach(f"before {under_way.label}")
        response = send(self, request, **arguments)
        points.reach(f"after {under_way.label}, answer not used")
        return response

    def watched_getresponse(self: HTTPConnection) -> Any:
        points.reach(f"{under_way.label} sent, no answer yet")
        return getresponse(self)

    requests.Session.send = watched_send  # type: ignore[method-assign]
    HTTPConnection.getresponse = watched_getresponse  # type: ignore[method-assign]


def watch_uploads(points: Points) -> None:
    """Half a file can only be left behind by the uploads that Dynamo makes itself."""
    begin, send, answer = HttpPut.begin, HttpPut.send, HttpPut.answer

    def watched_begin(self: HttpPut, url: str, size_bytes: int) -> Any:
        points.reach("before PUT at the storage")
        begun = begin(self, url, size_bytes)
        points.reach("PUT at the storage begun, nothing sent")
        return begun

    def watched_send(self: HttpPut, piece: bytes) -> None:
        send(self, piece[: len(piece) // 2])
        points.reach("PUT at the storage half sent")
        send(self, piece[len(piece) // 2 :])

    def watched_answer(self: HttpPut) -> Any:
        points.reach("PUT at the storage sent, no answer yet")
        answered = answer(self)
        points.reach("after PUT at the storage, answer not used")
        return answered

    HttpPut.begin = watched_begin  # type: ignore[method-assign]
    HttpPut.send = watched_send  # type: ignore[method-assign]
    HttpPut.answer = watched_answer  # type: ignore[method-assign]


def watch_copies(points: Points) -> None:
    """A COPY can be killed half way, when the server has got the first half of its rows."""

    class HalfSent(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell():
                points.reach("COPY half sent")
            elif size and size > 0:
                size = min(size, max(1, len(self.getbuffer()) // 2))
            return super().read(size)

    class Io:
        BytesIO = HalfSent

    database_module.io = Io  # type: ignore[attr-defined]


def hands_of(order: dict[str, Any]) -> Hands:
    ends = order["endpoints"]
    return Hands(
        Database(order["database"]),
        FtsClient(ends["fts"], ca=ends["ca"], cert=ends["user_cert"], key=ends["user_key"]),
        StorageOptions(ca=ends["ca"], cert=ends["user_cert"], key=ends["user_key"], threads=2),
    )


def run_task(name: str, hands: Hands, ids: list[int]) -> Any:
    """One task by its name, as the DAGs run it; ``cycles``: all of them, until nothing moves any more."""
    db, client = hands.db, hands.client
    tasks: dict[str, Callable[[], Any]] = {
        "recover": lambda: recovery.recover(db, client),
        "hold_and_release": lambda: hold.hold_and_release(db),
        "plan_batches": hands.plan_batches,
        "submit_batch": lambda: hands.submit(ids),
        "execute_direct": lambda: hands.execute_direct(ids),
        "observe_and_apply": lambda: observe.observe_and_apply(db, client),
        "cancel_stuck": lambda: recovery.cancel_stuck(db, client, AT_ONCE, AT_ONCE),
        "move_away": lambda: moving.move_away(db, with_another(client), AT_ONCE),
        "recover_deletions": lambda: queue.recover_deletions(db),
        "plan_deletions": lambda: queue.plan_deletions(db, DELETIONS),
        "execute_batch": lambda: hands.execute(ids),
        "clean_directories": lambda: directories.clean_directories(db, ids, hands.storage),
        "cycles": lambda: hands.run_to_the_end(lambda _: None),
    }
    return tasks[name]()


def with_another(client: FtsClient) -> FtsServers:
    """This server, that answers, and another one that takes all its links and is well."""
    servers = FtsServers((FtsServer(client.url), FtsServer("https://another.invalid:8446")), lambda _: client)
    servers.answered.add(client.url)
    return servers


def carry_out(order: dict[str, Any]) -> None:
    observe.JOBS_PER_POLL = 1  # so that there is a moment between two answers of FTS
    hands = hands_of(order)
    points = Points(order["kill_at"], order["kill_after"])
    watch_database(points)
    watch_requests(points)
    watch_uploads(points)
    run_task(order["task"], hands, order["ids"])
    Path(order["report"]).write_text(json.dumps(points.passed))


def main(carry_out: Callable[[dict[str, Any]], None] = carry_out) -> None:
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            try:
                carry_out(order)
            except BaseException:
                Path(order["report"]).write_text(traceback.format_exc())
                os._exit(1)
            os._exit(0)
        print(os.waitpid(child, 0)[1], flush=True)


if __name__ == "__main__":
    main()
