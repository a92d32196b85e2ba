"""Each cell of the table of rights: what a role may, and what its condition forbids."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dynamo_ops.access.actions import NOTHING, RIGHTS, AccessError, Action, Target, may
from dynamo_ops.access.person import EVERYWHERE, Grant, KnownBy, Person, Role, Scope, ScopeKind
from dynamo_ops.base.errors import SettingsError
from tests import ROOT

PHYSICS, MUONS, GERMAN = (Scope.parse(text) for text in ("group:physics", "namespace:/Muons/*", "site:T2_DE_*"))
HELD = {
    Role.MANAGER: (PHYSICS, Scope.parse("partition:express")),
    Role.PRODUCER: (MUONS, GERMAN),
    Role.SITE_ADMIN: (GERMAN,),
}
INSIDE = Target(
    datasets=("/Muons/Run2026A-v1/*",),
    sites=("T2_DE_DESY",),
    partitions=("express",),
    groups=("physics",),
    owner="ada",
    is_asked_by_them=True,
    days=30,
    num_files=1_000,
    is_service_set=True,
)
"""What everybody's condition allows; each of the following changes one thing of it."""
OUTSIDE = {
    "another namespace": replace(INSIDE, datasets=("/Muons/x", "/Electrons/x")),
    "all namespaces": replace(INSIDE, datasets=()),
    "another site": replace(INSIDE, sites=("T2_DE_DESY", "T2_FR_X")),
    "all sites": replace(INSIDE, sites=()),
    "another partition": replace(INSIDE, partitions=("physics",)),
    "another group": replace(INSIDE, groups=("physics", "higgs")),
    "somebody else's": replace(INSIDE, owner="bob"),
    "not asked by them": replace(INSIDE, is_asked_by_them=False),
    "31 days": replace(INSIDE, days=31),
    "91 days": replace(INSIDE, days=91),
    "367 days": replace(INSIDE, days=367),
    "for ever": replace(INSIDE, days=None),
    "1,001 files": replace(INSIDE, num_files=1_001),
    "100,001 files": replace(INSIDE, num_files=100_001),
    "100,001 files, said twice": replace(INSIDE, num_files=100_001, second_person="ada"),
    "100,001 files, two people": replace(INSIDE, num_files=100_001, second_person="bob"),
    "large": replace(INSIDE, size_bytes=10**13 + 1),
    "tape": replace(INSIDE, has_tape=True),
    "last copies": replace(INSIDE, has_last_copies=True),
    "above the quota": replace(INSIDE, is_within_quota=False),
    "one lock": replace(INSIDE, is_service_set=False),
}
NAMESPACE, SITES, GROUP = (
    ("another namespace", "all namespaces"),
    ("another site", "all sites"),
    ("another group",),
)
ALL = tuple(OUTSIDE)
V, U, P, M, S, O, A = Role  # noqa: E741
OPERATOR = {O: ()}
TABLE: dict[Action, dict[Role, tuple[str, ...]]] = {
    Action.READ: dict.fromkeys(Role, ()),
    Action.READ_AUDIT: {A: ()},
    Action.READ_ERRAND: dict.fromkeys(Role, ("somebody else's",)) | {O: (), A: ()},
    Action.TRY_POLICY: OPERATOR | {M: ("another partition",)},
    Action.COPY: OPERATOR | {U: GROUP, P: NAMESPACE, M: GROUP, S: SITES},
    Action.COPY_UNAPPROVED: OPERATOR
    | {
        U: (*GROUP, "large", "tape"),
        P: (*NAMESPACE, "large", "tape"),
        M: (*GROUP, "above the quota", "tape"),
        S: (*SITES, "tape"),
    },
    Action.APPROVE_COPY: OPERATOR | {S: SITES},
    Action.CANCEL_REQUEST: OPERATOR | {U: ("somebody else's",), P: ("somebody else's",), M: GROUP},
    Action.DELETE: OPERATOR
    | {
        U: ("not asked by them", "tape"),
        P: (*NAMESPACE, "tape"),
        M: (*GROUP, "tape"),
        S: (*SITES, "last copies", "tape"),
    },
    Action.LOCK: OPERATOR
    | {
        U: (*GROUP, "91 days", "367 days", "for ever"),
        P: (*NAMESPACE, "one lock", "367 days", "for ever"),
        M: (*GROUP, "367 days", "for ever"),
        S: (*SITES, "31 days", "91 days", "367 days", "for ever"),
    },
    Action.UNLOCK: OPERATOR | {U: ("somebody else's",), P: ("somebody else's", "one lock"), M: GROUP},
    Action.DRAFT_RULE: OPERATOR | {M: GROUP},
    Action.ACTIVATE_RULE: OPERATOR,
    Action.INJECT: OPERATOR | {P: (*NAMESPACE, *SITES)},
    Action.INVALIDATE: {
        P: (*NAMESPACE, "1,001 files", "100,001 files", "100,001 files, said twice", "100,001 files, two people"),
        O: ("100,001 files", "100,001 files, said twice"),
    },
    Action.REPORT_BAD: OPERATOR | {U: (), P: (), S: SITES},
    Action.DECLARE_BAD: OPERATOR | {S: SITES},
    Action.OPERATE_SUBSCRIPTIONS: OPERATOR | {S: SITES},
    Action.OPERATE_SITE: OPERATOR | {S: SITES},
    Action.SET_PARTITION_QUOTA: OPERATOR,
    Action.PROPOSE_PARTITION_QUOTA: OPERATOR | {S: SITES},
    Action.SET_GROUP_QUOTA: OPERATOR,
    Action.SET_USER_QUOTA: OPERATOR | {M: GROUP},
    Action.DECIDE_PLAN: {},
    Action.PAUSE: OPERATOR | {S: SITES},
    Action.SET_MEMBERS: {M: GROUP, A: ()},
    Action.GRANT: {A: ()},
    Action.OWN_TOKEN: {
        role: ("somebody else's", "91 days", "367 days", "for ever") for role in Role if role is not Role.PRODUCER
    },
    Action.SUBSCRIBE: dict.fromkeys(Role, ("somebody else's",)),
    Action.SUBSCRIBE_OTHERS: OPERATOR | {M: GROUP, A: ()},
}
"""By action the roles that may, each with what it may not. REST_AND_PAGES §3, cell by cell; a role that is not there
may nothing. Plans are apart: below."""


def who(role: Role, *scopes: Scope) -> Person:
    grants = tuple(Grant(role, scope) for scope in scopes or HELD.get(role, (EVERYWHERE,)))
    return Person("ada", KnownBy.TOKEN, grants, frozenset({"physics"}))


def may_they(person: Person, action: Action, of: Target) -> bool:
    try:
        may(person, action, of)
    except AccessError:
        return False
    return True


def test_the_table_has_every_action() -> None:
    assert set(TABLE) == set(RIGHTS) == set(Action)


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("action", [action for action in Action if action is not Action.DECIDE_PLAN])
def test_cell(action: Action, role: Role) -> None:
    person, row = who(role), TABLE[action]
    assert may_they(person, action, INSIDE) == (role in row)
    forbidden = [what for what, of in OUTSIDE.items() if not may_they(person, action, of)]
    assert forbidden == [what for what in ALL if role not in row or what in row[role]]


@pytest.mark.parametrize("role", Role)
def test_a_plan_is_decided_by_an_operator_who_did_not_store_it(role: Role) -> None:
    assert not may_they(who(role), Action.DECIDE_PLAN, INSIDE)
    assert may_they(who(role), Action.DECIDE_PLAN, OUTSIDE["somebody else's"]) == (role is Role.OPERATOR)


@pytest.mark.parametrize("action", Action)
def test_who_holds_nothing_may_nothing(action: Action) -> None:
    nobody = Person("eve", KnownBy.TOKEN)
    with pytest.raises(AccessError, match=rf"^eve may not {action}: it needs .*; they hold nothing$") as refused:
        may(nobody, action, INSIDE)
    assert refused.value.facts["needs"]


@pytest.mark.parametrize(
    ("scope", "of", "is_allowed"),
    [
        ("site:T2_DE_*", {"sites": ["T2_DE_*"]}, True),
        ("site:T2_DE_*", {"sites": ["T2_*"]}, False),
        ("site:T2_DE_*", {}, False),
        ("site:*", {"sites": ["T2_FR_X"]}, True),
        ("partition:express", {"partitions": ["express"]}, True),
        ("partition:express", {"partitions": ["express", "physics"]}, False),
        ("group:physics", {"groups": ["physics"], "sites": ["T2_FR_X"]}, True),
        ("group:physics", {"sites": ["T2_FR_X"]}, False),
        ("*", {}, True),
    ],
)
def test_an_operator_of_something_is_one_there_only(scope: str, of: dict[str, list[str]], is_allowed: bool) -> None:
    assert may_they(who(Role.OPERATOR, Scope.parse(scope)), Action.PAUSE, Target(**of)) == is_allowed  # type: ignore[arg-type]


def test_what_is_asked_about_nothing_in_particular() -> None:
    assert may(who(Role.ADMIN), Action.GRANT, NOTHING) == Role.ADMIN
    assert may(who(Role.VIEWER), Action.READ) == Role.VIEWER


def test_a_refusal_says_what_would_do() -> None:
    with pytest.raises(AccessError) as refused:
        may(who(Role.SITE_ADMIN), Action.LOCK, OUTSIDE["31 days"])
    assert str(refused.value) == (
        "ada may not lock: it needs operator or user (for own groups, for 90 days at most) or producer (in the"
        " namespace, the locks of a service together, for a year at most) or manager (of the group, for a year at most)"
        " or site_admin (at own sites, for 30 days at most); they hold site_admin of site:T2_DE_*"
    )


def test_a_scope_is_written_as_it_is_read() -> None:
    assert [str(Scope.parse(text)) for text in ("*", "site:T2_*")] == ["*", "site:T2_*"]
    assert Scope.parse("site:T2_*") == Scope(ScopeKind.SITE, "T2_*")


@pytest.mark.parametrize("text", ["", "sites:T2_*", "site:", "T2_*", ":x"])
def test_what_is_no_scope_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=r"is no scope.*: write one of \*, group:GLOB, site:GLOB"):
        Scope.parse(text)


def test_the_table_of_the_guide_is_that_of_the_code() -> None:
    lines = (ROOT / "docs" / "access.md").read_text().splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("| action |"))
    roles = [Role(cell.strip()) for cell in lines[start].strip("|").split("|")[1:]]
    for action, line in zip(RIGHTS, lines[start + 2 :], strict=False):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        row = RIGHTS[action]
        assert cells == [action, *((row[role].words or "yes") if role in row else "" for role in roles)]
