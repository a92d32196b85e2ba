"""Nobody else asks the tables what a copy is: who must read them for another reason is named here, with the reason."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests import ROOT

PACKAGE = ROOT / "dynamo_ops"
OWN = ("inventory/replica/", "database/")

QUESTIONS = {
    "which files of an incomplete replica are there": (
        r"\bblock_replica_files\b",
        {
            "request/registry.py": "how many files of a request have arrived",
            "transfer/source_choice.py": "candidates of a whole queue, set by set; doom and doubt are asked of copies",
        },
    ),
    "what is being deleted": (
        r"SubscriptionAction\.DELETE\}' AND \w+\.state IN \{ACTIVE\}",
        {
            "inventory/site/endpoint.py": "whether anything is under way at a site",
            "inventory/subscription/subscribe.py": "the permission of a deletion that is open already",
        },
    ),
    "what a check found": (
        r"\bconsistency_findings\b",
        {
            "alerts/digest_sql.py": "how many findings there were",
            "consistency/previous.py": "the check before",
            "consistency/repair.py": "the only writer",
            "consistency/retention.py": "those of long ago go",
            "consistency/tasks.py": "the only writer",
            "inventory/catalogue/injection/checks.py": "what a repair is deleting at this moment",
            "query/record/consistency.py": "the findings themselves, for who reads them",
            "query/site_card.py": "how many findings there were",
        },
    ),
    "what is called bad": (
        r"\bbad_replicas\b",
        {
            "alerts/digest_sql.py": "how many there are",
            "inventory/doubt/declare.py": "who says what; replicas write it",
            "inventory/doubt/suspect.py": "what was called good meanwhile",
            "query/movement/bad_replica.py": "the words themselves, for who reads them",
        },
    ),
    "whether a check of a site was refused": (
        r"CheckState\.REFUSED|COMPARED_CHECKS",
        {
            "alerts/digest_text.py": "the word for it",
            "consistency/previous.py": "the check before",
            "consistency/tasks.py": "the only writer",
            "inventory/checks.py": "the words",
            "query/site_card.py": "the newest check that came to something, whatever it was",
            "metrics/overview.py": "how many sites' newest check came to what",
        },
    ),
}


@pytest.mark.parametrize(("pattern", "allowed"), QUESTIONS.values(), ids=QUESTIONS)
def test_only_replica_answers(pattern: str, allowed: dict[str, str]) -> None:
    asking = {
        name
        for path in PACKAGE.rglob("*.py")
        if not (name := str(path.relative_to(PACKAGE))).startswith(OWN) and re.search(pattern, _code(path))
    }
    assert asking == set(allowed)


def _code(path: Path) -> str:
    return path.read_text(encoding="utf-8")
