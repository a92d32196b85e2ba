"""The run that sends events, killed with -9 anywhere and run again: none is lost, none comes before the one before it,
and what comes twice says so."""

from __future__ import annotations

import itertools
import json
import re
import signal
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dynamo_ops.access.person import Grant, KnownBy, Person, Role
from dynamo_ops.base.settings import Settings
from dynamo_ops.database.connection import Database
from dynamo_ops.database.embedded import EmbeddedPostgres
from dynamo_ops.event.deliver import deliver
from dynamo_ops.event.kinds import EventKind
from dynamo_ops.event.mail import Mail
from dynamo_ops.event.subscription import subscribe
from tests.chaos.conftest import TABLES, Worker
from tests.event.receiver import Receiver, happen, receiving, settings_for
from tests.patience import wait_until
from tests.request.stock import Stock

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]
ADA = Person("ada", KnownBy.TOKEN, (Grant(Role.USER),))
OBJECTS = ("1", "2", "3")
NUM_EVENTS = 3 * len(OBJECTS)
_numbers = itertools.count()
_IN_MAIL = re.compile(r"^\S+ \S+: (request \S+) \(delivery (\d+)(?:, attempt (\d+))?", re.M)


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    made = Worker(tmp_path_factory.mktemp("runner"), "tests.chaos.event_worker")
    yield made
    made.close()


def waiting(db: Database) -> int:
    return int(db.frame("SELECT count(*) FROM event_deliveries WHERE state <> 'delivered'").item()) + int(
        db.frame("SELECT count(*) FROM event_subscriptions WHERE seen_event_id < (SELECT max(id) FROM events)").item()
    )


def mailed(box: Path) -> list[tuple[str, int, int]]:
    """(object, delivery, attempt), as they came."""
    texts = [json.loads(line) for line in box.read_text().splitlines()] if box.exists() else []
    found = [match for text in texts for match in _IN_MAIL.findall(text)]
    return [(about, int(delivery), int(attempt or 1)) for about, delivery, attempt in found]


def wrong_with(came: list[tuple[str, int, int]]) -> list[str]:
    """(object, delivery, attempt) as they came: what of the promises does not hold."""
    problems = []
    first: dict[str, list[int]] = {}
    attempts: dict[int, int] = {}
    for about, delivery, attempt in came:
        if delivery in attempts:
            if attempt <= attempts[delivery]:
                problems.append(f"delivery {delivery} came twice as attempt {attempt}")
        else:
            first.setdefault(about, []).append(delivery)
        attempts[delivery] = attempt
    if len(attempts) != NUM_EVENTS:
        problems.append(f"{len(attempts)} of {NUM_EVENTS} came")
    problems += [f"{about}: {order}" for about, order in first.items() if order != sorted(order)]
    return problems


def test_killed_anywhere_and_run_again_none_is_lost_and_none_comes_too_early(
    database: Database, runner: Worker, postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    Stock(database)
    receiver, box = Receiver(), tmp_path / "mails"
    name = database.url.split("?")[0].rsplit("/", 1)[-1]
    with receiving(receiver) as url:
        settings = settings_for(tmp_path, url)
        subscribe(database, settings, ["*"], by=ADA, webhook=url)
        subscribe(database, settings, ["*"], by=ADA, mail="ada@example.org")
        for kind in (EventKind.REQUEST_STUCK, EventKind.REQUEST_STUCK, EventKind.REQUEST_COMPLETED):
            happen(database, kind, *OBJECTS)
        database.dispose()
        ends = {"home": str(tmp_path), "events": settings.events, "mails": str(box)}

        def fresh() -> Any:
            copy = f"events_{next(_numbers)}"
            postgres.create_database(copy, template=name)
            receiver.got.clear()
            box.unlink(missing_ok=True)
            return SimpleNamespace(db=Database(postgres.url(copy)), grid=SimpleNamespace(endpoints=ends))

        def closed(used: Any) -> None:
            used.db.dispose()
            postgres.drop_database(used.db.url.split("?")[0].rsplit("/", 1)[-1])

        def sent(db: Database, settings: Settings) -> bool:
            deliver(db, settings, partial(_mail, box))
            return waiting(db) == 0

        whole = fresh()
        *points, counts = runner.run(whole, "send").points
        assert json.loads(counts)["delivered"] == 2 * NUM_EVENTS
        closed(whole)
        assert len(points) > 40
        seen: Counter[str] = Counter()
        for point in points:
            tried = fresh()
            killed = runner.run(tried, "send", kill_at=point)
            assert killed.signal == signal.SIGKILL, f"{point} was not reached: {killed.text[-2000:]}"
            wait_until(partial(sent, tried.db, settings), partial(waiting, tried.db))
            called = [
                (f"{got['event']['object']['kind']} {got['event']['object']['name']}", got["delivery"], got["attempt"])
                for got in receiver.got
            ]
            problems = wrong_with(called) + wrong_with(mailed(box))
            assert problems == [], point
            seen["doubles"] += len(called) + len(mailed(box)) - 2 * NUM_EVENTS
            closed(tried)
    assert seen["doubles"] > 0, "no kill was between a call and its note"
    TABLES.setdefault("runs that send events, killed with -9", [("points", "doubles, all marked", "lost")]).append(
        (str(len(points)), str(seen["doubles"]), "0")
    )


def _mail(box: Path, message: Mail) -> None:
    with box.open("a") as opened:
        opened.write(json.dumps(message.text) + "\n")
