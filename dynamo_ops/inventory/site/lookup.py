"""Which sites somebody means, by name or glob: the one look-up. What is looked up is passed on, not looked up again."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import Connection, text

from dynamo_ops.base.config_file import unmatched
from dynamo_ops.base.errors import InventoryError, UnknownNameError
from dynamo_ops.base.glob import glob_matches, is_glob
from dynamo_ops.base.settings import DeletionSettings, TransferSettings
from dynamo_ops.base.text import near
from dynamo_ops.database.connection import Database

log = logging.getLogger(__name__)

Section = TypeVar("Section", TransferSettings, DeletionSettings)


@dataclass(frozen=True)
class KnownSite:
    """A site of the inventory. ``is_glob``: it was not named itself, but matched a pattern."""

    id: int
    name: str
    status: str
    is_glob: bool = False


def find_sites(connection: Connection, patterns: Sequence[str], *, statuses: Sequence[str] = ()) -> list[KnownSite]:
    """The sites that a name or glob of ``patterns`` means, by name. ``statuses``: only such sites (none: all).

    Raises InventoryError that names the patterns which mean no site (facts: ``sites``), and when there are none.
    """
    if not patterns:
        raise InventoryError("no site matches an empty list", sites=[])
    known = [site for site in all_sites(connection) if not statuses or site.status in statuses]
    nothing = [pattern for pattern in patterns if not any(glob_matches(site.name, pattern) for site in known)]
    if nothing:
        kind = f"{' or '.join(statuses)} site" if statuses else "site"
        what = f"no {kind} matches" if any(map(is_glob, nothing)) else f"there is no {kind}"
        message = f"{what} {', '.join(map(repr, nothing))}"
        raise UnknownNameError(_with_near(message, nothing[0], (site.name for site in known)), sites=nothing)
    return [
        KnownSite(site.id, site.name, site.status, is_glob=site.name not in patterns)
        for site in known
        if any(glob_matches(site.name, pattern) for pattern in patterns)
    ]


def names_like(db: Database, *patterns: str) -> list[str]:
    """Names of the sites that names or globs mean, in order. Raises InventoryError with near names where none is."""
    with db.begin() as connection:
        return [site.name for site in find_sites(connection, patterns)]


def find_site(connection: Connection, name: str) -> KnownSite:
    """The site of that very name. Raises InventoryError with near names."""
    known = {site.name: site for site in all_sites(connection)}
    if name not in known:
        message = f"site {name!r}: expected a name, not a glob" if is_glob(name) else f"there is no site {name!r}"
        raise UnknownNameError(_with_near(message, name, known), site=name)
    return known[name]


def _with_near(message: str, name: str, known: Iterable[str]) -> str:
    hint = near(name, known)
    return f"{message}.{hint}" if hint else message


def at_sites(connection: Connection, key: str, section: Section) -> dict[int, Section]:
    """A section of the settings as it is at each site that an entry of its ``sites`` matches, by the site's id.

    ``key``: of the section. An entry that matches no site is warned of.
    """
    if not section.sites:
        return {}
    sites = all_sites(connection)
    for fault in unmatched("dynamo.yaml", f"{key}.sites", section.sites, [site.name for site in sites]):
        log.warning("%s", fault)
    return {
        site.id: section.at(site.name) for site in sites if any(glob_matches(site.name, glob) for glob in section.sites)
    }


def all_sites(connection: Connection) -> list[KnownSite]:
    """Every site, by name."""
    sites = connection.execute(text("SELECT id, name, status FROM sites ORDER BY name"))
    return [KnownSite(int(site.id), site.name, site.status) for site in sites]
