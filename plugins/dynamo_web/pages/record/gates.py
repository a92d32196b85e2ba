"""Gates: what each said of what, and the page of its judgement."""

from __future__ import annotations

from typing import Annotated

import fsspec
from fastapi import APIRouter, Path, Request
from fastapi.responses import RedirectResponse, Response

from dynamo_ops.access.actions import Action
from dynamo_ops.base.errors import UnknownNameError
from dynamo_ops.base.settings import settings
from dynamo_ops.quality.data_docs import PAGES, page_name
from dynamo_ops.quality.thresholds import read_thresholds
from dynamo_ops.quality.verdicts import GATES as GATE_NAMES
from dynamo_ops.quality.verdicts import Verdict
from dynamo_ops.query.record.gate import GATE_RESULTS, GateFilter
from dynamo_web.caller.login import needs
from dynamo_web.pages.part.links import Row, to_run
from dynamo_web.pages.part.listed import Chosen, Listed
from dynamo_web.pages.part.table import Choice, Column, words

router = APIRouter(dependencies=[needs(Action.READ)])

SINCE = Choice("since", "Since", hint="2026-01-31, or 7d")
SANDBOX = {"Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"}
"""Of a judgement's page: it holds what sources told, and styles of its own; it runs nothing, and knows nobody."""


def _gates(chosen: Chosen) -> GateFilter:
    subjects = [chosen["subject"]] if chosen["subject"] else ()
    runs = [chosen["run"]] if chosen["run"] else ()
    return GateFilter(words(chosen["gate"]), words(chosen["verdict"]), subjects, runs, chosen["since"] or None)


def to_judgement(row: Row) -> str:
    """The page of a gate's judgement."""
    return f"gates/judgements/{page_name(row['gate'], row['subject'], row['run_key'])}"


GATES = Listed(
    tab="gates",
    path="gates",
    title="Gates",
    noun="results",
    listing=GATE_RESULTS,
    columns=(
        Column("checked_at", "when", "moment"),
        Column("gate", "gate", link=to_judgement),
        Column("subject", "of"),
        Column("check", "check"),
        Column("verdict", "verdict", "state"),
        Column("num_unexpected", "rows at fault", "number"),
        Column("observed", "observed", "long"),
        Column("run_key", "run", link=to_run),
    ),
    asked=_gates,
    choices=(
        Choice("gate", "Gate", tuple(GATE_NAMES)),
        Choice("verdict", "Verdict", tuple(Verdict)),
        Choice("subject", "Of", hint="a glob"),
        Choice("run", "Run", hint="a glob"),
        SINCE,
    ),
    about="The name of a gate leads to the page of that judgement.",
    template="gates.html",
)
GATES.serve(router)


@router.get("/gates/index.html")
def show_index(request: Request) -> Response:
    """Where pages of judgements lead to."""
    return RedirectResponse(f"{request.scope.get('root_path', '')}/gates", 302)


@router.get("/gates/judgements/{name}")
def show_judgement(name: Annotated[str, Path(pattern=r"^[A-Za-z0-9-]+\.html$")]) -> Response:
    """What Great Expectations shows of one judgement. They are kept for so many as gates.data_docs.keep says."""
    location = read_thresholds(settings()).data_docs.location
    if location is None:
        raise UnknownNameError("pages of gates are off here: gates.data_docs", name=name)
    files, root = fsspec.core.url_to_fs(location)
    try:
        text = files.cat_file(f"{root}/{PAGES}/{name}")
    except FileNotFoundError:
        raise UnknownNameError(f"the page {name} is not kept any more; its results are at Gates", name=name) from None
    return Response(text, media_type="text/html", headers=SANDBOX)
