"""What can be done from a page: a form that is sent to REST, and nothing else. What it would do is shown first; then it
is done, where it destroys or stops something after that was typed. Who may not sees who may."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from dynamo_ops.access.actions import AccessError, Action, Target, check_may_some, may
from dynamo_ops.access.person import Person
from dynamo_web.caller.login import limits


class FieldKind(StrEnum):
    """How something is typed, and what it becomes: ``NAMES`` a list, ``AREA`` a long text."""

    TEXT = "text"
    AREA = "area"
    NAMES = "names"
    NUMBER = "number"
    FLAG = "flag"


@dataclass(frozen=True)
class Field:
    """``name``: in the body. ``start``: what stands there at first. ``options``: of a choice."""

    name: str
    label: str
    kind: FieldKind = FieldKind.TEXT
    start: str = ""
    hint: str = ""
    options: Sequence[str] = ()
    is_required: bool = False


@dataclass(frozen=True)
class Act:
    """``about``: what it does, in a sentence. ``method``, ``path``: of REST, below /v1. ``sent``: of the body, what is
    not asked for. ``takes``: fields of the body that the dry run tells, by how they are called there. ``confirm``: what
    is to be typed; ``{name}``: of the dry run. ``seen``: the etag of what they decide about. ``in_query``: all is sent
    in the address. ``then``: where it leads, below /ui; ``{name}``: of the answer."""

    title: str
    about: str
    action: Action
    method: str
    path: str
    fields: Sequence[Field] = ()
    sent: Mapping[str, Any] = field(default_factory=dict)
    takes: Mapping[str, str] = field(default_factory=dict)
    confirm: str = ""
    seen: str = ""
    in_query: bool = False
    then: str = ""
    of: Target | None = None


@dataclass(frozen=True)
class Offer:
    """An act as somebody sees it. ``refused``: why they may not; empty: they may."""

    act: Act
    refused: str


REASON = Field("reason", "Why", hint="others read it", is_required=True)


def offered(person: Person, *acts: Act) -> list[Offer]:
    """To a person. What is touched may not be known yet: then who may do it to something may try."""
    return [Offer(act, _refusal(person, act)) for act in acts]


def _refusal(person: Person, act: Act) -> str:
    try:
        if act.of is None:
            check_may_some(person, act.action)
        else:
            may(person, act.action, act.of, limits())
    except AccessError as error:
        return f"{error.message[0].upper()}{error.message[1:]}."
    return ""
