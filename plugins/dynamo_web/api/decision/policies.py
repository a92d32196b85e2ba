"""Policies as they are installed, the variables that they can use, and what is to be said about a text."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from dynamo_ops.access.actions import Action
from dynamo_ops.base.settings import settings
from dynamo_ops.policy.files import installed_policies, installed_policy, read_partitions
from dynamo_ops.policy.language.check import CheckedPolicy
from dynamo_ops.policy.language.reference import describe
from dynamo_ops.policy.language.source import SourceText
from dynamo_ops.policy.language.variables import known_variables
from dynamo_ops.policy.notice import Notice, check_policy, lint_policy, names_of
from dynamo_web.caller.login import needs
from dynamo_web.databases import reading
from dynamo_web.lists import ListerDep, json_answer, rows_answer

router = APIRouter(dependencies=[needs(Action.READ)])
LONGEST = 200_000
"""Characters of a policy."""


class PolicyText(BaseModel):
    """A policy that is not installed. ``name``: what it is called in messages."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(max_length=LONGEST)
    name: str = Field("policy", max_length=1_000)


@router.get("/policy-variables")
def list_variables() -> Response:
    """All variables: type, operators, values, needed attributes, and how they are computed."""
    return rows_answer([describe(variable) for variable in known_variables().values()])


@router.get("/policies")
def list_policies() -> Response:
    """The partitions that have a policy, with its digest and number of lines (null: it has errors)."""
    now = datetime.now(UTC)
    checked = [(source, check_policy(source, now)[0]) for source in installed_policies(settings(), now)]
    return rows_answer([{"partition": source.file, **_digest(source, policy)} for source, policy in checked])


@router.get("/policies/{partition}")
def show_policy(partition: str) -> Response:
    """The policy of a partition as it is installed now."""
    now = datetime.now(UTC)
    source = installed_policy(settings(), partition, now)
    policy, notices = check_policy(source, now)
    return json_answer(
        {
            "partition": partition,
            "text": source.text,
            **_digest(source, policy),
            "notices": [asdict(notice) for notice in notices],
        }
    )


@router.post("/policies/check")
def check(policy: PolicyText, lister: ListerDep) -> Response:
    """Whether a text is a policy: all its errors, with line and column. Nothing of it is kept."""
    with lister.heavy():
        checked, notices = check_policy(SourceText(policy.name, policy.text), datetime.now(UTC))
    return _answer(checked, notices)


@router.post("/policies/lint")
def lint(policy: PolicyText, lister: ListerDep) -> Response:
    """What a text says and probably does not mean, by the names that there are. Nothing of it is kept."""
    now = datetime.now(UTC)
    with lister.heavy():
        checked, notices = check_policy(SourceText(policy.name, policy.text), now)
        if checked is not None:
            defined = read_partitions(settings(), now)
            notices = lint_policy(checked, names_of(reading(), [*defined.conditions, *defined.unions]))
    return _answer(checked, notices)


def _digest(source: SourceText, policy: CheckedPolicy | None) -> dict[str, Any]:
    digest = hashlib.sha256(source.text.encode()).hexdigest()
    return {"sha256": digest, "num_lines": len(policy.lines) if policy else None}


def _answer(policy: CheckedPolicy | None, notices: list[Notice]) -> Response:
    has_errors = any(notice.severity == "error" for notice in notices)
    return json_answer(
        {
            "partition": policy.partition if policy else None,
            "num_lines": len(policy.lines) if policy else None,
            "is_policy": not has_errors,
            "notices": [asdict(notice) for notice in notices],
        }
    )
