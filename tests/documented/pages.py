"""The pages of the documentation and their blocks. What a block is stands behind its fence: ```` ```sh demo ````."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests import ROOT

LAWS = {"CONSISTENCY.md", "FTS_CONTRACT.md", "SEMANTICS.md"}
"""They say what shall be."""
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(page for page in (ROOT / "docs").glob("*.md") if page.name not in LAWS),
]
KINDS = {
    "sh": "typed, line by line, in the world of the docs",
    "sh demo": "typed where the demo has run",
    "sh long": "minutes or more: what is started must be there",
    "sh airflow": "Airflow's own commands, in the environment of its processes",
    "sh elsewhere": "typed on machines that are not ours",
    "sh rest": "calls of REST",
    "console": "typed behind `$ `; what it prints has the shape shown",
    "synopsis": "how a command is called, in general",
    "text": "a drawing, or lines of a log",
    "text map": "paths of this repository, and what is there",
    "answer": "what a service of others answers",
    "yaml dynamo.yaml": "the file, or a part of it",
    "yaml gates.yaml": "the file, or a part of it",
    "yaml consistency.yaml": "the file, or a part of it",
    "yaml dealer/physics.yaml": "the file, or a part of it",
    "yaml enforcer/physics.yaml": "the file, or a part of it",
    "yaml physics.test.yaml": "tests of a policy",
    "toml dynamo.toml": "the file that marks a home",
    "toml pyproject.toml": "entry points of a package of yours",
    "json inject": "a document for `dynamo inject`",
    "json problem": "an error of REST",
    "json invalidate": "a document for `dynamo invalidate`",
    "policy": "a whole policy",
    "policy-lines": "lines of a policy",
    "yaml prometheus.yml": "what Prometheus asks",
    "yaml prometheus-rules.yml": "when it alerts",
    "haproxy": "a server before Airflow's: its configuration",
    "nginx": "the same",
    "python client": "run with the client, against the app in process, a page in one namespace",
    "sql": "a query of the inventory",
    "python": "run with the names that the text speaks of",
}
"""Kind → what it is, and so what is done with it here. ``python FILE`` is besides: a file of a package of yours."""
OWN_FILE = re.compile(r"python (\w+/\w+\.py)")
FENCE = re.compile(r"(?P<indent> *)```(?P<kind>.*)")


@dataclass(frozen=True)
class Block:
    """One block: ``page`` is its file's name, ``line`` where its text begins."""

    page: str
    line: int
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def own_file(self) -> str | None:
        """The path in a package of yours that this is, if it is one."""
        named = OWN_FILE.fullmatch(self.kind)
        return named[1] if named else None


def blocks_of(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page, in their order, without the indent of their fence."""
    lines = enumerate(page.read_text(encoding="utf-8").splitlines(), start=1)
    for number, line in lines:
        if opened := FENCE.fullmatch(line):
            indent = opened["indent"]
            inside = []
            for _, text in lines:
                if text == f"{indent}```":
                    break
                inside.append(text.removeprefix(indent) + "\n")
            yield Block(page.name, number + 1, opened["kind"], "".join(inside))


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def blocks(*kinds: str, page: str | None = None) -> list[Block]:
    """The blocks of these kinds, of all pages or of one (``quotas.md``), in their order."""
    return [block for block in BLOCKS if block.kind in kinds and page in (None, block.page)]
