"""The process that gets killed while it answers a call: the app as Airflow mounts it. See ``tests.chaos.worker``."""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.chaos.worker import Points, main, watch_database

_LASTING = re.compile(r"(INSERT INTO|UPDATE|DELETE FROM) (idempotency|locks|audit|tokens)")


def carry_out(order: dict[str, Any]) -> None:
    from dynamo_web.app import app
    from dynamo_web.mount import PREFIX

    points = Points(order["kill_at"], order["kill_after"])
    watch_database(points, _LASTING)
    server = FastAPI()
    server.mount(PREFIX, app)
    client = TestClient(server, base_url="http://localhost/dynamo/v1", raise_server_exceptions=False)
    call = order["endpoints"]
    answer = client.post(call["path"], json=call["body"], headers=call["headers"])
    points.reach("answer not sent")
    Path(order["report"]).write_text(json.dumps([*points.passed, answer.text]))


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # Airflow logs to standard output
    importlib.import_module("dynamo_web.app")  # once, before the forks
    sys.stdout = answers
    main(carry_out)
