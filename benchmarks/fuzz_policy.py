"""Texts that are nearly policies, and the promise that each gives a policy or an error that points into it.

``python -m benchmarks.fuzz_policy --inputs 1000000`` reads so many from two processes and prints the figures. The same
seed gives the same texts.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from dynamo_ops.base.errors import PolicyError
from dynamo_ops.policy.evaluation.compile import attribute_expr, predicate_expr
from dynamo_ops.policy.language.check import OPERATORS, CheckedPolicy, load_policy
from dynamo_ops.policy.language.source import SourceText, each_error
from dynamo_ops.policy.language.variables import Attribute, Type, Variable, known_variables
from dynamo_ops.policy.linter.lint import lint

ROOT = Path(__file__).resolve().parents[1]
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MAX_CHARACTERS = 2000
SLOW_S = 1.0
PART = 5000
"""Inputs of one task of a process."""

WORDS = (
    *("Partition", "On", "When", "Until", "Order", "Algo", "Static", "none", "increasing", "decreasing"),
    *("Protect", "Delete", "Dismiss", "Ignore", "ProtectBlock", "DeleteBlock", "DismissBlock", "IgnoreBlock"),
    *(
        "and",
        "not",
        "until",
        "from",
        "or",
        "in",
        "notin",
        "==",
        "!=",
        "=~",
        "!=~",
        "<",
        ">",
        "=",
        "older_than",
        "newer_than",
    ),
    *(
        "[",
        "]",
        "[a b*]",
        "[]",
        "#",
        "# x",
        "always",
        "never",
        "None",
        "*",
        "?",
        "[!a]*",
        "/[a-",
        "READY",
        "disk",
        "FULL",
    ),
    *("1e999", "-1e-999", "nan", "inf", "0x1F", "１２", "1_000", "1" * 400, "1e308", "-0", "+.5", "1.", "9" * 30),
    *(
        "now",
        "90 days ago",
        "99999999999 days ago",
        "an hour ago",
        "1 fortnight ago",
        "1 month ago",
        "9" * 20 + " years ago",
    ),
    *(
        "January 1",
        "February 29",
        "Feb 30",
        "2017-08-16",
        "0000-00-00",
        "9999-12-31T23:59-23:59",
        "0001-01-01T00:00+23:59",
    ),
    *(
        "(?!a)",
        "(a+)+$",
        "(" * 300,
        "a{999999999}",
        "(?P<n>a)(?P=n)",
        "[z-a]*",
        "(?i)x",
        "\\",
        "\\1",
        "[[:alpha:]]",
        "a**",
        "(?(1)a|b)",
    ),
)
ODD = (
    "\x00\x07\x0b\x0c\x1b\x1c\x1d\x1e\x1f\x7f\x85\xa0\u1680\u2003\u2028\u2029\u202e\u200b\u3000\ufeff\ufffe"
    "\ud800\U000e0001\U0001f600\xe9\xdf\u0663"
)
TIMES = ("90 days ago", "3 months ago", "now", "January 1", "2017-08-16", "1 year ago")
TEXTS = ("/A/B-v1/AOD", "/*/*/RAW", "T2_*", "None", "physics", "/[ab]*?", ".*/RAW$", "(?!/A)", "/(A|B)")
PLAIN = "\t \r\n abcXYZ019_./#*?[]{}()<>=!~+-:;,'\"\\^$|&%@"
FRAME = "On site.name == *\nWhen always\nUntil never\nOrder none\n{}\nProtect\n"


@dataclass
class Figures:
    """What became of the inputs. ``failures``: what was wrong, and with which text (at most ten are kept)."""

    outcomes: Counter[str] = field(default_factory=Counter)
    characters: int = 0
    slowest_s: float = 0.0
    slowest: str = ""
    failures: list[tuple[str, str]] = field(default_factory=list)

    def add(self, other: Figures) -> None:
        self.outcomes += other.outcomes
        self.characters += other.characters
        self.failures = (self.failures + other.failures)[:10]
        if other.slowest_s > self.slowest_s:
            self.slowest_s, self.slowest = other.slowest_s, other.slowest


def real_policies() -> list[str]:
    """Texts of our own policies and of the golden cases."""
    files = sorted([*ROOT.glob("include/policies/*.txt"), *ROOT.glob("tests/golden/cases/*/detox/*/policy.txt")])
    return [file.read_text(encoding="utf-8") for file in files]


class Generator:
    """Texts from a seed."""

    def __init__(self, seed: object, policies: Sequence[str]) -> None:
        self.rng = random.Random(str(seed))
        self.policies = policies
        self.lines = sorted({line for text in policies for line in text.splitlines() if line.strip()})
        self.variables = [variable for _, variable in sorted(known_variables().items())]

    def texts(self, number: int) -> Iterator[str]:
        """So many texts of less than MAX_CHARACTERS, most of them one line in a frame that is right."""
        ways = (
            self.mutated_line,
            self.mutated_line,
            self.soup,
            self.soup,
            self.likely,
            self.likely,
            self.noise,
            self.whole,
        )
        for _ in range(number):
            yield self.rng.choice(ways)()[:MAX_CHARACTERS]

    def mutated_line(self) -> str:
        return self.framed(self.mutated(self.rng.choice(self.lines)))

    def soup(self) -> str:
        """Words of the language in any order."""
        words = [self.word() for _ in range(self.rng.randint(1, 12))]
        return self.framed(self.rng.choice([" ", " ", " ", "", "\t", "  "]).join(words))

    def likely(self) -> str:
        """A line that follows the grammar, with any value behind any variable."""
        predicates = [self.predicate() for _ in range(self.rng.randint(1, 3))]
        window = self.rng.choice(["", "", "", " until " + self.word(), " from " + self.word()])
        verb = self.rng.choice(["Protect", "Delete", "DismissBlock", "On", "When", "Until"])
        return self.framed(f"{verb} {' and '.join(predicates)}{window}")

    def predicate(self) -> str:
        """Mostly one that is right: the variable's own operators, and values of its type."""
        variable = self.rng.choice(self.variables)
        operator = self.rng.choice(OPERATORS[variable.type])
        if operator in ("true", "not"):
            return f"not {variable.name}" if operator == "not" else variable.name
        values = [self.value(variable) for _ in range(1 if operator not in ("in", "notin") else self.rng.randint(0, 3))]
        written = f"[{' '.join(values)}]" if operator in ("in", "notin") else values[0]
        return f"{variable.name} {operator} {written}"

    def value(self, variable: Variable) -> str:
        if self.rng.random() < 0.2:
            return self.word()
        if variable.type is Type.ENUM:
            return self.rng.choice(variable.values)
        if variable.type is Type.NUMBER:
            return self.rng.choice(["0", "1", "2.5", "-1e3", ".9"])
        return self.rng.choice(TIMES if variable.type is Type.TIME else TEXTS)

    def noise(self) -> str:
        """Characters of all kinds; now and then very many of one."""
        rng = self.rng
        text = "".join(rng.choice(PLAIN if rng.random() < 0.8 else ODD) for _ in range(rng.randint(0, 60)))
        if rng.random() < 0.1:
            text += rng.choice([*PLAIN, *ODD, "( ", "[a", " and", " \t", ".*", "a|"]) * rng.randint(100, MAX_CHARACTERS)
        return text if rng.random() < 0.5 else self.framed("Protect dataset.name == " + text)

    def whole(self) -> str:
        return self.mutated(self.rng.choice(self.policies))

    def framed(self, line: str) -> str:
        return FRAME.format(line) if self.rng.random() < 0.9 else line

    def word(self) -> str:
        rng = self.rng
        return rng.choice([rng.choice(WORDS), rng.choice(self.variables).name, rng.choice(ODD), rng.choice(PLAIN) * 3])

    def mutated(self, text: str) -> str:
        """The text with some pieces lost, doubled, moved or replaced."""
        rng = self.rng
        for _ in range(rng.choice([1, 1, 2, 5])):
            start = rng.randint(0, len(text))
            end = min(len(text), start + rng.choice([0, 1, 1, 5, 20]))
            piece = rng.choice(
                ["", text[start:end] * 2, self.word(), rng.choice(ODD), rng.choice(PLAIN), f" {self.word()} "]
            )
            text = text[:start] + piece + text[end:]
        return text


def judge(text: str, *, compiled: bool = False) -> str:
    """``policy`` or ``error``. AssertionError if an error does not point into the text; anything else is a defect too.

    ``compiled``: a policy's predicates are put to Polars, too.
    """
    try:
        policy = load_policy(text, now=NOW)
    except PolicyError as error:
        lines = SourceText("", text).lines or ("",)
        for each in each_error(error):
            line, column = each.facts["line"], each.facts["column"]
            assert isinstance(line, int) and 1 <= line <= len(lines), f"line {line} of {len(lines)}"  # noqa: PT018
            length = len(lines[line - 1])
            assert isinstance(column, int) and 1 <= column <= length + 1, f"column {column} of {length}"  # noqa: PT018
        return "error"
    for finding in lint(policy):
        assert 1 <= finding.line <= len(policy.source.lines)
    if compiled:
        compute(policy)
    return "policy"


def compute(policy: CheckedPolicy) -> None:
    """All predicates of a policy on a few values."""
    values = {
        Type.NUMBER: [0.0, 1.5],
        Type.BOOLEAN: [True, False],
        Type.TIME: [NOW, datetime(1970, 1, 1, tzinfo=UTC)],
    }
    conditions = [*policy.targets, *policy.triggers, *policy.stops, *(line.condition for line in policy.lines)]
    for condition in conditions:
        for predicate in condition.predicates if condition else ():
            if isinstance(predicate.variable.source, Attribute):
                frame = pl.DataFrame({f"attribute:{predicate.variable.source.name}": [0.0, 1.0]})
                test = attribute_expr(predicate, policy.source)
            else:
                frame = pl.DataFrame({"v": values.get(predicate.variable.type, ["/A/B-v1/AOD", "READY"])})
                test = predicate_expr(predicate, pl.col("v"), policy.source)
            assert frame.select(test.alias("t"))["t"].dtype == pl.Boolean


def run(seed: str, number: int, policies: Sequence[str]) -> Figures:
    """Judge so many texts of this seed."""
    figures = Figures()
    for count, text in enumerate(Generator(seed, policies).texts(number)):
        began = time.thread_time()  # CPU: a busy machine makes no text slow
        try:
            outcome = judge(text, compiled=count % 10 == 0)
        except Exception as error:
            outcome = "FAILED"
            figures.failures.append((f"{type(error).__name__}: {error}"[:300], text))
        took = time.thread_time() - began
        figures.outcomes[outcome] += 1
        figures.characters += len(text)
        if took > figures.slowest_s:
            figures.slowest_s, figures.slowest = took, text
        if took > SLOW_S:
            figures.failures.append((f"took {took:.2f} s", text))
    figures.failures = figures.failures[:10]
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    began, total = time.perf_counter(), Figures()
    policies = real_policies()
    parts = [min(PART, given.inputs - start) for start in range(0, given.inputs, PART)]
    with ProcessPoolExecutor(given.processes) as pool:
        seeds = [f"{given.seed}/{number}" for number in range(len(parts))]
        for figures in pool.map(run, seeds, parts, [policies] * len(parts)):
            total.add(figures)
    print(f"{sum(total.outcomes.values()):,} inputs, {total.characters:,} characters, seed {given.seed}")
    print(
        f"{time.perf_counter() - began:.0f} s; slowest input {total.slowest_s * 1000:.0f} ms: {total.slowest[:100]!r}"
    )
    print(", ".join(f"{count:,} {outcome}" for outcome, count in sorted(total.outcomes.items())))
    for why, text in total.failures:
        print(f"FAILED: {why}\n  {text!r}")
    return 1 if total.failures else 0


if __name__ == "__main__":
    sys.exit(main())
