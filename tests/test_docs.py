"""What is documented is there, and what is there is documented."""

from __future__ import annotations

import re
import tomllib
from importlib import import_module

import pytest

from dynamo_ops.policy.linter.lint import CODES
from tests import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PLUGIN_ROWS = re.findall(
    r"^\| `(dynamo_ops\.\w+)` \|[^|]*\| `([\w.]+)` \|([^|]*)\|$", (ROOT / "docs/plugins.md").read_text(), re.M
)
GROUP = re.compile(r'"(dynamo_ops\.[a-z_]+s)"')


def test_every_entry_point_group_that_the_code_reads_is_documented() -> None:
    read = {
        name
        for file in (ROOT / "dynamo_ops").rglob("*.py")
        for name in GROUP.findall(file.read_text())
        if "entry_points" in file.read_text() or "GROUP" in file.read_text()
    }
    assert read == {group for group, _, _ in PLUGIN_ROWS}


@pytest.mark.parametrize(("group", "protocol", "ours"), PLUGIN_ROWS, ids=[row[0] for row in PLUGIN_ROWS])
def test_a_documented_plugin_point_is_as_documented(group: str, protocol: str, ours: str) -> None:
    module, name = protocol.rsplit(".", 1)
    assert hasattr(import_module(module), name)
    declared = set(PROJECT["entry-points"].get(group, {}))
    assert declared == set(re.findall(r"`(\w+)`", ours))


@pytest.mark.parametrize(
    "page", sorted(str(p.relative_to(ROOT)) for p in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
)
def test_links_between_pages_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text()
    targets = [link.split("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    assert [target for target in targets if target and not ((ROOT / page).parent / target).exists()] == []


LAWS = ("SEMANTICS", "CONSISTENCY", "FTS_CONTRACT")
REFERENCE = re.compile(rf"({'|'.join(LAWS)}) (§\d+(?:\.\d+)?[a-z]?)((?:(?:, | and |–)§?\d+(?:\.\d+)?)*)")


def sections(law: str) -> set[str]:
    """What a reference to the page can name: its numbered headings, and the numbered points below them."""
    number, known = "", set()
    for line in (ROOT / "docs" / f"{law}.md").read_text().splitlines():
        if heading := re.match(r"## (\d+)\. ", line):
            number = heading[1]
            known.add(number)
        elif point := re.match(r"(\d+)\. ", line):
            known.add(f"{number}.{point[1]}")
    return known


def references() -> list[tuple[str, str, str]]:
    """(file, law, section) for each reference of ours to a page of laws."""
    folders = ("dynamo_ops", "plugins", "dags", "simgrid", "demo", "benchmarks", "tests", "docs")
    files = [file for folder in folders for kind in ("py", "md") for file in (ROOT / folder).rglob(f"*.{kind}")]
    return [
        (str(file.relative_to(ROOT)), law, section)
        for file in files
        for law, first, more in REFERENCE.findall(file.read_text())
        for section in re.findall(r"\d+(?:\.\d+)?", first + more)
    ]


def test_every_reference_to_a_law_leads_to_a_section() -> None:
    known = {law: sections(law) for law in LAWS}
    assert references()
    assert [reference for reference in references() if reference[2] not in known[reference[1]]] == []


def test_every_dag_is_in_the_operator_s_table() -> None:
    table = (ROOT / "docs" / "operating.md").read_text()
    names = {file.stem for file in (ROOT / "dags").glob("*.py")}
    assert {name for name in names if f"`{name}`" not in table and f"`{name}_<partition>`" not in table} == set()


def test_every_decision_is_in_their_list() -> None:
    folder = ROOT / "docs" / "decisions"
    listed = set(re.findall(r"\]\((\d{4}-[\w-]+\.md)\)", (folder / "README.md").read_text()))
    assert listed == {file.name for file in folder.glob("0*.md")}


LANGUAGE = (ROOT / "docs" / "policy-language.md").read_text()


def test_every_code_of_lint_is_in_the_guide() -> None:
    for code, (severity, what) in CODES.items():
        assert f"| `{code}` | {severity} | {what} |" in LANGUAGE


def test_the_glossary_is_in_the_order_of_the_alphabet() -> None:
    terms = re.findall(r"^\*\*(.+?)\*\*:", (ROOT / "docs/glossary.md").read_text(), re.M)
    assert len(terms) > 40
    assert terms == sorted(terms, key=str.lower)
