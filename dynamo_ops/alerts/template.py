"""Messages from the templates beside this module: ``*.html.j2`` escape what they are given, ``*.txt.j2`` are for chats.

In a chat nothing that an error or a name holds may call anybody, hide where a link leads, or be a picture: the filters
``defused`` (between fences) and ``inert`` (on a line) see to it.
"""

from __future__ import annotations

import re
from functools import lru_cache

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

JOINER = "\N{WORD JOINER}"
MARKUP = re.compile(r"@|!(?=\[)|\](?=[(\[:])|<(?=#|\w[\w+.-]*:)")
"""Mentions, pictures and links of Markdown, links of Slack."""

LONGEST_LINE = 240


def render(template: str, **values: object) -> str:
    """The text of a template."""
    return _environment().get_template(template).render(**values)


def defused(text: str) -> str:
    """``text`` without what chats take for the end of a fence or for a call to everybody."""
    return text.replace("```", "'''").replace("<!", "< !").replace("<@", "< @")


def inert(text: str) -> str:
    """``text`` for a line outside fences: nothing in it calls anybody, hides where a link leads, or is a picture.

    What chats look for is parted by a character without width: a backslash would be shown by some of them.
    """
    return MARKUP.sub(lambda found: f"{found.group()[0]}{JOINER}{found.group()[1:]}", defused(text))


def one_line(text: str) -> str:
    """``text`` on one line, cut where it is long."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_LINE else line[:LONGEST_LINE] + "…"


def _code(text: str) -> str:
    return "`" + text.replace("`", "'") + "`"


def _thousands(number: int) -> str:
    return f"{number:,}"


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("dynamo_ops.alerts"),
        autoescape=select_autoescape(("html.j2",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(defused=defused, inert=inert, one_line=one_line, code=_code, thousands=_thousands)
    return environment
