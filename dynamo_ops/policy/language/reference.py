"""The reference of the variables, made from their one table: for `dynamo policy variables` and the docs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dynamo_ops.policy.language.check import OPERATORS
from dynamo_ops.policy.language.variables import ALIASES, OLD_NAMES, Scope, Variable

TITLES = {
    Scope.DATASET: "Datasets",
    Scope.REPLICA: "Dataset replicas and their copies",
    Scope.BLOCK_REPLICA: "Block replicas",
    Scope.SITE: "Sites",
    Scope.SITE_STATE: "State of a site (only in On, When and Until)",
}
INTRODUCTION = """\
# Variables of the policy language

Made by `dynamo policy variables --markdown`; do not edit by hand. The language itself is explained in
[policy-language.md](policy-language.md). A variable that needs an attribute can only be used while a producer keeps it
up to date: a plan is refused if the attribute was never produced, or not for `attribute_max_age_h`
of `gates.yaml` (a week as shipped).
"""
COLUMNS = ("variable", "type", "operators", "values", "attribute needed", "what it says", "how it is computed")


def describe(variable: Variable) -> dict[str, Any]:
    """One variable as JSON can carry it. ``true`` among the operators: the variable alone; ``not``: before it."""
    return {
        "name": variable.name,
        "type": variable.type.value,
        "scope": variable.scope.value,
        "operators": list(OPERATORS[variable.type]),
        "values": list(variable.values),
        "attributes": list(variable.attributes),
        "doc": variable.doc,
        "how": variable.how or f"The attribute {', '.join(variable.attributes)}, as its producer says.",
    }


def markdown(variables: Iterable[Variable]) -> str:
    """The reference page: a table for each scope, in the order of scopes and given variables."""
    all_variables = list(variables)
    parts = [INTRODUCTION]
    for scope, title in TITLES.items():
        descriptions = [describe(variable) for variable in all_variables if variable.scope is scope]
        parts.append(
            "\n".join([f"## {title}\n", _row(COLUMNS), _row(["---"] * len(COLUMNS)), *map(_variable_row, descriptions)])
        )
    parts.append("## Old names\n\n" + "\n".join(_old_names()))
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _variable_row(entry: dict[str, Any]) -> str:
    operators = {"true": "alone", "not": "`not` before it"}
    written = [operators.get(name, f"`{name}`") for name in entry["operators"]]
    codes = [", ".join(f"`{name}`" for name in entry[key]) for key in ("values", "attributes")]
    return _row([f"`{entry['name']}`", entry["type"], " ".join(written), *codes, entry["doc"], entry["how"]])


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _old_names() -> Iterable[str]:
    for old, name in sorted({**ALIASES, **OLD_NAMES}.items()):
        yield f"- `{old}` is accepted; write `{name}`"
