"""A page as a browser reads it: links, forms, plots, what could run; and all pages, one of each kind."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import parse_qsl, urljoin, urlsplit

from fastapi.testclient import TestClient

UI = "http://localhost/dynamo/ui/"
VIEWER, ADMIN = {"x-user": "vera:viewer"}, {"x-user": "ada:admin"}
MOST_PAGES = 400
"""That a walk over all links looks at."""

Attributes = dict[str, str]


@dataclass
class Form:
    """One that is sent to REST. ``fields``: names of what is typed."""

    attributes: Attributes
    fields: dict[str, Attributes] = field(default_factory=dict)


class Page(HTMLParser):
    """What a page leads to and asks for, and which of its elements could run something."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.base = ""
        self.found: list[str] = []
        self.tags: set[str] = set()
        self.handlers: list[str] = []
        self.forms: list[Form] = []
        self.plots: list[Attributes] = []
        self.num_refused = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: text or "" for name, text in attrs}
        self.tags.add(tag)
        self.handlers += [name for name in given if name.startswith("on")]
        if tag == "base":
            self.base = given["href"]
        elif tag in ("a", "link") and given.get("href"):
            self.found.append(given["href"])
        elif tag == "script":
            assert given.get("src"), "a script in the text of a page"
            self.found.append(given["src"])
        elif tag == "form" and "data-path" in given:
            self.forms.append(Form(given))
        elif "data-kind" in given and tag in ("input", "select", "textarea"):
            self.forms[-1].fields[given["name"]] = given
        elif tag == "figure":
            self.plots.append(given)
        elif "refused" in given.get("class", "").split():
            self.num_refused += 1

    def links(self) -> Iterator[str]:
        """Addresses of ours, whole."""
        base = urljoin(UI, self.base)
        for href in self.found:
            address = urljoin(base, href)
            if urlsplit(address).path.startswith("/dynamo/"):
                yield address.partition("#")[0]


def shape(address: str) -> tuple[str, frozenset[str]]:
    """What pages of one kind have in common: the path without numbers, and the names of its parameters."""
    parts = urlsplit(address)
    asked = frozenset(name for name, text in parse_qsl(parts.query) if text)
    return re.sub(r"/\d+", "/1", parts.path), asked


def walk(client: TestClient, headers: Mapping[str, str], *starts: str) -> dict[str, str]:
    """All pages and files that one comes to from some (two of each shape), with their texts. Not the audit, where they
    may not read it, and not pages of judgements, which gates write."""
    from dynamo_web.caller.rates import READS

    waiting, seen = [urljoin(UI, start) for start in starts], dict[str, str]()
    shapes = dict[tuple[str, frozenset[str]], int]()
    while waiting:
        address = waiting.pop(0)
        if address in seen or shapes.get(shape(address), 0) >= 2 or "/ui/gates/judgements/" in address:
            continue
        if address == f"{UI}audit" and headers != ADMIN:
            continue
        shapes[shape(address)] = shapes.get(shape(address), 0) + 1
        assert len(seen) < MOST_PAGES
        READS.forget()
        answer = client.get(address, headers=headers)
        assert answer.status_code == 200, f"{address}: {answer.status_code} {answer.text[-600:]}"
        is_page = answer.headers["content-type"].startswith("text/html")
        seen[address] = answer.text
        waiting += Page(answer.text).links() if is_page and "/ui/" in address else ()
    return seen
