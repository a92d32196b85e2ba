"""``dynamo login`` and what follows it: a token is tried before it is kept, and commands go where it is for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from dynamo_ops.access.person import Grant, Role
from tests import ROOT
from tests.cli.seeded import Ended
from tests.plugins.web.listening import listening
from tests.query.stock import FIRST

Token = Callable[..., str]


@dataclass(frozen=True)
class Elsewhere:
    """A machine that knows of no installation, and a server."""

    home: Path
    url: str

    @property
    def file(self) -> Path:
        return self.home / "config" / "dynamo" / "hosts.json"

    def dynamo(self, *words: str, typed: str = "") -> Ended:
        """A command, as a shell there calls it."""
        names = {"PATH": os.environ["PATH"], "HOME": str(self.home), "XDG_CONFIG_HOME": str(self.home / "config")}
        command = [sys.executable, "-m", "dynamo_ops.cli", *words]
        environment = names | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            command, input=typed, env=environment, cwd=self.home, capture_output=True, text=True, check=False
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def json(self, *words: str) -> Any:
        ended = self.dynamo(*words, "--json")
        assert ended.code == 0, ended
        return json.loads(ended.out)

    def login(self, token: str, url: str | None = None) -> Ended:
        return self.dynamo("login", url or self.url, "--with-token", typed=f"{token}\n")


@pytest.fixture
def elsewhere(client: TestClient, tmp_path: Path) -> Iterator[Elsewhere]:
    home = tmp_path / "elsewhere"
    home.mkdir()
    with listening(client.app) as url:
        yield Elsewhere(home, url)


def test_after_a_login_commands_go_to_the_server(elsewhere: Elsewhere, token: Token) -> None:
    ended = elsewhere.login(token("olga", Grant(Role.VIEWER)))
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines()[0] == f"olga at {elsewhere.url}/dynamo/v1: viewer"
    assert elsewhere.file.stat().st_mode & 0o777 == 0o600

    found = elsewhere.json("dataset", "find", FIRST)
    assert [dataset["name"] for dataset in found] == [FIRST]
    me = elsewhere.json("whoami")
    assert (me["server"], me["name"], me["known_by"]) == (f"{elsewhere.url}/dynamo/v1", "olga", "token")
    assert elsewhere.dynamo("server", "list").out.splitlines()[-2:] != []


def test_what_is_refused_says_what_would_do(elsewhere: Elsewhere, token: Token) -> None:
    elsewhere.login(token("olga", Grant(Role.VIEWER)))
    ended = elsewhere.dynamo("lock", "add", FIRST, "--reason", "thesis")
    assert (ended.code, ended.out) == (2, "")
    assert "olga may not lock: it needs" in ended.err
    assert "they hold" in ended.err
    assert elsewhere.json("lock", "list") == []


def test_a_token_that_is_none_is_not_kept(elsewhere: Elsewhere) -> None:
    ended = elsewhere.login("dyn_" + "x" * 40)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == "dynamo: the token is not known\n"
    assert not elsewhere.file.exists()


def test_nobody_is_asked_for_a_token_where_nobody_is(elsewhere: Elsewhere) -> None:
    ended = elsewhere.dynamo("login", elsewhere.url)
    assert ended.code == 2
    assert "nobody is there to be asked: give it on standard input, with --with-token" in ended.err


def test_one_of_two_servers_is_meant(elsewhere: Elsewhere, token: Token) -> None:
    other = f"{elsewhere.url.replace('127.0.0.1', 'localhost')}/dynamo/v1"
    elsewhere.login(token("olga", Grant(Role.VIEWER)))
    elsewhere.login(token("ada", Grant(Role.VIEWER)), other)
    assert elsewhere.json("whoami")["name"] == "olga"
    assert elsewhere.dynamo("server", "use", other).out == f"commands go to {other}\n"
    assert elsewhere.json("whoami")["name"] == "ada"
    assert elsewhere.dynamo("logout").out == f"no token for {other} any more\n"
    assert elsewhere.json("whoami")["name"] == "olga"
    assert elsewhere.dynamo("logout", elsewhere.url).code == 0
    ended = elsewhere.dynamo("logout")
    assert ended.code == 2
    assert "dynamo: no server: `dynamo login URL`" in ended.err


def test_who_does_it_cannot_be_said_from_afar(elsewhere: Elsewhere, token: Token) -> None:
    elsewhere.login(token("olga", Grant(Role.OPERATOR)))
    ended = elsewhere.dynamo("lock", "add", FIRST, "--reason", "thesis", "--by", "ada")
    assert ended.code == 2
    assert "--by: over REST, who does it is whose the token is" in ended.err
