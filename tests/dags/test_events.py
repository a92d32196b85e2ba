"""The DAG of events: what happened is in the mailboxes of who subscribed; what somebody does not take is no failure."""

from __future__ import annotations

from dynamo_ops.access.person import Grant, KnownBy, Person, Role
from dynamo_ops.base.settings import settings
from dynamo_ops.event.kinds import EventKind
from dynamo_ops.event.subscription import subscribe, subscriptions
from tests.dags.house import House
from tests.event.receiver import Receiver, happen, receiving

ADA = Person("ada", KnownBy.TOKEN, (Grant(Role.USER),))


def test_what_happened_is_mailed_and_who_takes_nothing_is_no_failure(house: House) -> None:
    broken = Receiver(lambda _: 500)
    with receiving(broken) as url:
        allowed = settings().model_copy(update={"events": {"hosts": [url.split("/")[2]]}})
        subscribe(house.database, settings(), ["request.*"], by=ADA, mail="ada@localhost")
        subscribe(house.database, allowed, ["*"], by=ADA, webhook=url)
        happen(house.database, EventKind.REQUEST_COMPLETED, "17")
        happen(house.database, EventKind.REQUEST_STUCK, "18")
        run = house.run("events")
    assert run.state == "success"
    assert "request.completed: request 17" in house.last_mail_text()
    assert "request.stuck: request 18" in house.last_mail_text()
    assert house.rows("SELECT state, count(*) FROM event_deliveries GROUP BY 1 ORDER BY 1") == [
        ("delivered", 2),
        ("waiting", 2),
    ]
    (mailed, failing) = subscriptions(house.database, by=ADA)["last_error"].to_list()
    assert mailed is None
    assert "events.hosts" in failing, "the settings of the run do not allow it"
    assert broken.got == []
