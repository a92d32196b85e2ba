"""Regular expressions of policies mean what Python's ``re.match`` says; most can be put to Polars' faster engine."""

from __future__ import annotations

import re
import warnings
from functools import lru_cache

from dynamo_ops.base.regex import bounded

SCAN = re.compile(
    r"""
      (?P<same>   [.|^)] | \(\?: | \\[dDnrtfva] )
    | (?P<group>  \((?!\?) | \(\?P<\w+> )
    | (?P<word>   \\[wWsS] )
    | (?P<escape> \\[!-/:-@\[-`{-~] )
    | (?P<times>  (?: [*+?] | \{[0-9]{1,3}(?:,[0-9]{0,3})?\} ) \?? (?![*+?{]) )
    | (?P<set>    \[\^? (?: [A-Za-z0-9]-[A-Za-z0-9] | \\[dws] | [A-Za-z0-9_/.,:;=@%!"'`<>() {}$+*?|\#] )+ -?\] )
    | (?P<end>    \$\Z )
    | (?P<literal>[^\\^$.|?*+()\[\]{}] )
    """,
    re.VERBOSE | re.ASCII,
)
"""What means the same in both engines, or can be written so that it does. Everything else is left to Python."""

WORD = r"\p{L}\p{N}_"
SPACE = r"\s\x1C-\x1F"
WORDS = {r"\w": f"[{WORD}]", r"\W": f"[^{WORD}]", r"\s": f"[{SPACE}]", r"\S": f"[^{SPACE}]"}
IN_SET = re.compile(r"(?P<word>\\[dws])|(?P<range>\w-\w)|(?P<char>.)", re.ASCII | re.DOTALL)


@lru_cache(maxsize=1024)
def python_regex(pattern: str) -> re.Pattern[str]:
    """The pattern, compiled. ValueError if Python cannot."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return re.compile(pattern)
    except (re.error, OverflowError) as error:
        raise ValueError(str(error)) from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def check_regex(pattern: str) -> None:
    """``ValueError``, its words to stand behind the pattern, for what is no regular expression, and for one that is not
    for Polars' engine (or may be too large for it) and that Python's could take for ever to match."""
    try:
        python_regex(pattern)
    except ValueError as error:
        raise ValueError(f"is not a regular expression: {error}") from error
    if "{" in pattern or rust_regex(pattern) is None:
        try:
            bounded(pattern)
        except ValueError as error:
            raise ValueError(f"cannot be used: {error}") from error


def rust_regex(pattern: str) -> str | None:
    """The same expression for Polars, to be anchored at the start by the caller; None if only Python knows it.

    Look-around, back-references and flags are Python's own; ``$`` (which allows a line end behind it), ``\\w`` and
    ``\\s`` are written out; sets in sets, possessive repetitions and the like mean other things there.
    """
    out, at = [], 0
    while at < len(pattern):
        match = SCAN.match(pattern, at)
        if match is None:
            return None
        out.append(_written(str(match.lastgroup), match[0]))
        at = match.end()
    return "".join(out)


def _written(kind: str, text: str) -> str:
    if kind in ("literal", "escape"):
        return _char(text[-1])
    if kind == "set":
        return _set(text)
    return {"group": "(?:", "word": WORDS.get(text, ""), "end": r"(?:\n?\z)"}.get(kind, text)


def _set(text: str) -> str:
    start = "[^" if text.startswith("[^") else "["
    inside = text.removeprefix(start).removesuffix("]")
    written = {r"\w": WORD, r"\s": SPACE, r"\d": r"\d"}
    pieces = (
        written[match[0]] if match["word"] else match[0] if match["range"] else _char(match[0])
        for match in IN_SET.finditer(inside)
    )
    return start + "".join(pieces) + "]"


def _char(char: str) -> str:
    return char if char.isalnum() and char.isascii() else f"\\x{{{ord(char):X}}}"
