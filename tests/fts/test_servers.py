"""Which server takes a link, and servers that are asked each for its own, some of them ill."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dynamo_ops.base.errors import CredentialError, PermanentRemoteError, RemoteError, RetryableRemoteError
from dynamo_ops.base.settings import FtsSettings, Settings
from dynamo_ops.fts import servers as module
from dynamo_ops.fts.client import FtsClient
from dynamo_ops.fts.identity import FtsIdentity
from dynamo_ops.fts.servers import (
    FtsLinks,
    FtsServer,
    FtsServers,
    address_of,
    fts_servers,
    job_page,
    links_of,
    servers_of,
)

ONE, TWO, FORMER = "https://one:8446", "https://two:8446", "https://former:8446"
AWAY = RetryableRemoteError("no answer", service="fts")
REFUSED = CredentialError("who are you?", service="fts")


@pytest.mark.parametrize(
    ("source", "destination", "address"),
    [
        ("T1_A", "T2_X", TWO),
        ("T1_A", "T2_CERN", ONE),
        ("T2_X", "T2_Y", ONE),
        ("T3_X", "T2_Y", None),
        ("T1_A", "T3_X", TWO),
    ],
    ids=["the first that takes it", "not what is excluded", "else a later one", "nobody", "by globs of both ends"],
)
def test_the_server_of_a_link(source: str, destination: str, address: str | None) -> None:
    servers = (FtsServer(TWO, ("T1_*",), ("*", "!T2_CERN")), FtsServer(ONE, ("*", "!T3_*")))
    server = FtsLinks(servers, {}).server(source, destination)
    assert (server and server.address) == address


def test_one_identity_is_one_server_for_every_link(identity: FtsIdentity) -> None:
    links = links_of(identity)
    assert links.server("T2_A", "T2_B") == FtsServer(None)
    assert links.identities == {None: identity}
    assert links_of(links) is links
    assert links_of(None).server("T2_A", "T2_B") is None


class Ward:
    """Servers ``ONE`` and ``TWO`` of the settings, of which those in ``ill`` raise; what each was asked for."""

    def __init__(self, **ill: RemoteError) -> None:
        self.ill = {ONE: ill.get("one"), TWO: ill.get("two"), FORMER: ill.get("former")}
        self.asked: list[tuple[str, Any]] = []
        self.opened: list[str] = []
        self.closed: list[str] = []
        self.servers = FtsServers((FtsServer(ONE, ("T1_*",)), FtsServer(TWO), FtsServer(ONE)), self.open)

    def open(self, address: str) -> Any:
        self.opened.append(address)
        return SimpleNamespace(
            url=address,
            close=lambda: self.closed.append(address),
            ensure_delegation=lambda: self.answer(address, "delegate"),
            whoami=lambda: f"we at {address}",
        )

    def answer(self, address: str, what: Any) -> None:
        self.asked.append((address, what))
        error = self.ill[address]
        if error is not None:
            raise error

    def each(self, **shares: Any) -> None:
        addresses = {"one": ONE, "two": TWO, "former": FORMER, "unknown": None}
        self.servers.each(
            {addresses[name]: share for name, share in shares.items()},
            lambda client, share: self.answer(client.url, share),
        )


def test_each_server_is_asked_for_its_own() -> None:
    ward = Ward()
    ward.each(one=1, two=2, former=3, unknown=4)
    assert ward.asked == [(ONE, 1), (TWO, 2), (FORMER, 3), (ONE, 4)]
    assert ward.opened == [ONE, TWO, FORMER], "once, and only when asked"
    ward.servers.close()
    assert ward.closed == [ONE, TWO, FORMER]


@pytest.mark.parametrize("error", [AWAY, REFUSED, PermanentRemoteError("400", service="fts")], ids=repr)
def test_an_ill_server_keeps_nobody_back_and_is_asked_once(
    error: RemoteError, caplog: pytest.LogCaptureFixture
) -> None:
    ward = Ward(one=error)
    ward.each(one=1, two=2)
    ward.each(one=3, unknown=4, two=5)
    assert ward.asked == [(ONE, 1), (TWO, 2), (TWO, 5)]
    assert ward.servers.ill == {ONE: error}
    assert f"FTS {ONE} is left alone for now, and what it has waits: {error.message}" in caplog.text


def test_the_gravest_error_is_raised_when_none_is_left() -> None:
    ward = Ward(one=AWAY, two=REFUSED)
    with pytest.raises(CredentialError, match="who are you"):
        ward.each(one=1, two=2, former=3)
    assert ward.asked == [(ONE, 1), (TWO, 2), (FORMER, 3)]


def test_an_ill_server_is_not_the_last_while_another_may_be_well() -> None:
    ward = Ward(two=AWAY, former=AWAY)
    ward.each(two=1, former=2)  # nothing is asked of the other now
    with pytest.raises(RetryableRemoteError):
        Ward(one=AWAY, two=AWAY, former=AWAY).each(one=1, two=2, former=3)


def test_an_error_of_the_database_is_not_the_server_s() -> None:
    ward = Ward(one=RetryableRemoteError("database away", service="postgresql"))
    with pytest.raises(RetryableRemoteError, match="database away"):
        ward.each(one=1, two=2)


@pytest.mark.parametrize(
    ("errors", "can_wait"),
    [
        ([(ONE, AWAY)], True),
        ([(None, AWAY), (TWO, AWAY)], False),
        ([(FORMER, AWAY)], True),
        ([(ONE, AWAY), (ONE, REFUSED)], False),
        ([(ONE, RetryableRemoteError("database away", service="postgresql"))], False),
    ],
    ids=["one is away", "all are", "one not named any more", "a refusal", "our own database"],
)
def test_what_single_calls_brought(errors: list[tuple[str | None, RemoteError]], can_wait: bool) -> None:
    assert Ward().servers.can_wait(errors) is can_wait


def test_only_who_answers_has_an_identity() -> None:
    ward = Ward(one=AWAY)
    links = ward.servers.links()
    assert links.identities == {TWO: f"we at {TWO}"}
    assert links.server("T1_A", "T2_B") == FtsServer(TWO), "the next one that takes them gets its links"
    with pytest.raises(RetryableRemoteError, match="no answer"):
        Ward(one=AWAY, two=AWAY).servers.links()


def test_a_link_of_servers_that_are_all_ill_waits_for_the_first() -> None:
    first, second = FtsServer(ONE, ("T1_*",)), FtsServer(TWO, ("T1_*",))
    me = FtsIdentity("/CN=me", "7a4c3b1e-0000-4000-8000-000000000001", "cms", "c3a622c34b769920", "certificate")
    assert FtsLinks((first, second), {}).server("T1_A", "T2_B") == first
    assert FtsLinks((first, second), {ONE: me, TWO: me}).server("T1_A", "T2_B") == first
    assert FtsLinks((first, second), {ONE: me, TWO: me}, frozenset({ONE})).server("T1_A", "T2_B") == second
    assert FtsLinks((first, second), {ONE: me}, frozenset({ONE})).server("T1_A", "T2_B") == first, "it takes them yet"
    assert FtsLinks((first, second), {ONE: me, TWO: me}).server("T2_A", "T2_B") is None


def test_a_client_alone_answers_for_its_own_and_for_what_has_no_server() -> None:
    client = FtsClient(ONE, ca="/ca.pem", token="t")
    asked: list[tuple[FtsClient, int]] = []
    servers = servers_of(client)
    servers.each({None: 1, ONE: 2, TWO: 3}, lambda *question: asked.append(question))
    assert asked == [(client, 1), (client, 2)]
    assert servers_of(servers) is servers


def test_the_servers_of_the_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    opened: list[Any] = []

    def client(url: str, **credentials: Any) -> Any:
        opened.append((url, credentials))
        return SimpleNamespace(close=lambda: opened.append("closed"))

    monkeypatch.setattr(module, "FtsClient", client)
    (tmp_path / "token").write_text("jwt\n")
    given = {"servers": [{"url": f"{ONE}/", "sources": ["T1_*"]}, {"url": TWO}], "token_file": tmp_path / "token"}
    tls = {"ca": "/ca.pem", "cert": "/cert.pem"}
    with fts_servers(Settings.model_validate({"fts": given, "tls": tls})) as servers:
        assert servers
        assert servers.servers == (FtsServer(ONE, ("T1_*",)), FtsServer(TWO))
        servers.client(FORMER)
    assert opened == [(FORMER, {"ca": "/ca.pem", "cert": None, "key": None, "token": "jwt"}), "closed"]
    with fts_servers(Settings.model_validate({"fts": {"url": None}})) as none:
        assert none is None


SEVERAL = FtsSettings.model_validate({"servers": [{"url": ONE}, {"url": TWO, "monitor_url": "https://mon/"}]})


@pytest.mark.parametrize(
    ("fts", "server", "page"),
    [
        (SEVERAL, ONE, f"{ONE}/jobs/7"),
        (SEVERAL, TWO, "https://mon/7"),
        (SEVERAL, None, f"{ONE}/jobs/7"),
        (SEVERAL, FORMER, f"{FORMER}/jobs/7"),
        (FtsSettings(url=ONE, monitor_url="https://mon/"), None, "https://mon/7"),
        (FtsSettings(url=None), FORMER, f"{FORMER}/jobs/7"),
        (FtsSettings(url=None), None, None),
    ],
    ids=["its own page", "its monitor", "not recorded", "not named any more", "the only one", "no FTS now", "no FTS"],
)
def test_the_page_of_a_job(fts: FtsSettings, server: str | None, page: str | None) -> None:
    assert job_page(fts, server, "7") == page
    assert bool(address_of(fts, server)) == bool(page)
