"""The process that gets killed while it sends events. See ``tests.chaos.worker``."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from dynamo_ops.base.settings import Settings
from dynamo_ops.database.connection import Database
from dynamo_ops.event.deliver import deliver
from dynamo_ops.event.mail import Mail
from tests.chaos.worker import Points, main, watch_database, watch_requests

_LASTING = re.compile(r"(INSERT INTO|UPDATE|DELETE FROM) (events|event_subscriptions|event_deliveries)")


def send(order: dict[str, Any]) -> None:
    points = Points(order["kill_at"], order["kill_after"])
    watch_database(points, _LASTING)
    watch_requests(points)
    ends = order["endpoints"]
    settings = Settings(home=Path(ends["home"]), events=ends["events"])

    def mail(message: Mail) -> None:
        points.reach("before the mail")
        with Path(ends["mails"]).open("a") as box:
            box.write(json.dumps(message.text) + "\n")
        points.reach("after the mail, not noted")

    counts = deliver(Database(order["database"]), settings, mail)
    points.reach("the run has not ended")
    Path(order["report"]).write_text(json.dumps([*points.passed, json.dumps(counts)]))


if __name__ == "__main__":
    main(send)
