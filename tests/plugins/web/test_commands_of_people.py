"""Commands about what people ask for and what moves, both ways: also with options, dry runs and errors."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from unittest.mock import Mock

import pytest

from dynamo_ops.access.person import Role
from dynamo_ops.cli.afar import access
from tests.cli.seeded import DATASET, LONG, seeded_home
from tests.cli.test_walk import call
from tests.plugins.web.test_commands import BY_LOGIN, House, house

__all__ = ["house", "seeded_home"]

WHY = ("--reason", "because")
LAST, LFN = f"{DATASET}#b2", "/store/c1/f0"
CALLS: dict[str, tuple[str, ...]] = {
    "copies that were asked for before": ("request", "copy", LONG, "--site", "T2_C*", "--group", "ops"),
    "copies of nothing": ("request", "copy", "/A/B-v1/AOE", "--site", "T2_C*", "--group", "ops"),
    "copies for nobody": ("request", "copy", LONG, "--site", "T2_*", "--group", "opps"),
    "what would be deleted": ("request", "delete", LAST, "--site", "T2_A", *WHY, "--dry-run"),
    "last copies": ("request", "delete", LAST, "--site", "T2_*", *WHY, "--allow-last", "1", "--yes"),
    "a deletion that is rejected": ("request", "delete", LAST, "--site", "T2_C*", *WHY, "--yes"),
    "a deletion without a reason": ("request", "delete", LAST, "--site", "T2_A", "--reason", " ", "--yes"),
    "a deletion that nobody can be asked about": ("request", "delete", LAST, "--site", "T2_A", *WHY),
    "requests of a kind": ("request", "list", "--kind", "deletion", "--state", "open", "--limit", "1"),
    "requests of a dataset": ("request", "list", "--dataset", "/Very*"),
    "requests of no dataset": ("request", "list", "--dataset", "/X/*"),
    "requests of no state": ("request", "list", "--state", "done"),
    "a request with all of its parts": ("request", "show", "2"),
    "no request": ("request", "show", "4711"),
    "a deletion that is taken back": ("request", "cancel", "2", *WHY),
    "no request to take back": ("request", "cancel", "4711", *WHY),
    "everything stops": ("stop", *WHY),
    "kinds without partitions": ("stop", "transfers", "--partition", "all", *WHY),
    "sites stop": ("stop", "--site", "T2_[AB]*", *WHY, "--until", "3d"),
    "no site to stop": ("stop", "--site", "T3_*", *WHY),
    "one goes on": ("resume", "1"),
    "one of two goes on": ("resume", "1", "7"),
    "one pause": ("pauses", "--limit", "1"),
    "transfers of sites": ("transfers", "status", "--site", "T2_[BC]*", "--since", "1h"),
    "transfers of no site": ("transfers", "status", "--site", "T3_*"),
    "why a file is there": ("transfers", "why", LFN),
    "why a file is at a site": ("transfers", "why", LFN, "--site", "T2_A"),
    "why there is no file": ("transfers", "why", f"{LFN}0"),
    "why there is no subscription": ("transfers", "why", "4711"),
    "why nothing": ("transfers", "why", "f0"),
    "what would be held": ("transfers", "hold", "--action", "copy", *WHY, "--dry-run"),
    "what nobody can be asked about": ("transfers", "hold", "--action", "copy", *WHY),
    "held without a reason": ("transfers", "hold", "--id", "1", "--reason", " ", "--yes"),
    "nothing to retry": ("transfers", "retry", "--action", "delete", "--hold-reason", "no_source"),
    "all are chosen": ("transfers", "release"),
    "a state that is none": ("transfers", "hold", "--state", "helt", *WHY),
    "copies that a group wants": ("transfers", "cancel", "--action", "copy", *WHY, "--yes"),
    "copies and their owners": ("transfers", "cancel", "--action", "copy", "--disown", *WHY, "--yes"),
    "what would be disowned": ("transfers", "cancel", "--dataset", LONG, "--disown", *WHY, "--dry-run"),
    "by days": ("transfers", "series", "source", "--since", "2d", "--to", "1d", "--step", "day"),
    "by no step": ("transfers", "series", "--step", "week"),
    "by nothing": ("deletions", "series", "source"),
    "since nothing": ("transfers", "errors", "--since", "yesteryear"),
    "a role with an end": ("access", "grant", "bob", "manager", "--scope", "group:ops", "--until", "3d", *WHY),
    "a scope that is none": ("access", "grant", "bob", "manager", "--scope", "ops", *WHY),
    "a role without a reason": ("access", "grant", "bob", "user", "--reason", ""),
    "a role that they do not hold": ("access", "revoke", "ada", "operator", *WHY),
    "what one holds": ("access", "list", "ada"),
    "members of a group": ("access", "members", "ops"),
    "members of no group": ("access", "members", "opps"),
    "no longer a member": ("access", "member", "ops", "bob", "--gone"),
    "a member of no group": ("access", "member", "opps", "bob"),
    "no token": ("token", "revoke", "4711"),
    "what was done with locks": ("audit", "--action", "lock", "--outcome", "done", "--limit", "1"),
    "what somebody did": ("audit", "--person", "oo", "--since", "1d"),
    "what nobody did": ("audit", "--person", "*"),
    "what was never done": ("audit", "--action", "cook"),
    "what a gate refused": ("gate", "results", "--gate", "sites", "--failed", "--limit", "1"),
    "what gates found in a run": ("gate", "results", "--run", "scheduled__0", "--subject", "ri"),
    "what no gate found": ("gate", "results", "--gate", "site"),
    "a figure of two days": ("gate", "trend", "sites", "cric", "sites", "--days", "2"),
    "no figure": ("gate", "trend", "sites", "cric", "site"),
    "the digest of a morning": ("digest", "--day", "2026-03-01"),
    "links of a source": ("transfers", "links", "--source", "T2_A", "--outcome", "done"),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", CALLS)
def test_both_ways_are_one(house: House, what: str) -> None:
    words = CALLS[what]
    here, afar = house.here(*words), house.afar(*words)
    assert (afar.code, afar.err, afar.out) == (here.code, here.err, here.out)


@pytest.mark.slow
@pytest.mark.parametrize("what", CALLS)
def test_both_ways_tell_programs_the_same(house: House, what: str) -> None:
    words = (*CALLS[what], "--json")
    here, afar = house.here(*words), house.afar(*words)
    assert (afar.code, afar.err) == (here.code, here.err)
    if here.out:
        assert house.plain(json.loads(afar.out)) == house.plain(json.loads(here.out))


SAID_BY = (
    "request copy",
    "request delete",
    "request cancel",
    "stop",
    "resume",
    "transfers hold",
    "transfers release",
    "access grant",
    "access revoke",
    "access member",
    "token make",
    "token revoke",
)


@pytest.mark.slow
@pytest.mark.parametrize("words", SAID_BY)
def test_nobody_acts_for_another_from_afar(house: House, words: str) -> None:
    ended = house.afar(*call(words), "--by", "ada")
    assert (ended.code, ended.out) == (2, "")
    assert "who does it is whose the token is" in ended.err


@pytest.mark.slow
@pytest.mark.parametrize("words", sorted({*SAID_BY} - {BY_LOGIN}))
def test_who_may_not_is_told_so(house: House, words: str) -> None:
    ended = house.afar(*call(words), roles=(Role.VIEWER,))
    assert ended.code == 2
    assert "olga may not " in ended.err


def test_a_token_makes_no_token(house: House) -> None:
    ended = house.afar("token", "make", "nightly")
    assert (ended.code, ended.out) == (2, "")
    assert "a token makes no tokens of its owner: log in to Airflow for that" in ended.err


def test_who_logged_in_makes_a_token_of_their_own(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    made = {"id": 7, "secret": "dyn_new", "until": datetime(2026, 3, 1, tzinfo=UTC)}
    asked = Mock(return_value=made)
    monkeypatch.setattr(access, "post", asked)
    ended = house.afar("token", "make", "nightly", "--days", "3", "--role", "viewer@site:T2_A")
    assert (ended.code, ended.out) == (0, "dyn_new\n")
    assert "token 7 of olga, until 2026-03-01T00:00Z: it is not shown again" in ended.err
    held = [{"role": "viewer", "scope": "site:T2_A"}]
    asked.assert_called_once_with("/me/tokens", {"name": "nightly", "days": 3.0, "grants": held}, by=None)


def test_a_token_of_somebody_else_is_made_at_the_installation(house: House) -> None:
    assert "made on the installation itself" in house.afar("token", "make", "nightly", "--person", "ada").err


def test_ones_own_tokens_need_no_right(house: House) -> None:
    assert "olga" in house.afar("token", "list", "--person", "olga", roles=(Role.VIEWER,)).out
    assert "olga may not " in house.afar("token", "list", roles=(Role.VIEWER,)).err
