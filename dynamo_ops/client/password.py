"""A token for who has a name and a password of Airflow's auth manager: Airflow says who they are, Dynamo makes it."""

from __future__ import annotations

import json
import socket

from dynamo_ops.client.address import MOUNT, VERSION, base_address
from dynamo_ops.client.answers import JSON, document_of
from dynamo_ops.client.caller import TIMEOUT_S, Caller
from dynamo_ops.client.errors import NotLoggedInError, UnexpectedAnswerError
from dynamo_ops.client.exchange import Exchange
from dynamo_ops.client.repeats import Repeats

DAYS = 30


def token_by_password(
    server: str,
    name: str,
    password: str,
    *,
    days: float = DAYS,
    ca: str | None = None,
    allow_plain_http: bool = False,
) -> str:
    """The secret of a new token of theirs, for ``days``. Raises NotLoggedInError where it is not their password, and
    ClientError."""
    base = base_address(server, allow_plain_http=allow_plain_http)
    airflow = Exchange(
        base.removesuffix(MOUNT + VERSION),
        None,
        timeout_s=TIMEOUT_S,
        ca=ca,
        allow_plain_http=allow_plain_http,
        repeats=Repeats(tries=1),
    )
    asked = json.dumps({"username": name, "password": password}).encode()
    headers = {"Accept": JSON, "Content-Type": JSON}
    try:
        answer = document_of(airflow.call("POST", "/auth/token", params={}, headers=headers, body=asked))
        login = str(answer["access_token"])
    except UnexpectedAnswerError as error:
        if error.facts.get("status") not in (400, 401, 403):
            raise
        detail = f"{name} is not let in: it is not their password, or Airflow does not know them"
        raise NotLoggedInError({"status": 401, "detail": detail}) from None
    finally:
        airflow.close()
    with Caller(base, login, ca=ca, allow_plain_http=allow_plain_http) as caller:
        made = caller.post("/me/tokens", {"name": f"dynamo login on {socket.gethostname()}"[:100], "days": days})
        return str(made["secret"])
