"""Who may do what: one table (docs/access.md shows it, and a test holds the two together).

``RIGHTS`` has for each action the roles that may do it, each with a condition on what the act touches. A role that is
not there may not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from dynamo_ops.access.person import Person, Role, Scope, ScopeKind
from dynamo_ops.base.errors import DynamoError


class Action(StrEnum):
    """What can be done. Reads need a login, and no more."""

    READ = "read"
    READ_AUDIT = "read the audit"
    READ_ERRAND = "read an errand"
    TRY_POLICY = "try a policy"
    COPY = "ask for copies"
    COPY_UNAPPROVED = "have copies without approval"
    APPROVE_COPY = "approve or deny a copy"
    CANCEL_REQUEST = "cancel or extend a request"
    DELETE = "ask for deletions"
    LOCK = "lock"
    UNLOCK = "remove a lock"
    DRAFT_RULE = "draft a rule"
    ACTIVATE_RULE = "activate a rule"
    INJECT = "inject"
    INVALIDATE = "invalidate"
    REPORT_BAD = "report bad replicas"
    DECLARE_BAD = "declare bad replicas"
    OPERATE_SUBSCRIPTIONS = "hold, release, retry or cancel subscriptions"
    OPERATE_SITE = "set a site's status, downtime or consistency mode"
    SET_PARTITION_QUOTA = "set a partition's quota"
    PROPOSE_PARTITION_QUOTA = "propose a partition's quota"
    SET_GROUP_QUOTA = "set a group's quota"
    SET_USER_QUOTA = "set a person's quota"
    DECIDE_PLAN = "approve, refuse or commit a plan"
    PAUSE = "pause"
    SET_MEMBERS = "set a group's members"
    GRANT = "give rights, and others' tokens"
    OWN_TOKEN = "make a token of one's own"  # noqa: S105
    SUBSCRIBE = "have events sent to oneself"
    SUBSCRIBE_OTHERS = "have events sent to a group"


class Outcome(StrEnum):
    """What became of it. ``DRY_RUN``: it was only asked what would happen. ``FAILED``: allowed, and not possible."""

    DONE = "done"
    DRY_RUN = "dry_run"
    REFUSED = "refused"
    FAILED = "failed"


class AccessError(DynamoError):
    """They may not. Facts: ``action``, ``needs`` (what would do: roles, each with its condition)."""

    next_step = "Ask somebody who may, or ask an admin for the grant that is named."


@dataclass(frozen=True)
class Target:
    """What an act touches, as far as its rights depend on it. Names may be globs; what is empty is not named, so that
    the act is not confined to it.

    ``datasets``, ``sites``, ``partitions``, ``groups`` (owners of the replicas, or for whom copies are). ``owner``: who
    made the request, lock or token; or stored the plan by hand. ``is_asked_by_them``: only copies that they asked for
    are meant. ``days``: for how long (null: for ever). ``size_bytes``: of what would be new. ``has_tape``,
    ``has_last_copies``: whether some of it is. ``is_service_set``: the locks of a service, all together.
    ``second_person``: who else said so.
    """

    datasets: Sequence[str] = ()
    sites: Sequence[str] = ()
    partitions: Sequence[str] = ()
    groups: Sequence[str] = ()
    users: Sequence[str] = ()
    owner: str | None = None
    is_asked_by_them: bool = False
    days: float | None = None
    num_files: int = 0
    size_bytes: int = 0
    has_tape: bool = False
    has_last_copies: bool = False
    is_within_quota: bool = True
    is_service_set: bool = False
    second_person: str | None = None


NOTHING = Target()


@dataclass(frozen=True)
class Limits:
    """``free_bytes``: copies of so much are had without approval (``access.free_size`` in dynamo.yaml)."""

    free_bytes: int = 10 * 10**12


DEFAULT_LIMITS = Limits()
ONE_PERSON_FILES = 100_000
"""More files than these are invalidated by two people only."""
PRODUCER_FILES = 1_000


@dataclass(frozen=True)
class Condition:
    """When a role may: ``words`` say it, ``holds`` decides. A condition that is about scopes is given those that the
    person has in this role."""

    words: str
    holds: Callable[[Person, tuple[Scope, ...], Target, Limits], bool]

    def __and__(self, other: Condition) -> Condition:
        return Condition(
            ", ".join(filter(None, (self.words, other.words))),
            lambda *given: self.holds(*given) and other.holds(*given),
        )


def _covered(scopes: tuple[Scope, ...], kind: ScopeKind, names: Sequence[str]) -> bool:
    """Whether each of the names is in some scope; nothing named is everything, which only a scope of all covers."""
    return all(any(scope.covers(kind, name) for scope in scopes) for name in names or ("*",))


def _own(kind: ScopeKind, field: str, words: str) -> Condition:
    return Condition(words, lambda _, scopes, of, __: _covered(scopes, kind, getattr(of, field)))


ALWAYS = Condition("", lambda *_: True)
IN_NAMESPACE = _own(ScopeKind.NAMESPACE, "datasets", "in the namespace")
AT_OWN_SITES = _own(ScopeKind.SITE, "sites", "at own sites")
OF_GROUP = _own(ScopeKind.GROUP, "groups", "of the group")
OF_OWN_PARTITION = _own(ScopeKind.PARTITION, "partitions", "of own partitions")
OWN = Condition("one's own", lambda person, _, of, __: of.owner == person.name)
OWN_GROUPS = Condition("for own groups", lambda person, _, of, __: bool(of.groups) and set(of.groups) <= person.groups)
ASKED_BY_THEM = Condition("only copies that they asked for", lambda _, __, of, ___: of.is_asked_by_them)
WITHIN_QUOTA = Condition("within the quota", lambda _, __, of, ___: of.is_within_quota)
NO_LAST_COPY = Condition("no last copies", lambda _, __, of, ___: not of.has_last_copies)
NO_TAPE = Condition("not on tape", lambda _, __, of, ___: not of.has_tape)
SMALL = Condition("of no more than access.free_size", lambda _, __, of, limits: of.size_bytes <= limits.free_bytes)
SERVICE_SET = Condition("the locks of a service together", lambda _, __, of, ___: of.is_service_set)
NOT_OWN = Condition("stored by somebody else", lambda person, _, of, __: of.owner != person.name)
FEW_FILES = Condition("a thousand files at most", lambda _, __, of, ___: of.num_files <= PRODUCER_FILES)
TWO_ABOVE = Condition(
    "with a second person above a hundred thousand files",
    lambda person, _, of, __: of.num_files <= ONE_PERSON_FILES or of.second_person not in (None, person.name),
)


def _for_days(words: str, most: float) -> Condition:
    return Condition(f"for {words} at most", lambda _, __, of, ___: of.days is not None and of.days <= most)


DAYS_30, DAYS_90, YEAR = _for_days("30 days", 30), _for_days("90 days", 90), _for_days("a year", 366)

EVERYBODY = dict.fromkeys(Role, ALWAYS)
OPERATORS = {Role.OPERATOR: ALWAYS}

RIGHTS: Mapping[Action, Mapping[Role, Condition]] = {
    Action.READ: EVERYBODY,
    Action.READ_AUDIT: {Role.ADMIN: ALWAYS},
    Action.READ_ERRAND: OPERATORS
    | {role: OWN for role in Role if role not in (Role.OPERATOR, Role.ADMIN)}
    | {Role.ADMIN: ALWAYS},
    Action.TRY_POLICY: OPERATORS | {Role.MANAGER: OF_OWN_PARTITION},
    Action.COPY: OPERATORS
    | {Role.USER: OWN_GROUPS, Role.PRODUCER: IN_NAMESPACE, Role.MANAGER: OF_GROUP, Role.SITE_ADMIN: AT_OWN_SITES},
    Action.COPY_UNAPPROVED: OPERATORS
    | {
        Role.USER: OWN_GROUPS & SMALL & NO_TAPE,
        Role.PRODUCER: IN_NAMESPACE & SMALL & NO_TAPE,
        Role.MANAGER: OF_GROUP & WITHIN_QUOTA & NO_TAPE,
        Role.SITE_ADMIN: AT_OWN_SITES & NO_TAPE,
    },
    Action.APPROVE_COPY: OPERATORS | {Role.SITE_ADMIN: AT_OWN_SITES},
    Action.CANCEL_REQUEST: OPERATORS | {Role.USER: OWN, Role.PRODUCER: OWN, Role.MANAGER: OF_GROUP},
    Action.DELETE: OPERATORS
    | {
        Role.USER: ASKED_BY_THEM & NO_TAPE,
        Role.PRODUCER: IN_NAMESPACE & NO_TAPE,
        Role.MANAGER: OF_GROUP & NO_TAPE,
        Role.SITE_ADMIN: AT_OWN_SITES & NO_LAST_COPY & NO_TAPE,
    },
    Action.LOCK: OPERATORS
    | {
        Role.USER: OWN_GROUPS & DAYS_90,
        Role.PRODUCER: IN_NAMESPACE & SERVICE_SET & YEAR,
        Role.MANAGER: OF_GROUP & YEAR,
        Role.SITE_ADMIN: AT_OWN_SITES & DAYS_30,
    },
    Action.UNLOCK: OPERATORS | {Role.USER: OWN, Role.PRODUCER: OWN & SERVICE_SET, Role.MANAGER: OF_GROUP},
    Action.DRAFT_RULE: OPERATORS | {Role.MANAGER: OF_GROUP},
    Action.ACTIVATE_RULE: OPERATORS,
    Action.INJECT: OPERATORS | {Role.PRODUCER: IN_NAMESPACE & AT_OWN_SITES},
    Action.INVALIDATE: {Role.PRODUCER: IN_NAMESPACE & FEW_FILES, Role.OPERATOR: TWO_ABOVE},
    Action.REPORT_BAD: OPERATORS | {Role.USER: ALWAYS, Role.PRODUCER: ALWAYS, Role.SITE_ADMIN: AT_OWN_SITES},
    Action.DECLARE_BAD: OPERATORS | {Role.SITE_ADMIN: AT_OWN_SITES},
    Action.OPERATE_SUBSCRIPTIONS: OPERATORS | {Role.SITE_ADMIN: AT_OWN_SITES},
    Action.OPERATE_SITE: OPERATORS | {Role.SITE_ADMIN: AT_OWN_SITES},
    Action.SET_PARTITION_QUOTA: OPERATORS,
    Action.PROPOSE_PARTITION_QUOTA: OPERATORS | {Role.SITE_ADMIN: AT_OWN_SITES},
    Action.SET_GROUP_QUOTA: OPERATORS,
    Action.SET_USER_QUOTA: OPERATORS | {Role.MANAGER: OF_GROUP},
    Action.DECIDE_PLAN: {Role.OPERATOR: NOT_OWN},
    Action.PAUSE: OPERATORS | {Role.SITE_ADMIN: AT_OWN_SITES},
    Action.SET_MEMBERS: {Role.MANAGER: OF_GROUP, Role.ADMIN: ALWAYS},
    Action.GRANT: {Role.ADMIN: ALWAYS},
    Action.OWN_TOKEN: {role: OWN & DAYS_90 for role in Role if role is not Role.PRODUCER},
    Action.SUBSCRIBE: dict.fromkeys(Role, OWN),
    Action.SUBSCRIBE_OTHERS: OPERATORS | {Role.MANAGER: OF_GROUP, Role.ADMIN: ALWAYS},
}
"""An operator's, admin's, user's and viewer's scope confines them as well: see ``may``."""


def may(person: Person, action: Action, of: Target = NOTHING, limits: Limits = DEFAULT_LIMITS) -> Role:
    """The first of their roles by which they may. ``AccessError`` names what would do, where none of them does.

    A grant whose scope the role's own condition does not look at holds within that scope only: an operator of
    ``site:T2_DE_*`` may do to these sites what operators may.
    """
    for role, condition in RIGHTS[action].items():
        scopes = person.scopes(role)
        if scopes and _is_confined(scopes, of, action) and condition.holds(person, scopes, of, limits):
            return role
    raise _refusal(person, action)


def is_allowed(person: Person, action: Action, of: Target = NOTHING) -> bool:
    """Whether they may, without a reason."""
    try:
        may(person, action, of)
    except AccessError:
        return False
    return True


def check_may_some(person: Person, action: Action) -> None:
    """Raise AccessError where they may do this to nothing at all: of what is not known before it is done."""
    if not any(person.scopes(role) for role in RIGHTS[action]):
        raise _refusal(person, action)


def _refusal(person: Person, action: Action) -> AccessError:
    needs = [
        role if not condition.words else f"{role} ({condition.words})" for role, condition in RIGHTS[action].items()
    ]
    holds = ", ".join(map(str, sorted(person.grants))) or "nothing"
    return AccessError(
        f"{person.name} may not {action}: it needs {' or '.join(needs)}; they hold {holds}",
        action=action.value,
        needs=needs,
    )


def _is_confined(scopes: tuple[Scope, ...], of: Target, action: Action) -> bool:
    """Whether what is touched lies within the scopes: reads and one's own things have none."""
    if action in (Action.READ, Action.READ_ERRAND, Action.OWN_TOKEN, Action.SUBSCRIBE) or any(
        scope.kind is None for scope in scopes
    ):
        return True
    named = {
        ScopeKind.GROUP: of.groups,
        ScopeKind.SITE: of.sites,
        ScopeKind.PARTITION: of.partitions,
        ScopeKind.NAMESPACE: of.datasets,
    }
    kinds = {scope.kind for scope in scopes if scope.kind}
    return any(_covered(scopes, kind, named[kind]) for kind in kinds)
