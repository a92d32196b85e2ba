"""What waits is sent: at least once, in order by object, signed; and who does not take it delays nobody."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from pathlib import Path
from smtplib import SMTPRecipientsRefused
from threading import Thread
from typing import Any

import pytest

from dynamo_ops.access.person import Grant, KnownBy, Person, Role
from dynamo_ops.base.settings import Settings
from dynamo_ops.database.connection import Database
from dynamo_ops.event.deliver import deliver
from dynamo_ops.event.fan_out import fan_out, forget
from dynamo_ops.event.kinds import KINDS, EventKind
from dynamo_ops.event.mail import Mail
from dynamo_ops.event.subscription import subscribe, subscriptions
from tests import ROOT
from tests.event.receiver import VERIFIER, Receiver, happen, receiving, settings_for
from tests.request.stock import Stock

ADA, BOB = (Person(name, KnownBy.TOKEN, (Grant(Role.USER), Grant(Role.OPERATOR))) for name in ("ada", "bob"))
DONE, STUCK, FULL = EventKind.REQUEST_COMPLETED, EventKind.REQUEST_STUCK, EventKind.SITE_FULL


@pytest.fixture
def db(database: Database) -> Database:
    return Stock(database).db


def no_mail(mail: Mail) -> None:
    raise AssertionError(mail)


def states(db: Database) -> dict[str, int]:
    rows = db.frame("SELECT state, count(*) AS number FROM event_deliveries GROUP BY 1").rows()
    return {str(state): int(number) for state, number in rows}


def meant(db: Database) -> list[tuple[int, int]]:
    """(subscription, event)."""
    return [
        tuple(row) for row in db.frame("SELECT subscription_id, event_id FROM event_deliveries ORDER BY 1, 2").rows()
    ]


def test_who_is_meant(db: Database, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)

    def to(by: Person, kinds: str, scope: str | None = None, group: str | None = None) -> None:
        subscribe(db, settings, kinds.split(), by=by, scope=scope, group=group, mail="a@b.org")

    happen(db, DONE, "0")  # before anybody asked
    to(ADA, "*")
    to(ADA, "request.c* token.*", "*")
    to(BOB, "*", "*")
    to(BOB, "*")
    to(BOB, "*", group="ops")
    to(BOB, "site.* request.stuck", "site:T2_D?_*")
    to(BOB, "*", "dataset:/A/*")
    to(BOB, "*", "group:users")
    happen(db, DONE, "1")
    happen(db, STUCK, "1", site="T2_DE_X")
    happen(db, EventKind.TOKEN_ENDING, "7")
    happen(db, FULL, "T2_FR_Y", site="T2_FR_Y", person="eve")
    assert fan_out(db, most=2) == 15
    assert meant(db) == [
        *((1, event) for event in (2, 3, 4)),
        *((2, event) for event in (2, 4)),
        *((3, event) for event in (2, 3, 5)),
        *((5, event) for event in (2, 3, 5)),
        (6, 3),
        *((7, event) for event in (2, 3, 5)),
    ]
    assert fan_out(db) == 0
    happen(db, DONE, "2", person="bob")
    assert fan_out(db) == 5
    assert db.frame("SELECT DISTINCT seen_event_id FROM event_subscriptions").rows() == [(6,)]


def test_each_is_sent_once_in_order_and_signed(db: Database, tmp_path: Path) -> None:
    receiver = Receiver()
    with receiving(receiver) as url:
        settings = settings_for(tmp_path, url)
        secret = subscribe(db, settings, ["*"], by=ADA, webhook=url).secret
        happen(db, STUCK, "1", "2", "3")
        happen(db, DONE, "1", "2")
        happen(db, FULL, "1")
        assert deliver(db, settings, no_mail) == {"new": 6, "delivered": 6, "failed": 0, "given_up": 0}
        assert deliver(db, settings, no_mail) == {"new": 0, "delivered": 0, "failed": 0, "given_up": 0}
    assert receiver.orders == {"request 1": [1, 4], "request 2": [2, 5], "request 3": [3], "site 1": [6]}
    assert [document["attempt"] for document in receiver.got] == [1] * 6
    first = receiver.got[0]
    assert set(first) == {"delivery", "attempt", "event"}
    assert first["event"] | {"at": ""} == {
        "id": 1, "at": "", "kind": "request.stuck", "object": {"kind": "request", "name": "1"}, "person": "ada",
        "groups": ["ops"], "sites": ["T2_A"], "datasets": ["/A/B-v1/AOD"], "facts": {"size_bytes": 17},
    }  # fmt: skip
    headers, body = receiver.raw[0]
    assert (headers["X-Dynamo-Delivery"], headers["X-Dynamo-Attempt"]) == (str(first["delivery"]), "1")
    assert VERIFIER is not None
    names: dict[str, Any] = {}
    exec(VERIFIER[1], names)
    verify = names["is_from_dynamo"]
    assert len(VERIFIER[1].strip().split("def ")[1].splitlines()) <= 10
    assert verify(secret, headers, body)
    assert not verify(secret, headers, body + b" ")
    assert not verify("whsec_another", headers, body)
    assert not verify(secret, {**headers, "X-Dynamo-Timestamp": str(int(headers["X-Dynamo-Timestamp"]) - 1)}, body)
    assert not verify(secret, headers, body, longest_s=-1)


def test_what_is_refused_is_sent_again_before_what_follows_it(db: Database, tmp_path: Path) -> None:
    refused: list[int] = []

    def answer(got: dict[str, Any]) -> int:
        if got["event"]["id"] == 1 and len(refused) < 2:
            refused.append(1)
            return 400
        return 200

    receiver = Receiver(answer)
    with receiving(receiver) as url:
        settings = settings_for(tmp_path, url)
        subscribe(db, settings, ["*"], by=ADA, webhook=url)
        happen(db, STUCK, "1", "2")
        happen(db, DONE, "1", "2")
        runs = []
        while states(db).get("delivered", 0) < 4 and len(runs) < 5:
            runs.append(deliver(db, settings, no_mail))
            time.sleep(0.01)
    of_first = [document for document in receiver.got if document["event"]["id"] == 1]
    assert [document["attempt"] for document in of_first] == [1, 2, 3]
    assert len({document["delivery"] for document in of_first}) == 1
    assert receiver.orders["request 1"] == [1, 3]
    assert receiver.orders["request 2"] == [2, 4]
    assert sum(run["failed"] for run in runs) == 2


@pytest.mark.parametrize(
    ("status", "calls", "words"),
    [(500, 1, "answered 500"), (429, 1, "answered 429"), (302, 3, "answered 302"), (404, 3, "answered 404"),
     (None, 1, "no answer in time")],
)  # fmt: skip
def test_one_that_takes_nothing_is_left_alone_and_delays_nobody(
    db: Database, tmp_path: Path, status: int | None, calls: int, words: str
) -> None:
    broken, good = Receiver(lambda _: status), Receiver()
    with receiving(broken) as bad_url, receiving(good) as good_url:
        settings = settings_for(tmp_path, bad_url, good_url, backoff_s=60, max_backoff_s=600, at_once=1)
        subscribe(db, settings, ["*"], by=ADA, webhook=bad_url)
        subscribe(db, settings, ["*"], by=ADA, webhook=good_url)
        happen(db, DONE, *(str(number) for number in range(10)))
        counts = deliver(db, settings, no_mail)
        assert (counts["delivered"], counts["failed"], len(broken.got), len(good.got)) == (10, calls, calls, 10)
        assert deliver(db, settings, no_mail)["failed"] == 0
        assert len(broken.got) == calls
    (row, fine) = subscriptions(db, by=ADA).to_dicts()
    assert (row["num_waiting"], row["last_error"], fine["last_error"]) == (10, words, None)
    assert row["failing_since"] is not None
    attempts = db.frame("SELECT attempts, count(*) FROM event_deliveries WHERE state = 'waiting' GROUP BY 1").rows()
    assert dict(attempts) == {1: calls, 0: 10 - calls}


def test_what_nobody_takes_is_given_up_and_the_next_goes_on(db: Database, tmp_path: Path) -> None:
    receiver = Receiver(lambda got: 500 if got["event"]["id"] == 1 else 200)
    with receiving(receiver) as url:
        settings = settings_for(tmp_path, url)
        subscribe(db, settings, ["*"], by=ADA, webhook=url)
        happen(db, STUCK, "1")
        happen(db, DONE, "1")
        assert deliver(db, settings, no_mail)["failed"] == 1
        with db.begin() as connection:
            connection.exec_driver_sql("UPDATE event_deliveries SET tried_at = now() - interval '4 days' WHERE id = 1")
        time.sleep(0.01)
        assert deliver(db, settings, no_mail) == {"new": 0, "delivered": 1, "failed": 0, "given_up": 1}
    assert [document["event"]["id"] for document in receiver.got] == [1, 2]
    (row,) = subscriptions(db, by=ADA).to_dicts()
    assert (row["num_given_up"], row["failing_since"], row["last_error"]) == (1, None, None)
    assert db.frame("SELECT last_error FROM event_deliveries WHERE state = 'given_up'").item() == "answered 500"


def test_what_was_not_tried_since_we_slept_is_not_given_up(db: Database, tmp_path: Path) -> None:
    receiver = Receiver()
    with receiving(receiver) as url:
        settings = settings_for(tmp_path, url)
        subscribe(db, settings, ["*"], by=ADA, webhook=url)
        happen(db, DONE, "1")
        fan_out(db)
        with db.begin() as connection:
            connection.exec_driver_sql("UPDATE event_deliveries SET created_at = now() - interval '40 days'")
        assert deliver(db, settings, no_mail)["delivered"] == 1


def test_a_slow_one_has_its_time_and_the_rest_is_left_to_the_next_run(db: Database, tmp_path: Path) -> None:
    slow, quick = Receiver(lambda _: time.sleep(0.1) or 200), Receiver()
    with receiving(slow) as slow_url, receiving(quick) as quick_url:
        settings = settings_for(tmp_path, slow_url, quick_url, webhook_s=0.5, at_once=1)
        subscribe(db, settings, ["*"], by=ADA, webhook=slow_url)
        subscribe(db, settings, ["*"], by=ADA, webhook=quick_url)
        happen(db, DONE, *(str(number) for number in range(40)))
        deliver(db, settings, no_mail)
        assert len(quick.got) == 40
        assert 1 <= len(slow.got) < 10
        sent = len(slow.got)
        untouched = db.frame("SELECT count(*) FROM event_deliveries WHERE state = 'waiting' AND attempts = 0").item()
        assert untouched == 40 - sent
        deliver(db, settings, no_mail)
        assert len(slow.got) > sent
    assert max(document["attempt"] for document in slow.got) == 1


def test_one_that_answers_for_ever_holds_up_nobody(db: Database, tmp_path: Path) -> None:
    """A byte now and then is no time-out for the library."""
    with socket.create_server(("127.0.0.1", 0)) as door, receiving(Receiver()) as good_url:

        def drip() -> None:
            called, _ = door.accept()
            with suppress(OSError):
                called.sendall(b"HTTP/1.1 200 OK\r\n")
                while True:
                    called.sendall(b"x")
                    time.sleep(0.2)

        Thread(target=drip, daemon=True).start()
        url = f"http://127.0.0.1:{door.getsockname()[1]}/x"
        settings = settings_for(tmp_path, url, good_url, run_s=2, webhook_s=1, backoff_s=60, max_backoff_s=60)
        subscribe(db, settings, ["*"], by=ADA, webhook=url)
        subscribe(db, settings, ["*"], by=ADA, webhook=good_url)
        happen(db, DONE, "1")
        began = time.monotonic()
        assert deliver(db, settings, no_mail)["delivered"] == 1
        assert time.monotonic() - began < 15
    slow, good = subscriptions(db, by=ADA).to_dicts()
    assert (slow["last_error"], good["last_error"]) == ("it had not answered by the end of the run", None)
    assert slow["next_at"] is not None


def test_a_host_that_is_no_longer_allowed_is_not_called(db: Database, tmp_path: Path) -> None:
    receiver = Receiver()
    with receiving(receiver) as url:
        subscribe(db, settings_for(tmp_path, url), ["*"], by=ADA, webhook=url)
        happen(db, DONE, "1")
        assert deliver(db, settings_for(tmp_path), no_mail)["failed"] == 1
    assert receiver.got == []
    assert "events.hosts" in subscriptions(db, by=ADA)["last_error"].item()


def test_a_name_that_means_a_private_address_is_not_called(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever owns the name may change what it means after it was looked at."""
    receiver = Receiver()
    with receiving(receiver) as url:
        port = url.split(":")[2].split("/")[0]
        settings = settings_for(tmp_path).model_copy(update={"events": {"hosts": ["*.example.org:*"], "timeout_s": 1}})
        from urllib3.util import connection as sockets

        create = sockets.create_connection

        def to_us(_address: Any, *rest: Any, **more: Any) -> Any:
            return create(("127.0.0.1", int(port)), *rest, **more)

        monkeypatch.setattr(sockets, "create_connection", to_us)
        subscribe(db, settings, ["*"], by=ADA, webhook=f"https://rebound.example.org:{port}/x")
        happen(db, DONE, "1")
        assert deliver(db, settings, no_mail)["failed"] == 1
    assert receiver.got == []
    assert subscriptions(db, by=ADA)["last_error"].item() == "it has no public address"


def test_a_mail_has_all_events_of_a_run(db: Database, tmp_path: Path) -> None:
    settings, mails = settings_for(tmp_path), []
    subscribe(db, settings, ["*"], by=ADA, mail="ada@example.org")
    happen(db, STUCK, "1", "<b>2</b>")
    happen(db, DONE, "1")

    def fails(mail: Mail) -> None:
        mails.append(mail)
        raise ConnectionError("no server")

    assert deliver(db, settings, fails)["failed"] == 3
    time.sleep(0.01)
    assert deliver(db, settings, mails.append)["delivered"] == 3
    first, mail = mails
    assert "attempt" not in first.text
    assert mail.to == "ada@example.org"
    assert mail.subject == "Dynamo: 3 events: request.completed, request.stuck"
    assert mail.text.count("attempt 2: you may have it already") == 3
    assert [mail.text.index(f"(delivery {number}") for number in (1, 2, 3)] == sorted(
        mail.text.index(f"(delivery {number}") for number in (1, 2, 3)
    )
    assert "dynamo event unsubscribe 1" in mail.text
    assert "<b>" not in mail.html
    happen(db, DONE, "9\nBcc: x")
    deliver(db, settings, mails.append)
    assert mails[2].subject == "Dynamo: request.completed, request 9 Bcc: x"


def test_an_address_that_is_refused_holds_nobody_up(db: Database, tmp_path: Path) -> None:
    settings, mails = settings_for(tmp_path), []
    for address in ("nobody@example.org", "ada@example.org"):
        subscribe(db, settings, ["*"], by=ADA, mail=address)
    happen(db, DONE, "1")

    def refuses(mail: Mail) -> None:
        mails.append(mail.to)
        if mail.to == "nobody@example.org":
            raise SMTPRecipientsRefused({mail.to: (550, b"no such user")})

    assert deliver(db, settings, refuses) == {"new": 2, "delivered": 1, "failed": 1, "given_up": 0}
    assert mails == ["nobody@example.org", "ada@example.org"]


def test_ten_thousand_requests_at_once(db: Database, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    for scope in ("*", "site:T2_*", "dataset:/A/*", "own"):
        subscribe(db, settings, ["request.*"], by=ADA, mail="a@b.org", scope=scope)
    happen(db, DONE, *(str(number) for number in range(10_000)))
    began = time.monotonic()
    assert fan_out(db) == 40_000
    assert time.monotonic() - began < 20


def test_old_ones_are_forgotten_with_what_became_of_them(db: Database, tmp_path: Path) -> None:
    subscribe(db, Settings(home=tmp_path), ["*"], by=ADA, mail="a@b.org")
    happen(db, DONE, "1", "2")
    fan_out(db)
    with db.begin() as connection:
        connection.exec_driver_sql("UPDATE events SET at = now() - interval '91 days' WHERE id = 1")
    assert [forget(db, 90), forget(db, 90)] == [1, 0]
    assert meant(db) == [(1, 2)]


def test_the_table_of_the_page_is_the_code() -> None:
    page = (ROOT / "docs" / "events.md").read_text()
    rows = [f"| `{kind}` | {about.object_kind} | {about.words} |" for kind, about in KINDS.items()]
    told = [line for line in page.splitlines() if line.startswith("| `") and "." in line.split("`")[1]]
    assert told[: len(KINDS)] == rows
    assert set(KINDS) == {*EventKind}
