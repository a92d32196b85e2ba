"""Who may have which events sent where; and what of it is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dynamo_ops.access.actions import AccessError
from dynamo_ops.access.person import Grant, KnownBy, Person, Role, Scope
from dynamo_ops.base.errors import DynamoError, InventoryError, SettingsError, UnknownNameError
from dynamo_ops.base.settings import Settings
from dynamo_ops.event.address import Hosts, is_public
from dynamo_ops.event.settings import event_settings
from dynamo_ops.event.subscription import subscribe, subscriptions, unsubscribe
from tests.request.stock import Stock


def someone(name: str, role: Role, scope: str = "*") -> Person:
    return Person(name, KnownBy.TOKEN, (Grant(role, Scope.parse(scope)),))


VERA, MIA = someone("vera", Role.VIEWER), someone("mia", Role.MANAGER, "group:ops")
OLGA = someone("olga", Role.OPERATOR)


def made(tmp_path: Path, **events: Any) -> Settings:
    return Settings(
        home=tmp_path, events=events, alerts={"webhooks": [{"url": "https://chat.example.org/hooks/secret-path"}]}
    )


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return made(tmp_path, hosts=["hooks.example.org", "10.1.2.3", "*.cern.ch", "localhost:8080"], per_owner=3)


@pytest.fixture
def asked(database: Any) -> Stock:
    return Stock(database)


def test_a_secret_is_shown_once_and_of_a_webhook_the_host_only(asked: Stock, settings: Settings) -> None:
    url = "https://chat.example.org/hooks/secret-path?key=much-too-secret"
    new = subscribe(asked.db, settings, ["request.*"], by=VERA, webhook=url)
    assert new.secret is not None
    assert new.secret.startswith("whsec_")
    assert (new.scope, new.channel) == ("own", "webhook")
    (row,) = subscriptions(asked.db, by=VERA).to_dicts()
    assert (row["address"], row["person"], row["group"], row["kinds"]) == (
        "https://chat.example.org",
        "vera",
        None,
        ["request.*"],
    )
    audited = str(asked.rows("SELECT * FROM audit"))
    for text in (str(row), audited):
        assert new.secret not in text
        assert "secret" not in text.replace("whsec", "")
    assert asked.scalar("SELECT secret FROM event_subscriptions").tobytes() == new.secret.encode()


def test_for_a_group_by_who_looks_after_it(asked: Stock, settings: Settings) -> None:
    mail = {"mail": "ops@example.org"}
    new = subscribe(asked.db, settings, ["*"], by=MIA, group="ops", **mail)
    assert (new.scope, new.secret) == ("group:ops", None)
    assert subscriptions(asked.db, by=MIA, group="ops")["address"].to_list() == ["ops@example.org"]
    assert subscriptions(asked.db, by=MIA).is_empty()
    for refused in (
        lambda: subscribe(asked.db, settings, ["*"], by=VERA, group="ops", **mail),
        lambda: subscribe(asked.db, settings, ["*"], by=MIA, group="users", **mail),
        lambda: subscriptions(asked.db, by=VERA, group="ops"),
        lambda: unsubscribe(asked.db, new.id, by=VERA),
    ):
        with pytest.raises(AccessError):
            refused()
    with pytest.raises(UnknownNameError, match=r"no group 'opps'.*Did you mean ops"):
        subscribe(asked.db, settings, ["*"], by=OLGA, group="opps", **mail)
    unsubscribe(asked.db, new.id, by=MIA)
    own = subscribe(asked.db, settings, ["*"], by=VERA, **mail)
    with pytest.raises(AccessError):
        unsubscribe(asked.db, own.id, by=MIA)
    unsubscribe(asked.db, own.id, by=OLGA)
    with pytest.raises(UnknownNameError, match="no event subscription"):
        unsubscribe(asked.db, own.id, by=OLGA)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"mail": None}, "name one way"),
        ({"webhook": "https://hooks.example.org/"}, "name one way"),
        ({"kinds": []}, "0 kinds of events"),
        ({"kinds": ["requests.*"]}, "no kind of events 'requests.*'"),
        ({"scope": "groups:ops"}, r"write one of own, \*, group:GLOB, site:GLOB, dataset:GLOB"),
        ({"scope": "site:"}, "says not of what"),
        ({"scope": "own", "group": "ops"}, r"write one of \*, group:GLOB"),
        ({"mail": "ada"}, "is no address"),
        ({"mail": "ada@b.org\nBcc: x@y.org"}, "is no address"),
        ({"mail": "a@b.org,c@d.org"}, "is no address"),
        ({"mail": "Ada <a@b.org>"}, "is no address"),
    ],
)
def test_what_is_wrong_is_named(asked: Stock, settings: Settings, given: dict[str, Any], message: str) -> None:
    call: dict[str, Any] = {"kinds": ["*"], "mail": "ada@example.org", "by": OLGA, **given}
    with pytest.raises(InventoryError, match=message):
        subscribe(asked.db, settings, call.pop("kinds"), **call)


def test_nobody_has_too_many(asked: Stock, settings: Settings) -> None:
    for _ in range(3):
        subscribe(asked.db, settings, ["*"], by=VERA, mail="a@b.org")
        subscribe(asked.db, settings, ["*"], by=OLGA, mail="a@b.org", group="ops")
    with pytest.raises(InventoryError, match=r"vera has 3 event subscriptions, and events\.per_owner is 3"):
        subscribe(asked.db, settings, ["*"], by=VERA, mail="a@b.org")
    with pytest.raises(InventoryError, match="group ops has 3"):
        subscribe(asked.db, settings, ["*"], by=OLGA, mail="a@b.org", group="ops")


CALLED = (
    "https://chat.example.org/any",
    "https://hooks.example.org/x?y=1",
    "https://HOOKS.example.org:443/x",
    "https://10.1.2.3/x",
    "https://a.cern.ch/",
    "http://localhost:8080/x",
    "https://localhost:8080/x",
)
NOT_CALLED = {
    "http://hooks.example.org/x": "give an https address",
    "https://hooks.example.org:8443/x": "calls no such host.*'hooks.example.org:8443' in events.hosts",
    "https://chat.example.org:9200/x": "calls no such host",
    "https://evil.example.org/x": "calls no such host",
    "https://hooks.example.org.evil.org/": "calls no such host",
    "https://169.254.169.254/latest/meta-data": "calls no such host",
    "https://[::1]/x": "calls no such host",
    "https://localhost/x": "calls no such host",
    "http://127.0.0.1:8080/x": "calls no such host",
    "https://2130706433/": "calls no such host",
    "https://user:letmein@hooks.example.org/x": "without a user",
    "https://hooks.example.org/#x": "and a fragment",
    "https://evil.org\\@hooks.example.org/": "no URL of a host",
    "https://hooks.example.org/a b": "no URL of a host",
    "https://hooks.example.org:x/": "no URL",
    "ftp://hooks.example.org/": "give an https address",
    "file:///etc/passwd": "no URL of a host",
    "https:///x": "no URL of a host",
    "": "no URL of a host",
}


@pytest.mark.parametrize("url", CALLED)
def test_a_host_of_the_settings_may_be_called(settings: Settings, url: str) -> None:
    Hosts.of(settings).check(url)


@pytest.mark.parametrize("url", NOT_CALLED)
def test_no_other_host_is_called(settings: Settings, url: str) -> None:
    with pytest.raises(InventoryError, match=NOT_CALLED[url]) as raised:
        Hosts.of(settings).check(url)
    assert "letmein" not in str(raised.value)


@pytest.mark.parametrize("url", ["https://10.0.0.1/", "https://0x7f.1/", "https://[fd00::1]/", "http://127.0.0.1/"])
def test_behind_a_glob_no_address_is_called(tmp_path: Path, url: str) -> None:
    with pytest.raises(InventoryError, match=r"only where events\.hosts has it itself, no glob"):
        Hosts.of(made(tmp_path, hosts=["*"])).check(url)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("188.184.9.234", True),
        ("2001:1458:201:a8::100:125", True),
        ("10.0.0.1", False),
        ("127.0.0.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:10.0.0.1", False),
        ("::ffff:188.184.9.234", True),
        ("64:ff9b::a00:1", False),
        ("2002:a00:1::1", False),
    ],
)
def test_what_is_public(address: str, public: bool) -> None:
    assert is_public(address) is public


def test_a_wrong_setting_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"events\.host: there is no such setting\. Did you mean hosts") as raised:
        event_settings(made(tmp_path, host=[], timeout_s=0))
    assert {fault.key for fault in raised.value.all_faults()} == {"events.host", "events.timeout_s"}
    assert isinstance(raised.value, DynamoError)
