"""Data Docs: for each judgement of a gate a page of HTML, and an index of the newest ones.

The expectations are rendered by Great Expectations; the page around them is ours, since its own takes styles and
scripts from half a dozen other hosts and shows nothing where these cannot be reached. A page costs some 0.1 s, the
index one query: nothing is built anew.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec

from dynamo_ops.database.connection import Database
from dynamo_ops.quality.checks import Outcome
from dynamo_ops.quality.thresholds import DataDocs

log = logging.getLogger(__name__)

INDEX = "index.html"
PAGES = "pages"
NEW = ".new"
ABANDONED = timedelta(hours=1)
"""A page that is being written for so long is not being written any more."""
TEMPLATES = Path(__file__).parent / "pages"
MOST_CHECKS = 60
"""More than any suite has: so many results are read back for each page of the index."""


def publish(
    db: Database,
    docs: DataDocs,
    gate: str,
    subject: str,
    run_key: str,
    outcomes: Sequence[Outcome],
    results: Sequence[Any],
    figures: Mapping[str, float],
) -> str | None:
    """Write the page of one judgement, bring the index up to date, drop pages that are no longer in it.

    Returns where the page is, null if none could be written: then the log says why, and the gate goes on. An index that
    could not be written is only logged: the next judgement writes it. The page of a run that is judged again is
    replaced.
    """
    if docs.location is None or docs.keep == 0:
        return None
    try:
        files, root = fsspec.core.url_to_fs(docs.location)
        files.makedirs(f"{root}/{PAGES}", exist_ok=True)
        name = page_name(gate, subject, run_key)
        _write(files, root, f"{PAGES}/{name}", _page(gate, subject, run_key, outcomes, results, figures))
    except Exception as error:  # whatever it is: a page is for reading, the judgement must not depend on it
        log.warning("no page of the %s gate, %s, was written to %s: %s", gate, subject, docs.location, error)
        return None
    try:
        _write_index(db, files, root, docs.keep)
    except Exception as error:  # as above
        log.warning("the index of pages in %s was not brought up to date: %s", docs.location, error)
    return f"{docs.location.rstrip('/')}/{PAGES}/{name}"


def page_name(gate: str, subject: str, run_key: str) -> str:
    """The file name of a judgement's page: readable, and no other's."""
    words = re.sub(r"[^A-Za-z0-9]+", "-", f"{gate} {subject}").strip("-")[:60]
    unique = hashlib.sha256("\0".join([gate, subject, run_key]).encode()).hexdigest()[:16]
    return f"{words}-{unique}.html"


def _write(files: Any, root: str, name: str, text: str) -> None:
    """At once: who reads meanwhile sees the old page or the new one. Gates that write side by side are not in each
    other's way: the last one's stays."""
    new = f"{root}/{PAGES}/{uuid4().hex}{NEW}"
    files.pipe_file(new, text.encode())
    files.mv(new, f"{root}/{name}")


def _page(
    gate: str,
    subject: str,
    run_key: str,
    outcomes: Sequence[Outcome],
    results: Sequence[Any],
    figures: Mapping[str, float],
) -> str:
    failures = [outcome for outcome in outcomes if not outcome.is_success]
    context = {
        "gate": gate,
        "subject": subject,
        "run_key": run_key,
        "checked_at": f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}",
        "is_success": not any(failure.is_blocking for failure in failures),
        "num_checks": len(outcomes),
        "num_passed": len(outcomes) - len(failures),
        "failures": [{**vars(failure), "text": str(failure)} for failure in failures],
        "notes": [f"{one.key}: {one.note}" for one in outcomes if one.is_success and one.note],
        "figures": [(name.replace("_", " "), f"{figure:,.0f}") for name, figure in figures.items()],
        "index": f"../{INDEX}",
        "expectations": _expectations(results),
    }
    return _render("gate_page.j2", context)


def _expectations(results: Sequence[Any]) -> str:
    """All results as Great Expectations shows them, as HTML; without what a source told, which it may not escape."""
    from great_expectations.render.renderer.column_section_renderer import ValidationResultsColumnSectionRenderer
    from great_expectations.render.view.view import DefaultJinjaSectionView

    for validation in results:
        validation.result = {
            name: figure for name, figure in validation.result.items() if isinstance(figure, int | float)
        }
    renderer: Any = ValidationResultsColumnSectionRenderer()
    view: Any = DefaultJinjaSectionView()
    section = renderer.render(validation_results=list(results))
    return str(view.render({"section": section.to_json_dict(), "section_loop": {"index": 1}}))


def _render(template: str, values: Mapping[str, Any]) -> str:
    from jinja2 import Environment, FileSystemLoader

    return Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True).get_template(template).render(**values)


def _write_index(db: Database, files: Any, root: str, keep: int) -> None:
    """The index of the newest pages that are there; older ones go, and what a killed task left half written."""
    there = {path.rsplit("/", 1)[-1] for path in files.ls(f"{root}/{PAGES}", detail=False)}
    judged = db.frame(
        """SELECT gate, subject, run_key,
                  to_char(max(checked_at) AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI') AS checked_at,
                  bool_or(is_blocking AND NOT is_success) AS is_refused,
                  coalesce(string_agg(split_part(expectation, ':', 1), ', ' ORDER BY id)
                           FILTER (WHERE NOT is_success), '') AS failed
           FROM (SELECT * FROM gate_results ORDER BY id DESC LIMIT $1) AS newest
           GROUP BY gate, subject, run_key ORDER BY max(id) DESC""",
        (keep * MOST_CHECKS,),
    ).to_dicts()
    for run in judged:
        run["page"] = page_name(run["gate"], run["subject"], run["run_key"])
    pages = [run for run in judged if run["page"] in there][:keep]
    linked = [{**run, "page": f"{PAGES}/{run['page']}"} for run in pages]
    _write(files, root, INDEX, _render("gate_index.j2", {"rows": linked}))
    for name in there - {run["page"] for run in pages}:
        path = f"{root}/{PAGES}/{name}"
        with suppress(FileNotFoundError, NotImplementedError):  # another gate was quicker; it cannot tell since when
            if not name.endswith(NEW) or files.modified(path) < datetime.now(UTC) - ABANDONED:
                files.rm_file(path)
