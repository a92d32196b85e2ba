"""Commands over REST: the same words as at the installation, and the same answers. Each command once here, and in the
long run (``slow``) each with its options, its errors, and as each role."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dynamo_ops.access import grants, tokens
from dynamo_ops.access.person import Grant, Role, Scope
from dynamo_ops.base.settings import settings
from dynamo_ops.cli.afar.server import server
from dynamo_ops.database.connection import Database
from dynamo_ops.database.embedded import EmbeddedPostgres
from dynamo_ops.errand.carry import carry_out
from tests.cli.seeded import Ended, copied, piped, seeded_home
from tests.cli.test_walk import CALLS, call
from tests.people import ROOT_USER
from tests.plugins.web.conftest import served
from tests.plugins.web.listening import listening

__all__ = ["seeded_home"]

WHO = "olga"
BOTH = (
    "dataset find",
    "dataset show",
    "dataset where",
    "dataset files",
    "dealer commit",
    "dealer explain",
    "dealer refuse",
    "dealer show",
    "detox commit",
    "detox diff",
    "detox explain",
    "detox refuse",
    "detox show",
    "history dataset",
    "history cycles",
    "history site",
    "lock add",
    "lock list",
    "lock remove",
    "lock show",
    "site list",
    "site show",
    "site only-here",
    "site set",
    "site unset",
    "site overrides",
    "site drain",
    "site evacuate",
    "site resume",
    "site downtime",
    "site shared",
    "site mappings",
    "group show",
    "group datasets",
    "usage",
    "request copy",
    "request delete",
    "request list",
    "request show",
    "request cancel",
    "stop",
    "resume",
    "pauses",
    "plan list",
    "plan show",
    "policy variables",
    "quota set",
    "quota unset",
    "quota group",
    "quota user",
    "quota show",
    "transfers status",
    "transfers why",
    "transfers hold",
    "transfers release",
    "transfers retry",
    "transfers cancel",
    "transfers series",
    "transfers links",
    "transfers errors",
    "deletions series",
    "replica bad",
    "replica suspicious",
    "replica good",
    "replica list",
    "inject",
    "invalidate",
    "invalidated",
    "inventory summary",
    "inventory set-aside",
    "inventory vanished",
    "access grant",
    "access revoke",
    "access list",
    "access member",
    "access members",
    "token list",
    "token revoke",
    "audit",
    "event list",
    "event subscribe",
    "event unsubscribe",
    "event subscriptions",
    "gate results",
    "gate trend",
    "digest",
)
"""Every command that can be given from afar."""
WRITES = (
    "dealer commit",
    "dealer refuse",
    "detox commit",
    "detox refuse",
    "lock add",
    "lock remove",
    "site set",
    "site unset",
    "site drain",
    "site evacuate",
    "site resume",
    "request copy",
    "request delete",
    "request cancel",
    "stop",
    "resume",
    "quota set",
    "quota unset",
    "quota group",
    "quota user",
    "transfers hold",
    "transfers release",
    "transfers retry",
    "transfers cancel",
    "replica bad",
    "replica suspicious",
    "replica good",
    "inject",
    "invalidate",
    "access grant",
    "access revoke",
    "access member",
    "token revoke",
)
READS = tuple(words for words in BOTH if words not in WRITES)
NOT_FOR_ALL = ("access list", "audit", "token list")
"""What only admins read, of others."""
FILES = ("init", "config", "policy", "db", "airflow", "server", "whoami")
"""What is about files of the machine where one is, whatever server is meant."""
ALL = "Partition all\nOn site.name == T*\nWhen site.occupancy > 0.9\nUntil site.occupancy < 0.8\n"
BY_LOGIN = "token make"
"""What a token may not do: who has logged in to Airflow can."""
CHOSEN = (Role.OPERATOR, Role.ADMIN)
WAITING = re.compile(r"warning: .* is done by a run of the server \(errand \d+\): waiting\n")
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?\+00:00|Z)")


class House:
    """An installation, and a server of it. ``here`` and ``afar`` call a command, each on a database of its own."""

    def __init__(self, home: Path, postgres: EmbeddedPostgres, patch: pytest.MonkeyPatch) -> None:
        self._home, self._postgres, self._patch = home, postgres, patch
        self.began = datetime.now(UTC)

    @contextmanager
    def _copied(self, roles: tuple[Role, ...]) -> Iterator[str]:
        """Of somebody who may do so: their token."""
        with copied(self._home, self._postgres, self._patch):
            database = Database(self._postgres.url("walk_copy"))
            held = [Grant(role, Scope.parse("*")) for role in roles]
            for grant in held:
                grants.grant(database, WHO, grant, by=ROOT_USER, reason="test")
            yield tokens.make(database, "test", days=1, by=ROOT_USER, person=WHO).secret
            database.dispose()

    def _carry(self, _run_id: str, _by: str) -> bool:
        """As the DAG does, before the asking is answered."""
        database = Database(self._postgres.url("walk_copy"))
        carry_out(database, settings(), "errands/of_a_test")
        database.dispose()
        return False

    def here(self, *words: str, roles: tuple[Role, ...] = CHOSEN) -> Ended:
        with self.at_home(roles):
            return piped(*words)

    @contextmanager
    def at_home(self, roles: tuple[Role, ...] = CHOSEN) -> Iterator[None]:
        """Where commands mean the database."""
        self._patch.setenv("LOGNAME", WHO)
        with self._copied(roles):
            yield

    def afar(self, *words: str, roles: tuple[Role, ...] = CHOSEN) -> Ended:
        with self.there(roles):
            return piped(*words)

    @contextmanager
    def there(self, roles: tuple[Role, ...] = CHOSEN) -> Iterator[None]:
        """Where commands mean the server."""
        with (
            self._copied(roles) as token,
            served(self._patch) as client,
            listening(client.app) as url,
            pytest.MonkeyPatch.context() as patch,
        ):
            patch.setenv("DYNAMO_SERVER", url)
            patch.setenv("DYNAMO_TOKEN", token)
            patch.setattr("dynamo_web.run.start._start", self._carry)
            server.cache_clear()
            yield

    def plain(self, document: Any) -> Any:
        """Without the times of this test."""
        if isinstance(document, dict):
            return {name: self.plain(field) for name, field in document.items()}
        if isinstance(document, list):
            return [self.plain(field) for field in document]
        if isinstance(document, str):
            return MOMENT.sub(lambda found: self._moment(found[0]), document)
        return document

    def _moment(self, text: str) -> str:
        began = self.began.replace(second=0, microsecond=0) if text.endswith("Z") else self.began
        return "now" if datetime.fromisoformat(text) >= began else text


def told(ended: Ended) -> str:
    """What was said on standard error, but that a run is waited for."""
    return WAITING.sub("", ended.err)


@pytest.fixture
def house(
    airflow: None, seeded_home: Path, postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> Iterator[House]:
    yield House(seeded_home, postgres, monkeypatch)
    server.cache_clear()


def same(house: House, here: Ended, afar: Ended) -> bool:
    """Whether both say the same, but for times of this test."""
    assert (afar.code, told(afar)) == (here.code, here.err)
    texts = [house.plain(_document(ended.out)) for ended in (here, afar)]
    assert texts[1] == texts[0]
    return True


def _document(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


@pytest.mark.parametrize("words", READS)
def test_what_reads_says_the_same_both_ways(house: House, words: str) -> None:
    with house.at_home():
        here = [piped(*call(words), "--json"), piped(*call(words))]
    with house.there():
        afar = [piped(*call(words), "--json"), piped(*call(words))]
    assert all(same(house, *pair) for pair in zip(here, afar, strict=True))


def test_policies_of_this_machine_are_read_by_the_server(house: House, tmp_path: Path) -> None:
    right, wrong, odd = (tmp_path / f"{name}.txt" for name in ("right", "wrong", "odd"))
    right.write_text(f"{ALL}Protect site.name == T9_None\nDismiss\nOrder none\n")
    wrong.write_text(f"{ALL}Protect replica.size >\nDeleet\n")
    odd.write_bytes(b"On \xff")
    files = [str(file) for file in (right, wrong, odd, tmp_path / "gone.txt")]
    calls = [["policy", act, *files, *form] for act in ("check", "lint") for form in ([], ["--json"])]
    with house.at_home():
        here = [piped(*words) for words in calls]
    with house.there():
        afar = [piped(*words) for words in calls]
    assert all(same(house, *pair) for pair in zip(here, afar, strict=True))
    assert [ended.code for ended in afar] == [2, 2, 2, 2]
    assert "T9_None" in afar[2].out
    assert f"{right}: OK, 1 policy lines, partition all" in afar[0].out


def test_policies_of_the_server_are_meant_by_their_names(house: House) -> None:
    with house.there():
        named, everything = piped("policy", "check", "all"), piped("policy", "check")
        nothing = piped("policy", "lint", "al")
    assert named.out.startswith("all: OK, ")
    assert (named.code, everything.code) == (0, 0)
    assert named.out in everything.out
    assert nothing.code == 2
    assert "'al' is no partition with a policy" in nothing.err


@pytest.mark.parametrize("words", WRITES)
def test_what_writes_says_the_same_both_ways(house: House, words: str) -> None:
    assert same(house, house.here(*call(words), "--json"), house.afar(*call(words), "--json"))


@pytest.mark.slow
@pytest.mark.parametrize("words", WRITES)
def test_what_writes_shows_the_same_both_ways(house: House, words: str) -> None:
    assert same(house, house.here(*call(words)), house.afar(*call(words)))


def test_who_may_not_is_told_who_may(house: House) -> None:
    from dynamo_web.caller.rates import WRITES as RATES

    with house.there((Role.VIEWER,)):
        for words in (*WRITES, *NOT_FOR_ALL):
            RATES.forget()
            ended = piped(*call(words), "--json")
            assert (ended.code, ended.out) == (2, ""), words
            assert " it needs " in ended.err, (words, ended.err)


@pytest.mark.slow
@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("words", [*WRITES, *NOT_FOR_ALL])
def test_each_role_does_it_or_is_told_who_may(house: House, words: str, role: Role) -> None:
    afar = house.afar(*call(words), "--json", roles=(role,))
    if " may not " in afar.err:
        assert (afar.code, afar.out) == (2, "")
        assert " it needs " in afar.err
    else:
        assert same(house, house.here(*call(words), "--json", roles=(role,)), afar)


ONLY_THERE = sorted(words for words in {*CALLS} - {*BOTH, BY_LOGIN} if words.split()[0] not in FILES)


@pytest.mark.parametrize("words", ONLY_THERE)
def test_what_cannot_be_done_from_afar_says_so(house: House, words: str) -> None:
    ended = house.afar(*call(words))
    assert (ended.code, ended.out) == (2, "")
    assert "this works on the installation itself, not over REST" in ended.err
