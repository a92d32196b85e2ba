"""Policies over REST: files of this machine, or the server's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from dynamo_ops.base.errors import PolicyError
from dynamo_ops.cli.afar.server import get, post, whole
from dynamo_ops.cli.terminal.tables import Record, Records
from dynamo_ops.cli.terminal.way import not_from_afar
from dynamo_ops.policy.language.source import each_error, read_source


def checked(names: Sequence[str]) -> Records:
    """Each policy: ``file``, ``partition``, ``num_lines`` (None where it is none), ``notices``: all its errors.
    ``names``: of files, or of policies; all, if there are none."""
    return [_asked("/policies/check", name) for name in names or _installed()]


def linted(names: Sequence[str], inventory: Path | None) -> Record:
    """``policies`` as of ``checked``, with what they say and probably do not mean; ``unchecked``: what is not known to
    say more. ``inventory``: a folder in the golden format, instead of the database."""
    if inventory is not None:
        raise not_from_afar()
    return {"policies": [_asked("/policies/lint", name) for name in names or _installed()], "unchecked": []}


def variables() -> Records:
    """All variables, as they are explained."""
    return whole("/policy-variables")


def _installed() -> list[str]:
    return [policy["partition"] for policy in whole("/policies")]


def _asked(path: str, name: str) -> dict[str, Any]:
    """What is said of a file of this machine, or of the server's policy of that name."""
    file = Path(name)
    try:
        text = read_source(file).text if file.suffix or file.exists() else _installed_text(name)
    except PolicyError as error:
        notices = [_notice(name, one) for one in each_error(error)]
        return {"file": name, "partition": None, "num_lines": None, "notices": notices}
    answer = post(path, {"text": text, "name": name}, by=None)
    return {"file": name, **{fact: answer[fact] for fact in ("partition", "num_lines", "notices")}}


def _installed_text(partition: str) -> str:
    return str(get(f"/policies/{quote(partition, safe='')}")["text"])


def _notice(file: str, error: PolicyError) -> dict[str, Any]:
    place = {fact: error.facts.get(fact) for fact in ("line", "column")}
    return {"file": file, **place, "message": error.message, "severity": "error", "code": ""}
