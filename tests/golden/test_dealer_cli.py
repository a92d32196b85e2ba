"""``dynamo dealer plan`` on the golden case: every file that it writes, and exactly the rows that may differ."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dynamo_ops.cli.main import app

CASE = Path(__file__).parent / "cases" / "k01_dealer"
Row = tuple[str, ...]
PARTIAL = ("/Src/SubsetOnly-v1/MINIAOD", "/Own/MixedPartial-v1/AOD")
"""Of these only complete but partial replicas exist: no sufficient source by themselves (SEMANTICS §8.8)."""
UNLIMITED = "T2_G"
"""Its quota is negative: for us never full (§8.8)."""
REASSIGNED_PART = {"groupreassign-0002", "groupreassign-0003"}
"""Ours are only the blocks of ``from_groups`` (§8.8): other blocks, another size, another weight."""

pytestmark = pytest.mark.golden


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("checks")
    arguments = ["dealer", "plan", "--inventory", str(CASE), "--config", str(CASE / "dealer" / "config.json")]
    result = CliRunner().invoke(app, [*arguments, "--out", str(out), "--seed", "1"])
    assert result.exit_code == 0, result.output
    return out


def rows(file: Path) -> list[Row]:
    with file.open(newline="") as lines:
        return [tuple(row) for row in csv.reader(lines)]


def differing(written: Path, name: str) -> tuple[list[Row], list[Row]]:
    """Rows of the golden file that ours lacks, and the other way round; the columns must be the same."""
    golden, ours = rows(CASE / "dealer" / f"{name}.csv"), rows(written / f"{name}.csv")
    assert golden[0] == ours[0]
    lacking, more = Counter(golden) - Counter(ours), Counter(ours) - Counter(golden)
    return sorted(lacking.elements()), sorted(more.elements())


@pytest.mark.parametrize(
    "name",
    ["target_sites", "requests_balancer", "requests_popularity", "requests_undertaker", "fixed_destination_checks"],
)
def test_equal_byte_for_byte(written: Path, name: str) -> None:
    assert (written / f"{name}.csv").read_text() == (CASE / "dealer" / f"{name}.csv").read_text()


def test_the_enforcer_never_asks_a_site_twice(written: Path) -> None:
    golden, ours = differing(written, "requests_enforcer")
    assert [row[:-1] for row in golden] == [row[:-1] for row in ours]
    assert [(row[1], row[-1]) for row in ours] == [("/Own/Mixed-v1/MINIAOD", "0")]


def test_only_blocks_of_other_groups_are_reassigned(written: Path) -> None:
    golden, ours = differing(written, "requests_groupreassign")
    assert {row[0] for row in golden} == {row[0] for row in ours} == REASSIGNED_PART
    assert [row[2] for row in ours] == ["949abf44-0001", "32d238f5-0000"]


def test_sources(written: Path) -> None:
    golden, ours = differing(written, "source_checks")
    assert [(row[0], "", "1") for row in golden] == golden
    assert [(row[0], "", "0") for row in golden] == ours
    datasets = {row[0]: row[1] for name in ("balancer", "popularity") for row in rows(written / f"requests_{name}.csv")}
    assert {datasets.get(row[0], row[0].removeprefix("enforcer:").split("@")[0]) for row in ours} == set(PARTIAL)


def test_destinations(written: Path) -> None:
    golden, ours = differing(written, "destination_checks")
    unlimited = [row for row in golden if row[2] == UNLIMITED]
    assert {row[3] for row in unlimited} == {"Destination is full"}
    full = {(*row[:3], "OK", *row[4:]) for row in unlimited}
    assert full <= set(ours) | {row for row in full if row[0] in REASSIGNED_PART}
    rest = {row[0] for row in golden if row[2] != UNLIMITED} | {row[0] for row in ours if row not in full}
    assert rest == REASSIGNED_PART


def test_in_sequence(written: Path) -> None:
    """Without the partial source, which the original copied, a later request to the same site still finds room."""
    golden, ours = differing(written, "determine_copies_fixed")
    assert [row[:2] for row in golden] == [row[:2] for row in ours]
    assert [(row[1], row[2]) for row in ours if row[1] not in REASSIGNED_PART] == [
        ("enforcer:/Src/SubsetOnly-v1/MINIAOD@T1_AA_Disk", "Source files missing"),
        ("enforcer:/Src/SubsetOnly-v1/MINIAOD@T2_A", "Source files missing"),
        ("enforcer:/Src/SubsetOnly-v1/MINIAOD@T2_B", "Source files missing"),
        ("enforcer:/Src/TapeOnly-v1/MINIAOD@T1_AA_Disk", "COPY"),
    ]
    assert [row[2] for row in ours if row[1] in REASSIGNED_PART] == ["Not a target site"] * 2


def test_the_plan_itself_is_written_too(written: Path) -> None:
    copies, rejected = (rows(written / f"{name}.csv") for name in ("copies", "rejected"))
    assert copies[0] == rejected[0]
    assert len(copies) + len(rejected) - 2 == 91
    outcome = copies[0].index("outcome")
    assert {row[outcome] for row in copies[1:]} == {""}
    assert "" not in {row[outcome] for row in rejected[1:]}
