"""What stands around each page: who looks, where one can go, what stands still, and of when the figures are."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from dynamo_ops import __version__
from dynamo_ops.access.actions import Action, is_allowed
from dynamo_ops.access.person import Person
from dynamo_ops.base.settings import settings
from dynamo_ops.pause import pauses
from dynamo_ops.quality.verdicts import Verdict
from dynamo_ops.query.paging.listing import Window, read_page
from dynamo_ops.query.record.freshness import freshness
from dynamo_ops.query.record.gate import GATE_RESULTS, GateFilter
from dynamo_web.databases import reading
from dynamo_web.pages.part import cells
from dynamo_web.pages.part.links import address
from dynamo_web.pages.part.plot import script_address
from dynamo_web.pages.part.table import Table

HERE = Path(__file__).parents[1]
ASSETS = HERE / "assets"
SECURITY = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'self'; frame-ancestors 'self'"
}
"""Besides what every answer carries: nothing but our own files and REST, and no script in a page's text."""


TABLE = "table"
"""The parameter that asks for a table as a file."""


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
        auto_reload=False,  # of one version, as the code is: an upgrade under a running server shows nothing half
    )
    made.filters.update({**cells.KINDS, "duration": cells.duration, "when": cells.when})
    made.globals.update(asset=asset, tabs=TABS, version=__version__)
    return made


@cache
def asset(name: str) -> str:
    """The address of one of our files: another one when it changes, so that browsers may keep it."""
    return f"static/{name}?{sha256((ASSETS / name).read_bytes()).hexdigest()[:12]}"


def page(request: Request, person: Person, tab: str, template: str, **shown: Any) -> Response:
    """A whole page; or one of its tables as a file, which ``?table=`` asks for. ``tab``: under which it is found."""
    tables = {name: _named(name, table, request) for name, table in shown.items() if isinstance(table, Table)}
    if (asked := request.query_params.get(TABLE)) in tables:
        return file_answer(tables[asked].csv(), f"{asked}.csv")
    plots = [(plot, plot.data(tables[plot.table])) for plot in shown.pop("plots", ()) if tables[plot.table].rows]
    shown = {"acts": (), **shown, **tables, "plots": plots}
    text = templates().get_template(template).render(**_surroundings(request, person), tab=tab, **shown)
    return HTMLResponse(text, headers=SECURITY)


def file_answer(text: str, name: str) -> Response:
    """A file to keep."""
    headers = {**SECURITY, "Content-Disposition": f'attachment; filename="{name}"'}
    return Response(text, media_type="text/csv", headers=headers)


def _surroundings(request: Request, person: Person) -> dict[str, Any]:
    root = str(request.scope.get("root_path", ""))
    return {
        "person": person,
        "roles": ", ".join(sorted({grant.role.value for grant in person.grants})) or "no role",
        "closed": () if is_allowed(person, Action.READ_AUDIT) else ("audit",),
        "root": root,
        "here": _here(request),
        "airflow": root.removesuffix("/dynamo/ui"),
        "banners": banners(),
        "now": datetime.now(UTC),
        "plotly": f"static/{script_address()}",
    }


def _here(request: Request) -> str:
    """The address of the page below /ui."""
    path = request.scope["path"].removeprefix(request.scope.get("root_path", "")).strip("/")
    return address(quote(path), request.query_params.multi_items())


def _named(name: str, table: Table, request: Request) -> Table:
    """With its name, and the address of its file."""
    if table.whole is not None:
        return replace(table, key=name)
    here = _here(request)
    return replace(table, key=name, whole=f"{here}{'&' if '?' in here else '?'}{TABLE}={name}")


def banners() -> list[Banner]:
    """What everybody should know who looks at anything."""
    database = reading()
    standing = pauses.pauses(database, limit=100).to_dicts()
    said = [
        Banner("stop", f"Stopped: {_what(pause)}, by {pause['created_by']}: {pause['reason']}", "today#pauses")
        for pause in standing
        if pause["is_in_force"]
    ]
    oldest_h = settings().alerts.stale_after_h
    old = [
        row for row in freshness(database, settings())["metadata"] if row["age_h"] is None or row["age_h"] > oldest_h
    ]
    refused = read_page(database, GATE_RESULTS, GateFilter(verdicts=[Verdict.REFUSED], since="1d"), Window(1))
    if refused.records():
        said.append(Banner("warn", "A gate refused something within 24 hours", "gates?verdict=refused&since=1d"))
    return said + [Banner("warn", _age(row), "today#freshness") for row in old]


def _age(row: dict[str, Any]) -> str:
    if row["age_h"] is None:
        return f"Metadata of {row['source']} was never merged"
    return f"Metadata of {row['source']} is {cells.duration(timedelta(hours=row['age_h']))} old"


def _what(pause: dict[str, Any]) -> str:
    if pause["kind"] is None:
        return "everything"
    return f"{pause['kind']} of {pause['partition']}" if pause["partition"] else str(pause["kind"])
