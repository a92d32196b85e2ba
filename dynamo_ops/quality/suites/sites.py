"""What is expected of sites that were pulled, before they are merged."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import polars as pl

from dynamo_ops.database.connection import Database
from dynamo_ops.database.words import Words
from dynamo_ops.inventory.kinds import SiteStatus, StorageType
from dynamo_ops.inventory.site.mapping import endpoint_fault, link_fault
from dynamo_ops.inventory.staging.pull import staged_now
from dynamo_ops.quality.checks import Check, FrameCheck, SqlCheck, literal
from dynamo_ops.quality.figures import Figures
from dynamo_ops.quality.gate import GateReport, run_gate
from dynamo_ops.quality.suites.rows import empty, null, of_run, unusable
from dynamo_ops.quality.thresholds import DataDocs, SiteThresholds

MAX_NAME_BYTES = 200


def check_sites(
    db: Database,
    run_key: str,
    source: str,
    thresholds: SiteThresholds,
    as_of: datetime | None = None,
    docs: DataDocs | None = None,
) -> GateReport:
    """Judge the sites that (run_key, source) staged. Raises GateError; changes nothing.

    ``as_of``: the end of the run's interval; null: now.
    """
    staged = staged_now(db, run_key, source, "sites")
    run = of_run(run_key, source)
    checks: list[Check] = [
        *_site_checks(run),
        *_known_site_checks(run, run_key, source),
        *_set_checks(run, source, thresholds),
        *_endpoint_checks(_endpoints(db, run_key, source)),
    ]
    figures = f"""SELECT count(DISTINCT site) AS sites,
        count(DISTINCT site) FILTER (WHERE status = '{SiteStatus.READY}')
                         AS ready_sites FROM staged_sites WHERE {run}"""
    return run_gate(
        db,
        "sites",
        f"source {source!r}",
        run_key,
        checks,
        thresholds.warn_only,
        staged=staged,
        figures=Figures(source, as_of or datetime.now(UTC), figures),
        docs=docs,
    )


def _site_checks(run: str) -> list[SqlCheck]:
    sites_query = f"SELECT site, storage_type, status, endpoints FROM staged_sites WHERE {run}"
    shown = "site, storage_type, status"
    no_endpoint = "endpoints IS NULL OR jsonb_typeof(endpoints) <> 'array' OR endpoints = '[]'::jsonb"
    return [
        SqlCheck(
            "site_fields",
            "a field is missing",
            "site",
            sites_query,
            f"{empty('site')} OR {null('storage_type', 'status')}",
            shown,
        ),
        SqlCheck(
            "site_name",
            f"the name has a blank, #, * or ?, or more than {MAX_NAME_BYTES} bytes,",
            "site",
            sites_query,
            unusable("site", MAX_NAME_BYTES),
            "site",
        ),
        SqlCheck(
            "site_known_values",
            "storage_type or status is unknown to us",
            "site",
            sites_query,
            f"storage_type NOT IN {Words(StorageType)} OR status NOT IN {Words(SiteStatus)}",
            shown,
        ),
        SqlCheck(
            "site_endpoint",
            "no endpoint is given",
            "ready site",
            sites_query,
            f"status = '{SiteStatus.READY}' AND ({no_endpoint})",
            "site",
        ),
        SqlCheck(
            "site_once",
            "listed more than once",
            "site",
            f"SELECT site, count(*) AS times FROM staged_sites WHERE {run} GROUP BY site",
            "times > 1",
            "site, times",
        ),
    ]


def _known_site_checks(run: str, run_key: str, source: str) -> list[SqlCheck]:
    overlap_query = f"""
        SELECT t.site, o.source AS other_source FROM staged_sites AS t
        JOIN staged_sites AS o ON o.site = t.site AND o.run_key = t.run_key AND o.source <> t.source
        WHERE t.run_key = {literal(run_key)} AND t.source = {literal(source)}"""
    known_sites_query = f"""
        SELECT t.site, s.storage_type AS type_before, t.storage_type
        FROM (SELECT * FROM staged_sites WHERE {run}) AS t JOIN sites AS s ON s.name = t.site"""
    return [
        SqlCheck(
            "site_other_source",
            "another source tells of it too,",
            "site",
            overlap_query,
            "other_source IS NOT NULL",
            "site, other_source",
        ),
        SqlCheck(
            "site_type_changed",
            "storage_type of a known site changed",
            "site",
            known_sites_query,
            f"type_before <> '{StorageType.UNKNOWN}' AND storage_type <> type_before",
            "site, type_before, storage_type",
        ),
    ]


def _set_checks(run: str, source: str, thresholds: SiteThresholds) -> list[SqlCheck]:
    """Of the sites as a whole, against those that the source told when it was merged last."""
    count = f"SELECT count(*) AS num_listed FROM staged_sites WHERE {run}"
    ready = f"""
        SELECT s.name AS site, coalesce(t.status, '(not listed)') AS status,
               count(*) OVER () AS num_before,
               sum((t.status IS DISTINCT FROM '{SiteStatus.READY}')::int) OVER () AS num_lost
        FROM sites AS s JOIN site_sources AS o ON o.site_id = s.id AND o.source = {literal(source)}
        LEFT JOIN (SELECT site, max(status) AS status FROM staged_sites WHERE {run} GROUP BY site) AS t
        ON t.site = s.name
        WHERE s.status = '{SiteStatus.READY}'"""
    lost = f"more than {thresholds.max_ready_lost_fraction:.0%} of the ready sites are not ready any more,"
    limit = f"greatest({thresholds.ready_lost_tolerated}, {thresholds.max_ready_lost_fraction} * num_before)"
    return [
        SqlCheck("sites_listed", "no site is listed", "pull", count, "num_listed = 0", "num_listed"),
        SqlCheck(
            "ready_lost", lost, "site", ready, f"status <> '{SiteStatus.READY}' AND num_lost > {limit}", "site, status"
        ),
    ]


def _endpoints(db: Database, run_key: str, source: str) -> pl.DataFrame:
    """One row an endpoint: site, protocol, prefix, is_complete, is_once, is_mapping_usable, is_address_fit, why
    (it is not fit). Sites are few."""
    staged_sites = db.frame(
        """SELECT site, endpoints::text AS endpoints FROM staged_sites
           WHERE run_key = $1 AND source = $2 AND endpoints IS NOT NULL ORDER BY site""",
        (run_key, source),
    )
    parsed = []
    for site, text in staged_sites.iter_rows():
        document = json.loads(text)
        endpoints = document if isinstance(document, list) else [document]
        protocols = [_text(endpoint, "protocol") or None for endpoint in endpoints]
        for endpoint, protocol in zip(endpoints, protocols, strict=True):
            prefix, mapping = _text(endpoint, "prefix"), _mapping(endpoint)
            is_usable = _is_usable(mapping)
            why = endpoint_fault(protocol or "", prefix or "", mapping if is_usable else None) if protocol else None
            parsed.append(
                {
                    "site": site,
                    "protocol": protocol,
                    "prefix": prefix,
                    "is_complete": protocol is not None and prefix is not None and bool(prefix or mapping),
                    "is_once": protocol is None or protocols.count(protocol) == 1,
                    "is_mapping_usable": is_usable,
                    "is_address_fit": why is None,
                    "why": why,
                }
            )
    text_columns = ("site", "protocol", "prefix", "why")
    flags = ("is_complete", "is_once", "is_mapping_usable", "is_address_fit")
    schema = {**dict.fromkeys(text_columns, pl.String), **dict.fromkeys(flags, pl.Boolean)}
    return pl.DataFrame(parsed, schema=schema)


def _text(endpoint: Any, key: str) -> str | None:
    content = endpoint.get(key) if isinstance(endpoint, dict) else None
    return content if isinstance(content, str) else None


def _mapping(endpoint: Any) -> Any:
    return endpoint.get("mapping") if isinstance(endpoint, dict) else None


def _is_usable(mapping: Any) -> bool:
    """Null, or a list of chains, each a list of pairs (regular expression, replacement) that can be used."""
    if mapping is None:
        return True
    try:
        for chain in mapping:
            for pattern, replacement in chain:
                if link_fault(pattern, replacement):
                    return False
    except (TypeError, ValueError):
        return False
    return isinstance(mapping, list)


def _endpoint_checks(endpoints: pl.DataFrame) -> list[FrameCheck]:
    shown = ("site", "protocol", "prefix")
    unfit = "prefix or mapping has another scheme than its protocol, a user or password, a query or a fragment"
    words = {
        "endpoint_fields": ("protocol or prefix is missing", "is_complete"),
        "endpoint_once": ("the site has another endpoint of this protocol", "is_once"),
        "endpoint_mapping": (
            "mapping is not a list of chains of [regular expression, replacement]",
            "is_mapping_usable",
        ),
    }
    return [
        *(
            FrameCheck(key, wrong, "endpoint", endpoints, column, shown, allowed=(True,))
            for key, (wrong, column) in words.items()
        ),
        FrameCheck(
            "endpoint_address",
            unfit,
            "endpoint",
            endpoints,
            "is_address_fit",
            ("site", "protocol", "why"),
            allowed=(True,),
        ),
    ]
