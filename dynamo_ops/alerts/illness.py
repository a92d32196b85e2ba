"""Sites, links, FTS servers and the credential by which copies fail or wait as a whole, as people are told: once, and
not once a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
from cryptography import x509

from dynamo_ops.alerts.alert import Alert, AlertKind
from dynamo_ops.alerts.message import count, moment
from dynamo_ops.base.settings import Settings
from dynamo_ops.database.connection import Database
from dynamo_ops.database.reading import Snapshot
from dynamo_ops.inventory.states import (
    LIVE_TRANSFERS,
    OPEN_BATCHES,
    QUEUED,
    ServerIllness,
    SubscriptionAction,
    TransferState,
)
from dynamo_ops.inventory.subscription.blame import WHOSE, Blame
from dynamo_ops.inventory.subscription.illness import IllPlace, figures, ill_query, read_places, refusing

SHOWN = 5
"""Sites that a sentence names."""

_HOURS = """
    FROM transfer_hours AS ended WHERE ended.site_id = ill.site_id AND NOT ended.is_removed
      AND (ill.source_site_id IS NULL OR ended.source_site_id = ill.source_site_id)"""
ILL = f"""
    WITH ill AS ({ill_query("$1::text", "$2::text", "$3::text", "$4::text")})
    SELECT ill.*, failing.since_at, waiting.num_files
    FROM ill
    CROSS JOIN LATERAL (
        SELECT max(hour) AS last_at FROM (
            SELECT ended.hour {_HOURS} AND ended.outcome = '{TransferState.DONE}'
            ORDER BY ended.hour DESC LIMIT 1) AS last) AS well
    CROSS JOIN LATERAL (
        SELECT min(ended.hour) AS since_at {_HOURS} AND ended.outcome = '{TransferState.FAILED}'
          AND ended.hour >= coalesce(well.last_at, '-infinity')) AS failing
    CROSS JOIN LATERAL (
        SELECT count(*) AS num_files FROM subscriptions AS copy
        WHERE copy.action = '{SubscriptionAction.COPY}' AND copy.site_id = ill.site_id AND copy.state IN {QUEUED}
          AND ill.source_site_id IS NULL) AS waiting"""
"""What is ill: columns of ``IllPlace``; ``since_at``: the hour since which nothing arrived; ``num_files`` that wait for
a site."""


ILL_SERVERS = f"""
    SELECT ill.address, ill.illness, ill.ill_since, ill.reason, count(copy.id) AS num_files
    FROM fts_servers AS ill
    LEFT JOIN transfer_batches AS batch ON batch.server = ill.address AND batch.state IN {OPEN_BATCHES}
    LEFT JOIN transfers AS copy ON copy.batch_id = batch.id AND copy.state IN {LIVE_TRANSFERS}
    WHERE ill.ill_since <= now() - interval '15 minutes'
    GROUP BY ill.address ORDER BY ill.address"""
"""The files that wait are those that it has, or is to get."""


@dataclass(frozen=True)
class Illness:
    """One thing to tell of. ``mark``: what makes it the same as another. ``num_files`` None: of a link."""

    mark: str
    what: str
    blame: str
    since_at: datetime | None
    num_files: int | None
    reason: str

    @property
    def sentence(self) -> str:
        """As it is told."""
        files = "" if self.num_files is None else f"{count(self.num_files, 'file')} wait{'s' * (self.num_files == 1)}, "
        since = f"since {moment(self.since_at)}, " if self.since_at else ""
        return f"{self.what}: {files}{since}last words: {self.reason or 'none'}"

    @property
    def alert(self) -> Alert:
        """To be told once."""
        return Alert(AlertKind.ILL, "transfers", None, "Illness", self.sentence, self.mark)


def illnesses(snapshot: Snapshot, settings: Settings) -> list[Illness]:
    """What is ill now, the credential first: then sites that refuse us are not named by themselves."""
    window, *rest = figures(settings.transfers)
    parameters = (f"{window.total_seconds()} s", *map(str, rest))
    ill = snapshot.frame(ILL, parameters).to_dicts()
    by_place = {(place["site_id"], place["source_site_id"]): place for place in ill}
    left = read_places(ill)
    named: list[Illness] = []

    def add(mark: str, what: str, blame: Blame, places: Sequence[IllPlace]) -> None:
        figured = [by_place[place.site_id, place.source_site_id] for place in places]
        since = [place["since_at"] for place in figured if place["since_at"] is not None]
        files = [place["num_files"] for place in figured if place["source_site_id"] is None]
        reason = max(places, key=lambda place: place.tried_at).reason
        named.append(Illness(mark, what, WHOSE[blame], min(since, default=None), sum(files) if files else None, reason))

    if names := refusing(left, settings.transfers):
        refused = [place for place in left if place.is_refused]
        left = [place for place in left if not place.is_refused]
        what = (
            f"{_some(names)} refuse{'s' * (len(names) == 1)} us, so it is our credential ({credential_name(settings)})"
        )
        add("credential", what, Blame.CREDENTIAL, refused)
    for place in left:
        if place.source is None:
            what = f"copies to {place.site} fail at the destination"
            add(f"site={place.site}", what, Blame.DESTINATION, [place])
    links = [place for place in left if place.source is not None]
    for source in sorted({str(place.source) for place in links if place.blame == Blame.SOURCE}):
        of_source = [place for place in links if place.source == source and place.blame == Blame.SOURCE]
        what = f"copies from {source} fail at the source (to {_some([place.site for place in of_source])})"
        add(f"source={source}", what, Blame.SOURCE, of_source)
    for place in links:
        if place.blame != Blame.SOURCE:
            what = f"copies from {place.source} to {place.site} fail on the way"
            add(f"link={place.source} {place.site}", what, Blame.LINK, [place])
    return named + _servers(snapshot)


def _servers(snapshot: Snapshot) -> list[Illness]:
    """The FTS servers that have been ill for longer than a moment."""
    return [
        Illness(
            f"server={server['address']}",
            f"FTS {server['address']} {ServerIllness(server['illness']).words}",
            WHOSE[Blame.SERVICE],
            server["ill_since"],
            server["num_files"],
            server["reason"] or "",
        )
        for server in snapshot.frame(ILL_SERVERS).to_dicts()
    ]


def ill_now(database: Database, settings: Settings) -> list[Illness]:
    """What is ill, as of now. Raises RetryableRemoteError when the database is away."""
    with database.snapshot() as snapshot:
        return illnesses(snapshot, settings)


def illness_frame(found: Sequence[Illness]) -> pl.DataFrame:
    """For the digest: what, blame, since_at, num_files, reason."""
    schema: dict[str, Any] = {
        "what": pl.String,
        "blame": pl.String,
        "since_at": pl.Datetime("us", "UTC"),
        "num_files": pl.Int64,
        "reason": pl.String,
    }
    rows = [(each.what, each.blame, each.since_at, each.num_files, each.reason) for each in found]
    return pl.DataFrame(rows, schema=schema, orient="row")


def credential_name(settings: Settings) -> str:
    """The credential of our copies: whose proxy, or which file."""
    if settings.fts.token_file is not None:
        return f"the token in {settings.fts.token_file}"
    if settings.tls.cert is None:
        return "no certificate is set: tls.cert"
    return f"proxy of {_subject(settings.tls.cert)}"


def _subject(file: Path) -> str:
    try:
        return x509.load_pem_x509_certificates(file.read_bytes())[0].subject.rfc4514_string()
    except (OSError, ValueError):
        return str(file)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
