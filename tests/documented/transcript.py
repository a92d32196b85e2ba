"""Transcripts: what was typed, and the shape of what was printed.

The shape is the headings of tables, and the words of all other lines but for what differs from run to run: numbers,
sizes, times, names, one or many. Lines may be folded otherwise. ``…`` stands for what is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

ANSWER = re.compile(r"(?<=\[y/N\]: )(\w+)$", re.M)
IN_TABLE = re.compile("[│┃━╇┼]")
UNITS = {"B", "kB", "MB", "GB", "TB", "PB", "min", "h", "s", "day"}
LEFT_OUT = "…"


@dataclass(frozen=True)
class Typed:
    """One command of a transcript: its line, what the person answered, and what is shown as printed."""

    line: str
    answers: str
    shown: str


def typed(text: str) -> list[Typed]:
    """The commands of a transcript, in their order."""
    commands = re.split(r"^\$ ", text.replace("\\\n", " "), flags=re.M)
    assert not commands[0].strip(), "a transcript begins with `$ `"
    return [_typed(*command.partition("\n")[::2]) for command in commands[1:]]


def _typed(line: str, shown: str) -> Typed:
    return Typed(line, "".join(f"{answer}\n" for answer in ANSWER.findall(shown)), ANSWER.sub("", shown))


def headings(text: str) -> list[tuple[str, ...]]:
    """The headings of each table, from left to right; those in two lines joined."""
    tables: list[tuple[str, ...]] = []
    above: list[list[str]] = []
    for line in text.splitlines():
        if "┃" in line:
            above.append([cell.strip() for cell in line.split("┃")])
        elif above and "━" in line:
            tables.append(tuple(" ".join(filter(None, column)) for column in zip(*above, strict=True)))
            above = []
    return tables


def sentences(text: str) -> Iterator[str]:
    """What stands outside of tables, as words that are the same in every run; parted where something is left out."""
    prose = " ".join(line for line in text.splitlines() if not IN_TABLE.search(line))
    for part in prose.split(LEFT_OUT):
        words = [_word(word) for word in part.split()]
        if kept := " ".join(word for word in words if word not in UNITS):
            yield kept


def _word(word: str) -> str:
    """The word, or ``#`` for a name, number or time; one and many are the same."""
    if any(letter.isdigit() or letter in "/▁▂▃▄▅▆▇█" for letter in word):
        return "#"
    return word.strip(".,:;()").removesuffix("s") or word


def lacking(shown: str, printed: str) -> list[str]:
    """What is shown and was not printed, in the order of the page: headings, and sentences."""
    missing = []
    tables = headings(printed)
    for table in headings(shown):
        if table in tables:
            del tables[: tables.index(table) + 1]
        else:
            missing.append(" | ".join(table))
    words = f" {' '.join(sentences(printed))} "
    for sentence in sentences(shown):
        where = words.find(f" {sentence} ")
        if where < 0:
            missing.append(sentence)
        else:
            words = words[where + len(sentence) + 1 :]
    return missing
