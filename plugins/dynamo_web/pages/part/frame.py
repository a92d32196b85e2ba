"""What stands around each page: who looks, where one can go, what stands still, and of when the figures are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from dynamo_ops import __version__
from dynamo_ops.access.person import Person
from dynamo_ops.base.settings import settings
from dynamo_ops.pause import pauses
from dynamo_ops.query.record.freshness import freshness
from dynamo_web.databases import reading
from dynamo_web.pages.part import cells

HERE = Path(__file__).parents[1]
ASSETS = HERE / "assets"
SECURITY = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'self'; frame-ancestors 'self'"
}
"""Besides what every answer carries: nothing but our own files and REST, and no script in a page's text."""


class Tab(NamedTuple):
    """``name``: the first part of its addresses."""

    name: str
    title: str


TABS = tuple(
    Tab(title.lower(), title)
    for title in (
        "Today",
        "Data",
        "Requests",
        "Plans",
        "Transfers",
        "Deletions",
        "Sites",
        "Inventory",
        "Groups",
        "Locks",
        "Gates",
        "Audit",
    )
)


class Banner(NamedTuple):
    """``tone``: ``warn`` or ``stop``."""

    tone: str
    text: str
    href: str


@cache
def templates() -> Environment:
    """Names of data are text, whatever is in them: everything is escaped."""
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update({**cells.KINDS, "duration": cells.duration})
    made.globals.update(asset=asset, tabs=TABS, version=__version__)
    return made


@cache
def asset(name: str) -> str:
    """The address of one of our files: another one when it changes, so that browsers may keep it."""
    return f"static/{name}?{sha256((ASSETS / name).read_bytes()).hexdigest()[:12]}"


def page(request: Request, person: Person, tab: str, template: str, **shown: Any) -> HTMLResponse:
    """A whole page. ``tab``: under which it is found."""
    root = f"{request.scope.get('root_path', '')}"
    text = (
        templates()
        .get_template(template)
        .render(root=root, person=person, tab=tab, banners=banners(), now=datetime.now(UTC), **shown)
    )
    return HTMLResponse(text, headers=SECURITY)


def banners() -> list[Banner]:
    """What everybody should know who looks at anything."""
    database = reading()
    standing = pauses.pauses(database, limit=100).to_dicts()
    said = [
        Banner("stop", f"{_what(pause)} stands still: {pause['reason']} ({pause['created_by']})", "today#pauses")
        for pause in standing
        if pause["is_in_force"]
    ]
    oldest_h = settings().alerts.stale_after_h
    old = [
        row for row in freshness(database, settings())["metadata"] if row["age_h"] is None or row["age_h"] > oldest_h
    ]
    return said + [Banner("warn", _age(row), "today#freshness") for row in old]


def _age(row: dict[str, Any]) -> str:
    if row["age_h"] is None:
        return f"Metadata of {row['source']} was never merged"
    return f"Metadata of {row['source']} is {cells.duration(timedelta(hours=row['age_h']))} old"


def _what(pause: dict[str, Any]) -> str:
    if pause["kind"] is None:
        return "Everything"
    return f"{pause['kind']} of {pause['partition']}" if pause["partition"] else str(pause["kind"])
